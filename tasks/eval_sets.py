"""The searches of an evaluation, read from the artifact of the sample stage."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.arrays import Int32, Int64
from ebr_core.measure.metrics import Targets, pair_keys
from ebr_core.search.exclusions import Exclusions, exclude_by_searcher
from tasks.kinds import EvalSet

NOTHING_EXCLUDED = Exclusions(np.zeros(1, np.int64), np.zeros(0, np.int32))


class SampledSearches(NamedTuple):
    """The searches of an evaluation."""

    searches: dict[str, Any]  # columns of searches.parquet, (S,)
    candidates: Int32  # (C,) documents alive in the period
    targets: pa.Table  # targets, search_row, document_row, grade
    slices: pa.Table  # slices.parquet: a row for each target set and search
    clicks: Int64  # (C,) clicks on each candidate in the training window
    excluded: Exclusions = NOTHING_EXCLUDED  # of each search, as positions among the candidates

    def depth(self, k: int) -> int:
        """The number of documents to retrieve, so that K remain of each list without excluded documents."""
        return self.excluded.depth(k, len(self.candidates))

    @property
    def excluded_rows(self) -> Exclusions:
        """The same exclusions as document rows."""
        return self.excluded._replace(documents=self.candidates[self.excluded.documents])

    @property
    def names(self) -> list[str]:
        """The target sets in which at least one search has a target."""
        return sorted(set(self.targets["targets"].to_pylist()))

    def for_targets(self, name: str) -> tuple[dict[str, Any], Targets]:
        """(the columns of the searches that have a target in this set, their targets).

        The columns of their slices are included, and `at`: their positions among all searches.
        """
        table = self.targets.filter(pc.equal(self.targets["targets"], name))
        owners, counts = np.unique(table["search_row"].to_numpy(), return_counts=True)
        at = np.searchsorted(self.searches["search_row"], owners)
        columns = {key: column[at] for key, column in self.searches.items()} | {"at": at}
        slices = self.slices.filter(pc.equal(self.slices["targets"], name))
        columns |= {key: _filled(slices, key) for key in slices.column_names if key not in ("targets", "search_row")}
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        grades = table["grade"].to_numpy().astype(np.float64)
        return columns, Targets(offsets, table["document_row"].to_numpy().astype(np.int32), grades)


# Values in place of null, by column.
NULL_VALUES = {"searcher_row": -1, "misspelt": False, "attempt": 0, "kind": "", "place": "", "position": 0}


def _filled(table: pa.Table, name: str) -> Any:
    column = table[name].fill_null(NULL_VALUES[name]) if name in NULL_VALUES else table[name]
    values = column.to_numpy()
    return values.astype(str) if values.dtype == object else values


def read_sample(eval_set: EvalSet) -> SampledSearches:
    """The searches, candidates and targets of an evaluation set."""
    table = pq.read_table(eval_set.folder / "searches.parquet")
    searches = {name: _filled(table, name) for name in table.column_names}
    candidates = pq.read_table(eval_set.folder / "candidates.parquet")
    rows = candidates["document_row"].to_numpy().astype(np.int32)
    return SampledSearches(
        searches,
        rows,
        pq.read_table(eval_set.folder / "targets.parquet"),
        pq.read_table(eval_set.folder / "slices.parquet"),
        candidates["clicks"].to_numpy(),
        _excluded(eval_set, searches["searcher_row"], rows),
    )


def read_seen(eval_set: EvalSet) -> Int64:
    """The sorted keys (metrics.pair_keys) of the documents shown or judged for the queries of an evaluation set."""
    table = pq.read_table(eval_set.folder / "seen.parquet")
    return pair_keys(table["query_row"].to_numpy(), table["document_row"].to_numpy())


def _excluded(eval_set: EvalSet, searchers: Int32, candidates: Int32) -> Exclusions:
    """The exclusions of searches by these searchers (S,), of documents that are candidates at all."""
    file = eval_set.folder / "excluded.parquet"
    if not file.exists():
        return Exclusions(np.zeros(len(searchers) + 1, np.int64), np.zeros(0, np.int32))
    pairs = pq.read_table(file)
    owners, documents = (pairs[name].to_numpy() for name in ("searcher_row", "document_row"))
    is_candidate = np.isin(documents, candidates)
    positions = np.searchsorted(candidates, documents[is_candidate])
    return exclude_by_searcher(searchers, owners[is_candidate], positions.astype(np.int32))
