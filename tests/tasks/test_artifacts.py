"""Stages: named by all that went into them, whole or not there, never made twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ebr_core.training.arm_config import Arm
from ebr_core.training.loss_config import Softmax
from ebr_core.training.pair_config import NegativeMix
from tasks.artifacts import Artifact, clear_unfinished, stage
from tasks.home import artifacts
from tasks.kinds import Log
from tasks.provenance.settings import plain

MADE: list[str] = []


@stage(Log)
def number(folder: Path, value: int) -> None:
    """Writes a number."""
    MADE.append(f"number {value}")
    (folder / "number.txt").write_text(str(value))


@stage(Log)
def doubled(folder: Path, first: Artifact, arm: Arm, fail: bool = False) -> None:
    """Writes twice the number."""
    (folder / "half-written.txt").write_text("x")
    if fail:
        raise ValueError("told to fail")
    (folder / "number.txt").write_text(str(2 * int((first.folder / "number.txt").read_text())))


def test_what_exists_is_not_made_again() -> None:
    MADE.clear()
    first, again, other = number.fn(1), number.fn(1), number.fn(value=2)
    assert first == again != other
    assert MADE == ["number 1", "number 2"]
    assert (first.folder / "number.txt").read_text() == "1"


def test_every_input_is_in_the_name() -> None:
    one = number.fn(3)
    names = {
        doubled.fn(one, Arm()).digest,
        doubled.fn(number.fn(4), Arm()).digest,
        doubled.fn(one, Arm(negatives=NegativeMix(random=5))).digest,
        doubled.fn(one, Arm(loss=Softmax())).digest,
        doubled.fn(one, Arm(training=Arm().training.model_copy(update={"threads": 2}))).digest,
    }
    assert len(names) == 5


def test_a_default_names_the_same_as_its_value_given() -> None:
    assert doubled.fn(number.fn(5), Arm()) == doubled.fn(first=number.fn(5), arm=Arm(), fail=False)


def test_what_fails_leaves_nothing() -> None:
    before = set(artifacts().iterdir())
    with pytest.raises(ValueError, match="told to fail"):
        doubled.fn(number.fn(1), Arm(), fail=True)
    assert {path.name for path in set(artifacts().iterdir()) - before} <= {number.fn(1).folder.name}


def test_an_input_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be named by a set"):
        number.fn({1})  # type: ignore[arg-type]


@stage(Log)
def slow(folder: Path, value: int) -> None:
    """Writes one file, waits, writes the other."""
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


def test_two_that_finish_together_both_find_the_one_artifact(tmp_path: Path) -> None:
    gate = threading.Barrier(8)

    @stage(Log)
    def together(folder: Path, value: int) -> None:
        (folder / "out.txt").write_text(str(value))
        gate.wait()

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(together.fn, [7] * 8))
    assert len(set(made)) == 1
    assert (made[0].folder / "out.txt").read_text() == "7"


def test_a_moved_log_keeps_its_name(tmp_path: Path) -> None:
    from data.experiment.log_config import Split, Tables
    from tasks.log_stages import extract

    def name(folder: str, **options: object) -> str:
        logs = Tables(
            layout="tables", searches=f"{folder}/s", results=f"{folder}/r", documents=f"{folder}/d", **options
        )
        return plain({"logs": logs, "split": Split()})["logs"]

    assert name("/a") == name("/b", memory_limit="1GB", judged_from=2)
    assert name("/a") != name("/a", max_dropped=0.001)  # a stricter limit has to be held against the logs again
    assert extract.name == "extract"
