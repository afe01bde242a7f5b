"""Memory while training on large logs.

    python -m benchmarks.training_memory [pairs [documents [folder [window]]]]

The default is 10 million clicks over a million documents, each click with two impressions that were not clicked. The
logs are random, with texts as long as those of the simulated world. The selection of pairs and 300 steps run as in a
real arm. With a folder, arrays that grow with the log are kept there, as in an arm of `ebr run`. Prints after each part
the largest resident memory, and the current memory of the process without pages of files. If the system can limit a
process's memory (`systemd-run --scope -p MemoryMax=…`), the limit may be smaller than the data.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ebr_core.parallel import use_threads
from ebr_core.scratch import Array, Scratch, count_values, slices
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.tower_inputs import Inputs, bag_group
from ebr_core.training.arm_config import Arm, Training
from ebr_core.training.pair_config import NegativeMix, Positives
from ebr_core.training.positives import RecoveredPairs, ShownResults, select_pairs
from ebr_core.training.train_loop import train
from ebr_core.training.training_corpus import Corpus

STEPS = 300
SHOWN = 3  # results of a search, one of them clicked
TABLE_ROWS = 200_000
NGRAMS = {"queries": 12, "documents": 25}


def main(pairs: int, documents: int, folder: str, window: int) -> None:
    """Print the memory after each part of a training."""
    use_threads(1)
    rng, scratch = np.random.default_rng(0), Scratch(Path(folder) if folder else None)
    results = _random_results(pairs, documents, rng, scratch)
    _print_memory(f"{pairs:,} clicks and {pairs * (SHOWN - 1):,} other impressions read")
    no_pairs = RecoveredPairs(*(np.zeros(0, np.int32) for _ in RecoveredPairs._fields))
    selected, known_positives = select_pairs(results, no_pairs, Positives(), "pair", 0, scratch=scratch)
    query_of = scratch.column((results.query_rows[part][::SHOWN] for part in _searches(pairs)), np.int32)
    clicks = count_values(selected.document_rows, documents)
    _print_memory("pairs selected")
    queries = _bags(pairs // 2, "queries", rng, scratch)
    titles = _bags(documents, "documents", rng, scratch)
    trainable = np.arange(documents, dtype=np.int32)
    text = bag_group(queries, titles, TABLE_ROWS, True, query_of, scratch)
    corpus = Corpus(Inputs({"text": text}, pairs, documents), trainable, clicks, scratch=scratch)
    del queries, titles
    _print_memory(f"{pairs // 2:,} queries and {documents:,} documents as bags")
    training = Training(window=window or None)
    arm, start = Arm(negatives=NegativeMix(random=100, impressions=1), training=training), 0.0
    for step, _ in enumerate(train(corpus, selected, known_positives, arm, 0, lambda _: 0.0)):
        start = time.perf_counter() if step == 1 else start
        if step > STEPS:
            break
    elapsed_s = time.perf_counter() - start
    _print_memory(f"trained at {(step - 1) * arm.training.batch_size / elapsed_s:,.0f} pairs/s")


def _searches(pairs: int) -> Iterator[slice]:
    """Slices of the results of so many searches, a block of searches at a time."""
    return (slice(part.start * SHOWN, part.stop * SHOWN) for part in slices(pairs))


def _random_results(pairs: int, documents: int, rng: np.random.Generator, scratch: Scratch) -> ShownResults:
    """The results of one search for each click."""

    def parts() -> Iterator[list[Array]]:
        for part in slices(pairs):
            n = part.stop - part.start
            yield [
                np.repeat(np.arange(part.start, part.stop), SHOWN),
                rng.integers(documents, size=n * SHOWN),
                np.tile(np.arange(SHOWN) == 0, n),
                np.repeat(rng.integers(pairs // 2, size=n), SHOWN),
                np.repeat(rng.integers(pairs // 20, size=n), SHOWN),
            ]

    return ShownResults(*scratch.columns(parts(), np.int32, np.int32, np.bool_, np.int32, np.int32))


def _bags(count: int, side: str, rng: np.random.Generator, scratch: Scratch) -> Bags:
    """Random bags of n-grams for so many texts."""
    size = NGRAMS[side]
    ngrams = count * size
    return Bags(
        scratch.over(count + 1, lambda part: np.arange(part.start, part.stop) * size, np.int64),
        scratch.over(ngrams, lambda part: rng.integers(TABLE_ROWS, size=part.stop - part.start), np.int32),
        scratch.over(ngrams, lambda part: np.full(part.stop - part.start, 1 / size), np.float32),
    )


def _print_memory(step: str) -> None:
    status = Path("/proc/self/status").read_text()
    peak, anonymous = (int(re.findall(rf"{name}:\s+(\d+)", status)[0]) / 2**20 for name in ("VmHWM", "RssAnon"))
    print(f"{step}: at most {peak:.2f} GiB resident, {anonymous:.2f} GiB without files now", flush=True)


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("10000000", "1000000", "", "0")[len(sys.argv) - 1 :]]
    main(int(arguments[0]), int(arguments[1]), arguments[2], int(arguments[3]))
