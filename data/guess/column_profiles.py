"""What the columns of some files look like: counts of the kinds of values that each holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import groupby, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb

from data.damaged import is_unreadable, unreadable_message
from data.experiment.source_config import LakeTable
from data.lakes import lake_kind, pin_table, write_snapshot
from data.reading import format_of, match_files
from data.statements import file_list, identifier, statement
from ebr_core.errors import InputError

SAMPLE_ROWS = 200_000
_SEPARATORS = (">", "|", "/", ";", ",")  # as in guess/profile.sql
_NEARLY_ALL = 0.95


class Profile(NamedTuple):
    """Counts over the sampled values of a column."""

    type: str  # of DuckDB; text for every column of a CSV file
    rows: int
    filled: int
    distinct: int
    spaced: int  # texts with a space
    times: int
    numbers: int
    wholes: int
    flags: int  # 0, 1, true or false
    low: float | None
    high: float | None
    separated: tuple[int, ...]  # texts with each of the separators

    def nearly_all(self, count: int) -> bool:
        """True if a count is at least 95 % of the filled values."""
        return self.filled > 0 and count >= _NEARLY_ALL * self.filled

    @property
    def is_flat(self) -> bool:
        """True for single values, false for lists and records."""
        return not self.type.endswith("]") and not self.type.startswith(("STRUCT", "MAP"))

    @property
    def is_epoch(self) -> bool:
        """True for whole numbers that look like instants since 1970: the years 2000 to 2100, in any unit."""
        if not self.nearly_all(self.wholes) or self.low is None or self.high is None:
            return False
        return any(self.low * unit >= 9.4e14 and self.high * unit <= 4.2e15 for unit in (1e6, 1e3, 1, 1e-3))

    @property
    def separator(self) -> str | None:
        """The sign that divides most texts, as in Shoes > Running; None if there is none."""
        most = max(self.separated)
        return _SEPARATORS[self.separated.index(most)] if most >= 0.5 * max(self.filled, 1) else None


class GivenTable(NamedTuple):
    """Files with the same columns, as one table."""

    name: str  # of the DuckDB table with its sample
    path: str  # a file or a glob that matches exactly these files
    form: str  # parquet, csv, tsv or json
    columns: dict[str, Profile]

    @property
    def rows(self) -> int:
        """The number of sampled rows."""
        return next(iter(self.columns.values())).rows


def read_tables(con: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> list[GivenTable]:
    """A table for each group of files with the same columns, sampled into the connection.

    paths: files, globs, URLs or folders of a lake's tables. Raises InputError if one is missing, cannot be read or is
    of no known kind, or if no glob matches exactly the files of a table.
    """
    con.execute(statement("read/macros"))
    lakes = [path for path in paths if lake_kind(path)]
    files = dict.fromkeys(file for path in paths if path not in lakes for file in _given_files(con, path))
    alike = sorted((_signature(con, file), file) for file in files)
    tables = []
    for number, (signature, group) in enumerate(groupby(alike, key=lambda entry: entry[0])):
        members = [file for _, file in group]
        path = _common_path(con, members, paths)
        tables.append(_sampled(con, f"given_{number}", path, signature[0], members))
    return [*tables, *(_lake_table(con, f"lake_{number}", path) for number, path in enumerate(lakes))]


def _sampled(con: duckdb.DuckDBPyConnection, name: str, path: str, form: str, files: list[str]) -> GivenTable:
    """The table of some files, sampled into the connection under a name."""
    con.execute(statement("guess/sample", table=name, reader=_reader(form, files), rows=str(SAMPLE_ROWS)))
    return GivenTable(
        name, path, form, {column: _profile(con, name, column, type_) for column, type_ in _columns(con, name)}
    )


def _lake_table(con: duckdb.DuckDBPyConnection, name: str, path: str) -> GivenTable:
    """The table of a lake in a folder, as it is now."""
    with TemporaryDirectory() as folder:
        rows = Path(folder, "rows.parquet")
        write_snapshot("ebr init", pin_table("ebr init", LakeTable(table=path)), rows)
        return _sampled(con, name, path, "parquet", [str(rows)])


def _signature(con: duckdb.DuckDBPyConnection, file: str) -> tuple[str, tuple[str, ...]]:
    """(format, columns) of a file: files that agree in them are one table."""
    form = format_of("ebr init", file, [file])
    try:
        described = con.execute(statement("read/columns", reader=_reader(form, [file]))).fetchall()
    except duckdb.Error as error:
        if not is_unreadable(error):
            raise
        raise InputError(unreadable_message("ebr init", file, error)) from error
    return form, tuple(sorted(row[0] for row in described))


def _reader(form: str, files: list[str]) -> str:
    name = {"parquet": "read/parquet", "json": "guess/json"}.get(form, "guess/csv")
    return statement(name, files=file_list(files), **({"options": ""} if form == "parquet" else {}))


def _columns(con: duckdb.DuckDBPyConnection, table: str) -> list[tuple[str, str]]:
    return con.execute(statement("guess/columns"), [table]).fetchall()


def _profile(con: duckdb.DuckDBPyConnection, table: str, column: str, type_: str) -> Profile:
    row = con.execute(statement("guess/profile", table=table, column=identifier(column))).fetchone()
    assert row is not None  # an aggregate without groups returns one row
    counts: dict[str, Any] = dict(zip(Profile._fields[1:], [*row[:-1], tuple(row[-1])], strict=True))
    return Profile(type=type_, **counts)


def _common_path(con: duckdb.DuckDBPyConnection, files: list[str], given: Sequence[str]) -> str:
    """The only file, or a glob that matches exactly these files: as given, all of a folder, or all below one."""
    if len(files) == 1:
        return files[0]
    start, suffix = _common_start(files), Path(files[0]).suffix
    folder = os.path.dirname(start)
    for glob in (*given, f"{folder}/*{suffix}", f"{start}*{suffix}", f"{folder}/**/*{suffix}"):
        if any(sign in glob for sign in "*?[") and _matches(con, glob) == sorted(files):
            return glob
    raise InputError(
        f"ebr init: {files[0]} and {len(files) - 1} more files have the same columns, and no glob matches them alone. "
        "Put them into a folder of their own, or give a glob in quotes"
    )


def _given_files(con: duckdb.DuckDBPyConnection, path: str) -> list[str]:
    try:
        return match_files(con, "ebr init", path)
    except InputError as error:  # no experiment file names this path yet
        raise InputError(f"{str(error).partition('. Correct')[0]}. Give files, or globs in quotes") from error


def _matches(con: duckdb.DuckDBPyConnection, glob: str) -> list[str]:
    try:
        return match_files(con, "ebr init", glob)
    except InputError:
        return []


def _common_start(texts: list[str]) -> str:
    columns = takewhile(lambda signs: len(set(signs)) == 1, zip(*texts, strict=False))
    return "".join(signs[0] for signs in columns)
