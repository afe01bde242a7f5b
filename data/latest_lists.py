"""The lists that the engine of a log showed last, for models that are compared with it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.extracted_log import connect
from data.statements import statement
from ebr_core.arrays import Int32
from ebr_core.serving.logged_lists import LoggedLists
from ebr_core.text.folding import fold_queries

MOST_QUERIES = 100_000  # that a model holds lists of, the newest
LENGTH = 20  # documents of a list


def latest_lists(log: Path, candidates: Int32) -> LoggedLists:
    """The newest list of each query of the extracted log, as positions among the candidates (N,), in ascending order.

    Empty for a log without positions. Documents that are no candidates are left out.
    """
    with closing(connect(log)) as connection:
        parameters = {"length": LENGTH, "most": MOST_QUERIES}
        table = connection.sql(statement("lists/latest_shown"), params=parameters).to_arrow_table()
    lists = table["documents"].combine_chunks()
    documents = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    owners = np.repeat(np.arange(table.num_rows), pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    at = np.minimum(np.searchsorted(candidates, documents), max(0, len(candidates) - 1))
    alive = candidates[at] == documents if len(candidates) else np.zeros(len(documents), bool)
    owners, at = owners[alive], at[alive]
    counts = np.bincount(owners, minlength=table.num_rows)
    places = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.full((table.num_rows, LENGTH), -1, np.int32)
    rows[owners, places] = at
    folded = fold_queries(table["query"].combine_chunks().cast(pa.large_string())).cast(pa.string())
    order = pc.sort_indices(folded)
    return LoggedLists(folded.take(order), table["searched_at"].combine_chunks().take(order), rows[order.to_numpy()])
