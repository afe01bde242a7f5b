"""Memory while training on large logs: `python -m benchmarks.training_memory [pairs] [documents]`.

10 million clicks over a million documents unless told, each with two impressions that were not clicked. The logs are
drawn at random, texts are as long as those of the simulated world; the selection of pairs and a hundred steps are run
as in a real arm. Prints what was held at most after each part.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from ebr_core.bags import Bags, Int32
from ebr_core.config import Arm, NegativeMix, Positives
from ebr_core.positives import Recovered, Shown, select
from ebr_core.towers import inputs_of
from ebr_core.train import Corpus, train, use_threads

STEPS = 100
SHOWN = 3  # results of a search, one of them clicked
TABLE_ROWS = 200_000
NGRAMS = {"queries": 12, "documents": 25}


def main(pairs: int, documents: int) -> None:
    use_threads(2)
    rng = np.random.default_rng(0)
    shown = Shown(
        np.repeat(np.arange(pairs, dtype=np.int32), SHOWN),
        rng.integers(documents, size=pairs * SHOWN, dtype=np.int32),
        np.tile(np.arange(SHOWN) == 0, pairs),
        np.repeat(rng.integers(pairs // 2, size=pairs, dtype=np.int32), SHOWN),
        np.repeat(rng.integers(pairs // 20, size=pairs, dtype=np.int32), SHOWN),
    )
    _tell(f"{pairs:,} clicks and {pairs * (SHOWN - 1):,} other impressions read")
    nothing = Recovered(*(np.zeros(0, np.int32) for _ in Recovered._fields))
    chosen, known = select(shown, nothing, Positives(), "pair", 0)
    query_of = shown.query_rows[::SHOWN].copy()
    clicks = np.bincount(shown.document_rows[shown.clicked], minlength=documents)
    del shown
    _tell("pairs selected")
    queries, titles = _bags(pairs // 2, "queries", rng), _bags(documents, "documents", rng)
    trainable = np.arange(documents, dtype=np.int32)
    corpus = Corpus(inputs_of(queries, titles, 0, query_of), TABLE_ROWS, trainable, clicks)
    del queries, titles
    _tell(f"{pairs // 2:,} queries and {documents:,} documents as bags")
    arm, started = Arm(negatives=NegativeMix(random=100, impressions=1)), 0.0
    for step, _ in enumerate(train(corpus, chosen, known, arm, 0, lambda _: 0.0)):
        started = time.perf_counter() if step == 1 else started
        if step > STEPS:
            break
    took = time.perf_counter() - started
    _tell(f"trained at {(step - 1) * arm.training.batch_size / took:,.0f} pairs/s")


def _bags(count: int, side: str, rng: np.random.Generator) -> Bags:
    size = NGRAMS[side]
    ids: Int32 = rng.integers(TABLE_ROWS, size=count * size, dtype=np.int32)
    return Bags(np.arange(count + 1, dtype=np.int64) * size, ids, np.full(count * size, 1 / size, np.float32))


def _tell(done: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB → GiB
    print(f"{done}: at most {peak:.2f} GiB", flush=True)


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["10000000", "1000000"][len(sys.argv) - 1 :])))
