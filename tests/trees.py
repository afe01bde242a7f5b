"""Copies of this project's sources for tests to change, and the reach of stages in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.home import ROOT
from tasks.provenance import files, modules, source

CACHED = (
    modules.read_module,
    modules.read_definition,
    files.resources,
    source._digest,
    source._code,
    source.is_settings,
    source.everything_in,
)


@contextmanager
def sources_in(root: Path) -> Iterator[None]:
    """Read sources from another root in the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules, "ROOT", root)
        forget_sources()
        yield
    forget_sources()


def forget_sources() -> None:
    """Clear all caches of sources, so that they are read again."""
    for function in CACHED:
        function.cache_clear()


def copy_sources(root: Path) -> Path:
    """The folder root, with a copy of the packages of this project."""
    for room in modules.PACKAGES:
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def replace_text(root: Path, file: str, old: str, new: str) -> None:
    """Replace a text that occurs once in a file of a copy."""
    text = (root / file).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} holds {text.count(old)} times {old!r}, expected once"
    (root / file).write_text(text.replace(old, new), encoding="utf-8")
