"""The moments of kills: an undisturbed run for reference, and random moments in the rest of a run."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from proofs.home_artifacts import MARK, files_of, folders, results_of
from proofs.kill_victims import (
    EXPERIMENT,
    MLFLOW,
    log_of,
    start,
    until,
)


class RunReference(NamedTuple):
    """The results and files of an undisturbed run, and the times at which they were finished."""

    results: dict[str, bytes]
    files: dict[str, set[str]]  # folder → its files
    finished: list[float]  # seconds from the start, one for each folder
    seconds: float


class Moment(NamedTuple):
    """The moment of a kill: after `stages` finished stages, and then after a wait or as the next stage begins."""

    stages: int
    wait_s: float
    begun: bool


def run_reference(home: Path) -> RunReference:
    """The second of two undisturbed runs; the first one compiles the kernels."""
    for _ in range(2):
        shutil.rmtree(home / "artifacts", ignore_errors=True)
        started_at = time.time()
        code = start(home, "run", str(EXPERIMENT)).wait()
        assert code == 0, f"the undisturbed run ended with code {code}: {log_of(home).read_text()[-2000:]}"
        seconds = time.time() - started_at
    finished_folders = folders(home)
    finished = sorted(path.stat().st_mtime - started_at for path in finished_folders.values())
    return RunReference(
        results_of(home), {name: files_of(path) for name, path in finished_folders.items()}, finished, seconds
    )


def choose(rng: random.Random, reference: RunReference, victim: str, done_stages: int) -> Moment:
    """A random moment in the rest of an undisturbed run of which `done_stages` stages are finished.

    Half of the moments are uniform over the stages, as the next one begins; half are uniform over the time. Of the
    MLflow server's moments, half are while the run is tracked.
    """
    first_finish = reference.finished[0]
    earliest_s = reference.finished[done_stages - 1] - first_finish if done_stages else 0.0
    if victim == MLFLOW and rng.random() < 0.5:
        earliest_s = reference.finished[-1]
    elif done_stages < len(reference.files) and rng.random() < 0.5:
        return Moment(rng.randint(done_stages, len(reference.files) - 1), 0.0, begun=True)
    moment_s = rng.uniform(earliest_s, 0.97 * reference.seconds)
    stages = max(done_stages, sum(finished <= moment_s for finished in reference.finished))
    if stages == done_stages:
        return Moment(stages, moment_s - earliest_s, begun=False)
    begun = stages < len(reference.finished) and rng.random() < 0.5
    return Moment(stages, moment_s - reference.finished[stages - 1], begun)


def wait_for_moment(home: Path, moment: Moment, is_over: Callable[[], bool]) -> bool:
    """Wait for the moment; False if the run was over before."""
    until(lambda: is_over() or len(folders(home)) >= moment.stages, "a stage", 0.005)
    end = time.monotonic() + (2.0 if moment.begun else moment.wait_s)
    while time.monotonic() < end and not is_over():
        if moment.begun and any((home / "artifacts").glob(f"{MARK}*")):
            break
        time.sleep(0.005)
    return not is_over()


def under_way(home: Path, reference: RunReference) -> str:
    """The names of the stages under way, or the phase of the run."""
    names = {path.name.removeprefix(MARK).split("-")[0] for path in (home / "artifacts").glob(f"{MARK}*")}
    done_stages = len(folders(home))
    phase = (
        "starting"
        if not done_stages
        else "tracking, ending"
        if done_stages >= len(reference.files)
        else "between stages"
    )
    return " + ".join(sorted(names)) or phase
