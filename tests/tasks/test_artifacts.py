"""Stages: named by all their inputs, complete or absent, never run twice."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ebr_core.training.arm_config import Arm
from ebr_core.training.loss_config import Softmax
from ebr_core.training.pair_config import NegativeMix
from tasks.artifacts import Artifact, clear_kept, clear_unfinished, stage
from tasks.home import artifacts
from tasks.kinds import Log
from tasks.provenance.settings import plain

CALLS: list[str] = []


@stage(Log)
def number(folder: Path, value: int) -> None:
    """Write a number."""
    CALLS.append(f"number {value}")
    (folder / "number.txt").write_text(str(value))


@stage(Log)
def doubled(folder: Path, first: Artifact, arm: Arm, fail: bool = False) -> None:
    """Write twice the number."""
    (folder / "half-written.txt").write_text("x")
    if fail:
        raise ValueError("meant to fail")
    (folder / "number.txt").write_text(str(2 * int((first.folder / "number.txt").read_text())))


def test_a_stage_whose_artifact_exists_does_not_run() -> None:
    CALLS.clear()
    first, repeated, of_two = number.fn(1), number.fn(1), number.fn(value=2)
    assert first == repeated != of_two
    assert CALLS == ["number 1", "number 2"]
    assert (first.folder / "number.txt").read_text() == "1"


def test_every_input_is_in_the_name() -> None:
    three = number.fn(3)
    names = {
        doubled.fn(three, Arm()).digest,
        doubled.fn(number.fn(4), Arm()).digest,
        doubled.fn(three, Arm(negatives=NegativeMix(random=5))).digest,
        doubled.fn(three, Arm(loss=Softmax())).digest,
        doubled.fn(three, Arm(training=Arm().training.model_copy(update={"threads": 2}))).digest,
    }
    assert len(names) == 5


def test_a_default_and_the_same_value_passed_give_one_name() -> None:
    assert doubled.fn(number.fn(5), Arm()) == doubled.fn(first=number.fn(5), arm=Arm(), fail=False)


@stage(Log)
def scaled(folder: Path, factor: float) -> None:
    """Write nothing."""


def test_a_number_has_one_name_however_it_is_written() -> None:
    assert scaled.fn(1) == scaled.fn(1.0) != scaled.fn(1.5)


def test_a_stage_that_fails_leaves_no_artifact() -> None:
    earlier = set(artifacts().iterdir())
    with pytest.raises(ValueError, match="meant to fail"):
        doubled.fn(number.fn(1), Arm(), fail=True)
    assert {path.name for path in set(artifacts().iterdir()) - earlier} <= {number.fn(1).folder.name}


def test_an_input_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be named by a set"):
        number.fn({1})  # type: ignore[arg-type]


@stage(Log)
def slow(folder: Path, value: int) -> None:
    """Write one file, wait, write the other."""
    (folder / "first.txt").write_text("1")
    time.sleep(60 if value else 0)
    (folder / "second.txt").write_text("2")


def _run_slow() -> None:
    slow.fn(1)


def test_a_killed_stage_leaves_no_artifact() -> None:
    process = multiprocessing.get_context("spawn").Process(target=_run_slow)
    process.start()
    until = time.monotonic() + 60
    while not list(artifacts().glob(".unfinished-slow-*/first.txt")) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert list(artifacts().glob(".unfinished-slow-*/first.txt"))
    assert not list(artifacts().glob("slow-*"))
    clear_unfinished()
    assert not list(artifacts().glob(".unfinished-slow-*"))


def test_what_a_killed_stage_kept_goes_once_nobody_needs_it() -> None:
    done, waiting, forgotten = (artifacts() / f".kept-{name}" for name in ("slow-done", "slow-waiting", "slow-old"))
    for folder in (done, waiting, forgotten):
        (folder / "0").mkdir(parents=True)
        (folder / "0" / "state").write_text("1")
    (artifacts() / "slow-done").mkdir()
    weeks_ago = time.time() - 15 * 86_400
    for path in (forgotten, *forgotten.rglob("*")):
        os.utime(path, (weeks_ago, weeks_ago))
    os.utime(waiting, (weeks_ago, weeks_ago))  # a newer file is in it
    clear_kept()
    assert [folder.exists() for folder in (done, waiting, forgotten)] == [False, True, False]
    shutil.rmtree(waiting)
    (artifacts() / "slow-done").rmdir()


def test_stages_that_finish_together_return_the_same_artifact(tmp_path: Path) -> None:
    gate = threading.Barrier(8)

    @stage(Log)
    def together(folder: Path, value: int) -> None:
        (folder / "out.txt").write_text(str(value))
        gate.wait()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(together.fn, [7] * 8))
    assert len(set(results)) == 1
    assert (results[0].folder / "out.txt").read_text() == "7"


def test_a_moved_log_keeps_its_name(tmp_path: Path) -> None:
    from data.experiment.log_config import Split, Tables
    from tasks.log_stages import extract

    def name(folder: str, **options: object) -> str:
        logs = Tables(
            layout="tables", searches=f"{folder}/s", results=f"{folder}/r", documents=f"{folder}/d", **options
        )
        return plain({"logs": logs, "split": Split()})["logs"]

    assert name("/a") == name("/b", memory_limit="1GB", judged_from=2)
    assert name("/a") != name("/a", max_dropped=0.001)  # the logs must be checked again against a stricter limit
    assert extract.name == "extract"
