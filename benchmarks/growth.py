"""Costs of each stage as logs grow, from 10⁵ to 10⁷ impressions.

    python -m benchmarks.growth [out.json [impressions …]]
    python -m benchmarks.growth plot out.json docs/growth.png

The logs come from simulated worlds with a document for ten impressions; one arm, one epoch, an inverted file of codes,
5,000 searches. Prints processor seconds, seconds on the clock and the largest resident memory of each stage; the memory
counter is reset before each stage. `plot` draws the measurements. State is kept under EBR_HOME, but every stage is
measured again.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from tasks.home import prepare_environment

prepare_environment()

import pyarrow.parquet as pq  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from data.experiment.experiment_spec import Comparison, Evaluation  # noqa: E402
from data.experiment.log_config import Simulated, Split  # noqa: E402
from data.world.world_config import World  # noqa: E402
from ebr_core.search.index_specs import Exact, Ivf  # noqa: E402
from ebr_core.training.arm_config import Arm, Training  # noqa: E402
from ebr_core.training.loss_config import Softmax  # noqa: E402
from tasks.artifacts import Artifact  # noqa: E402
from tasks.evaluation_stage import EvaluatedList, evaluate  # noqa: E402
from tasks.feature_stages import featurise  # noqa: E402
from tasks.log_stages import contents_of, extract, sample, simulate_log  # noqa: E402
from tasks.retrieval_stages import build_index, embed_texts, retrieve  # noqa: E402
from tasks.training_stages import train_arm  # noqa: E402

IMPRESSIONS_A_SEARCH = 11
IMPRESSIONS_A_DOCUMENT = 10
THREADS = 2
K = 100


class StageCosts:
    """Runs stages one after another and keeps the costs of each."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}

    def run(self, name: str, stage: Any, *inputs: Any) -> Artifact:
        """The artifact of a stage, which is run even if the artifact exists."""
        earlier_folders = set(_folders(stage.name))
        Path("/proc/self/clear_refs").write_text("5")
        start_s, clock_s = time.process_time(), time.perf_counter()
        artifact: Artifact = stage.fn(*inputs)
        if artifact.folder in earlier_folders:  # the artifact existed: run the stage again
            shutil.rmtree(artifact.folder)
            Path("/proc/self/clear_refs").write_text("5")
            start_s, clock_s = time.process_time(), time.perf_counter()
            artifact = stage.fn(*inputs)
        status = Path("/proc/self/status").read_text()
        self.stages[name] = {
            "processor_s": time.process_time() - start_s,
            "seconds": time.perf_counter() - clock_s,
            "peak_gib": int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 2**20,
        }
        costs = self.stages[name]
        print(
            f"  {name:20s} {costs['processor_s']:9.1f} s of processor {costs['seconds']:9.1f} s "
            f"{costs['peak_gib']:6.2f} GiB"
        )
        return artifact


def _folders(stage: str) -> list[Path]:
    """The artifacts of a stage."""
    from tasks.home import artifacts

    return list(artifacts().glob(f"{stage}-*"))


def measure(impressions: int) -> dict[str, Any]:
    """The costs of every stage at this size, from the simulated world to the evaluation."""
    searches, documents = (
        max(1000, impressions // IMPRESSIONS_A_SEARCH),
        max(500, impressions // IMPRESSIONS_A_DOCUMENT),
    )
    source, stage_costs = (
        Simulated(layout="simulated", world=World(documents=documents, searches=searches)),
        StageCosts(),
    )
    world = stage_costs.run("simulate", simulate_log, source.world)
    tables = source.tables(world.folder)
    log = stage_costs.run("extract", extract, tables, Split(), contents_of(tables))
    impressions_logged = pq.read_metadata(log.folder / "results.parquet").num_rows
    test = stage_costs.run("sample", sample, log, "test", 5_000, 1)
    validation = sample.fn(log, "validation", 1_000, 1)
    arm = Arm(loss=Softmax(), training=Training(epochs=1, threads=THREADS))
    features = stage_costs.run("featurise", featurise, log, arm.features)
    towers = stage_costs.run("train, an epoch", train_arm, log, features, validation, arm, 0)
    vectors = stage_costs.run("embed", embed_texts, features, towers, test, THREADS)
    tuned_on = embed_texts.fn(features, towers, validation, THREADS)
    flat = build_index.fn(vectors, test, Exact(), THREADS)
    index = stage_costs.run(
        "index", build_index, vectors, test, Ivf(code="pq64", refine=True, target=0.9), THREADS, tuned_on
    )
    exact_lists = stage_costs.run("search exactly", retrieve, vectors, flat, test, K, THREADS)
    index_lists = stage_costs.run("search the index", retrieve, vectors, index, test, K, THREADS)
    lists = [
        EvaluatedList(arm="one", seed=0, index=name, rows=rows)
        for name, rows in (("exact", exact_lists), ("ivf", index_lists))
    ]
    stage_costs.run(
        "evaluate", evaluate, test, lists, {"index": Comparison(baseline="one", arms=("one@ivf",))}, Evaluation()
    )
    return {
        "impressions": impressions_logged,
        "documents": documents,
        "searches": searches,
        "stages": stage_costs.stages,
    }


def plot(measurements: list[dict[str, Any]]) -> Figure:
    """A figure of the processor seconds and the largest memory of every stage, by impressions."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots(1, 2)
    sizes = [measurement["impressions"] for measurement in measurements]
    for name in measurements[-1]["stages"]:
        for side, key in zip(axes, ("processor_s", "peak_gib"), strict=True):
            side.plot(sizes, [measurement["stages"][name][key] for measurement in measurements], marker=".", label=name)
    for side, label in zip(axes, ("processor seconds", "largest resident memory, GiB"), strict=True):
        side.set(xscale="log", yscale="log", xlabel="impressions", ylabel=label)
        side.grid(alpha=0.3)
    start, end = sizes[0], sizes[-1]
    axes[0].plot([start, end], [0.5, 0.5 * end / start], "k:", label="in proportion")
    axes[0].legend(fontsize=8)
    return figure


def main(out: Path, sizes: list[int]) -> None:
    """Print the costs of every stage at each size and write them to `out`."""
    measurements = []
    print("compiling")
    measure(10_000)
    for impressions in sizes:
        print(f"{impressions:,} impressions", flush=True)
        measurements.append(measure(impressions))
        out.write_text(json.dumps(measurements, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["plot"]:
        plot(json.loads(Path(sys.argv[2]).read_text())).savefig(sys.argv[3], dpi=110)
    else:
        main(Path([*sys.argv[1:], "growth.json"][0]), [int(a) for a in sys.argv[2:]] or [10**5, 10**6, 10**7])
