"""From the files that a user names to one typed DuckDB view a table, `read_<table>`, with all columns of the layout."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from contextlib import closing
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from string import Template

import duckdb

from data.layouts import EXPECTED, TYPES, Columns, Kind
from data.logs import itself
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
_WHOLE = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
)
_PLAIN_TIMES = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE")
# Readings that cannot fail need no look at the values.
_SAFE = (
    "text_from_",
    "id_from_any",
    "time_from_plain",
    "time_from_zoned",
    "flag_from_boolean",
    "object_from_nested",
    "list_from_nested",
    "values_from_",
)
# What a damaged, vanished or oversized file makes DuckDB say, beside a plain Error: what reads Parquet, or what stands
# between here and a file far away, is told as that. Any other kind of error is a mistake of ours.
UNREADABLE = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.HTTPException,
    duckdb.SerializationException,
)
# Where DuckDB's message turns to its own options, and the lines that recommend one.
_ASIDE = re.compile(r"\n\nLINE |\n\n  file = |\nThe search space used was|\nPossible fixes|\n\nFor more info")
_OPTIONS = ("Possible Solution", "Try increasing")
_PLACE = re.compile(r"(?:^|(?<=/))([^/=]+)=([^/=]*)/")
_NO_PLACES = ", hive_partitioning = false"
_LONGEST_LINE = 300
_LONGEST_HEADER = 100_000


def statement(name: str, /, **values: str) -> str:
    """The text of `data/sql/<name>.sql` with each $name replaced; values are quoted by whoever gives them."""
    text = resources.files("data").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(values) if values else text


def literal(text: str) -> str:
    """`text` as an SQL string: no quote in a path can end it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


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
            _refuse_no_records(table, path, names, next(iter(required)))
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
            _refuse_no_records(table, file, names, next(iter(columns)))
        select, rows = _select(con, table, file, form, [file], columns, _looked_up(form, found, columns), options)
        _view(con, table, [select])
    except duckdb.Error as error:
        if not is_unreadable(error):
            raise
        raise InputError(unreadable(table, file, error)) from error
    return names, rows


def _view(con: duckdb.DuckDBPyConnection, table: str, selects: list[str]) -> None:
    con.execute(statement("read/view", table=table, selects="\nUNION ALL\n".join(selects)))


def refuse_brotli_file(path: Path) -> None:
    """Raises InputError where a Parquet file that is no log is compressed by Brotli, or is none."""
    with closing(duckdb.connect()) as con:
        try:
            refuse_brotli(con, "queries", [str(path)])
        except duckdb.Error as error:
            raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def open_absent(con: duckdb.DuckDBPyConnection, table: str, required: Columns, optional: Columns) -> None:
    """Creates the view `read_<table>` without rows, for a table that the user does not have."""
    columns = ", ".join(
        f"CAST(NULL AS {TYPES[kind]}) AS {identifier(c)}" for c, kind in {**required, **optional}.items()
    )
    con.execute(statement("read/absent", table=table, columns=columns))


def is_unreadable(error: Exception) -> bool:
    """Whether an error of DuckDB is about the files that it reads, and not a mistake of ours."""
    if "No space left on device" in str(error):
        return False  # nothing is wrong with what was read
    return isinstance(error, UNREADABLE) or type(error) is duckdb.Error


def unreadable(table: str, path: str, error: Exception) -> str:
    """The message for a file that DuckDB could not read: its first line says what and where, the last the way out.

    Options that nobody can set here are left out, and long lines are cut: a damaged file may have one of megabytes.
    """
    said = _ASIDE.split(str(error).strip())[0]
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.strip().startswith(_OPTIONS)]
    cut = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …" for line in lines]
    way_out = "Write the file again, or leave it out of the glob"
    if "://" in path:
        way_out = (
            "Check the address, the access, and that DuckDB's httpfs extension can be installed; or copy the file here"
        )
    elif "not utf-8 encoded" in said:
        way_out = "Save it as UTF-8"
    elif "Expected Number of Columns" in said:
        way_out = "Give every line as many fields as the header has, in quotes where they hold the separator"
    elif "maximum_object_size" in said or "Maximum line size" in said:
        way_out = "Shorten its longest text (a line of CSV has at most 2 MB, a record of JSON 16 MB), or bring Parquet"
    return "\n".join([f"{table}: {path} cannot be read: {cut[0] if cut else type(error).__name__}", *cut[1:], way_out])


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


def listed(files: list[str]) -> str:
    """The files as a list of SQL, each as it is and no glob; a URL may be one."""
    return "[" + ", ".join(literal(file if "://" in file else itself(file)) for file in files) + "]"


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
        _refuse_ragged(con, reader, files)
    if form == "parquet":
        refuse_brotli(con, table, files)


def refuse_brotli(con: duckdb.DuckDBPyConnection, table: str, files: list[str]) -> None:
    """Raises InputError where a Parquet file is compressed by Brotli: readers have a hole there (docs/security.md)."""
    found = con.execute(statement("read/brotli", files=listed(files))).fetchone()
    if found is not None:
        raise InputError(
            f"{table}: {found[0]} is compressed by Brotli, and a crafted Brotli stream can write where it must not in "
            "the libraries that would read it (CVE-2026-111497). Write it again with compression zstd or snappy"
        )


def _looked_up(form: str, found: dict[str, tuple[str, str]], others: Columns) -> dict[str, tuple[str, str]]:
    """What is found, and in JSON the other columns: a key may come up for the first time after the sample."""
    return {**{name.lower(): (name, "VARCHAR") for name in others}, **found} if form == "json" else found


def _refuse_no_records(table: str, path: str, names: list[str], example: str) -> None:
    if names == ["json"]:  # DuckDB's name for what is no record
        raise InputError(
            f'{table}: {path} holds something else than records. Expected one a line, such as {{"{example}": …}}'
        )


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
        column: _value(con, table, path, column, kind, found.get(column.lower()), reader)
        for column, kind in wanted.items()
    }
    read = {c: (wanted[c], found[c.lower()][0], v) for c, v in values.items() if not v.startswith("CAST(NULL")}
    rows = _count(con, table, path, reader, read)
    columns = ", ".join(f"{value} AS {identifier(column)}" for column, value in values.items())
    return statement("read/select", columns=columns, reader=reader), rows


def _refuse_ragged(con: duckdb.DuckDBPyConnection, reader: str, files: list[str]) -> None:
    """Makes DuckDB name the line that has more or fewer fields than the header.

    By itself it then takes whole lines for the only field, or gives up on the file without saying where.
    """
    try:
        described = con.execute(statement("read/columns", reader=reader)).fetchall()
    except UNREADABLE:
        described = []
    if len(described) > 1 or "://" in files[0] or files[0].endswith((".gz", ".zst")):
        return
    try:
        with Path(files[0]).open(encoding="utf-8", newline="") as lines:
            header = lines.readline(_LONGEST_HEADER)
    except UnicodeDecodeError:
        return  # which DuckDB says itself
    between = max(",;|\t", key=header.count)
    names = list(dict.fromkeys(name.strip() for name in next(csv.reader([header], delimiter=between), [])))
    if len(names) > 1:
        columns = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names) + "}"
        told = statement("read/ragged", files=listed(files[:1]), between=literal(between), columns=columns)
        con.execute(told).fetchall()


def refuse_missing(table: str, path: str, required: Columns, names: list[str]) -> None:
    lowered = {name.lower(): name for name in names}
    for column in required:
        if column.lower() not in lowered:
            near = get_close_matches(column.lower(), lowered, n=1, cutoff=0.5)
            hint = f" Is {lowered[near[0]]!r} the one? Then rename it to {column!r}." if near else ""
            raise InputError(
                f"{table}: {path} has no column {column!r}. It has {', '.join(names)}. "
                f"Expected {', '.join(required)}.{hint}"
            )


def _family(kind: Kind, type_: str) -> str | None:
    """The suffix of the macro that reads a column of this DuckDB type as `kind`; None where there is none."""
    text = type_ in ("VARCHAR", "JSON", "UUID") or type_.startswith("ENUM")
    fraction = type_ in ("FLOAT", "REAL", "DOUBLE") or type_.startswith("DECIMAL")
    nested = type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION"))
    number = "number" if fraction or type_ in _WHOLE else None
    as_text = "text" if text else None
    match kind:
        case "text":
            return None if nested or type_ == "BLOB" else "any"
        case "id":
            return "float" if fraction else "any" if text or number else None
        case "time":
            zoned = "zoned" if type_ == "TIMESTAMP WITH TIME ZONE" else as_text
            return "plain" if type_ in _PLAIN_TIMES else zoned
        case "flag":
            return "boolean" if type_ == "BOOLEAN" else number or as_text
        case "whole" | "number":
            return number or as_text
        case "object":
            return "nested" if type_.startswith(("STRUCT", "MAP")) else as_text
        case "list":
            return "nested" if type_.endswith("]") else as_text
        case "type":
            return as_text
        case "values":
            return "nested" if type_.endswith("]") else None if nested or type_ == "BLOB" else "any"


def _value(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    column: str,
    kind: Kind,
    found: tuple[str, str] | None,
    reader: str,
) -> str:
    """The SQL that reads `column` as `kind`, null where the file has no such column, or none of its values."""
    if found is None or found[1] == '"NULL"':
        return f"CAST(NULL AS {TYPES[kind]})"
    name, type_ = found
    family = _family(kind, type_)
    if family is not None:
        return f"{kind}_from_{family}({identifier(name)})"
    checks = f"unread({identifier(name)}, NULL)"
    row = con.execute(statement("read/check", checks=checks, reader=reader)).fetchone()
    if row is not None and row[1] == [None]:  # a column without values may have been written as any type
        return f"CAST(NULL AS {TYPES[kind]})"
    raise InputError(f"{table}: {path}: column {column!r} is of type {type_}. Expected {EXPECTED[kind]}")


def _count(
    con: duckdb.DuckDBPyConnection, table: str, path: str, reader: str, read: dict[str, tuple[Kind, str, str]]
) -> int:
    """The rows of the table, once every value of it is known to be readable; `read`: column → (kind, name, SQL)."""
    fallible = {c: r for c, r in read.items() if not r[2].startswith(_SAFE)}
    checks = ", ".join(f"unread({identifier(name)}, {value})" for _, name, value in fallible.values())
    row = con.execute(statement("read/check", checks=checks, reader=reader)).fetchone()
    assert row is not None  # an aggregate without groups has one row
    for (column, (kind, _, _)), examples in zip(fallible.items(), row[1], strict=True):
        if examples:
            got = ", ".join(repr(example) for example in examples)
            raise InputError(f"{table}: {path}: column {column!r} holds {got}. Expected {EXPECTED[kind]}")
    return int(row[0])
