"""The lists that the engine of a log showed last for its queries, as a model holds them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.arrays import Bool, Int32
from ebr_core.text.folding import fold_queries
from ebr_core.text.sorted_texts import SortedTexts, rows_of

LOGGED_FILE = "logged.parquet"


class LoggedLists(NamedTuple):
    """The newest list of each query, for F folded queries in order."""

    queries: pa.Array  # (F,)
    searched_at: pa.Array  # (F,) when it was shown
    rows: Int32  # (F, J) rows of documents, −1 behind the last


def write_logged_lists(lists: LoggedLists, folder: Path) -> None:
    """Write logged.parquet; nothing without lists, as of a log without positions."""
    if not len(lists.queries):
        return
    rows = pa.FixedSizeListArray.from_arrays(pa.array(lists.rows.ravel()), lists.rows.shape[1])
    pq.write_table(
        pa.table({"query": lists.queries, "searched_at": lists.searched_at, "documents": rows}), folder / LOGGED_FILE
    )


def read_logged_lists(folder: Path) -> LoggedLists | None:
    """What write_logged_lists wrote; None if it wrote nothing."""
    if not (folder / LOGGED_FILE).exists():
        return None
    table = pq.read_table(folder / LOGGED_FILE).combine_chunks()
    rows = table["documents"].combine_chunks()
    lists = rows.flatten().to_numpy().reshape(table.num_rows, -1)
    return LoggedLists(table["query"].combine_chunks(), table["searched_at"].combine_chunks(), lists)


def listed_rows(lists: LoggedLists, texts: list[str], k: int, allowed: Bool | None) -> Int32:
    """(B, k) the first k allowed documents (N,) that the engine showed last for each query, −1 behind the last and for
    queries that nobody asked."""
    at = _places(lists, texts)
    rows = np.full((len(texts), max(k, lists.rows.shape[1])), -1, np.int32)
    rows[at >= 0, : lists.rows.shape[1]] = lists.rows[at[at >= 0]]
    if allowed is not None:
        rows = np.where((rows >= 0) & allowed[rows], rows, -1).astype(np.int32)
        rows = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), 1)
    return rows[:, :k]


def shown_at(lists: LoggedLists, text: str) -> datetime | None:
    """When the list of a query was shown; None for a query that nobody asked."""
    at = int(_places(lists, [text])[0])
    when: datetime | None = None if at < 0 else lists.searched_at[at].as_py()
    return when


def _places(lists: LoggedLists, texts: list[str]) -> Int32:
    """(B,) the place of each text among the queries, −1 for one that is not there."""
    folded = fold_queries(pa.array(texts, pa.large_string()))
    return rows_of(folded, SortedTexts(lists.queries))
