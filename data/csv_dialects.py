"""The dialect of CSV files: separator and columns by the header, quotes by the whole file and never by a sample of it.

A field may be in quotes, in which a quote is doubled or has a backslash before it; or the file has no quoting, and a
quote is text. A file is read only in a dialect that fits every line.
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from typing import NamedTuple

import duckdb

from data.statements import file_list, literal, statement
from data.swallowed_lines import refuse_swallowed
from ebr_core.errors import InputError

SEPARATORS = ",;|\t"
# No line holds this separator, so a line is one column.
_NO_SEPARATOR = "\x01\x02\x03\x04"
_QUOTED = ('"', '"', True), ('"', "\\", True)
_PLAIN = "", "", True
_MIXED_ENDS = "invalid state"  # how DuckDB words that some lines end in \n and others in \r\n


class Quoting(NamedTuple):
    """How fields are written; a file whose lines end in different ways cannot be read strictly."""

    quote: str
    escape: str
    strict: bool


class _CsvFile(NamedTuple):
    """A file with its header, and counts of its lines, the header aside."""

    table: str
    path: str
    separator: str
    names: tuple[str, ...]
    lines: int  # that are not blank
    blank: int
    with_quotes: int
    mixed: bool  # True if some lines end in \n and others in \r\n


class _Counts(NamedTuple):
    """Counts of the lines of a file."""

    path: str
    lines: int
    blank: int
    with_quotes: int
    mixed: bool = False


def group_by_dialect(
    con: duckdb.DuckDBPyConnection, table: str, files: list[str], form: str, columns: Collection[str]
) -> list[tuple[list[str], str]]:
    """(files, options of DuckDB's reader) of each group of files that are read alike, in the order of the files.

    columns: those that are read; a file may have other columns twice. Raises InputError if a header names one of them
    twice, or a stray quote swallows lines; a DuckDB error that names the line if no dialect fits all lines of a file.
    """
    groups: dict[tuple[str, tuple[str, ...], Quoting], list[str]] = {}
    described = [_describe(con, table, form, columns, counts) for counts in _count_lines(con, files)]
    for file in [file for file in described if file.names] or described[:1]:
        groups.setdefault((file.separator, file.names, _quoting(con, file)), []).append(file.path)
    return [(paths, _options(*dialect)) for dialect, paths in groups.items()]


def _lines(files: list[str], strict: bool = False) -> str:
    """The reader of the lines of files, each as one column. A strict one refuses files whose lines end in two ways."""
    return statement("read/lines", files=file_list(files), separator=literal(_NO_SEPARATOR), strict=str(strict).lower())


def _count_lines(con: duckdb.DuckDBPyConnection, files: list[str]) -> list[_Counts]:
    """The counts of each file, sorted by name; a glob in an address becomes its files."""
    try:
        rows = con.execute(statement("read/count_lines", lines=_lines(files, strict=True))).fetchall()
    except duckdb.InvalidInputException as error:
        if _MIXED_ENDS not in str(error):
            raise
        if len(files) > 1:
            return sorted(counts for file in files for counts in _count_lines(con, [file]))
        rows = con.execute(statement("read/count_lines", lines=_lines(files))).fetchall()
        return sorted(_Counts(*row)._replace(mixed=True) for row in rows)
    empty = {file: _Counts(file, 0, 0, 0) for file in files if "://" not in file}  # files without a line: in no count
    return sorted({**empty, **{row[0]: _Counts(*row) for row in rows}}.values())


def _describe(
    con: duckdb.DuckDBPyConnection, table: str, form: str, columns: Collection[str], counts: _Counts
) -> _CsvFile:
    row = con.execute(statement("read/header", lines=_lines([counts.path]))).fetchone()
    header = row[0] if row else ""
    separators = "\t" if form == "tsv" else SEPARATORS
    separator = max(separators, key=lambda sign: len(_fields(header, sign)))
    names = _unique(table, counts.path, _fields(header, separator) if header else [], columns)
    path, lines, blank, with_quotes, mixed = counts
    return _CsvFile(table, path, separator, names, lines - 1, blank, with_quotes, mixed)


def _fields(header: str, separator: str) -> list[str]:
    return next(csv.reader([header], delimiter=separator), [])


def _unique(table: str, path: str, header: list[str], columns: Collection[str]) -> tuple[str, ...]:
    """The names of a header; a column without a name is called by its place, a name that comes again is numbered."""
    wanted = {column.lower() for column in columns}
    names: list[str] = []
    taken: set[str] = set()
    for i, written in enumerate(header):
        name = written.strip() or f"column{i}"
        if name.lower() in taken and name.lower() in wanted:
            raise InputError(f"{table}: {path} has the column {name!r} twice. Leave one out, or rename it")
        number, unique = 1, name
        while unique.lower() in taken:
            unique, number = f"{name}_{number}", number + 1
        taken.add(unique.lower())
        names.append(unique)
    return tuple(names)


def _quoting(con: duckdb.DuckDBPyConnection, file: _CsvFile) -> Quoting:
    """The quoting that fits every line of the file. Raises a DuckDB error that names a line if none does; InputError if
    a stray quote swallows lines.

    If every line has as many fields as the header when quotes are text, but fewer rows come out when they are not, then
    a stray quote has swallowed lines, and quotes are text.
    """
    if not (file.with_quotes or file.blank or file.mixed):
        return Quoting(*_PLAIN)
    error = None
    for quoting in map(Quoting._make, _QUOTED if file.with_quotes else [_PLAIN]):
        try:
            rows = _count_rows(con, file, quoting)
        except duckdb.InvalidInputException as failure:
            error = error or failure
            continue
        if rows >= file.lines:
            return quoting
        if _irregular(con, file) is None:
            return Quoting(*_PLAIN)
        refuse_swallowed(
            con, file.table, file.path, (file.separator, file.names, quoting.escape), _reader(file, quoting)
        )
        return quoting
    irregular = _irregular(con, file)
    if irregular is None:
        return Quoting("", "", not file.mixed and _MIXED_ENDS not in str(error))
    if file.mixed and not file.with_quotes:
        line, fields = irregular
        raise InputError(
            f"{file.table}: {file.path} cannot be read: the line {line[:100]!r} has {fields} fields, and the header "
            f"has {len(file.names)}. Give every line as many fields as the header"
        )
    assert error is not None
    raise error


def _reader(file: _CsvFile, quoting: Quoting) -> str:
    return statement("read/csv", files=file_list([file.path]), options=_options(file.separator, file.names, quoting))


def _count_rows(con: duckdb.DuckDBPyConnection, file: _CsvFile, quoting: Quoting) -> int:
    row = con.execute(statement("read/check", checks="", odd="", reader=_reader(file, quoting))).fetchone()
    assert row is not None  # an aggregate
    return int(row[0])


def _irregular(con: duckdb.DuckDBPyConnection, file: _CsvFile) -> tuple[str, int] | None:
    """(text, number of fields) of a line with another number of fields than the header, quotes taken as text; None if
    there is none."""
    check = statement("read/irregular", lines=_lines([file.path]), separator=literal(file.separator))
    row = con.execute(check, [len(file.names)]).fetchone()
    return None if row is None else (str(row[0]), int(row[1]))


def _options(separator: str, names: tuple[str, ...], quoting: Quoting) -> str:
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names or ("column0",))
    return (
        f", delim = {literal(separator)}, quote = {literal(quoting.quote)}, escape = {literal(quoting.escape)}, "
        f"strict_mode = {str(quoting.strict).lower()}, columns = {{{columns}}}"
    )
