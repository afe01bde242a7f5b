"""Where a training step's time goes: milliseconds of each part, one thread, B = 1,024, D = 128, on the default world.

    python -m benchmarks.step

Medians over 60 steps of the thread's own processor time, which a busy machine disturbs less than the clock; compilation
is behind them. Parts are timed by wrapping the functions that a step calls, in place. `with_kernels` is the middle of a
step with `ebr_core.kernels` in place of `ebr_core.losses`.
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
from ebr_core import towers
from ebr_core import train as training
from ebr_core.batches import Batch, batches
from ebr_core.config import Arm, NegativeMix, Softmax
from ebr_core.kernels import choose_in_batch, softmax_in_place, triplet_in_place

STEPS = 60
ARMS = {
    "softmax, in-batch": Arm(loss=Softmax(), negatives=NegativeMix(random=0, in_batch="all")),
    "triplet, 100 random": Arm(),
}
PARTS = (
    (training, "encode"), (training, "_similarity_step"), (training, "_choose_in_batch"),
    (training, "loss_and_gradient"), (training, "improve"), (towers, "through_norm"), (towers, "_occurrences"),
    (towers, "_update"),
)  # fmt: skip


def with_kernels(
    everything: torch.Tensor, batch: Batch, arm: Arm, b: int, r: int
) -> tuple[torch.Tensor, training.Sums]:
    """What `_similarity_step` gives, for pools and in-batch negatives."""
    in_batch = bool(arm.negatives.in_batch or arm.negatives.in_batch_hard)
    first = 0 if in_batch else b
    queries, positives, columns = everything[:b], everything[b : 2 * b], everything[b + first : 2 * b + r]
    positive = torch.linalg.vecdot(queries, positives).numpy()
    counts = np.ascontiguousarray(batch.allowed[:, first:])
    similarity = queries @ columns.T
    if in_batch and (arm.negatives.in_batch != "all" or arm.negatives.in_batch_hard):
        ring = b - 1 if arm.negatives.in_batch == "all" else int(arm.negatives.in_batch)
        choose_in_batch(similarity.numpy(), batch.allowed, ring, arm.negatives.in_batch_hard, counts)
    if isinstance(arm.loss, Softmax):
        none = np.zeros(max(len(columns), b), np.float32)
        pushed = softmax_in_place(
            similarity.numpy(), positive, counts, arm.loss.temperature, none[: len(columns)], none[:b]
        )
    else:
        pushed = triplet_in_place(similarity.numpy(), positive, counts, arm.loss.margin)
    by_positive = torch.from_numpy(pushed.by_positive)[:, None]
    gradient = torch.empty_like(everything)
    torch.mm(similarity, columns, out=gradient[:b]).addcmul_(by_positive, positives)
    gradient[b : b + first] = 0
    torch.mm(similarity.T, queries, out=gradient[b + first :])
    gradient[b : 2 * b].addcmul_(by_positive, queries)
    norm = float(torch.linalg.vector_norm(gradient))
    return gradient, training.Sums(pushed.loss, pushed.active, float(positive.mean()), pushed.negative_cosine, norm)


def main() -> None:
    """Prints a table for each arm, now and with the kernels."""
    case = case_of("world")
    training.use_threads(1)
    spent: dict[str, list[float]] = defaultdict(list)
    for module, name in PARTS:
        setattr(module, name, timed(name, getattr(module, name), spent))
    now = training._similarity_step
    for title, arm in ARMS.items():
        for how, middle in (("now", now), ("with kernels", timed("_similarity_step", with_kernels, spent))):
            training._similarity_step = middle
            steps(case, arm, spent)
            step = statistics.median(spent["step"]) + statistics.median(spent["batch"])
            print(f"\n{title}, {how}: {1024 / step * 1e3:,.0f} pairs/s")
            for name in ("batch", "step", *(name for _, name in PARTS)):
                if spent[name]:
                    print(f"  {name:20} {statistics.median(spent[name]):6.2f} ms")
    print(f"\na product (1024, 128) × (128, 1024) alone: {product():.2f} ms")


def timed(name: str, call: Callable[..., Any], spent: dict[str, list[float]]) -> Callable[..., Any]:
    """The same function, which notes its milliseconds."""

    def wrapped(*arguments: Any) -> Any:
        started = time.thread_time()
        result = call(*arguments)
        spent[name].append((time.thread_time() - started) * 1e3)
        return result

    return wrapped


def steps(case: Any, arm: Arm, spent: dict[str, list[float]]) -> None:
    """Fills spent with the parts of STEPS steps."""
    rng = np.random.default_rng(0)
    encoder = towers.new_encoder(case.corpus.table_rows, 128, rng)
    step = timed("step", training._step, spent)
    for number, batch in zip(range(STEPS + 10), timed_batches(case, arm, rng, spent), strict=False):
        if number == 10:
            spent.clear()
        step(case.corpus, batch, arm, encoder, "cpu")


def product() -> float:
    """Milliseconds of one of the three products of a step."""
    a, b = torch.randn(1024, 128), torch.randn(1024, 128)
    took = []
    for _ in range(30):
        started = time.thread_time()
        a @ b.T
        took.append((time.thread_time() - started) * 1e3)
    return statistics.median(took)


def timed_batches(case: Any, arm: Arm, rng: np.random.Generator, spent: dict[str, list[float]]) -> Iterator[Any]:
    """Batches without end, each timed."""
    while True:
        one_epoch = batches(
            case.pairs, case.known, case.corpus.trainable, arm.negatives, arm.mask, 1024, case.corpus.documents, rng
        )
        while True:
            started = time.thread_time()
            batch = next(one_epoch, None)
            if batch is None or len(batch.search_rows) < 1024:
                break
            spent["batch"].append((time.thread_time() - started) * 1e3)
            yield batch


if __name__ == "__main__":
    main()
