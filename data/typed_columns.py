"""Read a column of a file as the kind that its layout expects."""

from __future__ import annotations

import duckdb

from data.layouts import EXPECTED, TYPES, Kind
from data.statements import identifier, statement
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


_PLAIN_TIMES = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE")


# Prefixes of the macros that cannot fail, so that their values need no check.
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


def _family(kind: Kind, type_: str) -> str | None:
    """The suffix of the macro that reads a column of this DuckDB type as `kind`; None if there is no such macro."""
    text = type_ in ("VARCHAR", "JSON", "UUID") or type_.startswith("ENUM")
    fraction = type_ in ("FLOAT", "REAL", "DOUBLE") or type_.startswith("DECIMAL")
    nested = type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION"))
    number = "number" if fraction or type_ in _WHOLE else None
    as_written = "written" if fraction and type_ != "DOUBLE" else number
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
        case "whole":
            return number or as_text
        case "number":
            return as_written or as_text
        case "object":
            return "nested" if type_.startswith(("STRUCT", "MAP")) else as_text
        case "list":
            return "nested" if type_.endswith("]") else as_text
        case "type":
            return as_text
        case "values":
            return "nested" if type_.endswith("]") else None if nested or type_ == "BLOB" else "any"


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
        return f"{kind}_from_{family}({identifier(name)})"
    checks = f"unread({identifier(name)}, NULL)"
    row = con.execute(statement("read/check", checks=checks, reader=reader)).fetchone()
    if row is not None and row[1] == [None]:  # a column without values may have any type
        return f"CAST(NULL AS {TYPES[kind]})"
    raise InputError(f"{table}: {path}: column {column!r} is of type {type_}. Expected {EXPECTED[kind]}")


def count_rows(
    con: duckdb.DuckDBPyConnection, table: str, path: str, reader: str, columns: dict[str, tuple[Kind, str, str]]
) -> int:
    """The number of rows of the table. columns: column → (kind, name, SQL).

    Raises InputError if a value cannot be read as its column's kind.
    """
    fallible = {c: r for c, r in columns.items() if not r[2].startswith(_SAFE)}
    checks = ", ".join(f"unread({identifier(name)}, {value})" for _, name, value in fallible.values())
    row = con.execute(statement("read/check", checks=checks, reader=reader)).fetchone()
    assert row is not None  # an aggregate without groups returns one row
    for (column, (kind, _, _)), examples in zip(fallible.items(), row[1], strict=True):
        if examples:
            got = ", ".join(repr(example) for example in examples)
            raise InputError(f"{table}: {path}: column {column!r} holds {got}. Expected {EXPECTED[kind]}")
    return int(row[0])
