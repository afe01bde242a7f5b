"""Logs whose split is a column of the searches, or that carry no times."""

from __future__ import annotations

import duckdb

from data.experiment.log_config import AnyFiles, Split, Tables
from data.layouts import Columns, labels, tables_of
from data.statements import identifier, set_variable, single_row, statement
from ebr_core.errors import InputError

TIMES = ("searches", "searched_at")  # the table and the column of times
PARTS = ("train", "validation", "test")
_MOST_LISTED = 10  # values that a message lists


def columns_for(logs: AnyFiles, split: Split) -> dict[str, tuple[Columns, Columns]]:
    """Table → (required columns, optional columns): those of the layout, with the column of `split.by`; times are
    optional if no split by time needs them.

    Raises InputError if the layout has no searches table, of which `split.by` is a column.
    """
    columns = tables_of(logs)
    if split.by and not isinstance(logs, Tables):
        raise InputError(
            f"split.by: the layout is {logs.layout}. Only searches of the layout tables have such a column"
        )
    if not isinstance(logs, Tables) or not (split.by or split.kind == "random"):
        return columns
    table, time = TIMES
    required, optional = columns[table]
    by: Columns = {split.by: "label"} if split.by and split.by.lower() not in {*required, *optional} else {}
    untimed = {name: kind for name, kind in required.items() if name != time}
    return columns | {table: ({**untimed, **by}, {time: "time", **optional})}


def open_untimed(con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split) -> None:
    """Give every search the part that its column holds. If no search has a time, all have the same instant, each is a
    session by itself, and dates of documents and edges do not count.

    Raises InputError if the column holds anything but parts, or searches without times are to be left out by time.
    """
    if not isinstance(logs, Tables) or not (split.by or split.kind == "random"):
        return
    untimed = not single_row(con, "read/has_times")[0]
    set_variable(con, "untimed", untimed)
    if not (untimed or split.by):
        return
    if untimed:
        if split.until or split.without:
            raise InputError(
                "split: until and without leave out searches by their time, but no search of "
                f"{labels(logs)['searches']} has one. Leave them out"
            )
        set_variable(con, "first_time", None)
        con.execute(statement("read/undated"))
    part = f"part_of({identifier(split.by)})" if split.by else "CAST(NULL AS VARCHAR)"
    time = "TIMESTAMP '1970-01-01'" if untimed else TIMES[1]
    con.execute(statement("read/split_by", time=time, part=part))
    if split.by:
        _refuse_other_parts(con, logs, split.by)


def _refuse_other_parts(con: duckdb.DuckDBPyConnection, logs: Tables, column: str) -> None:
    path = labels(logs)["searches"]
    parts = dict(con.execute(statement("read/parts")).fetchall())
    if unknown := [part for part in parts if part not in PARTS]:
        listed = unknown[:_MOST_LISTED]
        got = ", ".join(f"{'nothing' if part is None else repr(part)} in {parts[part]:,} rows" for part in listed)
        got += f" and {len(unknown) - len(listed):,} other values" if len(unknown) > len(listed) else ""
        raise InputError(f"searches: {path}: column {column!r}, the split, holds {got}. Expected {', '.join(PARTS)}")
    if missing := [part for part in PARTS if part not in parts]:
        raise InputError(
            f"searches: {path}: column {column!r}, the split, never holds {' or '.join(missing)}. Expected "
            f"each of {', '.join(PARTS)}"
        )
