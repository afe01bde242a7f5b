"""Which split of threads is faster on this machine: arms side by side with one thread each, or one after another
with all.

    python -m benchmarks.threads

Trains the same arms of a simulated log both ways, in one run, and prints the seconds and their ratio. State lives in a
temporary home.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

os.environ["EBR_HOME"] = tempfile.mkdtemp(prefix="ebr-threads-")

from tasks.home import prepare_environment

prepare_environment()

from data.logs import Simulated, Split  # noqa: E402
from data.world.config import World  # noqa: E402
from ebr_core.config import Arm, NegativeMix, Softmax, Training  # noqa: E402
from tasks.features import featurise  # noqa: E402
from tasks.logs import contents_of, extract, live, sample  # noqa: E402
from tasks.training import train_arm  # noqa: E402

ARMS = {
    "random": Arm(training=Training(epochs=4)),
    "in-batch softmax": Arm(
        loss=Softmax(), negatives=NegativeMix(random=0, in_batch="all"), training=Training(epochs=4)
    ),
}


def main() -> None:
    """Prints one line an arm: both times and their ratio."""
    cores = os.cpu_count() or 1
    tables = Simulated(layout="simulated").tables(live.fn(World()).folder)
    log = extract.fn(tables, Split(), contents_of(tables))
    validation, features = sample.fn(log, "validation", 500, 1), featurise.fn(log, ARMS["random"].reads)
    train_arm.fn(log, features, validation, ARMS["in-batch softmax"], 999)  # compiles
    train_arm.fn(log, features, validation, ARMS["random"], 999)
    for name, arm in ARMS.items():
        times = {}
        for threads in (1, cores, 1, cores):  # in turn, so that a slow minute hits both
            workers, training = cores // threads, arm.training.model_copy(update={"threads": threads})
            its, seeds = (
                arm.model_copy(update={"training": training}),
                range(len(times) * cores, (1 + len(times)) * cores),
            )
            started = time.perf_counter()
            with ThreadPoolExecutor(workers) as pool:
                list(
                    pool.map(
                        lambda seed, its=its: train_arm.fn(log, features, validation, its, seed),
                        seeds,
                    )
                )
            times[threads, len(times)] = time.perf_counter() - started
        side_by_side = min(seconds for (threads, _), seconds in times.items() if threads == 1)
        one_by_one = min(seconds for (threads, _), seconds in times.items() if threads == cores)
        print(
            f"{name}: {cores} arms side by side {side_by_side:.1f} s, one by one {one_by_one:.1f} s, "
            f"ratio {one_by_one / side_by_side:.2f}"
        )


if __name__ == "__main__":
    main()
