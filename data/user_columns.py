"""Columns in messages and reports: under the names that they have in the user's files."""

from __future__ import annotations

import re
from collections.abc import Collection

import duckdb

from data.renamed_columns import Renames
from data.statements import statement

# The user's tables behind the raw tables, where they have other names.
SOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "ubi": {"searches": ("queries",), "results": ("queries", "events")},
    "impressions": {
        "searches": ("impressions",),
        "results": ("impressions",),
        "documents": ("documents",),
    },
    "esci": {"searches": ("examples",), "results": ("examples",), "documents": ("products",)},
    "beir": {
        "searches": ("queries",),
        "results": ("train_qrels", "validation_qrels", "test_qrels"),
        "documents": ("corpus",),
    },
}


def shown_name(column: str, name: str) -> str:
    """A column of a layout in messages: its name in the files, the layout's behind it in brackets if it is another."""
    return repr(column) if name.lower() == column.lower() else f"{name!r} ({column})"


def note_names(con: duckdb.DuckDBPyConnection, table: str, renames: Renames, names: Collection[str]) -> None:
    """Keep the names that the columns of a user's table have in its files. names: all columns of the files."""
    present = {name.lower() for name in names}
    for column, name in renames.names.items():
        if name.lower() in present and name.lower() != column.lower():
            con.execute(statement("read/user_column"), [table, column, name])


def user_name(con: duckdb.DuckDBPyConnection, layout: str, table: str, column: str) -> str:
    """A column of a table, raw or of the user, under the user's name, the layout's behind it if it is another."""
    name = _names(con, layout, table).get(column)
    return f"{name} ({column})" if name else column


def in_user_words(con: duckdb.DuckDBPyConnection, layout: str, table: str, text: str) -> str:
    """A sentence about a table, raw or of the user, with its columns under the user's names.

    A column that may be a word, such as query or clicked, counts as one only before "is" and "or".
    """
    named = _names(con, layout, table)
    if not named:
        return text
    words = [name if "_" in name else rf"{name}(?= is | or )" for name in sorted(named, key=len, reverse=True)]
    return re.sub(
        rf"(?<![\w.])({'|'.join(words)})(?!\w)", lambda found: user_name(con, layout, table, str(found[1])), text
    )


def _names(con: duckdb.DuckDBPyConnection, layout: str, table: str) -> dict[str, str]:
    tables = [table, *SOURCES.get(layout, {}).get(table, ())]
    return dict(con.execute(statement("report/user_columns"), [tables]).fetchall())
