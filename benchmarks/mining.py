"""Speed and memory of mining hard negatives: ranks 101 to 500 of 50,000 queries over 50,000 documents, D = 128.

    python -m benchmarks.mining [queries] [documents] [rounds]

Side by side on the same vectors and threads, each in a process of its own so that its largest memory can be read:
our `hard_negatives`, faiss' IndexFlatIP.search(k=500) alone, and sentence-transformers' mine_hard_negatives with faiss.
To that peer each text is one token whose embedding is the vector, so its encoding is next to nothing, and is measured
apart and taken off. Prints each round, then medians and ratios: by the clock, and by the processors' seconds, which a
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
WHO = ("ours", "faiss", "sentence-transformers")


Costs = tuple[float, float]  # seconds by the clock and of all processors


def vectors_of(queries: int, documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (Q, D), (N, D): documents in 500 clusters, a fifth of them namesakes of another, and a query near
    each document."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, 128), np.float32)
    there = centres[rng.integers(0, 500, documents)] + rng.standard_normal((documents, 128), np.float32)
    there[rng.integers(0, documents, documents // 5)] = there[rng.integers(0, documents, documents // 5)]
    asked = there[np.arange(queries) % documents] + 0.7 * rng.standard_normal((queries, 128), np.float32)
    return tuple(v / np.linalg.norm(v, axis=1, keepdims=True) for v in (asked, there))  # type: ignore[return-value]


def timed(run: Callable[[], object]) -> Costs:
    """What a call takes."""
    clock, processors = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processors


def ours(asked: np.ndarray, there: np.ndarray) -> Costs:
    """What mining takes."""
    from ebr_core.training.hard_negatives import Mining, MiningQueries, Searched, mine
    from ebr_core.training.positives import KnownPositives

    q, n = len(asked), len(there)
    own = (np.arange(q) % n).astype(np.int32)
    known, searched = KnownPositives(np.arange(q + 1), own), Searched(there, np.arange(n, dtype=np.int32))
    mining = Mining(window=(FIRST, LAST), keep=KEEP)
    for _ in mine(
        MiningQueries(asked[:64], np.arange(64, dtype=np.int32), own[:64]), searched, known, mining, 0, THREADS
    ):
        pass  # compiles
    all_queries = MiningQueries(asked, np.arange(q, dtype=np.int32), own)
    return timed(lambda: list(mine(all_queries, searched, known, mining, 0, THREADS)))


def faiss_flat(asked: np.ndarray, there: np.ndarray) -> Costs:
    """What the search alone takes."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(there.shape[1])
    index.add(there)
    return timed(lambda: index.search(asked, LAST))


def sentence_transformers(asked: np.ndarray, there: np.ndarray) -> Costs:
    """What mine_hard_negatives takes, without the encoding."""
    import faiss
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from sentence_transformers.util import mine_hard_negatives
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.set_num_threads(THREADS)
    faiss.omp_set_num_threads(THREADS)
    queries, documents = [f"q{i}" for i in range(len(asked))], [f"d{i}" for i in range(len(there))]
    words = {text: row for row, text in enumerate([*queries, *documents, "[UNK]"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    weights = np.concatenate([asked, there, np.zeros((1, there.shape[1]), np.float32)])
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
    pairs = Dataset.from_dict(
        {"query": queries, "positive": [documents[i % len(documents)] for i in range(len(queries))]}
    )
    how = {"batch_size": 4096, "normalize_embeddings": True, "convert_to_numpy": True}
    encoding = timed(lambda: (model.encode_document(documents, **how), model.encode_query(queries, **how)))
    mining = timed(
        lambda: mine_hard_negatives(
            pairs, model, corpus=documents, range_min=FIRST - 1, range_max=LAST, num_negatives=KEEP,
            sampling_strategy="random", output_format="n-tuple", batch_size=4096, use_faiss=True, verbose=False,
        )
    )  # fmt: skip
    return mining[0] - encoding[0], mining[1] - encoding[1]


def alone(who: str, queries: int, documents: int) -> list[float]:
    """[seconds by the clock, of all processors, largest resident memory in MB, what of it came while mining] of one of
    them, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.mining", "--only", who, str(queries), str(documents)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [float(figure) for figure in done.stdout.split()[-4:]]


def only(who: str, queries: int, documents: int) -> None:
    """Runs one of them and prints what `alone` reads."""
    run = dict(zip(WHO, (ours, faiss_flat, sentence_transformers), strict=True))[who]
    asked, there = vectors_of(queries, documents)
    run(asked[:256], there[:2000])  # what is imported, compiled and started once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, processors = run(asked, there)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(clock, processors, peak / 1024, (peak - before) / 1024)


def main(queries: int = 50_000, documents: int = 50_000, rounds: int = 3) -> None:
    """Prints a line for each round, and the ratios of the medians."""
    found: dict[str, list[list[float]]] = {who: [] for who in WHO}
    for _ in range(rounds):  # in turn, so that a slow minute hits all
        for who in WHO:
            found[who].append(alone(who, queries, documents))
            clock, processors, peak, grown = found[who][-1]
            print(
                f"{who}: {clock:.1f} s, {queries / clock:,.0f} queries/s, {processors:.1f} s of processors, "
                f"{peak:,.0f} MB, {grown:,.0f} of it while mining",
                flush=True,
            )
    middle = {who: [statistics.median(column) for column in zip(*runs, strict=True)] for who, runs in found.items()}
    mine, search, peer = (middle[who] for who in WHO)
    print(f"median of {rounds}, ranks {FIRST}–{LAST}, {queries:,} queries, {documents:,} documents, {THREADS} threads")
    for at, by in ((0, "by the clock"), (1, "of the processors")):
        print(
            f"{by}: {peer[at] / mine[at]:.1f} × the peer's queries/s (goal 5), "
            f"{mine[at] / search[at]:.2f} × the time of faiss' search (goal 1.5)"
        )
    print(f"memory: {mine[2] / peer[2]:.2f} of the peer's (goal .33); what mining adds: {mine[3] / peer[3]:.2f}")


if __name__ == "__main__":
    for name, value in (
        ("OMP_NUM_THREADS", str(THREADS)),
        ("NUMBA_THREADING_LAYER", "omp"),
        ("NUMBA_CACHE_DIR", os.path.join(tempfile.gettempdir(), "ebr-benchmarks-numba")),
    ):
        os.environ.setdefault(name, value)
    if sys.argv[1:2] == ["--only"]:
        only(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(*map(int, sys.argv[1:]))
