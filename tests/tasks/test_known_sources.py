"""Digests of sources in the user's cache: used while the files are the same, and never kept for others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.provenance import known_sources, modules
from tasks.provenance.known_sources import known_or, tree_digest


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a project with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "project" / "tasks" / "stage.py"
    file.parent.mkdir(parents=True)
    file.write_text("VALUE = 1\n")
    monkeypatch.setattr(modules, "ROOT", tmp_path / "project")
    known_sources._tree.cache_clear()
    return file


def _new_process() -> None:
    known_sources._tree.cache_clear()


def _never() -> str:
    raise AssertionError("computed again")


def test_the_same_files_have_the_digests_of_an_earlier_process(tree: Path) -> None:
    assert known_or("a:f", lambda: "one") == "one"
    assert known_or("a:g", lambda: "two") == "two"
    _new_process()
    assert (known_or("a:f", _never), known_or("a:g", _never)) == ("one", "two")


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_other_files_have_digests_of_their_own_and_the_old_ones_stay(tree: Path, change: str) -> None:
    content = tree.read_text()
    other = tree.with_name("other.sql")
    other.write_text("SELECT 1")
    assert known_or("a:f", lambda: "one") == "one"
    match change:
        case "edit":
            tree.write_text("VALUE = 2\n")
        case "add":
            tree.with_name("new.py").write_text("")
        case "remove":
            tree.unlink()
        case _:
            other.rename(tree.with_name("another.sql"))
    _new_process()
    assert known_or("a:f", lambda: "three") == "three"
    tree.write_text(content)
    tree.with_name("new.py").unlink(missing_ok=True)
    if change == "rename":
        tree.with_name("another.sql").rename(other)
    _new_process()
    assert known_or("a:f", _never) == "one"


def test_a_digest_is_not_kept_if_a_file_changes_while_it_is_computed(tree: Path) -> None:
    def compute() -> str:
        tree.write_text("VALUE = 2\n")
        return "of the changed file"

    before = tree_digest(modules.ROOT)
    assert known_or("a:f", compute) == "of the changed file"
    assert tree_digest(modules.ROOT) != before
    tree.write_text("VALUE = 1\n")
    _new_process()
    assert known_or("a:f", lambda: "one") == "one"


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a:f": 1}', "\x00"])
def test_a_damaged_file_is_computed_again(tree: Path, content: str) -> None:
    known_or("a:f", lambda: "one")
    (file,) = (Path(str(tree.parents[2])) / "cache" / "ebr" / "sources").glob("*.json")
    file.write_text(content)
    _new_process()
    assert known_or("a:f", lambda: "one") == "one"
    _new_process()
    assert known_or("a:f", _never) == "one"


def test_the_digests_of_fifty_versions_are_kept(tree: Path) -> None:
    for version in range(known_sources.TREES + 5):
        tree.write_text(f"VALUE = {version}\n")
        _new_process()
        known_or("a:f", lambda: "any")
    assert len(list((Path(str(tree.parents[2])) / "cache" / "ebr" / "sources").glob("*.json"))) == known_sources.TREES
