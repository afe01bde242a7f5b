"""Whether a service should get requests: every model answers a canary query, and the service does not end."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import pyarrow.parquet as pq

from ebr_core.errors import InputError
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import LONGEST_QUERY, SearchQuery
from flows.app.service.open_models import ServedModels
from tasks.served_models import bundle_of


def unready_reason(served: ServedModels, stopping: threading.Event) -> str:
    """Why requests should go elsewhere; empty if every open model answers."""
    if stopping.is_set():
        return "stopping"
    listing, models = served.current
    for arm, bundle in models.items():
        try:
            answer(bundle, SearchQuery(query=_canary_text(bundle_of(listing, arm)), k=1))
        except InputError as error:
            return f"{arm}: {error}"
    return ""


@functools.lru_cache(maxsize=16)
def _canary_text(folder: Path) -> str:
    """The text of the first canary query of the bundle in a folder."""
    texts = pq.read_table(folder / "canaries.parquet", columns=["query"])["query"].to_pylist()
    return next((text.strip()[:LONGEST_QUERY] for text in texts if text and text.strip()), "canary")
