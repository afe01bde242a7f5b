"""Queries a second of `ebr batch` on one core, by processor time, for each mode of a model, beside its index alone.

    EBR_HOME=… python -m benchmarks.batch [queries]

The model is the champion of the last run in EBR_HOME; run the default experiment there first. The queries (100,000) are
drawn from those of its training window, with places of its searchers. The first block of each mode, which compiles, is
not counted. Goals on the default world: 10,000 a second in mode ebr, 2,000 in mode hybrid.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tasks.home import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from rich.console import Console  # noqa: E402

from ebr_core.parallel import use_threads  # noqa: E402
from ebr_core.search.nearest import search_index  # noqa: E402
from ebr_core.serving.model_bundle import Bundle  # noqa: E402
from ebr_core.serving.query_block import read_block  # noqa: E402
from ebr_core.serving.query_towers import CONTEXT, embed_query_table  # noqa: E402
from flows.app.batch_file import BLOCK, answer_file  # noqa: E402
from flows.app.model_names import CHAMPION, bundle_folder  # noqa: E402
from flows.app.model_search import open_model  # noqa: E402


def draw_queries(bundle: Bundle, count: int) -> pa.Table:
    """That many queries of the training window, each with the place of a searcher."""
    rng = np.random.default_rng(0)
    texts = bundle.known.queries.take(pa.array(rng.integers(len(bundle.known.queries), size=count)))
    searchers = bundle.searchers.take(pa.array(rng.integers(bundle.searchers.num_rows, size=count)))
    return pa.table({"query": texts, **{name: searchers[name] for name in CONTEXT[1:]}})


def seconds_of(bundle: Bundle, queries: pa.Table, mode: str, folder: Path) -> float:
    """The processor's seconds for the answers to a file of these queries."""
    pq.write_table(queries, folder / "queries.parquet")
    started = time.process_time()
    answer_file(bundle, folder / "queries.parquet", folder / "answers.parquet", {"mode": mode}, Console(quiet=True))
    return time.process_time() - started


def main(count: int) -> None:
    """Print the queries a second of the index alone, of the towers alone, and of each mode."""
    use_threads(1)
    bundle = open_model(bundle_folder(CHAMPION))
    queries = draw_queries(bundle, count)
    warm, block = queries.slice(0, BLOCK), read_block(bundle, queries)[0]
    embed_query_table(bundle.towers, block.table.slice(0, BLOCK))
    started = time.process_time()
    vectors = np.concatenate(
        [embed_query_table(bundle.towers, block.table.slice(first, BLOCK)) for first in range(0, count, BLOCK)], -2
    )
    print(f"towers      {count / (time.process_time() - started):>9,.0f} queries/s")
    for k in (10, bundle.k):
        started = time.process_time()
        search_index(bundle.built_index, vectors, k)
        print(f"index, {k:>4} {count / (time.process_time() - started):>9,.0f} queries/s")
    with tempfile.TemporaryDirectory() as folder:
        for mode in bundle.modes:
            seconds_of(bundle, warm, mode, Path(folder))
            print(f"{mode:<11} {count / seconds_of(bundle, queries, mode, Path(folder)):>9,.0f} queries/s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
