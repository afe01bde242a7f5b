"""Speed with one thread and with two, on idle cores and with one core kept busy by another process.

    python -m benchmarks.threads [rounds] [spin counts …]

Trains one arm of the default world and answers queries as `ebr batch` does, in processes that take turns; another
process spins to keep a core busy. Prints a row for each number of threads and state of the cores: medians (and
quartiles) over the rounds, and the ratio to one thread. A value counts only if everything else on the machine took less
than QUIET of a core meanwhile; the number of values is in brackets. With spin counts, two threads are measured once
more for each count (GOMP_SPINCOUNT). After the table: arms side by side with one thread each, against arms one after
the other with all threads. State lives in a temporary home.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("EBR_HOME", tempfile.mkdtemp(prefix="ebr-threads-"))

from tasks.home import prepare_environment

prepare_environment()

from data.experiment.log_config import Simulated, Split  # noqa: E402
from data.world.world_config import World  # noqa: E402
from ebr_core.training.arm_config import Arm, Training  # noqa: E402
from ebr_core.training.loss_config import Softmax  # noqa: E402
from ebr_core.training.pair_config import NegativeMix  # noqa: E402
from tasks.artifacts import Artifact  # noqa: E402
from tasks.feature_stages import featurise  # noqa: E402
from tasks.home import home  # noqa: E402
from tasks.log_stages import contents_of, extract, sample, simulate_log  # noqa: E402
from tasks.training_inputs import read_corpus, read_pairs  # noqa: E402
from tasks.training_stages import train_arm  # noqa: E402

BATCH, STEPS, QUERIES = 1024, 60, 200
QUIET = 0.15  # cores that everything else may take while a value is measured
TRAINING, BATCHED = "pairs/s", "ms a query"
RANDOM = Arm(training=Training(epochs=4))
IN_BATCH = Arm(loss=Softmax(), negatives=NegativeMix(random=0, in_batch="all"), training=Training(epochs=4))
EXPERIMENT = """
logs: {layout: simulated, world: {}}
evaluation: {searches: 500, validation_searches: 200, resamples: 200}
arms: {base: {training: {epochs: 1}}, random: {}}
"""


class ThreadCase(NamedTuple):
    """The measurement of one process."""

    kind: str  # TRAINING or BATCHED
    threads: int
    spin: str = ""  # GOMP_SPINCOUNT; empty for the product's

    def title(self, busy: bool) -> str:
        """The row of the table that the case belongs to."""
        spin = f", spin {self.spin}" if self.spin else ""
        return f"{self.threads} thread{'s' * (self.threads > 1)}, {'one core busy' if busy else 'idle cores'}{spin}"


def extract_log() -> Artifact:
    """The log of the default world."""
    tables = Simulated(layout="simulated").tables(simulate_log.fn(World()).folder)
    return extract.fn(tables, Split(), contents_of(tables))


def training_rates(threads: int) -> Iterator[float]:
    """Pairs a second over STEPS training steps, without end."""
    from ebr_core.parallel import use_threads
    from ebr_core.training.train_loop import train

    use_threads(threads)
    training = Training(batch_size=BATCH, epochs=1000, patience=1000, threads=threads)
    log, arm = extract_log(), IN_BATCH.model_copy(update={"training": training})
    corpus = read_corpus(log, featurise.fn(log, arm.features), arm)
    pairs, known_positives = read_pairs(log, arm.positives, "pair", 0)
    progress, pairs_seen = train(corpus, pairs, known_positives, arm, 0, lambda _encoder: 0.5), 0
    while True:
        start, pairs_before = time.perf_counter(), pairs_seen
        while pairs_seen < pairs_before + STEPS * BATCH:
            pairs_seen = next(progress)[0].pairs
        yield (pairs_seen - pairs_before) / (time.perf_counter() - start)


def batch_times() -> Iterator[float]:
    """Milliseconds a query of `ebr batch` over QUERIES queries, without end."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from rich.console import Console

    from flows.app.batch_file import answer_file
    from flows.app.model_names import CHAMPION, bundle_folder
    from flows.app.model_search import open_model
    from tasks.served_models import bundle_of, models_of

    bundle = open_model(bundle_folder(CHAMPION))
    canaries = pq.read_table(bundle_of(models_of(None), None) / "canaries.parquet").drop_columns("vector")
    source, silent_console = home() / f"asked-{os.getpid()}.parquet", Console(quiet=True)
    pq.write_table(pa.concat_tables([canaries] * (QUERIES // canaries.num_rows)), source)
    while True:
        start = time.perf_counter()
        answered = answer_file(bundle, source, source.with_suffix(".out"), {}, silent_console)
        yield 1e3 * (time.perf_counter() - start) / answered.queries


def work(kind: str, threads: int) -> None:
    """Print a value and its processor seconds for each line of the input."""
    values = training_rates(threads) if kind == TRAINING else batch_times()
    for _ in sys.stdin:
        start = time.process_time()
        print("measured", next(values), time.process_time() - start, flush=True)


class Worker:
    """A process that measures on demand and sleeps in between."""

    def __init__(self, case: ThreadCase) -> None:
        """Start the process and wait until its kernels are compiled and warm."""
        limits = {name: str(case.threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        limits |= {"GOMP_SPINCOUNT": case.spin} if case.spin else {}
        command = [sys.executable, __file__, "worker", case.kind, str(case.threads)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | limits
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.measure()
        self.measure()

    def measure(self) -> tuple[float, float]:
        """The next value and its processor seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("next", file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("measured "):
                return float(line.split()[1]), float(line.split()[2])
        raise SystemExit("a measuring process ended early; its error is above")


@contextmanager
def keep_core_busy() -> Iterator[int]:
    """Keep one core busy inside the block; yield the process id."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def processor_seconds(process: int | None) -> float:
    """The processor seconds of a process so far, or of the whole machine if `process` is None."""
    if process is None:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        return (sum(map(int, fields[:8])) - int(fields[3]) - int(fields[4])) / os.sysconf("SC_CLK_TCK")
    return sum(map(int, Path(f"/proc/{process}/stat").read_text().split()[13:15])) / os.sysconf("SC_CLK_TCK")


def measure(worker: Worker, spinner: int | None) -> tuple[float, bool]:
    """A value, and True if the machine did nothing else meanwhile."""
    start, machine_before = time.perf_counter(), processor_seconds(None)
    spinner_before = processor_seconds(spinner) if spinner else 0.0
    value, worker_seconds = worker.measure()
    other_seconds = (
        processor_seconds(None)
        - machine_before
        - worker_seconds
        - (processor_seconds(spinner) - spinner_before if spinner else 0)
    )
    return value, other_seconds < QUIET * (time.perf_counter() - start)


def measure_all(cases: list[ThreadCase], rounds: int) -> dict[tuple[ThreadCase, bool], list[float]]:
    """The values that count, by (case, a core is busy); all take turns, so that a slow minute affects all."""
    workers = {case: Worker(case) for case in cases}
    values: dict[tuple[ThreadCase, bool], list[float]] = {(case, busy): [] for case in cases for busy in (False, True)}
    for _ in range(rounds):
        for busy in (False, True):
            with keep_core_busy() if busy else nullcontext() as spinner:
                for case, worker in workers.items():
                    value, is_quiet = measure(worker, spinner)
                    values[case, busy] += [value] if is_quiet else []
    for worker in workers.values():
        worker.process.kill()
        worker.process.wait()
    return values


def cell(values: list[float], form: str) -> str:
    """The median with the quartiles, and the number of values."""
    if len(values) < 2:
        return f"not quiet [{len(values)}]"
    low, middle, high = (f"{value:{form}}" for value in statistics.quantiles(values, n=4))
    return f"{middle} ({low}–{high}) [{len(values)}]"


def show(values: dict[tuple[ThreadCase, bool], list[float]]) -> None:
    """Print the table."""
    print(f"{'':36}{TRAINING:>34}{'to 1 thread':>13}{BATCHED:>28}{'to 1 thread':>13}")
    trainings = dict.fromkeys(case for case, _ in values if case.kind == TRAINING)
    for busy in (False, True):
        single_thread = [values[ThreadCase(kind, 1), busy] for kind in (TRAINING, BATCHED)]
        for case in trainings:
            pair = [values[case, busy], values[case._replace(kind=BATCHED), busy]]
            rates, times = (
                statistics.median(case_values) / statistics.median(single) if case_values and single else float("nan")
                for case_values, single in zip(pair, single_thread, strict=True)
            )
            cells = f"{cell(pair[0], ',.0f'):>34}{rates:13.2f}{cell(pair[1], '.2f'):>28}{1 / times:13.2f}"
            print(f"{case.title(busy):36}{cells}")


def side_by_side() -> None:
    """Print a line for each arm: seconds of arms side by side and one by one, and their ratio."""
    log, cores = extract_log(), os.cpu_count() or 1
    validation, features = sample.fn(log, "validation", 500, 1), featurise.fn(log, RANDOM.features)
    for name, arm in {"random": RANDOM, "in-batch softmax": IN_BATCH}.items():
        train_arm.fn(log, features, validation, arm, 999)  # compiles
        seconds: dict[int, list[float]] = defaultdict(list)
        for turn, threads in enumerate((1, cores, 1, cores)):  # in turn, so that a slow minute affects both
            training = arm.training.model_copy(update={"threads": threads})
            threaded_arm, seeds = arm.model_copy(update={"training": training}), range(turn * cores, (turn + 1) * cores)
            start = time.perf_counter()
            with ThreadPoolExecutor(cores // threads) as pool:
                list(pool.map(partial(train_arm.fn, log, features, validation, threaded_arm), seeds))
            seconds[threads].append(time.perf_counter() - start)
        parallel_s, serial_s = min(seconds[1]), min(seconds[cores])
        print(f"{name}: {cores} arms side by side {parallel_s:.1f} s, one by one {serial_s:.1f} s, "
              f"ratio {serial_s / parallel_s:.2f}")  # fmt: skip


def main(rounds: int, spins: list[str]) -> None:
    """Print the table, then the lines."""
    experiment = home() / "threads.yaml"
    experiment.write_text(EXPERIMENT)
    run = [sys.executable, "-c", "from flows.app.cli import main; main()", "run", str(experiment)]
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cases = [ThreadCase(kind, threads) for threads in (1, 2) for kind in (TRAINING, BATCHED)]
    cases += [ThreadCase(kind, 2, spin) for spin in spins for kind in (TRAINING, BATCHED)]
    show(measure_all(cases, rounds))
    side_by_side()


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        work(sys.argv[2], int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 12, sys.argv[2:])
