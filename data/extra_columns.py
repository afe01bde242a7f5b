"""Columns of the user's tables that no layout knows: they are read if an experiment names them as features, and for
conditions, results and slices."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.column_names import side_table
from data.experiment.log_config import LONGEST_ID, AnyFiles, Impressions
from data.experiment.source_config import escape_glob
from data.layouts import LAYOUTS, SIDES, Columns, Kind, sources
from data.reading import open_table
from data.renamed_columns import renames_of
from data.sql_result import read_path
from data.statements import identifier, literal, set_variable, statement
from data.value_types import count_infinite, holds_records, typed_values
from ebr_core.errors import InputError

_NO_TEXT = "not valid UTF8"  # how DuckDB words that bytes are no text
MOST_VALUES = 50  # values of a row: columns with more, such as embeddings, are read only if something names them
AT_ONCE = 8  # columns read at a time, so that memory holds lists of texts of that many


class OwnColumnsOfSide(NamedTuple):
    """Columns of one side that no layout knows."""

    table: pa.Table  # a value for each row of the log, in the type of the column's values
    longest: dict[str, int]  # column → characters of its longest value; above LONGEST_ID it is not in the table
    unread: tuple[str, ...] = ()  # optional columns that are in none of these, because they hold records or bytes
    many: Mapping[str, int] = {}  # optional column that is in none of these → values of a row, above MOST_VALUES
    infinite: Mapping[str, int] = {}  # column of numbers → values that are infinite, and null in the table


def read_columns(logs: AnyFiles, log: Path, names: dict[str, list[str]], folder: Path) -> None:
    """Write `<side>.parquet`: the named columns of "searches" or "documents", a list of texts or null for each row.

    log: the folder of the extracted log, whose rows define the order. Raises InputError if a column is missing, or
    holds texts in place of short values.
    """
    with TemporaryDirectory(prefix=".columns-", dir=folder) as scratch, closing(duckdb.connect()) as con:
        con.execute(statement("read/macros"))
        for side, columns in names.items():
            if columns:
                table, keys = open_side(con, logs, log, side, kinds_of(columns), Path(scratch), "groups name")
                values = _values(con, logs, log, side, columns, table, keys)
                for column in columns:
                    _refuse_long(table, column, values[column])
                    if holds_records(values[column]):
                        _refuse_records(table, column)
                pq.write_table(values, folder / f"{side}.parquet")


def read_own_columns(
    logs: AnyFiles, log: Path, side: str, columns: list[str], folder: Path, optional: Collection[str] = ()
) -> OwnColumnsOfSide:
    """Columns of "searches" or "documents", each in the type of its values (see `data.value_types`).

    log: as for read_columns; folder: of temporary files; optional: columns that no one names, which may be unreadable.
    Raises InputError if another column is missing, or holds records or bytes.
    """
    try:
        return _read_together(logs, log, side, columns, folder, optional)
    except InputError:
        if len(columns) > 1:  # halves find the column in few readings
            middle = len(columns) // 2
            parts = [
                read_own_columns(logs, log, side, part, folder, optional)
                for part in (columns[:middle], columns[middle:])
            ]
            read = {name: part.table[name] for part in parts for name in part.table.column_names}
            longest = {name: characters for part in parts for name, characters in part.longest.items()}
            many, infinite = ({**getattr(parts[0], name), **getattr(parts[1], name)} for name in ("many", "infinite"))
            return OwnColumnsOfSide(pa.table(read), longest, parts[0].unread + parts[1].unread, many, infinite)
        if columns[0] not in optional:
            raise
        return OwnColumnsOfSide(pa.table({}), {}, (columns[0],))


def _read_together(
    logs: AnyFiles, log: Path, side: str, columns: list[str], folder: Path, optional: Collection[str]
) -> OwnColumnsOfSide:
    read: dict[str, pa.Array] = {}
    longest: dict[str, int] = {}
    infinite: dict[str, int] = {}
    unread: list[str] = []
    with TemporaryDirectory(prefix=".columns-", dir=folder) as scratch, closing(duckdb.connect()) as con:
        con.execute(statement("read/macros"))
        table, keys = open_side(con, logs, log, side, kinds_of(columns), Path(scratch), "the experiment names")
        many = _long_lists(con, table, [column for column in columns if column in optional], keys)
        columns = [column for column in columns if column not in many]
        for first in range(0, len(columns), AT_ONCE):
            part = columns[first : first + AT_ONCE]
            values = _values(con, logs, log, side, part, table, keys)
            for column in part:
                if column in optional and (most := _most_values(values[column])) > MOST_VALUES:
                    many[column] = most
                    continue
                if holds_records(values[column]):
                    _refuse_records(table, column, optional)
                    unread.append(column)
                    continue
                longest[column] = _longest(values[column])
                if longest[column] <= LONGEST_ID:
                    read[column] = typed_values(values[column])
                    if not pa.types.is_string(read[column].type) and (count := count_infinite(values[column])):
                        infinite[column] = count
    return OwnColumnsOfSide(pa.table(read), longest, tuple(unread), many, infinite)


def _long_lists(con: duckdb.DuckDBPyConnection, table: str, columns: list[str], keys: Columns) -> dict[str, int]:
    """Column → the values of a row, for those with more than MOST_VALUES in one of the first rows: to read embeddings
    of all documents as texts would take minutes."""
    lists = [column for column in columns if column.lower() not in keys]
    if not lists:
        return {}
    most = ", ".join(f"max(len({identifier(column)}))" for column in lists)
    query = statement("read/list_lengths", most=most, columns=", ".join(map(identifier, lists)), table=table)
    with _texts_expected(table, lists):
        [row] = con.execute(query).fetchall()
    return {column: count for column, count in zip(lists, row, strict=True) if (count or 0) > MOST_VALUES}


def kinds_of(columns: list[str]) -> Columns:
    """The columns as columns of values."""
    return dict.fromkeys(columns, "values")


def open_side(
    con: duckdb.DuckDBPyConnection, logs: AnyFiles, log: Path, side: str, columns: Columns, scratch: Path, who: str
) -> tuple[str, Columns]:
    """(the table of a side, whose view is open with these columns, the columns of its identity). who: names them, for
    messages."""
    table, _, keys = table_of_side(logs, side)
    known, _ = LAYOUTS[logs.layout][table]
    extra: dict[str, Kind] = {column: kind for column, kind in columns.items() if column.lower() not in keys}
    required = {**{key: kind for key, kind in keys.items() if key in known}, **extra}
    try:
        renames = renames_of(logs, table).among(keys)
        with read_path(table, sources(logs)[table], logs.memory_limit, scratch) as path:
            open_table(con, table, path, required, keys, renames)
    except InputError as error:
        raise InputError(f"{who} a column of the {side} that cannot be read. {error}") from error
    if isinstance(logs, Impressions) and side == "searches":
        set_variable(con, "search_gap", logs.search_gap_minutes)
        set_variable(con, "until", json.loads((log / "report.json").read_text(encoding="utf-8"))["until"])
        con.execute(statement("layouts/impression_searches"))
    return table, keys


def _values(
    con: duckdb.DuckDBPyConnection, logs: AnyFiles, log: Path, side: str, columns: list[str], table: str, keys: Columns
) -> pa.Table:
    """A list of texts or null for each row of the log, by column."""
    singular = side.removesuffix("s") if side == "documents" else "search"
    query = statement(
        "write/columns",
        identity=table_of_side(logs, side)[1],
        columns=", ".join(f"{literal(column)}: min({_as_list(column, keys)})" for column in columns),
        names=", ".join(f"given.own.{identifier(column)} AS {identifier(column)}" for column in columns),
        table=rows_of_side(logs, side, table),
        log=literal(escape_glob(str(log / f"{side}.parquet"))),
        id=f"{singular}_id",
        row=f"{singular}_row",
    )
    with _texts_expected(table, columns):
        return con.sql(query).to_arrow_table()


@contextmanager
def _texts_expected(table: str, columns: list[str]) -> Iterator[None]:
    """Raises InputError if what is read inside finds bytes that are no text."""
    try:
        yield
    except duckdb.InvalidInputException as error:
        if _NO_TEXT not in str(error):
            raise
        raise InputError(
            f"{table}: one of the columns {', '.join(columns)} holds bytes that are no text in UTF-8. Expected texts, "
            "numbers, or lists of them"
        ) from error


def _most_values(values: pa.ChunkedArray) -> int:
    return int(pc.max(pc.list_value_length(values)).as_py() or 0)


def _refuse_records(table: str, column: str, optional: Collection[str] = ()) -> None:
    """Raise InputError for a column of records, unless it is optional."""
    if column not in optional:
        raise InputError(
            f"{table}: column {column!r} holds records, as in {{…}}. Expected text, a number, or a list of them; take "
            "a field of it by SQL (docs/layouts.md)"
        )


def rows_of_side(logs: AnyFiles, side: str, table: str) -> str:
    """The view, without `read_`, of the rows of a side's table with its identities: in impressions those of searches
    are derived."""
    return "searched" if isinstance(logs, Impressions) and side == "searches" else table


def _longest(values: pa.ChunkedArray) -> int:
    return int(pc.max(pc.utf8_length(pc.list_flatten(values))).as_py() or 0)


def _refuse_long(table: str, column: str, values: pa.ChunkedArray) -> None:
    """Raise InputError if a column holds a text of more than LONGEST_ID characters."""
    if (longest := _longest(values)) > LONGEST_ID:
        raise InputError(
            f"{table}: column {column!r} holds a value of {longest:,} characters. Expected at most {LONGEST_ID:,}: "
            "short values are read here, not texts"
        )


def table_of_side(logs: AnyFiles, side: str) -> tuple[str, str, Columns]:
    """The table with the columns of a side, its identity in SQL, and the columns that this is made of."""
    if side == "documents" and side_table(logs, side) == "impressions":
        return "impressions", "document_id", {"document_id": "id"}
    return SIDES[logs.layout][side]


def _as_list(column: str, keys: Columns) -> str:
    """The SQL of a column's values as a list: key columns, which rows are joined by, hold a single value."""
    return f"[{identifier(column)}]" if column.lower() in keys else identifier(column)
