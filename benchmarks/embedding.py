"""Speed of the towers: the latency of one query on one core, and documents a second on all cores.

python -m benchmarks.embedding [one-network]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time

os.environ.setdefault("EBR_HOME", tempfile.mkdtemp(prefix="ebr-benchmark-"))

from tasks.home import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from data.experiment.log_config import Simulated, Split  # noqa: E402
from data.world.world_config import World  # noqa: E402
from ebr_core.parallel import use_threads  # noqa: E402
from ebr_core.towers.checkpoint import embed_queries, load_towers  # noqa: E402
from ebr_core.training.arm_config import Arm  # noqa: E402
from tasks.feature_stages import featurise, read_inputs  # noqa: E402
from tasks.graph_stage import embed_graph  # noqa: E402
from tasks.log_stages import contents_of, extract, sample, simulate_log  # noqa: E402
from tasks.training_stages import train_arm  # noqa: E402

COLUMNS = ["city", "region", "country", "language"]
QUERIES = 2_000
TIMES = 40  # copies of the corpus, one after the other


def main(fusion: str) -> None:
    """Print percentiles of the latency, and documents a second over the corpus."""
    groups = {
        "place": {"kind": "values", "searches": COLUMNS, "documents": COLUMNS},
        "friends": {"kind": "graph"},
    }
    arm = Arm.model_validate({"groups": groups, "towers": {"fusion": fusion}, "training": {"epochs": 0}})
    files = Simulated(layout="simulated").tables(simulate_log.fn(World()).folder)
    log = extract.fn(files, Split(), contents_of(files))
    features = featurise.fn(log, arm.features, {"friends": embed_graph.fn(log, arm.features.graphs["friends"])})
    towers = train_arm.fn(log, features, sample.fn(log, "validation", 500, 1), arm, 0)
    model = load_towers(towers.folder)

    use_threads(1)
    searches = pq.read_table(log.folder / "searches.parquet").slice(0, QUERIES)
    texts = pq.read_table(log.folder / "queries.parquet")["query"].take(searches["query_row"]).combine_chunks()
    calls = [
        (
            texts[row : row + 1],
            np.array([searches["searcher_row"][row].as_py()], np.int32),
            {name: pa.array([searches[name][row].as_py()], pa.string()) for name in COLUMNS},
        )
        for row in range(QUERIES)
    ]
    milliseconds = []
    for call in calls[:50] + calls:
        start = time.perf_counter()
        embed_queries(model, *call)
        milliseconds.append(1e3 * (time.perf_counter() - start))
    percentiles = ", ".join(f"p{p} {np.percentile(milliseconds[50:], p):.3f}" for p in (5, 50, 90, 99))
    print(f"one query on one core, ms: {percentiles}")

    cores = os.cpu_count() or 1
    use_threads(cores)
    inputs = read_inputs(features, model.config)
    rows = np.tile(inputs.rows_of(np.arange(inputs.documents, dtype=np.int32)), TIMES)
    tower = model.tower.over(inputs)
    tower.encode(rows[:1000])
    start = time.perf_counter()
    tower.encode(rows)
    print(f"documents on {cores} cores: {len(rows) / (time.perf_counter() - start):,.0f} a second")


if __name__ == "__main__":
    main("mlp" if sys.argv[1:] == ["one-network"] else "additive")
