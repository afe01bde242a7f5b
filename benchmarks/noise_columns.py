"""The cost of columns that carry nothing: recall of an arm with planted noise columns, minus that of the same arm
without them.

    python -m benchmarks.noise_columns [world | lastfm] [seeds] [values]

Each noise column is a group of its own on one side, searches or documents, whose value is drawn at random for every row
among `values` (3). All arms are trained until validation recall stops rising, with defaults and softmax. They read the
text and a group that carries something: place in the default world, the graph of friends and clicks of Last.fm; the
first line is the text alone, so that the second shows the gain of that group. Goal: with 1, 3 or 10 columns, recall@1
and recall@10 lose at most .005 in the mean over the seeds (3).

Differences are paired by search, with intervals over searchers and seeds. State lives in EBR_HOME, or else in a
temporary home. Each training leaves its hits there, named by its settings, and is not repeated; after a change of the
code, remove the folder `noise-columns` in it.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("EBR_HOME", tempfile.mkdtemp(prefix="ebr-noise-"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tasks.home import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402

from data.experiment.log_config import Simulated, Split, Tables  # noqa: E402
from data.world.world_config import World  # noqa: E402
from ebr_core.arrays import Float64  # noqa: E402
from ebr_core.measure.intervals import MetricValues, compare_pointwise  # noqa: E402
from ebr_core.measure.metrics import hits, recall_at_k  # noqa: E402
from ebr_core.parallel import use_threads  # noqa: E402
from ebr_core.search.nearest import search_exact  # noqa: E402
from ebr_core.text.ngram_bags import Bags  # noqa: E402
from ebr_core.towers.tower import Tower, copied_state, query_vectors  # noqa: E402
from ebr_core.towers.tower_inputs import BagGroup, Inputs  # noqa: E402
from ebr_core.towers.tower_kinds import restore_tower  # noqa: E402
from ebr_core.training.arm_config import Arm  # noqa: E402
from ebr_core.training.train_loop import train  # noqa: E402
from tasks.eval_sets import SampledSearches, read_sample  # noqa: E402
from tasks.feature_stages import featurise  # noqa: E402
from tasks.graph_stage import embed_graph  # noqa: E402
from tasks.kinds import Log  # noqa: E402
from tasks.list_measures import clusters_of  # noqa: E402
from tasks.log_stages import contents_of, extract, sample, simulate_log  # noqa: E402
from tasks.training_inputs import read_corpus, read_pairs, with_own_pairs  # noqa: E402

KS = (1, 10)
TARGETS = ("clicked", "truth")
PLACES = ["city", "region", "country", "language"]
PLACE = {"kind": "values", "searches": PLACES, "documents": PLACES}
CLICKS = {"kind": "graph", "clicks": True, "edges": ["friend"], "undated_edges": True}
GROUPS: dict[str, dict[str, Any]] = {
    "world": {"place": PLACE},
    "lastfm": {"graph": CLICKS},
}
LASTFM = Path(__file__).parents[2] / "shared" / "data" / "lastfm"


class NoiseCase(NamedTuple):
    """A log with the searches that arms are measured on."""

    log: Log
    validation: SampledSearches
    test: SampledSearches


def case_of(log_name: str) -> NoiseCase:
    """The default world, or Last.fm."""
    if log_name == "world":
        world = simulate_log.fn(World())
        tables = Simulated(layout="simulated").tables(world.folder)
        log = extract.fn(tables, Split(), contents_of(tables))
    else:
        world = None
        files = {name: str(LASTFM / f"{name}.parquet") for name in ("searches", "results", "documents", "edges")}
        logs = Tables(layout="tables", **files)
        log = extract.fn(logs, Split(validation_from="2010-11-01", test_from="2010-12-01"), contents_of(logs))
    test = read_sample(sample.fn(log, "test", 10_000, 1, world))
    return NoiseCase(log, read_sample(sample.fn(log, "validation", 2000, 1)), test)


def arm_of(groups: dict[str, Any]) -> Arm:
    """The default arm with softmax that reads these groups."""
    return Arm.model_validate({"loss": {"kind": "softmax"}, "groups": groups})


class Noise(NamedTuple):
    """Columns of random values on one side, searches or documents."""

    columns: int
    side: str
    values: int


def plant(inputs: Inputs, noise: Noise, seed: int) -> Inputs:
    """The inputs with the noise columns, each a group of its own."""
    rng, groups, values = np.random.default_rng([seed, 16]), dict(inputs.groups), noise.values
    bags = Bags(  # one for each value, then an empty bag for the rows of the other side
        np.append(np.arange(values + 1), values), np.arange(values, dtype=np.int32), np.ones(values, np.float32)
    )
    is_document = inputs.side_of(np.arange(inputs.rows, dtype=np.int32)) == 1
    for column in range(noise.columns):
        drawn = rng.integers(values, size=inputs.rows)
        at = np.where(is_document == (noise.side == "documents"), drawn, values).astype(np.int32)
        groups[f"noise-{column}"] = BagGroup(bags, at, values, values)
    return inputs._replace(groups=groups)


def recalls(tower: Tower, inputs: Inputs, sampled: SampledSearches) -> dict[str, Float64]:
    """(S,) recall of each search, by target set and K, by exact search among the documents alive."""
    documents = tower.encode(inputs.rows_of(sampled.candidates))
    result: dict[str, Float64] = {}
    for name in TARGETS:
        if name in sampled.names:
            searches, targets = sampled.for_targets(name)
            rows, _ = search_exact(documents, query_vectors(tower, inputs, searches["search_row"]), max(KS))
            found = hits(np.where(rows >= 0, sampled.candidates[rows], -1), targets)
            result |= {f"{name}@{k}": recall_at_k(found, targets, k) for k in KS}
    return result


def measure(case: NoiseCase, arm: Arm, noise: Noise, seed: int) -> dict[str, Float64]:
    """Recalls on the test of the arm with noise columns, from the epoch that is best on validation; `epoch` (1,)."""
    use_threads(1)
    graphs = {name: embed_graph.fn(case.log, graph) for name, graph in arm.features.graphs.items()}
    features = featurise.fn(case.log, arm.features, graphs)
    corpus = with_own_pairs(read_corpus(case.log, features, arm), case.log, features)
    inputs = plant(corpus.inputs, noise, seed)
    pairs, known_positives = read_pairs(case.log, arm.positives, arm.mask, seed)

    def validation_recall(tower: Tower) -> float:
        return float(recalls(tower, inputs, case.validation)["clicked@10"].mean())

    best: dict[str, Any] = {}
    for progress, tower in train(corpus._replace(inputs=inputs), pairs, known_positives, arm, seed, validation_recall):
        if progress.epoch and progress.best:
            best = {"epoch": progress.epoch.epoch, "state": copied_state(tower)}
    tower = restore_tower(arm.towers, best["state"], list(inputs.groups)).over(inputs)
    return {"epoch": np.array([best["epoch"]], np.float64)} | recalls(tower, inputs, case.test)


def measure_once(case: NoiseCase, arm: Arm, noise: Noise, seed: int) -> dict[str, Float64]:
    """The same, read from a file if these settings were measured before."""
    settings = repr((case.log.folder.name, arm.model_dump_json(), noise, seed))
    path = Path(os.environ["EBR_HOME"]) / "noise-columns" / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".part"), "wb") as file:
            np.savez(file, **measure(case, arm, noise, seed))  # type: ignore[arg-type]
        path.with_suffix(".part").rename(path)
    with np.load(path) as stored:
        return dict(stored)


def report(case: NoiseCase, label: str, runs: list[dict[str, Float64]], baseline: list[dict[str, Float64]]) -> None:
    """Print the mean over seeds of each recall, and of its difference from the baseline's, with its interval."""
    parts = ["epochs " + "/".join(f"{run['epoch'][0]:.0f}" for run in runs)]
    for name in [key for key in runs[0] if key != "epoch"]:
        clusters = clusters_of(case.test.for_targets(name.split("@")[0])[0])
        arm, other = (MetricValues(np.stack([run[name] for run in side])) for side in (runs, baseline))
        difference = compare_pointwise(other, [arm], clusters)[0]
        interval = f"({difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}])"
        parts.append(f"{name} {arm.values.mean():.4f} {interval if runs is not baseline else ''}")
    print(f"{label:<24} " + "  ".join(parts), flush=True)


def main(log_name: str, seeds: int, values: int) -> None:
    """Print a line for the text alone, one with the group, and one for each number of noise columns beside them."""
    case = case_of(log_name)

    def runs_of(arm: Arm, noise: Noise) -> list[dict[str, Float64]]:
        return [measure_once(case, arm, noise, seed) for seed in range(seeds)]

    nothing, arm = Noise(0, "searches", values), arm_of(GROUPS[log_name])
    text, baseline = runs_of(arm_of({}), nothing), runs_of(arm, nothing)
    report(case, "text", text, text)
    report(case, f"text and {', '.join(GROUPS[log_name])}", baseline, text)
    for columns in (10, 3, 1):
        for side in ("searches", "documents"):
            report(case, f"  {columns} of {side}", runs_of(arm, Noise(columns, side, values)), baseline)


if __name__ == "__main__":
    main(
        sys.argv[1] if len(sys.argv) > 1 else "world",
        int(sys.argv[2]) if len(sys.argv) > 2 else 3,
        int(sys.argv[3]) if len(sys.argv) > 3 else 3,
    )
