"""Two runs side by side, on the searches that both evaluated."""

from __future__ import annotations

import json
from math import nan
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.experiment.experiment_spec import BASELINES, ORACLES
from ebr_core.arrays import Float64, Int64
from ebr_core.errors import InputError
from ebr_core.measure.intervals import MetricValues, compare
from tasks.home import artifacts
from tasks.list_measures import clusters_of


class ArmComparison(NamedTuple):
    """One arm of both runs: how it did in each on the shared searches, and the paired difference B − A."""

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
    """The folder of a run, given as a path, as its name or the beginning of it, or as an experiment, whose last run is
    meant. Errors: nothing of that name, with those that there are."""
    given = Path(name)
    if (given / "run.json").exists():
        return given
    runs = {folder: json.loads((folder / "run.json").read_text()) for folder in artifacts().glob("report-*")}
    matches = [folder for folder, run in runs.items() if name == run["experiment"]]
    matches = matches or [
        folder for folder in runs if folder.name.removeprefix("report-").startswith(name.removeprefix("report-"))
    ]
    if matches:
        return max(matches, key=lambda folder: str(runs[folder]["made_at"]))
    known = [f"{folder.name} ({run['experiment']}, {run['made_at']})" for folder, run in runs.items()]
    listed = ", ".join(sorted(known)) or "none yet: ebr run makes one"
    raise InputError(f"{name}: no such run; give a folder, a name or an experiment. There are: {listed}")


def compare_runs(one: Path, other: Path) -> list[ArmComparison]:
    """Every arm that both runs have, for each target set and shared metric, on the searches that are in both: the same
    identity and the same query. Errors: no such search, no such arm."""
    both = _shared_searches(one, other)
    clusters = clusters_of({name: both[name].to_numpy() for name in ("searcher_row", "session_row", "query_row")})
    a, b = _measured(one, both["search_row"]), _measured(other, both["search_row_b"])
    keys = sorted(a.keys() & b.keys(), key=lambda key: (key[0], key[2], key[1]))
    if not keys:
        arms = [", ".join(sorted({arm for _, arm, _ in of})) for of in (a, b)]
        raise InputError(f"the runs share no arm: {one} has {arms[0]}; {other} has {arms[1]}")
    return [_compared(key, a[key], b[key], clusters) for key in keys]


def _shared_searches(one: Path, other: Path) -> pd.DataFrame:
    """The searches of both, in the order of the first: search_row and search_row_b, and what clusters them."""
    a, b = (pd.read_parquet(run / "searches.parquet") for run in (one, other))
    both = a.merge(b, on=["search_id", "query"], suffixes=("", "_b")).sort_values("search_row", kind="stable")
    if both.empty:
        raise InputError(
            f"{one} and {other} evaluated no search in common (same search_id and query); compare runs on the same logs"
        )
    return both.fillna(dict.fromkeys(("searcher_row", "session_row", "query_row"), -1))


def _measured(run: Path, rows: pd.Series[int]) -> dict[tuple[str, str, str], Float64]:
    """(targets, arm, metric) → (seeds, S) the metric of each of those searches, NaN where it has no target."""
    wanted = pc.field("index").isin(["exact", "none"]) & pc.field("metric").isin(["recall", "mrr"])
    table = pq.read_table(run / "per_search.parquet", filters=wanted).to_pandas()
    seeds: dict[tuple[str, str, str], list[Float64]] = {}
    for (targets, arm, metric, k, _), of in table.groupby(["targets", "arm", "metric", "k", "seed"], dropna=False):
        name = metric if np.isnan(k) else f"{metric}@{k:.0f}"
        values = of.set_index("search_row")["value"].reindex(rows).to_numpy()
        seeds.setdefault((targets, arm, name), []).append(values)
    return {key: np.stack(of) for key, of in seeds.items()}


def _compared(key: tuple[str, str, str], one: Float64, other: Float64, clusters: Int64) -> ArmComparison:
    inside = ~np.isnan(one).any(0) & ~np.isnan(other).any(0)
    if not inside.any():
        return ArmComparison(*key, 0, nan, nan, nan, nan, nan, False)
    trained = key[1] not in (*BASELINES, *ORACLES)
    a, b = (MetricValues(values[:, inside], trained) for values in (one, other))
    difference = compare(a, [b], clusters[inside])
    ends = float(difference.value[0]), float(difference.low[0]), float(difference.high[0])
    means = float(a.values.mean()), float(b.values.mean())
    return ArmComparison(*key, int(inside.sum()), *means, *ends, difference.seed_freedom > 0)
