"""A watch on every stage that a test runs: its digest must hold the code that it calls and the files that it opens.

A digest that misses code is worse than one that holds too much: the stage would not run again after a change.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
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
from tasks.provenance.modules import PACKAGES, parse
from tasks.provenance.source import MACHINERY, PARSE_LOCK, reach_of

_ROOMS = tuple(f"{ROOT / room}/" for room in PACKAGES)
_RUNNING = threading.local()  # .files of the stage that runs in a thread
_FOREIGN: set[str] = set()  # files of libraries


@contextmanager
def watched_stages() -> Iterator[None]:
    """Make stages fail in the block if they run code or open a file of this project that their digest does not hold."""
    stages: dict[str, tuple[str, str]] = {}
    source_of, write = tasks.artifacts.source_of, tasks.artifacts._write

    def record_stage(function: Callable[..., object]) -> str:
        stages[function.__name__] = function.__module__, function.__qualname__.split(".")[0]
        return source_of(function)

    def watch_write(artifact: Any, produce: Callable[[Path], None]) -> None:
        module, name = stages[artifact.stage]

        def produce_watched(folder: Path) -> None:
            with recorded() as (calls, files):
                produce(folder)
            assert not (lacking := outside(module, name, calls, files)), (
                f"{name} reaches code or files that its digest lacks: {lacking}"
            )

        write(artifact, produce_watched if module.split(".")[0] in PACKAGES else produce)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.artifacts, "source_of", record_stage)
        patch.setattr(tasks.artifacts, "_write", watch_write)
        yield


def _continues(frame: FrameType) -> bool:
    """True for a generator that goes on, or is closed, as that of another stage is where garbage is collected."""
    code, at = frame.f_code, frame.f_lasti
    starts = (code.co_code[at], code.co_code[at + 1]) == (dis.opmap["RESUME"], 0)
    return bool(code.co_flags & inspect.CO_GENERATOR) and not starts


@contextmanager
def recorded() -> Iterator[tuple[set[CodeType], set[str]]]:
    """(calls, files) of this thread and of threads that it starts in the block: the code objects of this project that
    they call, and the files of this project, Python aside, that they open."""
    calls: set[CodeType] = set()
    files: set[str] = set()

    def record(frame: FrameType, _event: str, _value: object) -> None:  # for calls alone, because it returns None
        code = frame.f_code
        if (file := code.co_filename) in _FOREIGN:
            return
        if not (file.startswith(_ROOMS) and file.endswith(".py")):  # a compiled template has its own path as file
            _FOREIGN.add(file)
        elif not _continues(frame):
            calls.add(code)

    _listen()
    earlier = sys.gettrace()
    _RUNNING.files = files
    sys.settrace(record)
    threading.settrace(record)
    try:
        yield calls, files
    finally:
        sys.settrace(earlier)
        threading.settrace(earlier)  # type: ignore[arg-type]
        _RUNNING.files = None


@functools.cache
def _listen() -> None:
    def record(event: str, values: tuple[Any, ...]) -> None:
        files = getattr(_RUNNING, "files", None)
        if files is not None and event == "open" and str(values[0]).startswith(_ROOMS):
            files.add(str(values[0]))

    sys.addaudithook(record)  # an audit hook cannot be removed


def outside(module: str, name: str, calls: set[CodeType], files: set[str]) -> list[str]:
    """The definitions that a stage called and the files that it opened although its digest lacks them."""
    reach = reach_of(module, name)
    called = {definition for code in calls for definition in [definition_of(code)] if definition}
    opened = {str(Path(file).relative_to(ROOT)) for file in files if not file.endswith((".py", ".pyc"))}
    return sorted(called - set(reach.definitions)) + sorted(opened - set(reach.files))


def definition_of(code: CodeType) -> str | None:
    """The definition that contains a function, as digests name it.

    None for the body of a module or a class, which runs on import, and for machinery, on which no stage depends.
    """
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
    definitions = []
    with PARSE_LOCK:
        tree = parse(Path(file).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            definitions.append((first, node.end_lineno or first, node.name))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            definitions.append((node.lineno, node.end_lineno or node.lineno, node.targets[0].id))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            definitions.append((node.lineno, node.end_lineno or node.lineno, node.target.id))
    return definitions
