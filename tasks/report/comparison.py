"""Two runs side by side, on the searches that both evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.experiment import BASELINES, ORACLES
from ebr_core.bags import Int32
from ebr_core.errors import InputError
from ebr_core.intervals import Measured, compare
from ebr_core.metrics import Float64
from tasks.evaluation import clusters_of
from tasks.home import artifacts


class Compared(NamedTuple):
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
    found = [folder for folder, run in runs.items() if name == run["experiment"]]
    found = found or [
        folder for folder in runs if folder.name.removeprefix("report-").startswith(name.removeprefix("report-"))
    ]
    if found:
        return max(found, key=lambda folder: str(runs[folder]["made_at"]))
    known = [f"{folder.name} ({run['experiment']}, {run['made_at']})" for folder, run in runs.items()]
    listed = ", ".join(sorted(known)) or "none yet: ebr run makes one"
    raise InputError(f"{name}: no such run; give a folder, a name or an experiment. There are: {listed}")


def compare_runs(one: Path, other: Path) -> list[Compared]:
    """Every arm that both runs have, for each target set and shared metric, on the searches that are in both: the same
    identity and the same query. Errors: no such search, no such arm."""
    rows_a, rows_b, clusters = _shared_searches(one, other)
    measured = [_measured(one, rows_a), _measured(other, rows_b)]
    keys = sorted(set(measured[0]) & set(measured[1]), key=lambda key: (key[0], key[2], key[1]))
    if not keys:
        arms = [", ".join(sorted({arm for _, arm, _ in of})) for of in measured]
        raise InputError(f"the runs share no arm: {one} has {arms[0]}; {other} has {arms[1]}")
    return [_compared(key, measured[0][key], measured[1][key], clusters) for key in keys]


def _shared_searches(one: Path, other: Path) -> tuple[Int32, Int32, Any]:
    """(rows in one, rows in the other, clusters) of the searches of both."""
    tables = [pq.read_table(run / "searches.parquet") for run in (one, other)]
    both = tables[0].join(tables[1], ["search_id", "query"], join_type="inner", right_suffix="_b").sort_by("search_row")
    if not len(both):
        raise InputError(
            f"{one} and {other} evaluated no search in common (same search_id and query); compare runs on the same logs"
        )
    columns = {name: pc.fill_null(both[name], -1).to_numpy() for name in ("searcher_row", "session_row", "query_row")}
    rows = [both[name].to_numpy().astype(np.int32) for name in ("search_row", "search_row_b")]
    return rows[0], rows[1], clusters_of(columns)


def _measured(run: Path, rows: Int32) -> dict[tuple[str, str, str], list[tuple[Float64, Any]]]:
    """(targets, arm, metric) → for each seed, the metric of each of those searches, NaN where it has no target."""
    wanted = pc.field("index").isin(["exact", "none"]) & pc.field("metric").isin(["recall", "mrr"])
    table = pq.read_table(run / "per_search.parquet", filters=wanted)
    place = np.full(int(max(rows.max(), pc.max(table["search_row"]).as_py())) + 1, -1)
    place[rows] = np.arange(len(rows))
    found: dict[tuple[str, str, str], list[tuple[Float64, Any]]] = {}
    keys = ["arm", "seed", "targets", "metric", "k"]
    for group in table.group_by(keys).aggregate([]).sort_by([(key, "ascending") for key in keys]).to_pylist():
        own = table.filter(_equal(table, group))
        at = place[own["search_row"].to_numpy()]
        values = np.full(len(rows), np.nan)
        values[at[at >= 0]] = own["value"].to_numpy()[at >= 0]
        metric = group["metric"] + (f"@{group['k']}" if group["k"] else "")
        found.setdefault((group["targets"], group["arm"], metric), []).append((values, group["seed"]))
    return found


def _equal(table: pa.Table, group: dict[str, Any]) -> Any:
    mask = pa.scalar(True)
    for key, value in group.items():
        mask = pc.and_(mask, pc.is_null(table[key]) if value is None else pc.equal(table[key], value))
    return mask


def _compared(key: tuple[str, str, str], one: list[Any], other: list[Any], clusters: Any) -> Compared:
    targets, arm, metric = key
    values = [np.stack([seed for seed, _ in of]) for of in (one, other)]
    inside = ~np.isnan(values[0]).any(0) & ~np.isnan(values[1]).any(0)
    a, b = (Measured(of[:, inside], trained=arm not in (*BASELINES, *ORACLES)) for of in values)
    if not inside.any():
        nothing = float("nan")
        return Compared(targets, arm, metric, 0, nothing, nothing, nothing, nothing, nothing, False)
    found = compare(a, [b], clusters[inside])
    ends = float(found.value[0]), float(found.low[0]), float(found.high[0])
    means = float(a.values.mean()), float(b.values.mean())
    return Compared(targets, arm, metric, int(inside.sum()), *means, *ends, found.seed_freedom > 0)
