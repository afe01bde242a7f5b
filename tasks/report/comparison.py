"""Two runs side by side, on the searches that both evaluated."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.arrays import Float64, Int64
from ebr_core.errors import InputError
from ebr_core.measure.intervals import MetricValues, compare
from ebr_core.search.index_specs import OWN_INDEXES
from tasks.home import artifacts
from tasks.list_measures import clusters_of

if TYPE_CHECKING:
    import pandas as pd


class ArmComparison(NamedTuple):
    """One arm of both runs: its values in each on the shared searches, and the paired difference B − A."""

    targets: str
    arm: str
    metric: str
    searches: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    training_noise: bool


def find_run(name: str) -> Path:
    """The folder of a run: name is its path, the name of the run or a prefix of it, or an experiment, for its last run.

    Raises InputError, with a list of the runs, if there is no run of that name.
    """
    path = Path(name)
    if (path / "run.json").exists():
        return path
    runs = {folder: json.loads((folder / "run.json").read_text()) for folder in artifacts().glob("report-*")}
    matches = [folder for folder, run in runs.items() if name == run["experiment"]]
    matches = matches or [
        folder for folder in runs if folder.name.removeprefix("report-").startswith(name.removeprefix("report-"))
    ]
    if matches:
        return max(matches, key=lambda folder: str(runs[folder]["made_at"]))
    labels = [f"{folder.name} ({run['experiment']}, {run['made_at']})" for folder, run in runs.items()]
    listed = ", ".join(sorted(labels)) or "none yet: ebr run makes one"
    raise InputError(f"{name}: no such run; give a folder, a name or an experiment. There are: {listed}")


def run_of_model(model: str) -> Path | None:
    """The folder of the latest run that made the bundle with this digest; None if it is not in this home."""
    runs = {folder: json.loads((folder / "run.json").read_text()) for folder in artifacts().glob("report-*")}
    makers = [folder for folder, run in runs.items() if model in run.get("models", {}).values()]
    return max(makers, key=lambda folder: str(runs[folder]["made_at"]), default=None)


def compare_runs(run_a: Path, run_b: Path) -> list[ArmComparison]:
    """Every arm that both runs have, for each target set and shared metric, on the searches in both runs.

    Searches are the same if they have the same identity and the same query. Raises InputError if the runs share no
    search or no arm.
    """
    shared = _shared_searches(run_a, run_b)
    clusters = clusters_of({name: shared[name].to_numpy() for name in ("searcher_row", "session_row", "query_row")})
    a, b = _measured(run_a, shared["search_row"]), _measured(run_b, shared["search_row_b"])
    keys = sorted(a.keys() & b.keys(), key=lambda key: (key[0], key[2], key[1]))
    if not keys:
        arms = [", ".join(sorted({arm for _, arm, _ in values})) for values in (a, b)]
        raise InputError(f"the runs share no arm: {run_a} has {arms[0]}; {run_b} has {arms[1]}")
    return [_compared(key, a[key], b[key], clusters) for key in keys]


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


def _measured(run: Path, rows: pd.Series[int]) -> dict[tuple[str, str, str], MetricValues]:
    """(targets, arm, metric) → (seeds, S) the metric of each of those searches, NaN where it has no target."""
    condition = pc.field("index").isin(list(OWN_INDEXES)) & pc.field("metric").isin(["recall", "mrr"])
    table = pq.read_table(run / "per_search.parquet", filters=condition).to_pandas()
    seeds: dict[tuple[str, str, str], list[Float64]] = {}
    trained = set()
    for (targets, arm, metric, k, seed), group in table.groupby(
        ["targets", "arm", "metric", "k", "seed"], dropna=False
    ):
        name = metric if np.isnan(k) else f"{metric}@{k:.0f}"
        values = group.set_index("search_row")["value"].reindex(rows).to_numpy()
        seeds.setdefault((targets, arm, name), []).append(values)
        trained |= set() if np.isnan(seed) else {(targets, arm, name)}
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
