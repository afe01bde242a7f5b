"""Checks of the histories that towers read: nothing in them may be later than the search or the training window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Int32
from ebr_core.text.ngram_bags import take
from tasks.feature_stages import read_bags, read_fitted
from tasks.histories import list_counts
from tasks.kinds import FeatureSet, Log

MOST_SEARCHES = 5_000  # whose histories are compared with the raw tables


def history_checks(log: Log, features: FeatureSet, parts: tuple[str, ...], whose: str = "") -> list[dict[str, str]]:
    """One check for each group of histories, and a note on what was left out of lists.

    log: the log as it was extracted, with whose raw tables the bags are compared. parts: those of the split that
    training may use.
    """
    return list(_checks(log, features, parts, whose))


def _checks(log: Log, features: FeatureSet, parts: tuple[str, ...], whose: str) -> Iterator[dict[str, str]]:
    fitted, counts = read_fitted(features), list_counts(features)
    for name, history in fitted.features.histories.items():
        given = _sampled(log, features, name, fitted.history_documents(name))
        kind = "history" if history.column is None else "listed"
        rule = extracted_log.find_history_leaks(log.folder, given, kind, parts)
        yield _check(f"{kind} {name}{whose}", kind, rule)
        if history.column is not None:
            count = counts[history.column]
            says = (
                f"{count.left_out:,} of {count.given:,} documents in searches.{history.column} are left out, because "
                f"their searcher finds them after the training window; {count.unknown:,} are not in the log"
            )
            yield {"check": f"lists of {name}{whose}", "status": "note", "says": says}


def _check(check: str, kind: str, rule: dict[str, Any]) -> dict[str, str]:
    looked_at, broken = rule["looked_at"], rule["broken"]
    says = {
        "history": f"{looked_at:,} clicks in histories, {broken:,} not strictly before the search and the cut-off",
        "listed": f"{looked_at:,} listed documents, {broken:,} that the searcher clicks after the cut-off",
    }[kind]
    return {"check": check, "status": "leak" if broken else "clean", "says": says}


def _sampled(log: Log, features: FeatureSet, name: str, known: list[str]) -> pa.Table:
    """(search_row, document_row) of the histories of searches at equal steps."""
    bags = read_bags(features, name, "searches")
    rows: Int32 = np.arange(0, len(bags), -(-len(bags) // MOST_SEARCHES) if len(bags) else 1, dtype=np.int32)
    sampled = take(bags, rows)
    ids = pq.read_table(log.folder / "documents.parquet", columns=["document_id"])["document_id"].combine_chunks()
    documents = pc.index_in(pa.array(known, pa.string()), ids).to_numpy()[sampled.ids]
    searches = np.repeat(rows, np.diff(sampled.offsets))
    return pa.table({"search_row": searches, "document_row": documents.astype(np.int32)})
