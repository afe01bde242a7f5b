"""What of its surroundings can stop a run: a full or read-only disk, a locked database, a Prefect or MLflow server that
went away. Each is told in one line; what was finished is kept."""

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

from ebr_core.config import InputError
from tasks.home import home

LEAST = 64 * 2**20  # bytes: the databases and the smallest of runs
LOCKED_S = 10.0
GOES_ON = "what is finished is kept, and the same command goes on"
TRIES = 2  # Prefect takes a server that cannot start for one whose port is taken, and starts others for ever
WHERE = "EBR_HOME lies"


def refuse_unusable(served: bool) -> None:
    """Errors: too little room where EBR_HOME lies, a database there that is locked, read-only or broken, or an MLflow
    server that does not answer. Else a run would find out late, or wait for minutes for a server that cannot start.

    served: Prefect's database is a running server's affair.
    """
    _refuse_full()
    if not served:
        _refuse_locked(home() / "prefect" / "prefect.db")
    if os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{home() / 'mlflow.db'}":
        _refuse_locked(home() / "mlflow.db")
    elif os.environ["MLFLOW_TRACKING_URI"].startswith("http"):
        _refuse_silent(os.environ["MLFLOW_TRACKING_URI"])


def _refuse_full() -> None:
    """Asks the disk for as much, in a file without a name, which a killed process does not leave behind."""
    try:
        with TemporaryFile(dir=home()) as file:
            os.posix_fallocate(file.fileno(), 0, LEAST)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{home()} cannot be written: {error.strerror}; set EBR_HOME to another folder") from error
        free = shutil.disk_usage(home()).free / 2**20
        raise InputError(
            _full(f"{free:.0f} MB are left where {WHERE}, {home()}, and a run needs 64 at least")
        ) from error


def start_server() -> None:
    """Starts Prefect's temporary server where no other is used. What it says goes into a file: with a disk full it says
    thousands of lines. Errors: it ended, which Prefect itself would notice after minutes."""
    if "PREFECT_API_URL" in os.environ:
        return
    from prefect.server.api.server import SubprocessASGIServer

    log = home() / "logs" / "temporary-server.log"
    log.parent.mkdir(exist_ok=True)
    server, ours, failed = SubprocessASGIServer(), os.dup(2), list[Exception]()

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
        tried: set[int] = set()
        while starting.is_alive() and len(tried) <= TRIES:
            starting.join(0.05)
            tried |= {server.server_process.pid} if server.server_process else set()
    finally:
        os.dup2(ours, 2)
        os.close(ours)
    if failed or len(tried) > TRIES:
        server.stop()
        raise InputError(f"Prefect's temporary server did not start, {log} says why; {GOES_ON}")


def _full(told: str) -> str:
    return f"{told}; {GOES_ON}. Free some, or set EBR_HOME to a larger disk"


def _refuse_locked(path: Path) -> None:
    """Takes the writer's lock for a moment."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path}: {_about(error)}") from error


def _refuse_silent(mlflow: str) -> None:
    """Asks for any answer, a refusal included."""
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
    """Where a server listens, without a user or a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _about(error: sqlite3.DatabaseError) -> str:
    """What a database's error means, and the way out."""
    told = str(error)
    if "locked" in told:
        return f"{told}: another process holds it (fuser tells which); end that, or wait; {GOES_ON}"
    if "readonly" in told or "unable to open" in told:
        return f"{told}: make it and its folder writable; {GOES_ON}"
    if "full" in told:
        return _full(told)
    return f"{told}: move it away, and a new one is made (of earlier runs the artifacts stay, not the pages); {GOES_ON}"


def mishap(error: BaseException) -> str | None:
    """What stopped a run in one line where it lies in its surroundings; None where it does not."""
    for one in _chain(error):
        told = str(one)
        if "No space left on device" in told or "disk is full" in told or "Disk quota exceeded" in told:
            return _full(f"no space is left where {WHERE}, {home()}")
        if "Read-only file system" in told:
            return f"{told}; {GOES_ON} once it can be written, or set EBR_HOME to a folder that can"
        for words in ("database is locked", "readonly database", "unable to open database"):
            if words in told:
                return f"a database in {home()}: {_about(sqlite3.OperationalError(words))}"
        if isinstance(one, sqlite3.OperationalError) and ("already exists" in told or "duplicate column" in told):
            return f"{home() / 'mlflow.db'} was left half made: {_about(one)}"
        if "ephemeral Prefect API server" in told:
            return f"Prefect's temporary server did not start; {home() / 'logs'} says why; {GOES_ON}"
        if type(one).__module__.startswith(("httpx", "httpcore")) and ("onnect" in type(one).__name__ + told):
            served = os.environ.get("PREFECT_API_URL")
            whose = f"the Prefect server at {served}" if served else "the run's Prefect server"
            return f"{whose} does not answer any more; {GOES_ON}"
        if type(one).__module__.startswith(("requests", "urllib3")) and "onnect" in type(one).__name__ + told:
            mlflow = _address(os.environ["MLFLOW_TRACKING_URI"])
            return f"the MLflow server at {mlflow} does not answer any more; {GOES_ON}"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
