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


def in_user_words(con: duckdb.DuckDBPyConnection, layout: str, table: str, text: str) -> str:
    """A sentence about a table, raw or of the user, with the user's names before those of the layout.

    Replaced are columns that stand by themselves; in longer sentences, where `query` may be a word, write
    `searches.query`.
    """
    tables = [table, *SOURCES.get(layout, {}).get(table, ())]
    named = dict(con.execute(statement("report/user_columns"), [tables]).fetchall())
    if not named:
        return text
    columns = "|".join(map(re.escape, sorted(named, key=len, reverse=True)))
    return re.sub(rf"(?<![\w.])({columns})(?!\w)", lambda found: f"{named[found[1]]} ({found[1]})", text)
