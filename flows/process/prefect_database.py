"""Prefect's database in EBR_HOME, copied from an empty one in the user's cache.

Every new home needs the tables, which Prefect takes eight seconds of processor to create.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tasks.home import user_cache


def database() -> Path | None:
    """The file of the database; it need not exist yet. None if the user named another database."""
    named = "PREFECT_API_DATABASE_CONNECTION_URL" in os.environ
    return None if named else Path(os.environ["PREFECT_HOME"]) / "prefect.db"


def empty_database() -> Path:
    """The file with the tables of this version of Prefect, and nothing in them; it need not exist yet."""
    folder = user_cache("databases")
    folder.mkdir(parents=True, exist_ok=True)  # in the home, where the cache cannot be written
    return folder / f"prefect-{importlib.metadata.version('prefect')}.db"


def copy_empty_database() -> None:
    """Copy the empty database to where Prefect expects its own, complete or not at all, unless there is one or none to
    copy."""
    path, empty = database(), empty_database()
    if path is None or path.exists() or not empty.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    shutil.copyfile(empty, unfinished)
    with suppress(FileExistsError):  # another process was faster
        os.link(unfinished, path)
    unfinished.unlink()


async def create_database() -> None:
    """Create the database with its tables, and keep a copy of it while it is empty, unless there is one already."""
    path, empty = database(), empty_database()
    if path is None or path.exists():
        return
    from prefect.server.database import provide_database_interface

    interface = provide_database_interface()
    await interface.create_db()
    await (await interface.engine()).dispose()
    unfinished = empty.with_name(f".{empty.name}-{os.getpid()}")
    with suppress(OSError, sqlite3.OperationalError):  # such as a full disk: the next home creates its own
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as copy:
            source.backup(copy)
        unfinished.replace(empty)
