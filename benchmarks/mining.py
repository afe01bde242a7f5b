"""Speed and memory of mining hard negatives: ranks 101 to 500 of 50,000 queries over 50,000 documents, D = 128.

    python -m benchmarks.mining [queries] [documents] [rounds]

Compares our `hard_negatives`, faiss' IndexFlatIP.search(k=500) alone, and sentence-transformers' mine_hard_negatives
with faiss, on the same vectors and threads. Each runs in a separate process, so that its largest memory can be read.
For that peer each text is one token whose embedding is the vector; its encoding takes little time, is measured
separately and is subtracted. Prints each round, then medians and ratios, by the clock and by processor seconds, which a
busy machine disturbs less.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

THREADS = os.cpu_count() or 1
FIRST, LAST, KEEP = 101, 500, 20
SIDES = ("ours", "faiss", "sentence-transformers")


Costs = tuple[float, float]  # seconds by the clock and of all processors


def vectors_of(queries: int, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (Q, D), (N, D): documents in 500 clusters, a fifth of them namesakes of another, and a query near
    each document."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, 128), np.float32)
    document_vectors = centres[rng.integers(0, 500, documents)] + rng.standard_normal((documents, 128), np.float32)
    document_vectors[rng.integers(0, documents, documents // 5)] = document_vectors[
        rng.integers(0, documents, documents // 5)
    ]
    query_vectors = document_vectors[np.arange(queries) % documents] + 0.7 * rng.standard_normal(
        (queries, 128), np.float32
    )
    return tuple(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (query_vectors, document_vectors))  # type: ignore[return-value]


def timed(run: Callable[[], object]) -> Costs:
    """The costs of a call."""
    clock, processors = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processors


def our_mining(query_vectors: np.ndarray, document_vectors: np.ndarray) -> Costs:
    """The costs of our mining."""
    from ebr_core.training.hard_negatives import Mining, MiningCorpus, MiningQueries, mine
    from ebr_core.training.positives import KnownPositives

    q, n = len(query_vectors), len(document_vectors)
    positive_rows = (np.arange(q) % n).astype(np.int32)
    known_positives, searched = (
        KnownPositives(np.arange(q + 1), positive_rows),
        MiningCorpus(document_vectors, np.arange(n, dtype=np.int32)),
    )
    mining = Mining(window=(FIRST, LAST), keep=KEEP)
    few_queries = MiningQueries(query_vectors[:64], np.arange(64, dtype=np.int32), positive_rows[:64])
    list(mine(few_queries, searched, known_positives, mining, 0, THREADS))  # compiles the kernels
    all_queries = MiningQueries(query_vectors, np.arange(q, dtype=np.int32), positive_rows)
    return timed(lambda: list(mine(all_queries, searched, known_positives, mining, 0, THREADS)))


def faiss_flat(query_vectors: np.ndarray, document_vectors: np.ndarray) -> Costs:
    """The costs of the search alone."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(document_vectors.shape[1])
    index.add(document_vectors)
    return timed(lambda: index.search(query_vectors, LAST))


def sentence_transformers(query_vectors: np.ndarray, document_vectors: np.ndarray) -> Costs:
    """The costs of mine_hard_negatives without the encoding."""
    import faiss
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from sentence_transformers.util import mine_hard_negatives
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.set_num_threads(THREADS)
    faiss.omp_set_num_threads(THREADS)
    queries, documents = [f"q{i}" for i in range(len(query_vectors))], [f"d{i}" for i in range(len(document_vectors))]
    words = {text: row for row, text in enumerate([*queries, *documents, "[UNK]"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weights = np.concatenate([query_vectors, document_vectors, np.zeros((1, document_vectors.shape[1]), np.float32)])
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
    pairs = Dataset.from_dict(
        {"query": queries, "positive": [documents[i % len(documents)] for i in range(len(queries))]}
    )
    encode_options = {"batch_size": 4096, "normalize_embeddings": True, "convert_to_numpy": True}
    encoding = timed(
        lambda: (model.encode_document(documents, **encode_options), model.encode_query(queries, **encode_options))
    )
    mining = timed(
        lambda: mine_hard_negatives(
            pairs, model, corpus=documents, range_min=FIRST - 1, range_max=LAST, num_negatives=KEEP,
            sampling_strategy="random", output_format="n-tuple", batch_size=4096, use_faiss=True, verbose=False,
        )
    )  # fmt: skip
    return mining[0] - encoding[0], mining[1] - encoding[1]


def run_alone(side: str, queries: int, documents: int) -> list[float]:
    """The figures of one side, run in a separate process.

    They are seconds by the clock, seconds of all processors, the largest resident memory in MB, and its growth while
    mining.
    """
    command = [sys.executable, "-m", "benchmarks.mining", "--only", side, str(queries), str(documents)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(process.stderr)
    return [float(figure) for figure in process.stdout.split()[-4:]]


def run_side(side: str, queries: int, documents: int) -> None:
    """Run one side and print the figures that `run_alone` reads."""
    run = dict(zip(SIDES, (our_mining, faiss_flat, sentence_transformers), strict=True))[side]
    query_vectors, document_vectors = vectors_of(queries, documents)
    run(query_vectors[:256], document_vectors[:2000])  # imports, compiles and starts what is needed once
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, processors = run(query_vectors, document_vectors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(clock, processors, peak / 1024, (peak - memory_before) / 1024)


def main(queries: int = 50_000, documents: int = 50_000, rounds: int = 3) -> None:
    """Print a line for each round, and the ratios of the medians."""
    costs_of: dict[str, list[list[float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):  # in turn, so that a slow minute hits all
        for side in SIDES:
            costs_of[side].append(run_alone(side, queries, documents))
            clock, processors, peak, growth = costs_of[side][-1]
            print(
                f"{side}: {clock:.1f} s, {queries / clock:,.0f} queries/s, {processors:.1f} s of processors, "
                f"{peak:,.0f} MB, {growth:,.0f} of it while mining",
                flush=True,
            )
    medians = {
        side: [statistics.median(column) for column in zip(*runs, strict=True)] for side, runs in costs_of.items()
    }
    our_costs, search_costs, peer_costs = (medians[side] for side in SIDES)
    print(f"median of {rounds}, ranks {FIRST}–{LAST}, {queries:,} queries, {documents:,} documents, {THREADS} threads")
    for at, clock_name in ((0, "by the clock"), (1, "of the processors")):
        print(
            f"{clock_name}: {peer_costs[at] / our_costs[at]:.1f} × the peer's queries/s (goal 5), "
            f"{our_costs[at] / search_costs[at]:.2f} × the time of faiss' search (goal 1.5)"
        )
    print(
        f"memory: {our_costs[2] / peer_costs[2]:.2f} of the peer's (goal .33); growth while mining: "
        f"{our_costs[3] / peer_costs[3]:.2f}"
    )


if __name__ == "__main__":
    for name, value in (
        ("OMP_NUM_THREADS", str(THREADS)),
        ("NUMBA_THREADING_LAYER", "omp"),
        ("NUMBA_CACHE_DIR", os.path.join(tempfile.gettempdir(), "ebr-benchmarks-numba")),
    ):
        os.environ.setdefault(name, value)
    if sys.argv[1:2] == ["--only"]:
        run_side(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(*map(int, sys.argv[1:]))
