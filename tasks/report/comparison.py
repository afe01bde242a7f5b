"""Two runs side by side, on the searches that both evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.experiment.experiment_spec import trained_arm
from ebr_core.arrays import Float64, Int64
from ebr_core.errors import InputError
from ebr_core.measure.intervals import MetricValues, compare
from ebr_core.search.index_specs import OWN_INDEXES
from tasks.list_measures import clusters_of

if TYPE_CHECKING:
    import pandas as pd

Measured = Mapping[tuple[str, str, str], MetricValues]  # by target set, row and metric


class ArmComparison(NamedTuple):
    """A row of each of two runs: their values on the shared searches, and the paired difference B − A."""

    targets: str
    arm: str  # of B; of both, if runs are compared arm by arm
    metric: str
    searches: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    training_noise: bool


def compare_runs(run_a: Path, run_b: Path) -> list[ArmComparison]:
    """Every arm that both runs have, for each target set and shared metric, on the searches in both runs.

    Searches are the same if they have the same identity and the same query. Raises InputError if the runs share no
    search or no arm.
    """
    a, b, clusters = _measured_both(run_a, run_b)
    keys = sorted((key for key in a.keys() & b.keys() if "@" not in key[1]), key=lambda key: (key[0], key[2], key[1]))
    if not keys:
        raise InputError(
            f"the runs share no arm: {run_a} has {', '.join(_rows(a, plain=True))}; {run_b} has "
            f"{', '.join(_rows(b, plain=True))}"
        )
    return [_compared(key, a[key], b[key], clusters) for key in keys]


def compare_rows(run_a: Path, row_a: str, run_b: Path, row_b: str) -> list[ArmComparison]:
    """The row row_b of run_b less the row row_a of run_a, for each target set and shared metric, on the searches in
    both runs, which may be one and the same.

    A row is an arm, a hybrid or a list, by exact search, or with the index that it is searched through: random@tuned.
    Rows of one run that come from the same trained arm are compared seed by seed. Raises InputError if the runs share
    no search, or a run has no such row.
    """
    a, b, clusters = _measured_both(run_a, run_b)
    row_a, row_b = _row_of(a, row_a, run_a), _row_of(b, row_b, run_b)
    if run_a.resolve() == run_b.resolve() and trained_arm(row_a) == trained_arm(row_b):
        a, b = _from_one_arm(a), _from_one_arm(b)
    keys = sorted((targets, metric) for targets, row, metric in a if row == row_a and (targets, row_b, metric) in b)
    return [
        _compared((targets, row_b, metric), a[targets, row_a, metric], b[targets, row_b, metric], clusters)
        for targets, metric in keys
    ]


def _from_one_arm(measured: Measured) -> Measured:
    """The values with the trained models in each line, as if all rows came from one arm."""
    return {
        key: values._replace(trainings=tuple((str(line),) for line in range(len(values.values))))
        for key, values in measured.items()
    }


def _row_of(measured: Measured, row: str, run: Path) -> str:
    """The measured row of this name; of a list, with the index that it is searched through, if it has one."""
    rows = _rows(measured)
    through = [name for name in rows if name.partition("@")[0] == row]
    if row in rows or len(through) == 1:
        return row if row in rows else through[0]
    raise InputError(f"{run}: no row {row!r}; there are {', '.join(rows)}")


def _rows(measured: Measured, plain: bool = False) -> list[str]:
    """The names of the rows in order. plain: those by exact search."""
    return sorted({row for _, row, _ in measured if not plain or "@" not in row})


def _measured_both(run_a: Path, run_b: Path) -> tuple[Measured, Measured, Int64]:
    """(what each run measured on the shared searches, the clusters of these searches)."""
    shared = _shared_searches(run_a, run_b)
    clusters = clusters_of({name: shared[name].to_numpy() for name in ("searcher_row", "session_row", "query_row")})
    return _measured(run_a, shared["search_row"]), _measured(run_b, shared["search_row_b"]), clusters


def _shared_searches(run_a: Path, run_b: Path) -> pd.DataFrame:
    """The searches of both runs in the order of the first: search_row, search_row_b and the columns for clusters."""
    import pandas as pd

    a, b = (pd.read_parquet(run / "searches.parquet") for run in (run_a, run_b))
    shared = a.merge(b, on=["search_id", "query"], suffixes=("", "_b")).sort_values("search_row", kind="stable")
    if shared.empty:
        raise InputError(
            f"{run_a} and {run_b} have no search in common (same search_id and query); compare runs on the same logs"
        )
    return shared.fillna(dict.fromkeys(("searcher_row", "session_row", "query_row"), -1))


def _measured(run: Path, rows: pd.Series[int]) -> Measured:
    """(targets, row, metric) → (seeds, S) the metric of each of those searches, NaN where it has no target."""
    condition = pc.field("metric").isin(["recall", "mrr"])
    table = pq.read_table(run / "per_search.parquet", filters=condition).to_pandas()
    seeds: dict[tuple[str, str, str], list[Float64]] = {}
    trained = set()
    for (targets, arm, index, metric, k, seed), group in table.groupby(
        ["targets", "arm", "index", "metric", "k", "seed"], dropna=False
    ):
        row = arm if index in OWN_INDEXES else f"{arm}@{index}"
        name = metric if np.isnan(k) else f"{metric}@{k:.0f}"
        values = group.set_index("search_row")["value"].reindex(rows).to_numpy()
        seeds.setdefault((targets, row, name), []).append(values)
        trained |= set() if np.isnan(seed) else {(targets, row, name)}
    return {key: MetricValues(np.stack(group), key in trained) for key, group in seeds.items()}


def _compared(key: tuple[str, str, str], all_a: MetricValues, all_b: MetricValues, clusters: Int64) -> ArmComparison:
    in_both = ~np.isnan(all_a.values).any(0) & ~np.isnan(all_b.values).any(0)
    if not in_both.any():
        return ArmComparison(*key, 0, nan, nan, nan, nan, nan, False)
    a, b = (whole._replace(values=whole.values[:, in_both]) for whole in (all_a, all_b))
    difference = compare(a, [b], clusters[in_both])
    ends = float(difference.value[0]), float(difference.low[0]), float(difference.high[0])
    means = float(a.values.mean()), float(b.values.mean())
    return ArmComparison(*key, int(in_both.sum()), *means, *ends, difference.seed_freedom > 0)
