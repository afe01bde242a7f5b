"""What a log knows of a query's context: a place that nobody has ever had tells a model nothing."""

from __future__ import annotations

import pyarrow.compute as pc

from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_towers import CONTEXT
from ebr_core.serving.search_query import SearchQuery


def unknown_context(bundle: Bundle, query: SearchQuery) -> list[str]:
    """A sentence for each value of the query's place and language that no document and no searcher of the log has."""
    values = {name: getattr(query, name) for name in CONTEXT[1:]}
    return [
        f"{name}: no document and no searcher of this log has {value!r}, so it counts as unknown"
        for name, value in values.items()
        if value is not None
        and not any(pc.index(table[name], value).as_py() >= 0 for table in (bundle.documents, bundle.searchers))
    ]
