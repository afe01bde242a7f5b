"""Open the files that a user names as typed DuckDB views, one `read_<table>` for each table, with all its columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

import duckdb

from data.csv_dialects import group_by_dialect
from data.damaged import is_unreadable, refuse_brotli, refuse_no_records, unreadable_message
from data.lakes import ELSEWHERE, lake_kind, refuse_loose, refuse_remote
from data.layouts import TYPES, Columns
from data.renamed_columns import NO_RENAMES, FileColumns, Renames, as_layout, refuse_missing
from data.statements import file_list, identifier, literal, statement
from data.typed_columns import column_sql, read_values, refuse_nested, texts_of_json
from data.user_columns import note_names
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
_FOLDER_COLUMN = re.compile(r"(?:^|(?<=/))([^/=]+)=([^/=]*)/")
_NO_FOLDER_COLUMNS = ", hive_partitioning = false"


def match_files(con: duckdb.DuckDBPyConnection, table: str, path: str) -> list[str]:
    """The files that `path` matches, sorted: one file, the matches of a glob, or a URL as it is.

    Raises InputError if there is none, or one is not a regular file: reading a pipe would wait for ever.
    """
    if "://" in path:
        refuse_remote(con, table, path)
        return [path]
    try:
        if Path(path).is_file():
            refuse_loose(table, [path])
            return [path]
        if kind := lake_kind(path):
            raise InputError(f"{table}: {path} is a table of {kind.capitalize()}, which is read under logs alone")
        if Path(path).is_dir():
            raise InputError(f"{table}: {path} is a folder. Name its files, for example {path.rstrip('/')}/*.parquet")
        files = [row[0] for row in con.execute(statement("read/glob"), [path]).fetchall()]
        if irregular := [file for file in files if not Path(file).is_file()]:
            raise InputError(f"{table}: {irregular[0]} is not a file but a pipe, a device or a broken link. Name files")
        refuse_loose(table, files)
    except OSError as error:
        raise InputError(f"{table}: {path!r} is not a path that can be read ({error}). Correct it") from error
    if not files:
        kind = "no file matches the glob" if any(c in path for c in "*?[") else "there is no file"
        key = table if "." in table else f"logs.{table}"
        raise InputError(f"{table}: {kind} {path}. Correct {key} in the experiment file")
    return files


def open_table(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    required: Columns,
    optional: Columns,
    renames: Renames = NO_RENAMES,
) -> tuple[list[str], int]:
    """Create the view `read_<table>` over `path`. Returns the columns of its files, as written, and its number of rows.

    Raises InputError if a file is missing, damaged or empty, a required column is missing, or a value cannot be read as
    its column's kind.
    """
    files = match_files(con, table, path)
    form = format_of(table, path, files)
    columns = {**required, **optional}
    try:
        if form == "parquet":
            refuse_brotli(con, table, files)
        groups = _group_alike(con, table, form, files, [*columns, *renames.names.values()])
        readers = [_reader(form, group, columns, options) for group, options in groups]
        if all(con.execute(statement("read/first", reader=reader)).fetchone() is None for reader in readers):
            raise InputError(f"{table}: {path} holds no rows. Expected at least one")
        columns_of_groups = [_file_columns(con, table, form, group, options) for group, options in groups]
        names = sorted({name for file_columns in columns_of_groups for name, _ in file_columns.values()})
        if form == "json":
            refuse_no_records(table, path, names, next(iter(required)))
        refuse_missing(table, path, required, names, renames)
        note_unread(con, table, [*columns, *renames.names.values()], names)
        note_names(con, table, renames, names)
        columns_of_groups = [as_layout(renames, file_columns, names, form) for file_columns in columns_of_groups]
        selects = [
            _select(con, table, path, form, group, columns, _with_json_keys(form, file_columns, optional), options)
            for (group, options), file_columns in zip(groups, columns_of_groups, strict=True)
        ]
        _view(con, table, [select for select, _ in selects])
    except duckdb.Error as error:
        if not is_unreadable(error):
            raise
        raise InputError(unreadable_message(table, path, error)) from error
    return names, sum(rows for _, rows in selects)


def open_file(
    con: duckdb.DuckDBPyConnection,
    table: str,
    file: str,
    form: str,
    columns: Columns,
    folder_columns: bool,
    renames: Renames = NO_RENAMES,
) -> tuple[list[str], int]:
    """Create the view `read_<table>` over one file of many. Returns the file's columns and its number of rows.

    The file may lack any column and have no rows, because other files may have them. folder_columns: True if folders
    such as `city=rome` are columns.

    Raises InputError if the file is damaged, or a value cannot be read as its column's kind.
    """
    try:
        if form == "parquet":
            refuse_brotli(con, table, [file])
        [(_, options)] = _group_alike(con, table, form, [file], [*columns, *renames.names.values()])
        options += "" if folder_columns else _NO_FOLDER_COLUMNS
        reader = _reader(form, [file], columns, options)
        file_columns = _file_columns(con, table, form, [file], options)
        names = sorted(name for name, _ in file_columns.values())
        if form == "json" and con.execute(statement("read/first", reader=reader)).fetchone() is None:
            file_columns, names = {}, []
        elif form == "json":
            refuse_no_records(table, file, names, next(iter(columns)))
        file_columns = as_layout(renames, file_columns, names, form)
        select, rows = _select(
            con, table, file, form, [file], columns, _with_json_keys(form, file_columns, columns), options
        )
        _view(con, table, [select])
    except duckdb.Error as error:
        if not is_unreadable(error):
            raise
        raise InputError(unreadable_message(table, file, error)) from error
    return names, rows


def note_unread(con: duckdb.DuckDBPyConnection, table: str, columns: Iterable[str], names: Iterable[str]) -> None:
    """Keep the names of the files' columns that the layout does not read in the table unread_columns."""
    read = {column.lower() for column in columns}
    for name in names:
        if name.lower() not in read:
            con.execute(statement("read/unread_column"), [table, name])


def _view(con: duckdb.DuckDBPyConnection, table: str, selects: list[str]) -> None:
    con.execute(statement("read/view", table=table, selects="\nUNION ALL\n".join(selects)))


def open_absent(con: duckdb.DuckDBPyConnection, table: str, required: Columns, optional: Columns) -> None:
    """Create the view `read_<table>` without rows, for a table that the user does not have."""
    columns = ", ".join(
        f"CAST(NULL AS {TYPES[kind]}) AS {identifier(c)}" for c, kind in {**required, **optional}.items()
    )
    con.execute(statement("read/absent", table=table, columns=columns))


def format_of(table: str, path: str, files: list[str]) -> str:
    """The format of the files: parquet, csv, tsv or json. Raises InputError for any other, or for several."""
    forms = set()
    for file in files:
        name = file.split("?")[0] if "://" in file else file
        suffix = _suffix(name)
        if suffix not in _READERS:
            lake = f". If it is a table of Delta or Iceberg: {ELSEWHERE}" if "://" in file else ""
            raise InputError(
                f"{table}: {file} ends in none of {', '.join('.' + s for s in _READERS)}, with or without .gz or "
                f".zst{lake}"
            )
        forms.add(_READERS[suffix])
    if len(forms) > 1:
        raise InputError(
            f"{table}: {path} matches files of several kinds, {', '.join(sorted(forms))}. Name files of one kind"
        )
    return forms.pop()


def is_table(path: str) -> bool:
    """True if the name of a file says that it is a table: Parquet, CSV or JSON."""
    return _suffix(path) in _READERS


def _suffix(name: str) -> str:
    return name.lower().removesuffix(".gz").removesuffix(".zst").rsplit(".", 1)[-1]


def _reader(form: str, files: list[str], columns: Columns, options: str, json_type: str = "VARCHAR") -> str:
    if form == "json":
        types = "{" + ", ".join(f"{literal(column)}: {literal(json_type)}" for column in columns) + "}"
        return statement("read/json", files=file_list(files), columns=types, options=options)
    return statement("read/csv" if form == "tsv" else f"read/{form}", files=file_list(files), options=options)


def _group_alike(
    con: duckdb.DuckDBPyConnection, table: str, form: str, files: list[str], columns: Collection[str]
) -> list[tuple[list[str], str]]:
    """(files, options of the reader) of each group of files that can be read together."""
    if form in ("csv", "tsv"):
        groups = group_by_dialect(con, table, files, form, columns)
    else:
        groups = [(group, "") for group in _group_by_types(con, form, files, columns)]
    folders = _folder_option([group for group, _ in groups])
    return [(group, options + folders) for group, options in groups]


def _group_by_types(
    con: duckdb.DuckDBPyConnection, form: str, files: list[str], columns: Collection[str]
) -> list[list[str]]:
    """The files in groups of equal types of the columns that are read.

    If a file with the identity 12.0 were read together with one that has '007', 12.0 would become '12.0' and not 12;
    times with a zone and times without one would become times of the machine's zone.
    """
    if form != "parquet" or (len(files) == 1 and "://" not in files[0]):
        return [files]
    exact = [column.lower() for column in columns]
    groups = con.execute(statement("read/alike", files=file_list(files)), [exact]).fetchall()
    return [group for (group,) in groups] if len(groups) > 1 else [files]


def folder_columns_of(file: str) -> dict[str, str]:
    """Lower-case name → value of the columns that the folders of a path give, as `city=rome` does."""
    return {name.lower(): value for name, value in _FOLDER_COLUMN.findall(file)}


def share_folder_columns(files: Iterable[str]) -> bool:
    """True if the folders of all files give columns of the same names, so that DuckDB reads them as columns."""
    return len({tuple(folder_columns_of(file)) for file in files}) == 1


def _folder_option(groups: list[list[str]]) -> str:
    """The reader's option that keeps folders from giving columns to one group of files and not to another."""
    return (
        _NO_FOLDER_COLUMNS
        if len(groups) > 1 and not share_folder_columns(file for group in groups for file in group)
        else ""
    )


def _file_columns(con: duckdb.DuckDBPyConnection, table: str, form: str, files: list[str], options: str) -> FileColumns:
    """Lower-case name → (name as written, DuckDB type)."""
    if form == "json":
        names = con.execute(statement("read/json_names", files=file_list(files), options=options)).fetchall()
        return _by_lower_case(table, files[0], [(name, "VARCHAR") for name, *_ in names])
    described = con.execute(statement("read/columns", reader=_reader(form, files, {}, options))).fetchall()
    return _by_lower_case(table, files[0], [(name, type_) for name, type_, *_ in described])


def _by_lower_case(table: str, file: str, columns: list[tuple[str, str]]) -> FileColumns:
    """The columns by their names in lower case. Raises InputError for two that differ by case alone: DuckDB renames
    those with ASCII letters, such as a to a_1 beside A, and keeps É beside é."""
    by_name: FileColumns = {}
    for name, type_ in columns:
        if name.lower() in by_name:
            other = by_name[name.lower()][0]
            raise InputError(
                f"{table}: {file} has the columns {other!r} and {name!r}, which differ by case alone, and case "
                f"does not count here. Rename one: {{sql: 'SELECT * RENAME ({identifier(name)} AS …) FROM …'}}"
            )
        by_name[name.lower()] = name, type_
    return by_name


def _with_json_keys(form: str, file_columns: FileColumns, columns: Columns) -> FileColumns:
    """The columns of the files; in JSON all other columns too, because a key may first appear after the sample."""
    return {**{name.lower(): (name, "VARCHAR") for name in columns}, **file_columns} if form == "json" else file_columns


def _select(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    form: str,
    files: list[str],
    columns: Columns,
    file_columns: FileColumns,
    options: str,
) -> tuple[str, int]:
    """(SQL that reads the files' columns as their kinds, number of rows)."""
    names = {
        file_columns[column.lower()][0]: kind for column, kind in columns.items() if column.lower() in file_columns
    }
    reader = _reader(form, files, names if form == "json" else columns, options)
    if form == "parquet":
        reader, file_columns = texts_of_json(con, table, path, reader, columns, file_columns)
    values = {
        column: column_sql(con, table, path, column, kind, file_columns.get(column.lower()), reader)
        for column, kind in columns.items()
    }
    present = {
        c: (columns[c], file_columns[c.lower()][0], v) for c, v in values.items() if not v.startswith("CAST(NULL")
    }
    if form == "json":
        as_json = _reader(form, files, names, options, "JSON")
        refuse_nested(con, table, path, (reader, as_json), {c: (kind, name) for c, (kind, name, _) in present.items()})
    rows, read = read_values(con, table, path, reader, present)
    select_list = ", ".join(f"{value} AS {identifier(column)}" for column, value in {**values, **read}.items())
    return statement("read/select", columns=select_list, reader=reader), rows
