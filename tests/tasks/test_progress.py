"""Progress of stages on a terminal without bars."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks import progress
from tasks.progress import LINES, show_progress


@pytest.fixture(autouse=True)
def lines() -> Iterator[None]:
    token = LINES.set(True)
    yield
    LINES.reset(token)


def _run(notes: list[str]) -> None:
    with show_progress("training", 3) as move:
        for done, note in enumerate(notes):
            move(done, note)


def test_a_long_stage_has_a_line_at_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LONG_S", 0)
    _run(["epoch 1", "epoch 2", "epoch 2"])
    assert capsys.readouterr().err.splitlines() == ["training: epoch 2, 0 s"]


def test_its_notes_are_lines_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0)
    monkeypatch.setattr(progress, "LONG_S", 1e9)
    _run(["epoch 1", "epoch 2", "epoch 2"])
    assert capsys.readouterr().err.splitlines() == ["training: epoch 1", "training: epoch 2"]


def test_a_short_stage_has_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "LONG_S", 1e9)
    _run(["epoch 1"])
    LINES.set(False)
    monkeypatch.setattr(progress, "LONG_S", 0)
    _run(["epoch 1"])
    assert capsys.readouterr().err == ""
