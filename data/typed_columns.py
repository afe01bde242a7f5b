"""Read a column of a file as the kind that its layout expects."""

from __future__ import annotations

import re

import duckdb

from data.layouts import EXPECTED, TYPES, Columns, Kind
from data.statements import identifier, statement
from data.user_columns import shown_name
from ebr_core.errors import InputError

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


_SHORT = tuple(name for name in _WHOLE if name not in ("HUGEINT", "UBIGINT", "UHUGEINT"))  # that a BIGINT holds
_LAST_DIMENSION = re.compile(r"\[\d*\]$")
_PLAIN_TIMES = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE")


_ZONED_TIMES = {"TIMESTAMP WITH TIME ZONE": "zoned", "TIMESTAMPTZ_NS": "zoned_ns"}


# Prefixes of the macros that cannot fail, so that their values need no check.
_SAFE = (
    "text_from_",
    "label_from_",
    "id_from_any",
    "time_from_plain",
    "whole_from_integer",
    "time_from_zoned",
    "flag_from_boolean",
    "object_from_nested",
    "list_from_nested",
    "values_from_",
    "vector_from_nested",
)


def _family(kind: Kind, type_: str) -> str | None:
    """The suffix of the macro that reads a column of this DuckDB type as `kind`; None if there is no such macro."""
    text = type_ in ("VARCHAR", "JSON", "UUID") or type_.startswith("ENUM")
    fraction = type_ in ("FLOAT", "REAL", "DOUBLE") or type_.startswith("DECIMAL")
    nested = type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION"))
    number = "number" if fraction or type_ in _WHOLE else None
    as_written = "written" if fraction and type_ != "DOUBLE" else number
    as_text = "text" if text else None
    match kind:
        case "text" | "label":
            return None if nested or type_ == "BLOB" else "any"
        case "id":
            as_number = "decimal" if type_.startswith("DECIMAL") else "double" if type_ == "DOUBLE" else "single"
            return as_number if fraction else as_text or ("any" if number else None)
        case "time":
            counted = "number" if type_ in _WHOLE else "fraction" if fraction else as_text
            return "plain" if type_ in _PLAIN_TIMES else _ZONED_TIMES.get(type_, counted)
        case "flag":
            return "boolean" if type_ == "BOOLEAN" else number or as_text
        case "whole":
            return "integer" if type_ in _SHORT else number or as_text
        case "number":
            return as_written or as_text
        case "object":
            return "nested" if type_.startswith(("STRUCT", "MAP")) else as_text
        case "list":
            return "nested" if type_.endswith("]") else as_text
        case "type":
            return as_text
        case "values":
            of_one = _LAST_DIMENSION.sub("", type_)  # the type of a list's values
            if of_one.endswith("]") or of_one.startswith(("STRUCT", "MAP", "UNION", "BLOB")):
                return None
            return "nested" if type_.endswith("]") else "any"
        case "vector":
            return "nested" if type_.endswith("]") else as_text


# Kinds of single values → the types of JSON that are none.
_SINGLE: dict[Kind, str] = {
    "text": "['OBJECT', 'ARRAY']",
    "label": "['OBJECT', 'ARRAY']",
    "id": "['OBJECT', 'ARRAY']",
    "values": "['OBJECT']",
}


def column_sql(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    column: str,
    kind: Kind,
    file_column: tuple[str, str] | None,
    reader: str,
) -> str:
    """The SQL that reads `column` as `kind`; null if the file has no such column, or the column has no values.

    file_column: (name as written, DuckDB type). Raises InputError if values of this type cannot be read as `kind`.
    """
    if file_column is None or file_column[1] == '"NULL"':
        return f"CAST(NULL AS {TYPES[kind]})"
    name, type_ = file_column
    family = _family(kind, type_)
    if family is not None:
        value = f"CAST({identifier(name)} AS VARCHAR)" if type_.startswith("ENUM") else identifier(name)
        return f"{kind}_from_{family}({value})"
    checks = f"unread({identifier(name)}, NULL)"
    row = con.execute(statement("read/check", checks=checks, odd="", reader=reader)).fetchone()
    if row is not None and row[1] == [None]:  # a column without values may have any type
        return f"CAST(NULL AS {TYPES[kind]})"
    raise InputError(
        f"{table}: {path}: column {shown_name(column, name)} is of type {type_}. Expected {EXPECTED[kind]}"
    )


def read_values(
    con: duckdb.DuckDBPyConnection, table: str, path: str, reader: str, columns: dict[str, tuple[Kind, str, str]]
) -> tuple[int, dict[str, str]]:
    """(number of rows of the table, column → the SQL that reads it). columns: column → (kind, name, SQL).

    Identities and labels that all mean what they say are read as they are, which takes less time. Texts that mean null
    are counted in the table null_texts. Raises InputError if a value cannot be read as its column's kind.
    """
    fallible = {c: r for c, r in columns.items() if not r[2].startswith((*_SAFE, "id_from_text"))}
    named = {c: r for c, r in columns.items() if r[2].startswith(("id_from_text", "label_from_"))}
    checks = [f"unread({identifier(name)}, {value})" for _, name, value in fallible.values()]
    odd = [
        f"coalesce(bool_or(odd_{kind}(CAST({identifier(name)} AS VARCHAR))), false)" for kind, name, _ in named.values()
    ]
    check = statement("read/check", checks=", ".join(checks), odd=", ".join(odd), reader=reader)
    row = con.execute(check).fetchone()
    assert row is not None  # an aggregate without groups returns one row
    rows, unread, has_odd = row
    _refuse_unread(table, path, fallible, unread)
    plain = {column for column, some in zip(named, has_odd, strict=True) if not some}
    _count_nulls(con, table, path, reader, {c: r for c, r in named.items() if c not in plain})
    return int(rows), {
        column: f"{'id' if kind == 'id' else 'text'}_from_any({identifier(name)})" if column in plain else value
        for column, (kind, name, value) in columns.items()
    }


def _refuse_unread(table: str, path: str, columns: dict[str, tuple[Kind, str, str]], unread: list[list[str]]) -> None:
    for (column, (kind, name, _)), examples in zip(columns.items(), unread, strict=True):
        if examples:
            got = ", ".join(repr(example) for example in examples)
            raise InputError(
                f"{table}: {path}: column {shown_name(column, name)} holds {got}. Expected {EXPECTED[kind]}"
            )


def _count_nulls(
    con: duckdb.DuckDBPyConnection, table: str, path: str, reader: str, columns: dict[str, tuple[Kind, str, str]]
) -> None:
    """Insert the texts of these columns that mean null into null_texts. Raises InputError for identities that have lost
    digits."""
    if not columns:
        return
    ids = {column: row for column, row in columns.items() if row[0] == "id"}
    checks = ", ".join(f"unread({identifier(name)}, {value})" for _, name, value in ids.values())
    nulls = ", ".join(f"null_texts({identifier(name)}, {value})" for _, name, value in columns.values())
    row = con.execute(statement("read/nulls", checks=checks, nulls=nulls, reader=reader)).fetchone()
    assert row is not None
    _refuse_unread(table, path, ids, row[0])
    for column, texts in zip(columns, row[1], strict=True):
        if texts["rows"]:
            con.execute(statement("read/null_text"), [table, column, texts["text"], texts["rows"]])


def refuse_nested(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    readers: tuple[str, str],
    columns: dict[str, tuple[Kind, str]],
) -> None:
    """Raises InputError if a column of JSON holds records or lists where its kind is a text or an identity.

    readers: the reader whose columns are texts, and the one whose columns are JSON. columns: column → (kind, name).
    """
    single = {column: row for column, row in columns.items() if row[0] in _SINGLE}
    looks = ", ".join(f"looks_nested({identifier(name)})" for _, name in single.values())
    row = con.execute(statement("read/looks", checks=looks, reader=readers[0])).fetchone()
    assert row is not None
    suspected = {column: r for (column, r), nested in zip(single.items(), row[0], strict=True) if nested}
    if not suspected:
        return
    checks = ", ".join(f"nested({identifier(name)}, {_SINGLE[kind]})" for kind, name in suspected.values())
    examples = con.execute(statement("read/looks", checks=checks, reader=readers[1])).fetchone()
    for (column, (kind, name)), example in zip(suspected.items(), examples[0] if examples else (), strict=True):
        if example is not None:
            raise InputError(
                f"{table}: {path}: column {shown_name(column, name)} holds {example}, a record or a list. Expected "
                f"{EXPECTED[kind]}"
            )


def texts_of_json(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    reader: str,
    columns: Columns,
    file_columns: dict[str, tuple[str, str]],
) -> tuple[str, dict[str, tuple[str, str]]]:
    """(the reader, the columns of the files), in which columns of DuckDB's type JSON are the texts that they hold, but
    for those that are read as records or lists.

    file_columns: column in lower case → (name as written, DuckDB type). Raises InputError as `refuse_nested`.
    """
    written = {
        column.lower(): (kind, file_columns[column.lower()][0])
        for column, kind in columns.items()
        if file_columns.get(column.lower(), ("", ""))[1] == "JSON" and kind not in ("object", "list")
    }
    if not written:
        return reader, file_columns
    names = dict.fromkeys(identifier(name) for _, name in written.values())
    texts = statement(
        "read/json_texts", texts=", ".join(f"text_of_json({name}) AS {name}" for name in names), reader=reader
    )
    refuse_nested(con, table, path, (texts, reader), written)
    return texts, {**file_columns, **{column: (name, "VARCHAR") for column, (_, name) in written.items()}}
