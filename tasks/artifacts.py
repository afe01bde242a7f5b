"""Artifacts: the folders that stages write, named by a digest of everything that went into them.

A folder is written under a temporary name and renamed, so what exists is whole, and what exists is not made again.
Prefect's
cache key is the same name, and its record of the task lies in the folder: with the folder gone, the task runs again.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import shutil
import socket
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from prefect import Task
from prefect.context import TaskRunContext

from ebr_core.frozen import Frozen
from tasks.home import artifacts
from tasks.provenance.settings import plain
from tasks.provenance.source import source_of

P = ParamSpec("P")

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
    artifact. Its name is the digest of the inputs, of all source of this project that the function can reach, and of
    the versions of the libraries that compute.
    """
    name = function.__name__

    def name_of(arguments: dict[str, Any]) -> Artifact:
        made_of = {"inputs": plain(arguments), "source": source_of(function), "versions": _versions()}
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


@functools.cache
def _versions() -> dict[str, str]:
    return {library: importlib.metadata.version(library) for library in LIBRARIES} | {"python": sys.version.split()[0]}
