"""What the logs are by content, so that an unchanged log is not extracted twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import duckdb

from data.damaged import is_unreadable, unreadable
from data.experiment.log_config import Beir, Esci, Tables, Ubi
from data.file_digests import DigestCache, digest_of
from data.layouts import paths
from data.reading import matched
from data.statements import statement
from ebr_core.errors import InputError


def fingerprint(
    logs: Tables | Ubi | Esci | Beir, known: DigestCache | None = None, without: Collection[str] = ()
) -> dict[str, str]:
    """Each path of the logs, as written, → the SHA-256 of what it stands for; but for those of the tables without.

    Local files: names and contents in the order of the names, names relative to the folder that they share, so a moved
    folder keeps its fingerprint. URLs: name, size and time of change, since reading them would be a download.
    known: digests of files that need not be taken again; new ones are added.

    Raises InputError where a file is missing or cannot be read.
    """
    known = {} if known is None else known
    wanted = {table: path for table, path in paths(logs).items() if table not in without}
    with closing(duckdb.connect()) as con:
        return {path: _digest(con, table, path, known) for table, path in wanted.items()}


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


def _digest(con: duckdb.DuckDBPyConnection, table: str, path: str, known: DigestCache) -> str:
    digest = hashlib.sha256()
    try:
        files = matched(con, table, path)
        if "://" in path:
            for row in con.execute(statement("read/remote"), [path]).fetchall():
                digest.update(repr(row).encode())
            return digest.hexdigest()
        folder = os.path.commonpath([str(Path(file).parent) for file in files])
        for file in files:
            digest.update(f"{os.path.relpath(file, folder)}\0{digest_of(Path(file), known).digest}\0".encode())
    except (duckdb.Error, OSError) as error:
        if not isinstance(error, OSError) and not is_unreadable(error):
            raise
        raise InputError(unreadable(table, path, error)) from error
    return digest.hexdigest()
