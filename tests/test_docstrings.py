"""The examples in docstrings are right."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tasks.home import ROOT

ROOMS = ("ebr_core", "data", "tasks", "flows", "ebr", "tools")
OPTIONAL = ("lancedb", "mkdocs", "opensearchpy", "psycopg")  # of the extras engines and docs
WITH_EXAMPLES = sorted(
    path.relative_to(ROOT).with_suffix("")
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_examples_are_right(path: Path) -> None:
    try:
        module = importlib.import_module(".".join(path.parts))
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"{error.name}, of an extra, is not installed")
    failed, attempted = doctest.testmod(module)
    assert attempted
    assert not failed
