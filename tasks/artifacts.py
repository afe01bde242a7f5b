"""Artifacts: the folders that stages write, named by a digest of everything that went into them.

A folder is written under a temporary name and renamed, so what exists is whole, and what exists is not made again.
Prefect's
cache key is the same name, and its record of the task lies in the folder: with the folder gone, the task runs again.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import shutil
import socket
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from prefect import Task
from prefect.context import TaskRunContext
from pydantic import BaseModel

from ebr_core.frozen import Frozen
from tasks.home import ROOT, artifacts

P = ParamSpec("P")
_PARSING = threading.Lock()

OURS = ("flows", "tasks", "data", "ebr_core")
MACHINERY = ("tasks.artifacts", "tasks.home", "tasks.progress")  # what a stage makes does not depend on these
LIBRARIES = (
    *("bm25s", "duckdb", "faiss-cpu", "lightgbm", "numba", "numpy", "pyarrow", "PyStemmer", "safetensors", "scipy"),
    "torch",
)
UNFINISHED = ".unfinished-"


class Artifact(Frozen):
    """A finished folder: what made it and the digest of what went into it."""

    stage: str
    digest: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return artifacts() / f"{self.stage}-{self.digest}"


def stage(function: Callable[Concatenate[Path, P], None]) -> Task[P, Artifact]:
    """A Prefect task out of function(folder, *inputs), which writes its output into folder.

    Inputs are artifacts, frozen values, or plain values of JSON; the task takes them without the folder, and returns
    the
    artifact. Its name is the digest of the inputs, of the source of the function's module with all that it imports
    of this
    project, and of the versions of the libraries that compute.
    """
    name = function.__name__

    def name_of(arguments: dict[str, Any]) -> Artifact:
        made_of = {"inputs": _plain(arguments), "source": _source(function.__module__), "versions": _versions()}
        text = json.dumps(made_of, sort_keys=True)
        return Artifact(stage=name, digest=hashlib.sha256(text.encode()).hexdigest()[:20])

    def cache_key(_context: TaskRunContext, arguments: dict[str, Any]) -> str:
        return f"{name_of(arguments).folder.name}/prefect"

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> Artifact:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        artifact = name_of(bound.arguments)
        _write(artifact, lambda folder: function(folder, *args, **kwargs))
        return artifact

    parameters = list(inspect.signature(function).parameters.values())[1:]
    signature = inspect.Signature(parameters)
    run.__signature__ = signature  # type: ignore[attr-defined]
    return Task(
        fn=run,
        name=name,
        persist_result=True,
        result_serializer="json",
        cache_key_fn=cache_key,
        description=inspect.getdoc(function),
    )


def _write(artifact: Artifact, produce: Callable[[Path], None]) -> None:
    if artifact.folder.exists():
        return
    name = f"{UNFINISHED}{artifact.folder.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    unfinished = artifacts() / name
    unfinished.mkdir(parents=True)
    try:
        produce(unfinished)
        try:
            unfinished.rename(artifact.folder)
        except OSError:  # somebody else was first, and made the same
            if not artifact.folder.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def clear_unfinished(of: int | None = None) -> None:
    """Removes what killed processes of this machine left half written; with `of`, what that process has begun."""
    for folder in artifacts().glob(f"{UNFINISHED}*"):
        rest, pid, _ = folder.name.rsplit(".", 2)
        gone = int(pid) == of if of else not Path("/proc", pid).exists()
        if rest.endswith(f".{socket.gethostname()}") and gone:
            shutil.rmtree(folder, ignore_errors=True)


def _plain(value: Any) -> Any:
    """The value as JSON can say it."""
    if hasattr(value, "named_by"):  # where more is said than goes into what is made
        return _plain(value.named_by())
    if isinstance(value, BaseModel):
        return {"is": type(value).__name__, **value.model_dump(mode="json")}
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"an artifact cannot be named by a {type(value).__name__}: {value!r}")


@functools.cache
def _versions() -> dict[str, str]:
    return {library: importlib.metadata.version(library) for library in LIBRARIES} | {"python": sys.version.split()[0]}


def _source(module: str) -> str:
    """The digest below; one thread at a time, because Python 3.11 keeps the depth of a parse for all threads
    together."""
    with _PARSING:
        return _source_digest(module)


@functools.cache
def _source_digest(module: str) -> str:
    """A digest of the code of a module and of every module of this project that it imports, docstrings and comments
    aside."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name.split(".")[0] not in OURS or name in (*MACHINERY, *seen) or not path.exists():
            continue
        tree = ast.parse(path.read_text())
        _drop_docstrings(tree)
        queries = sorted(path.parent.rglob("*.sql")) if name.startswith("data") else []
        seen[name] = ast.dump(tree) + "".join(file.read_text() for file in queries)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _drop_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
