"""Reads what the sample stage wrote: the searches of an evaluation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.bags import Int32
from ebr_core.metrics import Targets
from tasks.artifacts import Artifact


class Sample(NamedTuple):
    """The searches of an evaluation."""

    searches: dict[str, Any]  # columns of searches.parquet, (S,)
    candidates: Int32  # (C,) documents alive in the period
    targets: pa.Table  # targets, search_row, document_row, grade

    def for_targets(self, name: str) -> tuple[dict[str, Any], Targets]:
        """The searches that have a target in this set, all their columns and `at`, their place among all; and the
        targets."""
        table = self.targets.filter(pc.equal(self.targets["targets"], name))
        owners, counts = np.unique(table["search_row"].to_numpy(), return_counts=True)
        at = np.searchsorted(self.searches["search_row"], owners)
        columns = {key: column[at] for key, column in self.searches.items()} | {"at": at}
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return columns, Targets(offsets, table["document_row"].to_numpy().astype(np.int32))


def read_sample(sample: Artifact) -> Sample:
    """The sample that a sample stage wrote."""
    table = pq.read_table(sample.folder / "searches.parquet")
    unknown = {"searcher_row": -1, "misspelt": False, "attempt": 0}  # what a null stands for
    searches = {
        name: (table[name].fill_null(unknown[name]) if name in unknown else table[name]).to_numpy()
        for name in table.column_names
    }
    candidates = pq.read_table(sample.folder / "candidates.parquet")["document_row"].to_numpy().astype(np.int32)
    return Sample(searches, candidates, pq.read_table(sample.folder / "targets.parquet"))
