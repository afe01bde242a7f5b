"""Quoted fields of CSV files that swallow rows: a stray quote begins one, and the next quote, lines later, ends it."""

from __future__ import annotations

import duckdb

from data.statements import file_list, identifier, literal, statement
from ebr_core.errors import InputError


def refuse_swallowed(
    con: duckdb.DuckDBPyConnection, table: str, path: str, dialect: tuple[str, tuple[str, ...], str], reader: str
) -> None:
    """Raises InputError, which names the lines, if a field over several lines consists of lines that are rows.

    A line counts as a row if it has as many separators as the header, no blank behind the first, and if its first value
    has the form of values of the first column. A text of several lines seldom looks so. A file in which most of these
    texts look otherwise is refused only for a field of more than ten lines. dialect: (separator, names of the columns,
    sign before a quote in a field). reader: the SQL that reads the file with quotes.
    """
    separator, names, escape = dialect
    if len(names) < 2:
        return
    con.execute(statement("read/swallowed_macros"))
    broken = [f"contains({identifier(name)}, chr({sign}))" for name in names for sign in (10, 13)]
    fields = [f"{{'place': {place}, 'field': {identifier(name)}}}" for place, name in enumerate(names)]
    row = con.execute(
        statement(
            "read/swallowed",
            fields=", ".join(fields),
            any_broken=f"coalesce({' OR '.join(broken)}, false)",
            reader=reader,
            separator=literal(separator),
            others=str(len(names) - 1),
            first=identifier(names[0]),
        )
    ).fetchone()
    if row is None:
        return
    start = _line_of(con, path, '"' + row[0].replace('"', f'{escape}"'))
    where = f"lines {start} to {start + row[1]} are" if start else f"{row[1] + 1} lines are"
    raise InputError(
        f"{table}: {path} cannot be read: {where} one field in quotes, which begins {row[0][:60]!r}, and each of them "
        "looks like a row. Is a quote there that should be text? Put its field in quotes and write the quote twice, or "
        "write the file as Parquet"
    )


def _line_of(con: duckdb.DuckDBPyConnection, path: str, end: str) -> int | None:
    """The number of the first line that ends with a text; None where lines end in two ways: they cannot be counted."""
    lines = statement("read/lines", files=file_list([path]), separator=literal("\x01\x02\x03\x04"), strict="true")
    try:
        row = con.execute(statement("read/line_number", lines=lines), [end]).fetchone()
    except duckdb.InvalidInputException:
        return None
    return None if row is None else int(row[0])
