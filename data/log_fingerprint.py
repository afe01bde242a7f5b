"""Digests of the logs' contents, so that unchanged logs are not extracted twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import duckdb

from data.damaged import is_unreadable, unreadable_message
from data.experiment.log_config import AnyFiles
from data.experiment.source_config import LakeSnapshot, PinnedSql, Source, Sql
from data.file_digests import DigestCache, digest_of
from data.lakes import digest_snapshot
from data.layouts import sources
from data.pinned_sources import pin_source
from data.reading import folder_columns_of, match_files
from data.sql_result import files_of_sql, text_of_sql
from data.statements import statement
from ebr_core.errors import InputError


def fingerprint(
    logs: AnyFiles, cache: DigestCache | None = None, skipped_tables: Collection[str] = ()
) -> dict[str, str]:
    """Table → SHA-256 of its files (of a lake table: and its snapshot) and, if an SQL statement reads them, of that;
    skipped tables are left out.

    Local files: names and contents in the order of the names. Names are relative to the folder that the files share, so
    a moved folder keeps its fingerprint. URLs: name, size and time of change, because contents would be a download.
    cache: digests of files that are known already; new ones are added.

    Raises InputError if a file is missing or cannot be read.
    """
    cache = {} if cache is None else cache
    read = {table: source for table, source in sources(logs).items() if table not in skipped_tables}
    return {table: digest_source(table, source, cache) for table, source in read.items()}


def digest_source(table: str, source: Source, cache: DigestCache) -> str:
    """SHA-256 of a table's files, as `fingerprint` computes it. Raises InputError as that does."""
    source = pin_source(table, source)
    if isinstance(source, str):
        return digest_files(table, source, cache)
    if isinstance(source, LakeSnapshot):
        return digest_snapshot(table, source, cache)
    assert isinstance(source, Sql), "pin_source leaves no other source"
    with closing(duckdb.connect()) as con:
        digest = hashlib.sha256(text_of_sql(con, table, source).encode())
        for snapshot in source.lakes.values() if isinstance(source, PinnedSql) else ():
            digest.update(digest_snapshot(f"logs.{table}.sql", snapshot, cache).encode())
        for path, files in files_of_sql(con, table, source).items():
            digest.update(repr([folder_columns_of(file) for file in files]).encode())
            digest.update(_digest(con, f"logs.{table}.sql", path, cache).encode())
    return digest.hexdigest()


def digest_files(table: str, path: str, cache: DigestCache) -> str:
    """SHA-256 of the files that a path matches, as `fingerprint` computes it. Raises InputError as that does."""
    with closing(duckdb.connect()) as con:
        return _digest(con, table, path, cache)


def refuse_absent(logs: AnyFiles | None, lists: Mapping[str, str] | None = None) -> None:
    """Raises InputError, which names all such paths, if a path of the logs or of the user's lists matches no file.

    This check is quick, so that it can run before anything else starts.
    """
    problems = []
    with closing(duckdb.connect()) as con:
        matches: list[Callable[[], object]] = []
        matches += [partial(_match, con, table, source) for table, source in (sources(logs) if logs else {}).items()]
        matches += [partial(match_files, con, f"lists.{name}", path) for name, path in (lists or {}).items()]
        for match in matches:
            try:
                match()
            except InputError as error:
                problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))


def _match(con: duckdb.DuckDBPyConnection, table: str, source: Source) -> None:
    pinned = pin_source(table, source)
    if isinstance(pinned, str):
        match_files(con, table, pinned)
    elif isinstance(pinned, Sql):
        files_of_sql(con, table, pinned)


def _digest(con: duckdb.DuckDBPyConnection, table: str, path: str, cache: DigestCache) -> str:
    digest = hashlib.sha256()
    try:
        files = match_files(con, table, path)
        if "://" in path:
            for row in con.execute(statement("read/remote"), [path]).fetchall():
                digest.update(repr(row).encode())
            return digest.hexdigest()
        folder = os.path.commonpath([str(Path(file).parent) for file in files])
        for file in files:
            digest.update(f"{os.path.relpath(file, folder)}\0{digest_of(Path(file), cache).digest}\0".encode())
    except (duckdb.Error, OSError) as error:
        if not isinstance(error, OSError) and not is_unreadable(error):
            raise
        raise InputError(unreadable_message(table, path, error)) from error
    return digest.hexdigest()
