"""No two modules of this project share a name, and no two classes: a name leads to one place."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
ROOMS = ("ebr", "flows", "tasks", "data", "ebr_core", "proofs", "benchmarks", "tools")
DOOR = PROJECT / "ebr" / "__init__.py"  # it has the project's name, as the flow of the deployment ebr/full has


def _files() -> Iterator[Path]:
    for room in ROOMS:
        yield from (path for path in sorted((PROJECT / room).rglob("*.py")) if path != DOOR)


def _shared(names: dict[str, list[str]]) -> dict[str, list[str]]:
    """The names with several places, with these places."""
    return {name: paths for name, paths in sorted(names.items()) if len(paths) > 1}


def _modules(files: Iterator[Path]) -> dict[str, list[str]]:
    """The base names of modules and packages, each with its paths."""
    names: dict[str, list[str]] = defaultdict(list)
    for path in files:
        module = path.parent if path.name == "__init__.py" else path.with_suffix("")
        names[module.name].append(str(module))
    return names


def _classes(sources: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """The names of classes without leading underscores, each with its modules. sources: (path, source)."""
    names: dict[str, list[str]] = defaultdict(list)
    for path, source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                names[node.name.lstrip("_")].append(path)
    return names


def test_no_two_modules_share_a_name() -> None:
    shared = _shared(_modules(_files()))
    assert not shared


def test_no_two_classes_share_a_name() -> None:
    shared = _shared(_classes((str(path), path.read_text(encoding="utf-8")) for path in _files()))
    assert not shared


@pytest.mark.parametrize("paths", [["a/search.py", "b/search.py"], ["a/search.py", "b/search/__init__.py"]])
def test_modules_with_the_same_name_are_found(paths: list[str]) -> None:
    assert set(_shared(_modules(map(Path, paths)))) == {"search"}


def test_classes_with_the_same_name_are_found() -> None:
    sources = iter(
        [("a.py", "class Sample: ..."), ("b.py", "def f():\n    class _Sample: ..."), ("c.py", "class T: ...")]
    )
    assert _shared(_classes(sources)) == {"Sample": ["a.py", "b.py"]}
