"""Reads what the sample stage wrote: the searches of an evaluation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.arrays import Int32, Int64
from ebr_core.measure.metrics import Targets
from tasks.kinds import EvalSet


class SampledSearches(NamedTuple):
    """The searches of an evaluation."""

    searches: dict[str, Any]  # columns of searches.parquet, (S,)
    candidates: Int32  # (C,) documents alive in the period
    targets: pa.Table  # targets, search_row, document_row, grade
    slices: pa.Table  # what slices.parquet says of each target set and search
    clicks: Int64  # (C,) of each candidate, in the training window

    @property
    def names(self) -> list[str]:
        """The target sets that any search has a target in."""
        return sorted(set(self.targets["targets"].to_pylist()))

    def for_targets(self, name: str) -> tuple[dict[str, Any], Targets]:
        """The searches that have a target in this set, all their columns, those of their slices, and `at`, their place
        among all; and the targets."""
        table = self.targets.filter(pc.equal(self.targets["targets"], name))
        owners, counts = np.unique(table["search_row"].to_numpy(), return_counts=True)
        at = np.searchsorted(self.searches["search_row"], owners)
        columns = {key: column[at] for key, column in self.searches.items()} | {"at": at}
        own = self.slices.filter(pc.equal(self.slices["targets"], name))
        columns |= {key: _filled(own, key) for key in own.column_names if key not in ("targets", "search_row")}
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        grades = table["grade"].to_numpy().astype(np.float64)
        return columns, Targets(offsets, table["document_row"].to_numpy().astype(np.int32), grades)


UNKNOWN = {
    "searcher_row": -1,
    "misspelt": False,
    "attempt": 0,
    "kind": "",
    "place": "",
    "position": 0,
}  # what a null stands for


def _filled(table: pa.Table, name: str) -> Any:
    column = table[name].fill_null(UNKNOWN[name]) if name in UNKNOWN else table[name]
    values = column.to_numpy()
    return values.astype(str) if values.dtype == object else values


def read_sample(sample: EvalSet) -> SampledSearches:
    """The sample that a sample stage wrote."""
    table = pq.read_table(sample.folder / "searches.parquet")
    searches = {name: _filled(table, name) for name in table.column_names}
    candidates = pq.read_table(sample.folder / "candidates.parquet")
    return SampledSearches(
        searches,
        candidates["document_row"].to_numpy().astype(np.int32),
        pq.read_table(sample.folder / "targets.parquet"),
        pq.read_table(sample.folder / "slices.parquet"),
        candidates["clicks"].to_numpy(),
    )
