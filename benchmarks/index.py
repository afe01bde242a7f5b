"""Recall@10 against queries/s, build time and size: our tuned indexes beside faiss's HNSW, usearch and voyager.

    pip install -c constraints.txt -e '.[bench]'
    python -m benchmarks.index [documents] [searches]

Learned vectors: a softmax arm on the default world, or on one of that many documents. One thread for everybody, and its
processor time, which others on the machine disturb less than the clock. Settings are chosen on half of the queries, the
least that gives recall ≥ .95, and told for the other half; rounds go in turn. A document as near as the tenth counts as
right, whichever of the namesakes it is. State is kept under EBR_HOME, so a second run only measures.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tasks.home import prepare_environment

prepare_environment()

import faiss  # noqa: E402
import numpy as np  # noqa: E402

from data.logs import Simulated, Split  # noqa: E402
from data.world.config import World  # noqa: E402
from ebr_core.bags import Float32, Int32  # noqa: E402
from ebr_core.config import Arm, InputError, Softmax  # noqa: E402
from ebr_core.index import AnyIndex, Hnsw, Ivf  # noqa: E402
from ebr_core.search import as_near, exact, through  # noqa: E402
from ebr_core.train import use_threads  # noqa: E402
from ebr_core.tuning import tune  # noqa: E402
from tasks.features import featurise  # noqa: E402
from tasks.logs import extract, live, sample  # noqa: E402
from tasks.retrieval import embed_texts  # noqa: E402
from tasks.samples import read_sample  # noqa: E402
from tasks.training import train_arm  # noqa: E402

K, TARGET, ROUNDS = 10, 0.95, 5
EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
OURS: dict[str, AnyIndex] = {
    "ours, IVF flat": Ivf(code="flat", target=TARGET),
    "ours, IVF pq64x4fs + refine": Ivf(code="pq64x4fs", refine=True, target=TARGET),
    "ours, HNSW 16": Hnsw(links=16, target=TARGET),
    "ours, HNSW 32 sq8 + refine": Hnsw(links=32, code="sq8", refine=True, target=TARGET),
}


class Built(NamedTuple):
    """An index ready to be searched."""

    name: str
    build_s: float
    size_bytes: int
    search: Callable[[Float32, int], Int32]  # queries, ef → rows
    efs: tuple[int, ...]  # settings to try; one where it was tuned already


def vectors(documents: int, searches: int) -> tuple[Float32, Float32]:
    """Learned unit vectors: of the documents alive in the test, and of its distinct queries."""
    log_of = Simulated(layout="simulated", world=World(documents=documents, searches=searches))
    log = extract.fn(log_of.tables(live.fn(log_of.world).folder), Split(), {"files": f"{documents} {searches}"})
    arm, test = Arm(loss=Softmax()), sample.fn(log, "test", 10_000, 1)
    features = featurise.fn(log, arm.reads)
    towers = train_arm.fn(log, features, sample.fn(log, "validation", 500, 1), arm, 0)
    embedded = embed_texts.fn(features, towers, test, 1).folder
    queries = np.unique(np.load(embedded / "queries.npy"), axis=0)
    queries = np.random.default_rng(0).permutation(queries[queries.any(1)])
    return np.load(embedded / "documents.npy")[read_sample(test).candidates], queries


def ours(name: str, spec: Any, documents: Float32, tuning: Float32) -> Built | None:
    """One of our families at its tuned point; None, and a line, where it has none."""
    started = time.process_time()
    try:
        made = tune(documents, tuning, spec).made
    except InputError as error:
        print(f"{name}: {error}", flush=True)
        return None
    seconds = time.process_time() - started
    return Built(name, seconds, len(faiss.serialize_index(made)), lambda q, _: through(made, q, K, slack=0)[0], (0,))


def faiss_hnsw(documents: Float32) -> Built:
    """faiss's HNSW as its users build it."""
    index = faiss.IndexHNSWFlat(documents.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    started = time.process_time()
    index.add(documents)
    seconds = time.process_time() - started

    def search(queries: Float32, ef: int) -> Int32:
        return index.search(queries, K, params=faiss.SearchParametersHNSW(efSearch=ef))[1].astype(np.int32)

    return Built("faiss HNSW", seconds, len(faiss.serialize_index(index)), search, EFS)


def usearch_hnsw(documents: Float32) -> Built:
    """usearch, float32."""
    from usearch.index import Index

    index = Index(ndim=documents.shape[1], metric="ip", dtype="f32", connectivity=16, expansion_add=200)
    started = time.process_time()
    index.add(np.arange(len(documents)), documents, threads=1)
    seconds = time.process_time() - started

    def search(queries: Float32, ef: int) -> Int32:
        index.expansion_search = ef
        return np.asarray(index.search(queries, K, threads=1).keys, np.int32)

    return Built("usearch", seconds, _file_bytes(index.save), search, EFS)


def voyager_hnsw(documents: Float32) -> Built:
    """voyager, float32."""
    import voyager

    index = voyager.Index(voyager.Space.InnerProduct, num_dimensions=documents.shape[1], M=16, ef_construction=200)
    started = time.process_time()
    index.add_items(documents, num_threads=1)
    seconds = time.process_time() - started

    def search(queries: Float32, ef: int) -> Int32:
        return np.asarray(index.query(queries, K, num_threads=1, query_ef=ef)[0], np.int32)

    return Built("voyager", seconds, _file_bytes(index.save), search, EFS)


def _file_bytes(save: Callable[[str], object]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        save(str(Path(folder) / "index"))
        return (Path(folder) / "index").stat().st_size


def main(documents_asked: int, searches: int) -> None:
    """Prints one line an index: recall@10, queries/s and its ratio to the best peer, build time, size."""
    use_threads(1)
    documents, queries = vectors(documents_asked, searches)
    half = len(queries) // 2
    tuning, test = queries[:half], queries[half:]
    nearest = {"tuning": exact(documents, tuning, K)[1], "test": exact(documents, test, K)[1]}
    built = [made for name, spec in OURS.items() if (made := ours(name, spec, documents, tuning)) is not None]
    built += [peer(documents) for peer in (faiss_hnsw, usearch_hnsw, voyager_hnsw)]
    enough = {
        index.name: [
            ef
            for ef in index.efs
            if as_near(documents, tuning, index.search(tuning, ef), nearest["tuning"]).mean() >= TARGET
        ]
        for index in built
    }
    speeds: dict[str, list[float]] = {index.name: [] for index in built}
    for _ in range(ROUNDS):
        for index in built:
            if index.efs == (0,) or enough[index.name]:
                started = time.process_time()
                index.search(test, (enough[index.name] or [0])[0])
                speeds[index.name].append(len(test) / (time.process_time() - started))
    best = max(max(speeds[index.name], default=0) for index in built if index.efs != (0,))
    print(f"{len(documents):,} documents of {documents.shape[1]} dimensions, {len(test):,} queries, one thread")
    for index in built:
        if not speeds[index.name]:
            print(f"{index.name:30s} does not reach {TARGET} with ef ≤ {EFS[-1]}")
            continue
        setting = (enough[index.name] or [0])[0]
        recall = as_near(documents, test, index.search(test, setting), nearest["test"]).mean()
        speed = max(speeds[index.name])
        print(
            f"{index.name:30s} recall@10 {recall:.3f}  {speed:9,.0f} queries/s  {speed / best:5.2f} of the best peer  "
            f"build {index.build_s:7.1f} s  {index.size_bytes / 2**20:8.1f} MB"
        )


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["15000", "80000"][len(sys.argv) - 1 :])))
