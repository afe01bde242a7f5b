"""Milliseconds of each part of a training step, one thread, B = 1,024, D = 128, on the default world.

    python -m benchmarks.step

Prints medians over 60 steps, after compilation, of the thread's processor time, which a busy machine disturbs less than
the clock. Parts are timed by wrapping the functions that a step calls. The three matrix products in the middle are also
timed alone: no kernel makes them faster.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.trainer import case_of
from ebr_core.parallel import use_threads
from ebr_core.towers import bag_tables, group_parameters, ngram_tower
from ebr_core.training import similarity
from ebr_core.training import train_loop as training
from ebr_core.training.arm_config import Arm
from ebr_core.training.batches import NegativeSource, batches, next_epoch
from ebr_core.training.loss_config import Softmax
from ebr_core.training.pair_config import NegativeMix

STEPS = 60
ARMS = {
    "softmax, in-batch": Arm(loss=Softmax(), negatives=NegativeMix(random=0, in_batch="all")),
    "triplet, 100 random": Arm(),
}
PARTS = (
    (ngram_tower.NgramTower, "forward"), (group_parameters, "embed_bags"), (ngram_tower, "fuse"),
    (training, "nested_step"),
    (similarity, "_negative_mask"), (similarity, "softmax_in_place"), (similarity, "triplet_in_place"),
    (ngram_tower.NgramTower, "step"), (ngram_tower, "fusion_backward"), (ngram_tower, "normalize_backward"),
    (group_parameters, "adagrad_step"),
    (bag_tables, "_occurrences"), (bag_tables, "_update"),
)  # fmt: skip


def main() -> None:
    """Print a table for each arm."""
    case = case_of("world")
    use_threads(1)
    times: dict[str, list[float]] = defaultdict(list)
    for owner, name in PARTS:
        setattr(owner, name, timed(name, getattr(owner, name), times))
    for title, arm in ARMS.items():
        steps(case, arm, times)
        step = statistics.median(times["whole step"]) + statistics.median(times["batch"])
        print(f"\n{title}: {1024 / step * 1e3:,.0f} pairs/s")
        for name in ("batch", "whole step", *(name for _, name in PARTS)):
            if times[name]:
                print(f"  {name:18} {statistics.median(times[name]):6.2f} ms")
        columns = 1024 if arm.negatives.compares_batch else arm.negatives.random
        print(f"  the three products alone, {columns} columns: {products(columns):.2f} ms")


def timed(name: str, call: Callable[..., Any], times: dict[str, list[float]]) -> Callable[..., Any]:
    """A wrapper of a function that records the milliseconds of each call."""

    def wrapped(*arguments: Any) -> Any:
        start = time.thread_time()
        result = call(*arguments)
        times[name].append((time.thread_time() - start) * 1e3)
        return result

    return wrapped


def steps(case: Any, arm: Arm, times: dict[str, list[float]]) -> None:
    """Fill `spent` with the times of the parts of STEPS steps."""
    rng = np.random.default_rng(0)
    tower = ngram_tower.new_ngram_tower(case.corpus.inputs, arm.towers, False, rng)
    step, memory = timed("whole step", training._step, times), np.zeros((0, arm.towers.dimensions), np.float32)
    for number, batch in zip(range(STEPS + 10), timed_batches(case, arm, rng, times), strict=False):
        if number == 10:
            times.clear()
        step(case.corpus, batch, arm, tower, None, memory, rng, "cpu")


def products(columns: int) -> float:
    """The median milliseconds of a step's three matrix products."""
    queries, documents, similarities = torch.randn(1024, 128), torch.randn(columns, 128), torch.randn(1024, columns)
    milliseconds = []
    for _ in range(30):
        start = time.thread_time()
        torch.mm(queries, documents.T, out=similarities)
        similarities @ documents
        similarities.T @ queries
        milliseconds.append((time.thread_time() - start) * 1e3)
    return statistics.median(milliseconds)


def timed_batches(case: Any, arm: Arm, rng: np.random.Generator, times: dict[str, list[float]]) -> Iterator[Any]:
    """Full batches without end, each timed."""
    no_negatives = np.full((len(case.pairs.search_rows), 0), -1, np.int32)
    source, rest = NegativeSource(case.corpus.trainable, case.corpus.clicks, no_negatives), np.zeros(0, np.int32)
    while True:
        order, rest = next_epoch(rest, len(case.pairs.search_rows), case.pairs.pairs_per_epoch // 1024 * 1024, rng)
        epoch = batches(case.pairs, case.known_positives, source, arm.negatives, arm.mask, 1024, order, rng)
        while True:
            start = time.thread_time()
            batch = next(epoch, None)
            if batch is None:
                break
            times["batch"].append((time.thread_time() - start) * 1e3)
            yield batch


if __name__ == "__main__":
    main()
