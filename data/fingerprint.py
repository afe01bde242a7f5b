"""What the logs are by content, so that an unchanged log is not extracted twice."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from pathlib import Path

import duckdb

from data.layouts import paths
from data.logs import Beir, Esci, Tables, Ubi
from data.reading import is_unreadable, matched, statement, unreadable
from ebr_core.config import InputError

_CHUNK_BYTES = 1 << 20


def fingerprint(logs: Tables | Ubi | Esci | Beir) -> dict[str, str]:
    """Each path of the logs, as written, → the SHA-256 of what it stands for.

    Local files: names and contents in the order of the names, names relative to the folder that they share, so a moved
    folder keeps its fingerprint. URLs: name, size and time of change, since reading them would be a download.

    Raises InputError where a file is missing or cannot be read.
    """
    with closing(duckdb.connect()) as con:
        return {path: _digest(con, table, path) for table, path in paths(logs).items()}


def refuse_absent(logs: Tables | Ubi | Esci | Beir) -> None:
    """Raises InputError where a path of the logs stands for no file: what can be said at once, before anything starts.

    All such paths are named together.
    """
    problems = []
    with closing(duckdb.connect()) as con:
        for table, path in paths(logs).items():
            try:
                matched(con, table, path)
            except InputError as error:
                problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))


def _digest(con: duckdb.DuckDBPyConnection, table: str, path: str) -> str:
    digest = hashlib.sha256()
    try:
        files = matched(con, table, path)
        if "://" in path:
            for row in con.execute(statement("read/remote"), [path]).fetchall():
                digest.update(repr(row).encode())
            return digest.hexdigest()
        folder = os.path.commonpath([str(Path(file).parent) for file in files])
        for file in files:
            digest.update(f"{os.path.relpath(file, folder)}\0{Path(file).stat().st_size}\0".encode())
            _feed(digest, Path(file))
    except (duckdb.Error, OSError) as error:
        if not isinstance(error, OSError) and not is_unreadable(error):
            raise
        raise InputError(unreadable(table, path, error)) from error
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, file: Path) -> None:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
