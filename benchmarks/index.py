"""Recall@10 against queries/s, build time and size: our tuned indexes beside faiss's HNSW, usearch and voyager.

    pip install -c constraints.txt -e '.[bench]'
    python -m benchmarks.index [documents] [searches]

The vectors are those of a softmax arm on the default world, or on one with that many documents. Every index runs on one
thread. Times are processor times, which other work on the machine disturbs less than the clock. Half of the queries
choose the settings: the smallest that give recall ≥ 95%, and of the links, those that answer fastest. The other half is
measured, in rounds that take turns. A document as near as the tenth counts as right, even if it is another namesake.
State is kept under EBR_HOME, so that a second run only measures.
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
from ebr_core.parallel import use_threads  # noqa: E402
from ebr_core.search.deduped_index import deduplicate  # noqa: E402
from ebr_core.search.index_specs import AnyIndex, Hnsw, Ivf  # noqa: E402
from ebr_core.search.index_tuning import tune  # noqa: E402
from ebr_core.search.nearest import recall_up_to_ties, search_exact, search_index  # noqa: E402
from ebr_core.training.arm_config import Arm  # noqa: E402
from ebr_core.training.loss_config import Softmax  # noqa: E402
from tasks.eval_sets import read_sample  # noqa: E402
from tasks.feature_stages import featurise  # noqa: E402
from tasks.log_stages import contents_of, extract, sample, simulate_log  # noqa: E402
from tasks.retrieval_stages import embed_texts  # noqa: E402
from tasks.training_stages import train_arm  # noqa: E402

K, TARGET, ROUNDS = 10, 0.95, 5
EFS = (10, 12, 14, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
LINKS = (8, 12, 16, 24)
CANDIDATES = 200  # while a graph is built
MANY = 200_000  # from this number of documents on, graphs have more links and slow indexes are skipped
SKIPPED_WHEN_MANY = ("ours, IVF flat", "ours, HNSW sq8 + refine", "voyager, distinct vectors")
Search = Callable[[Float32, int], Int32]  # queries, ef → rows


class Built(NamedTuple):
    """An index ready to be searched."""

    name: str
    build_s: float
    size_bytes: int
    search: Search
    ef: int  # the smallest that reaches the target on the tuning queries; 0 if there is none


def learned_vectors(documents: int, searches: int) -> tuple[Float32, Float32]:
    """Unit vectors of the documents alive in the test, and of its distinct queries."""
    source = Simulated(layout="simulated", world=World(documents=documents, searches=searches))
    tables = source.tables(simulate_log.fn(source.world).folder)
    log = extract.fn(tables, Split(), contents_of(tables))
    arm, test = Arm(loss=Softmax()), sample.fn(log, "test", 10_000, 1)
    features = featurise.fn(log, arm.features)
    towers = train_arm.fn(log, features, sample.fn(log, "validation", 500, 1), arm, 0)
    embedded = embed_texts.fn(features, towers, test, 1).folder
    queries = np.unique(np.load(embedded / "queries.npy"), axis=0)
    queries = np.random.default_rng(0).permutation(queries[queries.any(1)])
    return np.load(embedded / "documents.npy")[read_sample(test).candidates], queries


def families(links: tuple[int, ...]) -> dict[str, AnyIndex]:
    """Our families of indexes, each tuned to the target."""
    graph = {"links": links, "ef_construction": CANDIDATES, "target": TARGET}
    return {
        "ours, IVF flat": Ivf(code="flat", target=TARGET),
        "ours, IVF pq64x4fs + refine": Ivf(code="pq64x4fs", refine=True, target=TARGET),
        "ours, HNSW": Hnsw.model_validate(graph),
        "ours, HNSW sq8 + refine": Hnsw.model_validate({**graph, "code": "sq8", "refine": True}),
    }


def build_ours(name: str, spec: Any, documents: Float32, tuning: Float32) -> Built | None:
    """One of our families at its tuned point; print a line and return None if it has none."""
    start = time.process_time()
    try:
        tuned = tune(documents, tuning, spec)
    except InputError as error:
        print(f"{name}: {error}", flush=True)
        return None
    seconds, index = time.process_time() - start, tuned.built_index
    copies = sum(array.nbytes for array in index.copies) if index.copies else 0
    label = f"{name} {tuned.chosen.links}" if tuned.chosen.links else name
    size = len(faiss.serialize_index(index.index)) + copies
    return Built(label, seconds, size, lambda q, _: search_index(index, q, K, slack=0)[0], 1)


def faiss_hnsw(documents: Float32, links: int) -> tuple[Search, int]:
    """The search function and the size of faiss's HNSW, as its users build it."""
    index = faiss.IndexHNSWFlat(documents.shape[1], links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CANDIDATES
    index.add(documents)

    def search(queries: Float32, ef: int) -> Int32:
        return index.search(queries, K, params=faiss.SearchParametersHNSW(efSearch=ef))[1].astype(np.int32)

    return search, len(faiss.serialize_index(index))


def usearch_hnsw(documents: Float32, links: int) -> tuple[Search, int]:
    """The search function and the size of a usearch index, float32."""
    from usearch.index import Index

    index = Index(ndim=documents.shape[1], metric="ip", dtype="f32", connectivity=links, expansion_add=CANDIDATES)
    index.add(np.arange(len(documents)), documents, threads=1)

    def search(queries: Float32, ef: int) -> Int32:
        index.expansion_search = ef
        return np.asarray(index.search(queries, K, threads=1).keys, np.int32)

    return search, _file_bytes(index.save)


def voyager_hnsw(documents: Float32, links: int) -> tuple[Search, int]:
    """The search function and the size of a voyager index, float32."""
    import voyager

    d = documents.shape[1]
    index = voyager.Index(voyager.Space.InnerProduct, num_dimensions=d, M=links, ef_construction=CANDIDATES)
    index.add_items(documents, num_threads=1)

    def search(queries: Float32, ef: int) -> Int32:
        return np.asarray(index.query(queries, K, num_threads=1, query_ef=ef)[0], np.int32)

    return search, _file_bytes(index.save)


def voyager_of_distinct_vectors(documents: Float32, links: int) -> tuple[Search, int]:
    """The search function and the size of a voyager index of the distinct vectors.

    The first K documents of the retrieved vectors are looked up by compiled code, as in our index. No peer does this
    by itself.
    """
    distinct_vectors, copies = deduplicate(documents)
    search, size = voyager_hnsw(distinct_vectors, links)
    starts, rows = copies or (np.arange(len(documents) + 1), np.arange(len(documents), dtype=np.int32))
    return lambda queries, ef: first_documents(search(queries, ef), starts, rows), size


@njit
def first_documents(nearest, starts, rows):  # type: ignore[no-untyped-def]
    """(Q, K) the first K documents of the nearest vectors (Q, K)."""
    first = np.full(nearest.shape, -1, np.int32)
    for q in range(len(nearest)):
        n = 0
        for vector in nearest[q]:
            for position in range(starts[vector], starts[vector + 1]):
                if n < nearest.shape[1]:
                    first[q, n] = rows[position]
                    n += 1
    return first


def _file_bytes(save: Callable[[str], object]) -> int:
    """The size of the file that `save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        save(str(Path(folder) / "index"))
        return (Path(folder) / "index").stat().st_size


PEERS = {
    "faiss HNSW": faiss_hnsw,
    "usearch": usearch_hnsw,
    "voyager": voyager_hnsw,
    "voyager, distinct vectors": voyager_of_distinct_vectors,
}


def best_links(
    name: str, links: tuple[int, ...], documents: Float32, tuning: Float32, nearest: Float32
) -> Built | None:
    """A peer with the links that answer fastest at the target; print a line for links that miss it; None if all do."""
    fastest, best = 0.0, None
    for link_count in links:
        start = time.process_time()
        search, size = PEERS[name](documents, link_count)
        build_s, recall = time.process_time() - start, 0.0
        for ef in EFS:
            start = time.process_time()
            rows = search(tuning, ef)
            speed = len(tuning) / (time.process_time() - start)
            recall = float(recall_up_to_ties(documents, tuning, rows, nearest).mean())
            if recall >= TARGET:
                break
        if recall < TARGET:
            print(f"{name} {link_count}: recall {recall:.3f} at ef {EFS[-1]}, build {build_s:.1f} s", flush=True)
        elif speed > fastest:
            fastest, best = speed, Built(f"{name} {link_count}", build_s, size, search, ef)
    return best


def main(document_count: int, searches: int) -> None:
    """Print a line for each index: recall@10, queries/s and its ratio to the best peer, build time, size."""
    use_threads(1)
    documents, queries = learned_vectors(document_count, searches)
    half = len(queries) // 2
    tuning, test = queries[:half], queries[half:]
    nearest, test_nearest = search_exact(documents, tuning, K)[1], search_exact(documents, test, K)[1]
    is_large = document_count >= MANY
    links = (32,) if is_large else LINKS
    distinct_count = len(deduplicate(documents)[0])
    print(
        f"{len(documents):,} documents of {documents.shape[1]} dimensions, {distinct_count:,} vectors, "
        f"{len(test):,} queries"
    )
    our_indexes = [
        build_ours(name, spec, documents, tuning)
        for name, spec in families(links).items()
        if not (is_large and name in SKIPPED_WHEN_MANY)
    ]
    peer_indexes = [
        best_links(name, links, documents, tuning, nearest)
        for name in PEERS
        if not (is_large and name in SKIPPED_WHEN_MANY)
    ]
    speeds: dict[str, list[float]] = {}
    indexes = [index for index in our_indexes + peer_indexes if index is not None]
    for _ in range(ROUNDS):
        for index in indexes:
            start = time.process_time()
            index.search(test, index.ef)
            speeds.setdefault(index.name, []).append(len(test) / (time.process_time() - start))
    rivals = [index.name for index in peer_indexes if index is not None and "distinct" not in index.name]
    best = max((max(speeds[name]) for name in rivals), default=float("nan"))
    for index in indexes:
        recall = recall_up_to_ties(documents, test, index.search(test, index.ef), test_nearest).mean()
        speed = max(speeds[index.name])
        print(
            f"{index.name:30s} recall@10 {recall:.3f}  {speed:9,.0f} queries/s  {speed / best:5.2f} of the best peer  "
            f"build {index.build_s:7.1f} s  {index.size_bytes / 2**20:8.1f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["15000", "80000"][len(sys.argv) - 1 :])))
