"""What may be removed of a home, and what never."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ebr_core.errors import InputError
from tasks import disk_budget
from tasks.artifacts import link
from tasks.disk_budget import beyond, budget, hold_budget, mark_running, removable, remove, size_of, stored_artifacts

BLOCKS = 64 * 1024
DAY = 86_400.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    monkeypatch.delenv("EBR_KEEP", raising=False)
    (tmp_path / "artifacts").mkdir()
    return tmp_path


def _artifact(home: Path, name: str, days_ago: float, of: Path | None = None) -> Path:
    """An artifact of 64 KiB, or one that shares the file of another."""
    folder = home / "artifacts" / name
    folder.mkdir()
    if of is None:
        np.save(folder / "documents.npy", np.ones(BLOCKS, np.uint8))
    else:
        link(of / "documents.npy", folder / "documents.npy")
    used = time.time() - days_ago * DAY
    os.utime(folder, (used, used))
    return folder


def _names(stored: list[disk_budget.Stored]) -> list[str]:
    return [one.name for one in stored]


def test_the_longest_unused_go_first_and_results_stay(home: Path) -> None:
    for name, days in {"retrieve-b": 2, "embed_texts-a": 3, "evaluate-r": 9, "report-r": 9, "extract-c": 1}.items():
        _artifact(home, name, days)
    assert _names(removable()) == ["embed_texts-a", "retrieve-b", "extract-c"]
    remove(removable()[:2])
    assert sorted(path.name for path in (home / "artifacts").iterdir()) == ["evaluate-r", "extract-c", "report-r"]


def test_what_was_used_in_the_last_hour_stays(home: Path) -> None:
    _artifact(home, "retrieve-a", 0.02)
    _artifact(home, "retrieve-b", 0.06)
    assert _names(removable()) == ["retrieve-b"]


def test_champions_and_what_they_are_made_of_stay(home: Path) -> None:
    for name in ("bundle-served", "bundle-other", "train_arm-night", "train_arm-challenger", "extract-night"):
        _artifact(home, name, 5)
    (home / "models").mkdir()
    models = {"champion": "a", "models": {"a": {"bundle": "bundle-served"}}}
    (home / "models" / "shop.json").write_text(json.dumps(models))
    (home / "nights" / "shop").mkdir(parents=True)
    champion = {
        "towers": {"stage": "train_arm", "digest": "night"},
        "log": {"stage": "extract", "digest": "night"},
    }
    night = {"champion": champion, "challenger": {"stage": "train_arm", "digest": "challenger"}}
    (home / "nights" / "shop" / "000001.json").write_text(json.dumps(night))
    assert _names(removable()) == ["bundle-other", "train_arm-challenger"]


def test_what_running_work_has_used_stays(home: Path) -> None:
    _artifact(home, "train_arm-before", 3)
    _artifact(home, "train_arm-since", 1)
    mark_running()
    (mark,) = (home / "running").iterdir()
    began = time.time() - 2 * DAY
    os.utime(mark, (began, began))
    dead = home / "running" / f"{socket.gethostname()}:1:0"
    dead.touch()
    os.utime(dead, (1, 1))
    assert _names(removable()) == ["train_arm-before"]
    assert not dead.exists()


def test_a_shared_file_counts_once_and_is_freed_with_its_last_link(home: Path) -> None:
    first = _artifact(home, "embed_texts-a", 4)
    one = size_of(stored_artifacts())
    _artifact(home, "build_index-a", 3, of=first)
    _artifact(home, "retrieve-a", 2)
    stored = stored_artifacts()
    assert size_of(stored) == 2 * one
    # The first frees nothing by itself, so both links go for the first byte that is too much.
    assert _names(beyond(2 * one - 1, stored, removable())) == ["embed_texts-a", "build_index-a"]
    assert beyond(2 * one, stored, removable()) == []


def test_the_budget_is_held_after_a_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        _artifact(home, f"retrieve-{number}", 9 - number)
    one = size_of(stored_artifacts()[:1])
    assert hold_budget() is None
    monkeypatch.setenv("EBR_KEEP", str(2 * one / 1e9))
    sentence = hold_budget()
    assert sentence is not None
    assert "2 artifacts" in sentence
    assert _names(stored_artifacts()) == ["retrieve-2", "retrieve-3"]
    assert hold_budget() is None


@pytest.mark.parametrize("text", ["20 GB", "-1", "nan", "inf"])
def test_a_budget_that_is_no_number_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EBR_KEEP", text)
    with pytest.raises(InputError, match="EBR_KEEP"):
        budget()


def test_prune_says_what_it_frees_and_removes_with_yes_alone(home: Path) -> None:
    _artifact(home, "retrieve-a", 3)
    _artifact(home, "evaluate-a", 3)
    command = [sys.executable, "-m", "flows.app.cli", "prune"]
    shown = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert shown.returncode == 0, shown.stderr
    assert "1 can go" in shown.stdout
    assert "Nothing was removed" in shown.stdout
    assert (home / "artifacts" / "retrieve-a").exists()
    done = subprocess.run([*command, "--yes"], env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (home / "artifacts").iterdir()] == ["evaluate-a"]
