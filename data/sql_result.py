"""Run a user's SQL on its own, over the files that were found in it, and keep its result as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from data.damaged import refuse_brotli, unreadable_message
from data.experiment.source_config import LakeSnapshot, LakeTable, PinnedSql, Source, Sql, escape_glob
from data.lakes import write_snapshot
from data.layouts import label_of
from data.pinned_sources import pin_source
from data.reading import match_files
from data.sql_source import ParsedSql, canonical, over_files, parse_sql
from data.statements import identifier, literal, statement
from ebr_core.errors import InputError

_TOO_WIDE = ("HUGEINT", "UHUGEINT")  # Parquet would hold them as floats


def files_of_sql(con: duckdb.DuckDBPyConnection, table: str, sql: Sql) -> dict[str, list[str]]:
    """Path of the statement → the files that it matches, without tables of a lake.

    Raises InputError if there is none, or the SQL is refused.
    """
    return _match(con, table, parse_sql(con, table, sql))


def text_of_sql(con: duckdb.DuckDBPyConnection, table: str, sql: Sql) -> str:
    """The statement as text that depends neither on its layout nor on the places of its files."""
    return canonical(parse_sql(con, table, sql))


def write_result(table: str, sql: Sql, memory_limit: str, folder: Path) -> Path:
    """Write the rows of a user's SQL into a new Parquet file in folder. Returns its path.

    The statement reads the files that were found in it and nothing else, and runs in one thread, so that the same files
    give the same rows in the same order. Raises InputError if a file is missing or the statement fails.
    """
    with closing(duckdb.connect()) as finder:
        parsed = parse_sql(finder, table, sql)
        files = _match(finder, table, parsed) | _write_lakes(table, sql, parsed, folder)
        query = over_files(finder, parsed, files)
        for use in parsed.uses:
            if use.is_parquet:
                refuse_brotli(finder, table, [file for path in use.paths for file in files[path]])
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "threads": "1",
        "temp_directory": str(folder / "spilled"),
        "python_enable_replacements": False,
        "autoinstall_known_extensions": str(parsed.is_remote).lower(),
    }
    out = folder / f"{table}.parquet"
    with closing(duckdb.connect(config=config)) as con, _explained(table, memory_limit):
        _fence(con, [file for found in files.values() for file in found], folder, parsed.is_remote)
        wide = [
            name
            for name, type_, *_ in con.execute(statement("read/columns", reader=f"({query})")).fetchall()
            if type_ in _TOO_WIDE
        ]
        casts = ", ".join(f"CAST({identifier(name)} AS VARCHAR) AS {identifier(name)}" for name in wide)
        casts = f"REPLACE ({casts})" if casts else ""
        con.execute(statement("write/result", casts=casts, query=query, out=literal(str(out))))
    return out


def _match(con: duckdb.DuckDBPyConnection, table: str, parsed: ParsedSql) -> dict[str, list[str]]:
    return {path: match_files(con, f"logs.{table}.sql", path) for path in parsed.paths if path not in parsed.lakes}


def _write_lakes(table: str, sql: Sql, parsed: ParsedSql, folder: Path) -> dict[str, list[str]]:
    """Path of the statement → the file with the rows of that lake table's snapshot, written into folder."""
    pinned = pin_source(table, sql)
    written: dict[str, list[str]] = {}
    for number, path in enumerate(parsed.lakes):
        assert isinstance(pinned, PinnedSql)  # the statement has tables of a lake
        out = folder / f"{table}-lake-{number}.parquet"
        write_snapshot(f"logs.{table}.sql", pinned.lakes[path], out)
        written[path] = [str(out)]
    return written


def _fence(con: duckdb.DuckDBPyConnection, files: list[str], folder: Path, remote: bool) -> None:
    """Let the connection read these files and write into the folder; with a remote path, also use the network."""
    allowed = "[" + ", ".join(literal(name) for file in files for name in (file, escape_glob(file))) + "]"
    con.execute(statement("read/fence", files=allowed, folder=literal(str(folder)), remote=str(remote).lower()))


@contextmanager
def _explained(table: str, memory_limit: str) -> Iterator[None]:
    """Turn DuckDB's errors into InputErrors: the statement is the user's."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise InputError(
            f"logs.{table}.sql needs more memory than logs.memory_limit, {memory_limit}: {error}\n"
            "Raise logs.memory_limit"
        ) from error
    except duckdb.Error as error:
        if "No space left on device" in str(error):
            raise
        message = unreadable_message(table, "", error).splitlines()
        raise InputError(
            "\n".join([f"logs.{table}.sql: {message[0].partition('cannot be read: ')[2]}", *message[1:-1]])
        ) from error


@contextmanager
def read_path(table: str, source: Source, memory_limit: str, folder: Path) -> Iterator[str]:
    """The path of a table's rows: as written, or of the rows of its SQL or lake table, which are written into folder.

    An InputError of the block names the source in place of the file that holds the rows.
    """
    pinned = pin_source(table, source)
    match pinned:
        case str():
            yield pinned
            return
        case Sql():
            rows = write_result(table, pinned, memory_limit, folder)
        case LakeSnapshot():
            rows = folder / f"{table}.parquet"
            write_snapshot(table, pinned, rows)
        case LakeTable():
            raise AssertionError("pin_source leaves none")
    try:
        yield str(rows)
    except InputError as error:
        raise InputError(str(error).replace(str(rows), label_of(table, pinned))) from error
