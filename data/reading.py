"""From the files that a user names to one typed DuckDB view a table, `read_<table>`, with all columns of the layout."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import duckdb

from data.damaged import is_unreadable, refuse_brotli, refuse_missing, refuse_no_records, refuse_ragged, unreadable
from data.layouts import TYPES, Columns
from data.statements import identifier, listed, literal, statement
from data.typed_columns import column_value, count_rows
from ebr_core.errors import InputError

_READERS = {
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "tsv",
    "json": "json",
    "ndjson": "json",
    "jsonl": "json",
}
_PLACE = re.compile(r"(?:^|(?<=/))([^/=]+)=([^/=]*)/")
_NO_PLACES = ", hive_partitioning = false"


def matched(con: duckdb.DuckDBPyConnection, table: str, path: str) -> list[str]:
    """The files that `path` stands for, sorted: one file, the matches of a glob, or a URL as it is.

    Raises InputError where there is none, or something that is no file: reading a pipe would wait for ever.
    """
    if "://" in path:
        return [path]
    try:
        if Path(path).is_file():
            return [path]
        if Path(path).is_dir():
            raise InputError(f"{table}: {path} is a folder. Name its files, for example {path.rstrip('/')}/*.parquet")
        files = [row[0] for row in con.execute(statement("read/glob"), [path]).fetchall()]
        if other := [file for file in files if not Path(file).is_file()]:
            raise InputError(f"{table}: {other[0]} is no file but a pipe, a device or a link to nothing. Name files")
    except OSError as error:
        raise InputError(f"{table}: {path!r} is not a path that can be read ({error})") from error
    if not files:
        kind = "no file matches the glob" if any(c in path for c in "*?[") else "there is no file"
        raise InputError(f"{table}: {kind} {path}. Correct logs.{table} in the experiment file")
    return files


def open_table(con: duckdb.DuckDBPyConnection, table: str, path: str, required: Columns, optional: Columns) -> int:
    """Creates the view `read_<table>` over `path` and returns its number of rows.

    Raises InputError where the file is missing, damaged or empty, a required column is missing, or a value cannot be
    read as what its column should hold.
    """
    files = matched(con, table, path)
    form = form_of(table, path, files)
    wanted = {**required, **optional}
    try:
        groups = _of_one_type(con, form, files, wanted)
        options = _no_places(groups)
        readers = [_reader(form, group, wanted, options) for group in groups]
        _refuse_unsound(con, table, form, readers[0], files)
        if all(con.execute(statement("read/first", reader=reader)).fetchone() is None for reader in readers):
            raise InputError(f"{table}: {path} holds no rows. Expected at least one")
        found = [_found(con, form, group, options) for group in groups]
        names = sorted({name for its in found for name, _ in its.values()})
        if form == "json":
            refuse_no_records(table, path, names, next(iter(required)))
        refuse_missing(table, path, required, names)
        opened = [
            _select(con, table, path, form, group, wanted, _looked_up(form, its, optional), options)
            for group, its in zip(groups, found, strict=True)
        ]
        _view(con, table, [select for select, _ in opened])
    except duckdb.Error as error:
        if not is_unreadable(error):
            raise
        raise InputError(unreadable(table, path, error)) from error
    return sum(rows for _, rows in opened)


def open_file(
    con: duckdb.DuckDBPyConnection, table: str, file: str, form: str, columns: Columns, placed: bool
) -> tuple[list[str], int]:
    """Creates the view `read_<table>` over one file of many; the columns that the file has, and its number of rows.

    It may lack any column, and be without rows, since others may have them. placed: whether folders such as `city=rome`
    are columns. Raises InputError where the file is damaged, or a value cannot be read as what its column should hold.
    """
    options = "" if placed else _NO_PLACES
    try:
        reader = _reader(form, [file], columns, options)
        _refuse_unsound(con, table, form, reader, [file])
        found = _found(con, form, [file], options)
        names = sorted(name for name, _ in found.values())
        if form == "json" and con.execute(statement("read/first", reader=reader)).fetchone() is None:
            found, names = {}, []
        elif form == "json":
            refuse_no_records(table, file, names, next(iter(columns)))
        select, rows = _select(con, table, file, form, [file], columns, _looked_up(form, found, columns), options)
        _view(con, table, [select])
    except duckdb.Error as error:
        if not is_unreadable(error):
            raise
        raise InputError(unreadable(table, file, error)) from error
    return names, rows


def _view(con: duckdb.DuckDBPyConnection, table: str, selects: list[str]) -> None:
    con.execute(statement("read/view", table=table, selects="\nUNION ALL\n".join(selects)))


def open_absent(con: duckdb.DuckDBPyConnection, table: str, required: Columns, optional: Columns) -> None:
    """Creates the view `read_<table>` without rows, for a table that the user does not have."""
    columns = ", ".join(
        f"CAST(NULL AS {TYPES[kind]}) AS {identifier(c)}" for c, kind in {**required, **optional}.items()
    )
    con.execute(statement("read/absent", table=table, columns=columns))


def form_of(table: str, path: str, files: list[str]) -> str:
    """How the files are read: parquet, csv, tsv or json. Raises InputError where they are of several kinds, or none."""
    forms = set()
    for file in files:
        name = file.split("?")[0] if "://" in file else file
        suffix = name.lower().removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[-1]
        if suffix not in _READERS:
            raise InputError(
                f"{table}: {file} ends in none of {', '.join('.' + s for s in _READERS)} (or .gz after them)"
            )
        forms.add(_READERS[suffix])
    if len(forms) > 1:
        raise InputError(f"{table}: {path} matches files of several kinds, {', '.join(sorted(forms))}. Name one kind")
    return forms.pop()


def _reader(form: str, files: list[str], wanted: Columns, options: str) -> str:
    if form == "json":
        columns = "{" + ", ".join(f"{literal(column)}: 'VARCHAR'" for column in wanted) + "}"
        return statement("read/json", files=listed(files), columns=columns, options=options)
    return statement(f"read/{form}", files=listed(files), options=options)


def _of_one_type(con: duckdb.DuckDBPyConnection, form: str, files: list[str], wanted: Columns) -> list[list[str]]:
    """The files, by the types of their identities and texts: read together, 12.0 in one of them would become '12.0'
    where another has '007', and no longer be the identity 12."""
    if form != "parquet" or (len(files) == 1 and "://" not in files[0]):
        return [files]
    exact = [column.lower() for column, kind in wanted.items() if kind in ("id", "text")]
    groups = con.execute(statement("read/alike", files=listed(files)), [exact]).fetchall()
    return [group for (group,) in groups] if len(groups) > 1 else [files]


def places_of(file: str) -> dict[str, str]:
    """What the folders of a path say as `city=rome` does: name in lower case → value."""
    return {name.lower(): value for name, value in _PLACE.findall(file)}


def one_place(files: Iterable[str]) -> bool:
    """Whether the folders of all files say something of the same names, so that DuckDB takes it for columns."""
    return len({tuple(places_of(file)) for file in files}) == 1


def _no_places(groups: list[list[str]]) -> str:
    """What keeps a group of files from having columns that all files together have not."""
    return _NO_PLACES if len(groups) > 1 and not one_place(file for group in groups for file in group) else ""


def _found(con: duckdb.DuckDBPyConnection, form: str, files: list[str], options: str) -> dict[str, tuple[str, str]]:
    """Lower-case name → (name as written, DuckDB type)."""
    if form == "json":
        names = con.execute(statement("read/json_names", files=listed(files), options=options)).fetchall()
        return {name.lower(): (name, "VARCHAR") for name, *_ in names}
    described = con.execute(statement("read/columns", reader=_reader(form, files, {}, options))).fetchall()
    return {row[0].lower(): (row[0], row[1]) for row in described}


def _refuse_unsound(con: duckdb.DuckDBPyConnection, table: str, form: str, reader: str, files: list[str]) -> None:
    """Raises InputError, or an error of DuckDB with the place, before rows are read that would be read wrongly."""
    if form == "csv":
        refuse_ragged(con, reader, files)
    if form == "parquet":
        refuse_brotli(con, table, files)


def _looked_up(form: str, found: dict[str, tuple[str, str]], others: Columns) -> dict[str, tuple[str, str]]:
    """What is found, and in JSON the other columns: a key may come up for the first time after the sample."""
    return {**{name.lower(): (name, "VARCHAR") for name in others}, **found} if form == "json" else found


def _select(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    form: str,
    files: list[str],
    wanted: Columns,
    found: dict[str, tuple[str, str]],
    options: str,
) -> tuple[str, int]:
    """The SQL that reads the files' columns as what they should hold, and the number of rows."""
    names = {found[column.lower()][0]: kind for column, kind in wanted.items() if column.lower() in found}
    reader = _reader(form, files, names if form == "json" else wanted, options)
    values = {
        column: column_value(con, table, path, column, kind, found.get(column.lower()), reader)
        for column, kind in wanted.items()
    }
    read = {c: (wanted[c], found[c.lower()][0], v) for c, v in values.items() if not v.startswith("CAST(NULL")}
    rows = count_rows(con, table, path, reader, read)
    columns = ", ".join(f"{value} AS {identifier(column)}" for column, value in values.items())
    return statement("read/select", columns=columns, reader=reader), rows
