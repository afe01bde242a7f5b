"""Watches every stage that a test runs: what it calls and which files of this project it opens has to be in its digest.

A name that is too narrow is worse than one that is too wide: the stage would not run again although its code changed.
"""

from __future__ import annotations

import ast
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import tasks.artifacts
from tasks.home import ROOT
from tasks.provenance.modules import OURS
from tasks.provenance.source import MACHINERY, ONE_AT_A_TIME, reach_of

_ROOMS = tuple(f"{ROOT / room}/" for room in OURS)
_RUNNING = threading.local()  # .calls and .files of the stage that runs in a thread


@contextmanager
def watched_stages() -> Iterator[None]:
    """Has every stage fail that runs code, or reads a file, outside of what its name was made from."""
    stages: dict[str, tuple[str, str]] = {}
    source_of, write = tasks.artifacts.source_of, tasks.artifacts._write

    def seen_source(function: Callable[..., object]) -> str:
        stages[function.__name__] = function.__module__, function.__qualname__.split(".")[0]
        return source_of(function)

    def watched_write(artifact: Any, produce: Callable[[Path], None]) -> None:
        module, name = stages[artifact.stage]

        def watched(folder: Path) -> None:
            with recorded() as (calls, files):
                produce(folder)
            assert not (missed := outside(module, name, calls, files)), (
                f"{name} reaches what does not name it: {missed}"
            )

        write(artifact, watched if module.split(".")[0] in OURS else produce)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.artifacts, "source_of", seen_source)
        patch.setattr(tasks.artifacts, "_write", watched_write)
        yield


@contextmanager
def recorded() -> Iterator[tuple[set[CodeType], set[str]]]:
    """The functions of this project that this thread, and threads that it starts, call meanwhile; the files of this
    project, Python aside, that they open."""
    calls: set[CodeType] = set()
    files: set[str] = set()

    def note(frame: FrameType, _event: str, _value: object) -> None:  # of calls alone, as it returns nothing
        file = frame.f_code.co_filename
        if file.startswith(_ROOMS) and file.endswith(".py"):  # a compiled template has its own path as file
            calls.add(frame.f_code)

    _listen()
    before = sys.gettrace()
    _RUNNING.files = files
    sys.settrace(note)
    threading.settrace(note)
    try:
        yield calls, files
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]
        _RUNNING.files = None


@functools.cache
def _listen() -> None:
    def opened(event: str, values: tuple[Any, ...]) -> None:
        files = getattr(_RUNNING, "files", None)
        if files is not None and event == "open" and str(values[0]).startswith(_ROOMS):
            files.add(str(values[0]))

    sys.addaudithook(opened)  # there is no way to take one away


def outside(module: str, name: str, calls: set[CodeType], files: set[str]) -> list[str]:
    """What a stage called and opened although its digest does not hold it."""
    reach = reach_of(module, name)
    called = {definition for code in calls for definition in [definition_of(code)] if definition}
    opened = {str(Path(file).relative_to(ROOT)) for file in files if not file.endswith((".py", ".pyc"))}
    return sorted(called - set(reach.definitions)) + sorted(opened - set(reach.files))


def definition_of(code: CodeType) -> str | None:
    """The definition in which a function stands, as digests name it; None for the body of a module or a class, which
    runs as it is imported, and for what no stage depends on."""
    module = ".".join(Path(code.co_filename).relative_to(ROOT).with_suffix("").parts)
    is_function = bool(code.co_flags & 0x1)  # CO_OPTIMIZED
    if not is_function or any(module == name or module.startswith(f"{name}.") for name in MACHINERY):
        return None
    for first, last, name in _definitions(code.co_filename):
        if first <= code.co_firstlineno <= last:
            return f"{module}:{name}"
    return f"{module}:<module>"


@functools.cache
def _definitions(file: str) -> list[tuple[int, int, str]]:
    """(first line, last line, name) of each function, class and assignment at the top of a module."""
    found = []
    with ONE_AT_A_TIME:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.append((first, node.end_lineno or first, node.name))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.append((node.lineno, node.end_lineno or node.lineno, node.targets[0].id))
    return found
