"""Documents as rows of PostgreSQL: the types of their columns, and a binary COPY."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Identifier

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from tasks.engines.search_engine import VECTOR

LONGEST_NAME = 63  # bytes of a column's name


def column_types(schema: pa.Schema) -> dict[str, str]:
    """Column → its type in PostgreSQL. Raises InputError for a column that has none, or too long a name."""
    return {field.name: _column_type(field) for field in schema}


def _column_type(field: pa.Field) -> str:
    if len(field.name.encode()) > LONGEST_NAME:
        raise InputError(
            f"pgvector: {field.name!r} is longer than the {LONGEST_NAME} bytes of a column's name there; leave it out "
            "of --show"
        )
    if field.name == VECTOR:
        return f"vector({field.type.list_size})"
    if pa.types.is_list(field.type):
        return f"{_scalar_type(field.name, field.type.value_type)}[]"
    return _scalar_type(field.name, field.type)


def _scalar_type(name: str, kind: pa.DataType) -> str:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "bigint"
    if pa.types.is_floating(kind):
        return "double precision"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    raise InputError(f"pgvector: the column {name!r} has the type {kind}, which is not written; leave it out of --show")


def copy_rows(cursor: psycopg.Cursor[Any], table: Identifier, documents: pa.Table) -> None:
    """Add the rows of documents to a table."""
    types = column_types(documents.schema)
    columns = [
        _vectors(documents[name]) if name == VECTOR else documents[name].to_pylist() for name in documents.column_names
    ]
    names = SQL(", ").join(map(Identifier, documents.column_names))
    with cursor.copy(SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, names)) as copy:
        # A vector's own binary form is passed as bytes, so no type has to be registered.
        copy.set_types(["bytea" if name == VECTOR else kind for name, kind in types.items()])
        for row in zip(*columns, strict=True):
            copy.write_row(row)


def _vectors(column: pa.ChunkedArray) -> list[bytes]:
    """Vectors in pgvector's binary form: dimensions, two unused bytes, big-endian floats."""
    d = column.type.list_size
    vectors: Float32 = column.combine_chunks().flatten().to_numpy().reshape(-1, d)
    header = struct.pack(">hh", d, 0)
    return [header + row.tobytes() for row in vectors.astype(np.dtype(">f4"))]
