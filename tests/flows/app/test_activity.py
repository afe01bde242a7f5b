"""What a command says while it works: in lines, on a terminal, and for every stage."""

from __future__ import annotations

import ast
import os
import pty
from pathlib import Path

import pytest

from flows.app.activity import activity
from tasks.stage_words import WORDS, announce, say

TASKS = Path(__file__).parent.parent.parent.parent / "tasks"


def _stages() -> set[str]:
    """The names of all stages of this project."""
    found = set()
    for file in TASKS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                decorators = [part.func for part in node.decorator_list if isinstance(part, ast.Call)]
                found |= {node.name for part in decorators if isinstance(part, ast.Name) and part.id == "stage"}
    return found


def test_every_stage_has_its_words() -> None:
    assert set(WORDS) == _stages()


def test_without_a_terminal_each_thing_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with activity("reading a.yaml") as bars:
        announce("extract")
        announce("train_arm")
        announce("train_arm")
        announce("choose_mode")
        say("reading a.yaml")
    assert bars is None
    say("nobody listens any more")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"{words} …" for words in ("reading a.yaml", WORDS["extract"], "training arms")]


def test_short_commands_say_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with activity("opening the model", on_terminal_alone=True):
        announce("extract")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_words_stand_above_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with activity("reading a.yaml") as bars:
            assert bars is not None
            bars.add_task("train random", total=10, note="epoch 1")
            announce("train_arm")
            bars.refresh()
        shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert shown.index("reading a.yaml …") < shown.index("training arms …") < shown.rindex("train random")
    assert "epoch 1" in shown
