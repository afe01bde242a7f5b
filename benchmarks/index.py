"""Recall@10 against queries/s, build time and size: our tuned indexes beside faiss's HNSW, usearch and voyager.

    pip install -c constraints.txt -e '.[bench]'
    python -m benchmarks.index [documents] [searches]

Learned vectors: a softmax arm on the default world, or on one of that many documents. One thread for everybody, and its
processor time, which others on the machine disturb less than the clock. Settings are chosen on half of the queries, the
least that gives recall ≥ .95, and told for the other half; of the links, those that answer fastest; rounds go in turn.
A document as near as the tenth counts as right, whichever of the namesakes it is. State is kept under EBR_HOME, so a
second run only measures.
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
from numba import njit  # noqa: E402

from data.experiment.log_config import Simulated, Split  # noqa: E402
from data.world.world_config import World  # noqa: E402
from ebr_core.arrays import Float32, Int32  # noqa: E402
from ebr_core.errors import InputError  # noqa: E402
from ebr_core.search.deduped_index import distinct  # noqa: E402
from ebr_core.search.index_specs import AnyIndex, Hnsw, Ivf  # noqa: E402
from ebr_core.search.index_tuning import tune  # noqa: E402
from ebr_core.search.nearest import recall_up_to_ties, search_exact, search_index  # noqa: E402
from ebr_core.training.arm_config import Arm  # noqa: E402
from ebr_core.training.loss_config import Softmax  # noqa: E402
from ebr_core.training.train_loop import use_threads  # noqa: E402
from tasks.eval_sets import read_sample  # noqa: E402
from tasks.feature_stages import featurise  # noqa: E402
from tasks.log_stages import contents_of, extract, sample, simulate_log  # noqa: E402
from tasks.retrieval_stages import embed_texts  # noqa: E402
from tasks.training_stages import train_arm  # noqa: E402

K, TARGET, ROUNDS = 10, 0.95, 5
EFS = (10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
LINKS = (8, 12, 16, 24)
CANDIDATES = 200  # while a graph is built
MANY = 200_000  # documents from which on a graph has more links, and fewer indexes are waited for
SHORT = ("ours, IVF flat", "ours, HNSW sq8 + refine", "voyager told of copies")  # those left out then
Search = Callable[[Float32, int], Int32]  # queries, ef → rows


class Built(NamedTuple):
    """An index ready to be searched."""

    name: str
    build_s: float
    size_bytes: int
    search: Search
    ef: int  # the least that reaches the target on the tuning queries; 0 where there is none


def vectors(documents: int, searches: int) -> tuple[Float32, Float32]:
    """Learned unit vectors: of the documents alive in the test, and of its distinct queries."""
    log_of = Simulated(layout="simulated", world=World(documents=documents, searches=searches))
    tables = log_of.tables(simulate_log.fn(log_of.world).folder)
    log = extract.fn(tables, Split(), contents_of(tables))
    arm, test = Arm(loss=Softmax()), sample.fn(log, "test", 10_000, 1)
    features = featurise.fn(log, arm.reads)
    towers = train_arm.fn(log, features, sample.fn(log, "validation", 500, 1), arm, 0)
    embedded = embed_texts.fn(features, towers, test, 1).folder
    queries = np.unique(np.load(embedded / "queries.npy"), axis=0)
    queries = np.random.default_rng(0).permutation(queries[queries.any(1)])
    return np.load(embedded / "documents.npy")[read_sample(test).candidates], queries


def families(links: tuple[int, ...]) -> dict[str, AnyIndex]:
    """Ours, each tuned to the target."""
    graph = {"links": links, "ef_construction": CANDIDATES, "target": TARGET}
    return {
        "ours, IVF flat": Ivf(code="flat", target=TARGET),
        "ours, IVF pq64x4fs + refine": Ivf(code="pq64x4fs", refine=True, target=TARGET),
        "ours, HNSW": Hnsw.model_validate(graph),
        "ours, HNSW sq8 + refine": Hnsw.model_validate({**graph, "code": "sq8", "refine": True}),
    }


def ours(name: str, spec: Any, documents: Float32, tuning: Float32) -> Built | None:
    """One of our families at its tuned point; None, and a line, where it has none."""
    started = time.process_time()
    try:
        tuned = tune(documents, tuning, spec)
    except InputError as error:
        print(f"{name}: {error}", flush=True)
        return None
    seconds, made = time.process_time() - started, tuned.made
    copies = sum(array.nbytes for array in made.copies) if made.copies else 0
    label = f"{name} {tuned.chosen.links}" if tuned.chosen.links else name
    size = len(faiss.serialize_index(made.index)) + copies
    return Built(label, seconds, size, lambda q, _: search_index(made, q, K, slack=0)[0], 1)


def faiss_hnsw(documents: Float32, links: int) -> tuple[Search, int]:
    """faiss's HNSW, as its users build it."""
    index = faiss.IndexHNSWFlat(documents.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CANDIDATES
    index.add(documents)

    def search(queries: Float32, ef: int) -> Int32:
        return index.search(queries, K, params=faiss.SearchParametersHNSW(efSearch=ef))[1].astype(np.int32)

    return search, len(faiss.serialize_index(index))


def usearch_hnsw(documents: Float32, links: int) -> tuple[Search, int]:
    """usearch, float32."""
    from usearch.index import Index

    index = Index(ndim=documents.shape[1], metric="ip", dtype="f32", connectivity=links, expansion_add=CANDIDATES)
    index.add(np.arange(len(documents)), documents, threads=1)

    def search(queries: Float32, ef: int) -> Int32:
        index.expansion_search = ef
        return np.asarray(index.search(queries, K, threads=1).keys, np.int32)

    return search, _file_bytes(index.save)


def voyager_hnsw(documents: Float32, links: int) -> tuple[Search, int]:
    """voyager, float32."""
    import voyager

    d = documents.shape[1]
    index = voyager.Index(voyager.Space.InnerProduct, num_dimensions=d, M=links, ef_construction=CANDIDATES)
    index.add_items(documents, num_threads=1)

    def search(queries: Float32, ef: int) -> Int32:
        return np.asarray(index.query(queries, K, num_threads=1, query_ef=ef)[0], np.int32)

    return search, _file_bytes(index.save)


def voyager_told(documents: Float32, links: int) -> tuple[Search, int]:
    """voyager told what is the same: it indexes distinct vectors, and the first K of their documents are counted; which
    they are is found in compiled code, as ours is. No peer does so by itself."""
    different, copies = distinct(documents)
    search, size = voyager_hnsw(different, links)
    starts, rows = copies or (np.arange(len(documents) + 1), np.arange(len(documents), dtype=np.int32))
    return lambda queries, ef: first_documents(search(queries, ef), starts, rows), size


@njit
def first_documents(found, starts, rows):  # type: ignore[no-untyped-def]
    """(Q, K): the first K documents of the vectors found (Q, K)."""
    first = np.full(found.shape, -1, np.int32)
    for q in range(len(found)):
        n = 0
        for vector in found[q]:
            for at in range(starts[vector], starts[vector + 1]):
                if n < found.shape[1]:
                    first[q, n] = rows[at]
                    n += 1
    return first


def _file_bytes(save: Callable[[str], object]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        save(str(Path(folder) / "index"))
        return (Path(folder) / "index").stat().st_size


PEERS = {
    "faiss HNSW": faiss_hnsw,
    "usearch": usearch_hnsw,
    "voyager": voyager_hnsw,
    "voyager told of copies": voyager_told,
}


def best_of(name: str, links: tuple[int, ...], documents: Float32, tuning: Float32, nearest: Float32) -> Built | None:
    """A peer with the links that answer fastest at the target; None, and a line, where it reaches it with none."""
    fastest, found = 0.0, None
    for links_of_one in links:
        started = time.process_time()
        search, size = PEERS[name](documents, links_of_one)
        build_s, reached = time.process_time() - started, 0.0
        for ef in EFS:
            started = time.process_time()
            rows = search(tuning, ef)
            speed = len(tuning) / (time.process_time() - started)
            reached = float(recall_up_to_ties(documents, tuning, rows, nearest).mean())
            if reached >= TARGET:
                break
        if reached < TARGET:
            print(f"{name} {links_of_one}: recall {reached:.3f} at ef {EFS[-1]}, build {build_s:.1f} s", flush=True)
        elif speed > fastest:
            fastest, found = speed, Built(f"{name} {links_of_one}", build_s, size, search, ef)
    return found


def main(documents_asked: int, searches: int) -> None:
    """Prints one line an index: recall@10, queries/s and its ratio to the best peer, build time, size."""
    use_threads(1)
    documents, queries = vectors(documents_asked, searches)
    half = len(queries) // 2
    tuning, test = queries[:half], queries[half:]
    nearest, wanted = search_exact(documents, tuning, K)[1], search_exact(documents, test, K)[1]
    many = documents_asked >= MANY
    links = (32,) if many else LINKS
    told = len(distinct(documents)[0])
    print(f"{len(documents):,} documents of {documents.shape[1]} dimensions, {told:,} vectors, {len(test):,} queries")
    mine = [
        ours(name, spec, documents, tuning) for name, spec in families(links).items() if not (many and name in SHORT)
    ]
    peers = [best_of(name, links, documents, tuning, nearest) for name in PEERS if not (many and name in SHORT)]
    speeds: dict[str, list[float]] = {}
    built = [index for index in mine + peers if index is not None]
    for _ in range(ROUNDS):
        for index in built:
            started = time.process_time()
            index.search(test, index.ef)
            speeds.setdefault(index.name, []).append(len(test) / (time.process_time() - started))
    rivals = [index.name for index in peers if index is not None and "told" not in index.name]
    best = max((max(speeds[name]) for name in rivals), default=float("nan"))
    for index in built:
        recall = recall_up_to_ties(documents, test, index.search(test, index.ef), wanted).mean()
        speed = max(speeds[index.name])
        print(
            f"{index.name:30s} recall@10 {recall:.3f}  {speed:9,.0f} queries/s  {speed / best:5.2f} of the best peer  "
            f"build {index.build_s:7.1f} s  {index.size_bytes / 2**20:8.1f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["15000", "80000"][len(sys.argv) - 1 :])))
