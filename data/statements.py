"""The SQL of data/sql, with values put into it."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import Any

import duckdb

from data.experiment.source_config import escape_glob


def statement(name: str, /, **values: str) -> str:
    """The text of `data/sql/<name>.sql` with each $name replaced. Callers quote the values."""
    text = resources.files("data").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(values) if values else text


def literal(text: str) -> str:
    """`text` as an SQL string, with quotes escaped."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def file_list(files: list[str]) -> str:
    """The files as an SQL list. Local names are escaped so that they match themselves alone; a URL may be a glob."""
    return "[" + ", ".join(literal(file if "://" in file else escape_glob(file)) for file in files) + "]"


def set_variable(con: duckdb.DuckDBPyConnection, name: str, value: object) -> None:
    """Set a variable of the connection."""
    con.execute(statement("read/set", name=name), [value])


def single_row(con: duckdb.DuckDBPyConnection, name: str, /, **values: str) -> tuple[Any, ...]:
    """The only row of the result of a statement, with each $name in it replaced."""
    (row,) = con.execute(statement(name, **values)).fetchall()  # to the end, or the connection is not free
    return tuple(row)
