"""Refuse a run that its environment would stop, and explain in one line why a run stopped: a full or read-only disk, a
locked database, a Prefect or MLflow server that does not answer. Finished stages are kept."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit

from ebr_core.errors import InputError
from flows.process.temporary_server import RESUME, temporary_api
from tasks.home import home

LEAST_BYTES = 64 * 2**20  # for the databases and the smallest of runs
LOCKED_S = 10.0
DISK = "the disk of EBR_HOME"


def refuse_unusable(served: bool) -> None:
    """Check the disk, the databases and the MLflow server before a run, which would fail late or wait for minutes.

    served: a Prefect server is running; it holds the lock of its own database, which is then not checked. Raises
    InputError if the disk of EBR_HOME is full or read-only, if a database there is locked, read-only or broken, or if
    the MLflow server does not answer.
    """
    _refuse_full()
    if not served:
        _refuse_locked(home() / "prefect" / "prefect.db")
    if os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{home() / 'mlflow.db'}":
        _refuse_locked(home() / "mlflow.db")
    elif os.environ["MLFLOW_TRACKING_URI"].startswith("http"):
        _refuse_silent(os.environ["MLFLOW_TRACKING_URI"])


def _refuse_full() -> None:
    """Raise InputError if the disk is full or read-only. The test file has no name, so a kill leaves no file behind."""
    try:
        with TemporaryFile(dir=home()) as file:
            os.posix_fallocate(file.fileno(), 0, LEAST_BYTES)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{home()} cannot be written: {error.strerror}; set EBR_HOME to another folder") from error
        free = shutil.disk_usage(home()).free / 2**20
        raise InputError(
            _disk_message(f"{free:.0f} MB are left on {DISK}, {home()}, and a run needs at least 64")
        ) from error


def _disk_message(message: str) -> str:
    return f"{message}; {RESUME}. Free some space, or set EBR_HOME to a folder on a larger disk"


def _refuse_locked(path: Path) -> None:
    """Take the writer's lock for a moment. Raises InputError if the database is locked, read-only or broken."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path}: {_explain(error)}") from error


def _refuse_silent(mlflow: str) -> None:
    """Raise InputError if the server does not answer at all; a refusal is an answer."""
    try:
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(mlflow, timeout=LOCKED_S):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"the MLflow server at {_address(mlflow)} does not answer ({reason}): start it, or unset "
            "MLFLOW_TRACKING_URI to write to EBR_HOME"
        ) from error


def _address(url: str) -> str:
    """The address of a server without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _explain(error: sqlite3.DatabaseError) -> str:
    """A database's error with its meaning and the way out."""
    message = str(error)
    if "locked" in message:
        return f"{message}: another process holds it (fuser shows which); end that process, or wait; {RESUME}"
    if "readonly" in message or "unable to open" in message:
        return f"{message}: make the file and its folder writable; {RESUME}"
    if "full" in message:
        return _disk_message(message)
    return (
        f"{message}: move it away, and the next run creates a new one (artifacts of earlier runs stay, their pages do "
        f"not); {RESUME}"
    )


def environment_error(error: BaseException) -> str | None:
    """One line about an error that the environment caused, with the way out; None for any other error."""
    for cause in _chain(error):
        message = str(cause)
        if "No space left on device" in message or "disk is full" in message or "Disk quota exceeded" in message:
            return _disk_message(f"no space is left on {DISK}, {home()}")
        if "Read-only file system" in message:
            return f"{message}; {RESUME} once the disk is writable, or set EBR_HOME to another folder"
        for words in ("database is locked", "readonly database", "unable to open database"):
            if words in message:
                return f"a database in {home()}: {_explain(sqlite3.OperationalError(words))}"
        if isinstance(cause, sqlite3.OperationalError) and (
            "already exists" in message or "duplicate column" in message
        ):
            return f"{home() / 'mlflow.db'} is incomplete: {_explain(cause)}"
        if "ephemeral Prefect API server" in message:
            return f"Prefect's temporary server did not start; see {home() / 'logs'}; {RESUME}"
        if type(cause).__module__.startswith(("httpx", "httpcore")) and ("onnect" in type(cause).__name__ + message):
            api = os.environ.get("PREFECT_API_URL")
            own = api is None or api == temporary_api()
            server = "the run's Prefect server" if own else f"the Prefect server at {api}"
            return f"{server} does not answer any more; {RESUME}"
        if type(cause).__module__.startswith(("requests", "urllib3")) and "onnect" in type(cause).__name__ + message:
            mlflow = _address(os.environ["MLFLOW_TRACKING_URI"])
            return f"the MLflow server at {mlflow} does not answer any more; {RESUME}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    visited: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in visited:
        visited.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
