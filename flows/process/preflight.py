"""Refuse a run that its environment would stop, and explain in one line what stopped a run: a full or read-only disk, a
locked database, a Prefect or MLflow server that does not answer. Finished stages are kept."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit

from ebr_core.errors import InputError
from tasks.home import home

LEAST_BYTES = 64 * 2**20  # for the databases and the smallest of runs
LOCKED_S = 10.0
GOES_ON = "what is finished is kept, and the same command goes on"
TRIES = 2  # Prefect takes a server that cannot start for one whose port is taken, and starts others for ever
WHERE = "EBR_HOME lies"


def refuse_unusable(served: bool) -> None:
    """Check what every run needs, because a run would notice late, or wait for minutes for a server that cannot start.

    served: a running Prefect server holds its own database, which is then not checked. Errors: too little room where
    EBR_HOME lies; a database there that is locked, read-only or broken; an MLflow server that does not answer.
    """
    _refuse_full()
    if not served:
        _refuse_locked(home() / "prefect" / "prefect.db")
    if os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{home() / 'mlflow.db'}":
        _refuse_locked(home() / "mlflow.db")
    elif os.environ["MLFLOW_TRACKING_URI"].startswith("http"):
        _refuse_silent(os.environ["MLFLOW_TRACKING_URI"])


def _refuse_full() -> None:
    """Errors: the disk is full or read-only. The test file has no name, so a killed process leaves none behind."""
    try:
        with TemporaryFile(dir=home()) as file:
            os.posix_fallocate(file.fileno(), 0, LEAST_BYTES)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{home()} cannot be written: {error.strerror}; set EBR_HOME to another folder") from error
        free = shutil.disk_usage(home()).free / 2**20
        raise InputError(
            _full(f"{free:.0f} MB are left where {WHERE}, {home()}, and a run needs 64 at least")
        ) from error


def start_server() -> None:
    """Start Prefect's temporary server unless another is in use.

    Its output goes into a file, because on a full disk it prints thousands of lines. Errors: the server ended, which
    Prefect itself would notice after minutes.
    """
    if "PREFECT_API_URL" in os.environ:
        return
    from prefect.server.api.server import SubprocessASGIServer

    log = home() / "logs" / "temporary-server.log"
    log.parent.mkdir(exist_ok=True)
    server, own_stderr, failed = SubprocessASGIServer(), os.dup(2), list[Exception]()

    def start() -> None:
        try:
            server.start()
        except Exception as error:
            failed.append(error)

    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)  # the server inherits it
    try:
        starting = threading.Thread(target=start, daemon=True)
        starting.start()
        pids: set[int] = set()
        while starting.is_alive() and len(pids) <= TRIES:
            starting.join(0.05)
            pids |= {server.server_process.pid} if server.server_process else set()
    finally:
        os.dup2(own_stderr, 2)
        os.close(own_stderr)
    if failed or len(pids) > TRIES:
        server.stop()
        raise InputError(f"Prefect's temporary server did not start, {log} says why; {GOES_ON}")


def _full(message: str) -> str:
    return f"{message}; {GOES_ON}. Free some, or set EBR_HOME to a larger disk"


def _refuse_locked(path: Path) -> None:
    """Take the writer's lock for a moment. Errors: the database is locked, read-only or broken."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path}: {_about(error)}") from error


def _refuse_silent(mlflow: str) -> None:
    """Errors: the server gives no answer at all; a refusal is an answer."""
    try:
        with suppress(urllib.error.HTTPError), urllib.request.urlopen(mlflow, timeout=LOCKED_S):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise InputError(
            f"the MLflow server at {_address(mlflow)} does not answer ({why}): start it, or unset MLFLOW_TRACKING_URI "
            "to write into EBR_HOME"
        ) from error


def _address(url: str) -> str:
    """The address of a server without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _about(error: sqlite3.DatabaseError) -> str:
    """The meaning of a database's error, and the way out."""
    message = str(error)
    if "locked" in message:
        return f"{message}: another process holds it (fuser tells which); end that, or wait; {GOES_ON}"
    if "readonly" in message or "unable to open" in message:
        return f"{message}: make it and its folder writable; {GOES_ON}"
    if "full" in message:
        return _full(message)
    return (
        f"{message}: move it away, and a new one is made (of earlier runs the artifacts stay, not the pages); {GOES_ON}"
    )


def environment_error(error: BaseException) -> str | None:
    """One line about an error that the environment caused, with the way out; None where the cause is another."""
    for cause in _chain(error):
        message = str(cause)
        if "No space left on device" in message or "disk is full" in message or "Disk quota exceeded" in message:
            return _full(f"no space is left where {WHERE}, {home()}")
        if "Read-only file system" in message:
            return f"{message}; {GOES_ON} once it can be written, or set EBR_HOME to a folder that can"
        for words in ("database is locked", "readonly database", "unable to open database"):
            if words in message:
                return f"a database in {home()}: {_about(sqlite3.OperationalError(words))}"
        if isinstance(cause, sqlite3.OperationalError) and (
            "already exists" in message or "duplicate column" in message
        ):
            return f"{home() / 'mlflow.db'} was left half made: {_about(cause)}"
        if "ephemeral Prefect API server" in message:
            return f"Prefect's temporary server did not start; {home() / 'logs'} says why; {GOES_ON}"
        if type(cause).__module__.startswith(("httpx", "httpcore")) and ("onnect" in type(cause).__name__ + message):
            served = os.environ.get("PREFECT_API_URL")
            whose = f"the Prefect server at {served}" if served else "the run's Prefect server"
            return f"{whose} does not answer any more; {GOES_ON}"
        if type(cause).__module__.startswith(("requests", "urllib3")) and "onnect" in type(cause).__name__ + message:
            mlflow = _address(os.environ["MLFLOW_TRACKING_URI"])
            return f"the MLflow server at {mlflow} does not answer any more; {GOES_ON}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
