"""Drop and count the rows of a log that cannot be used, and refuse the log if that would lose too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from data.experiment.log_config import AnyFiles, Beir, Esci, Ubi, weights_of
from data.judged_grades import refuse_unreached
from data.layouts import labels
from data.statements import set_variable, single_row, statement
from data.user_columns import SOURCES, in_user_words, user_name
from data.weighted_actions import listed_actions
from ebr_core.errors import InputError

_BLANK, _UNCLICKED = "query is blank", "clicked is missing"
MOST_LISTED = 8  # names that a message lists


def clean(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> None:
    """Create the numbered and checked tables of all raw tables.

    Raises InputError if too many rows or clicks would be dropped, only some lists begin at position 0, or nothing
    useful is left.
    """
    for table in ("searches", "documents", "results"):
        con.execute(statement(f"clean/{table}"))
        if table == "results":
            _shift_positions(con, logs)
            _merge_results(con)
        refuse_dropped(con, logs, table, logs.max_dropped)
    _refuse_lost_clicks(con, logs)
    if single_row(con, "clean/clicks")[0] == 0:
        if isinstance(logs, Beir):
            refuse_unreached(logs.judged_from, single_row(con, "clean/grades")[0] or [])
        raise InputError(_nothing_clicked(con, logs))
    table_paths = labels(logs)
    untyped, shared = single_row(con, "clean/shared_ids")
    if untyped and shared:
        lacks = in_user_words(con, logs.layout, "edges", "source_type or target_type")
        raise InputError(
            f"edges: {table_paths['edges']}: {untyped:,} edges lack {lacks}, and searchers and "
            f"documents share identities such as {', '.join(shared)}. Set both columns to searcher or document"
        )
    for table in ("edges", "judgements"):
        con.execute(statement(f"clean/{table}"))
        if table in table_paths:
            refuse_dropped(con, logs, table, 1.0)


def _merge_results(con: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of the kept results and of their lists. Most logs have no repeated result, so nothing is merged
    unless there is one."""
    con.execute(statement("clean/merged_results"))
    if single_row(con, "clean/has_repeated")[0]:
        con.execute(statement("clean/merge_repeated"))
    con.execute(statement("clean/lists"))


def source_of(logs: AnyFiles, table: str) -> str:
    """The user's tables that a raw table is made of, with their paths, for messages."""
    table_paths = labels(logs)
    names = [name for name in SOURCES.get(logs.layout, {}).get(table, (table,)) if name in table_paths]
    names = names or list(table_paths)[:1]  # documents without a catalogue are those of the log
    return ", ".join(f"{name}: {table_paths[name]}" for name in names)


def refuse_dropped(con: duckdb.DuckDBPyConnection, logs: AnyFiles, table: str, allowed: float) -> None:
    """Raises InputError if more than a share of a table's rows is dropped, or all are. Earlier versions of a document
    do not count, because nothing is lost with them."""
    read, kept, harmless = con.execute(statement("clean/kept"), [table]).fetchall()[0]
    lost = read - kept - harmless
    if kept > 0 and lost / read <= allowed:
        return
    reasons = con.execute(statement("clean/reasons"), [table]).fetchall()
    way_out = (
        f", above logs.max_dropped = {allowed:g}. Correct the logs, or raise it"
        if kept
        else ", all of them. Correct the logs"
    )
    if any(reason == _BLANK for reason, _, _ in reasons):
        way_out += ". Searches without a query are kept if an arm has a group that reads something else of them"
    if any(reason == _UNCLICKED for reason, _, _ in reasons):
        way_out += f". {_where_empty(con, logs)}"
    message = f"{source_of(logs, table)}: {lost:,} of {read:,} {table} would be dropped{way_out}"
    raise InputError("\n".join([message, *_reason_lines(con, logs, table, reasons)]))


def _where_empty(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> str:
    """What to do about results whose clicked is empty, under the user's name of that column."""
    shown = user_name(con, logs.layout, "results", "clicked")
    name = shown.partition(" (")[0]
    return (
        f"If an empty {shown} means not clicked, as in the result of a left join, say so by SQL: SELECT * REPLACE "
        f"(coalesce({name}, false) AS {name}) FROM …"
    )


def _reason_lines(
    con: duckdb.DuckDBPyConnection, logs: AnyFiles, table: str, reasons: Sequence[Sequence[Any]]
) -> list[str]:
    """A line for each (reason, number, examples)."""
    return [
        f"  {in_user_words(con, logs.layout, table, reason)}: {rows:,} ({', '.join(examples or ())})"
        for reason, rows, examples in reasons
    ]


def _shift_positions(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> None:
    """Positions that begin at 0 in every list become positions from 1; of up to max_dropped of the lists, rows at 0 are
    dropped. Raises InputError if more lists begin at 0, but not all."""
    if not single_row(con, "clean/has_zero")[0]:
        return
    lists, from_zero, zero, other, rows = single_row(con, "clean/zero_positions")
    if from_zero < lists and from_zero <= logs.max_dropped * lists:
        con.execute(statement("clean/drop_zero_positions"))
        return
    if from_zero < lists:
        raise InputError(
            f"{source_of(logs, 'results')}: {from_zero:,} of {lists:,} lists begin at position 0, such as that of "
            f"search {zero}, the others at 1 or later, such as that of {other}; {rows:,} rows have position 0. Number "
            "all lists from 0 or all from 1, and leave the position empty where it is unknown"
        )
    con.execute(statement("clean/shift_positions"))
    set_variable(con, "shift", 1)


def _refuse_lost_clicks(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> None:
    """Raises InputError if more than max_dropped of the clicks would be dropped."""
    read, lost, reasons = single_row(con, "clean/lost_clicks")
    if lost and lost / read > logs.max_dropped:
        message = (
            f"{source_of(logs, 'results')}: {lost:,} of {read:,} clicks would be dropped, above logs.max_dropped = "
            f"{logs.max_dropped:g}. Correct the logs, or raise it"
        )
        raise InputError(
            "\n".join([message, *_reason_lines(con, logs, "results", [tuple(reason.values()) for reason in reasons])])
        )


def _nothing_clicked(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> str:
    """The message for logs without a click, with the actions or labels that they have."""
    need = "Expected clicks: models are trained on them and measured by them"
    if weights := weights_of(logs):
        return _nothing_weighed(con, logs, list(weights))
    if not isinstance(logs, Ubi | Esci):
        found = in_user_words(con, logs.layout, "results", "clicked is false in every row that is kept")
        return f"{source_of(logs, 'results')}: nothing was clicked: {found}. {need}"
    values = con.execute(statement("clean/actions" if isinstance(logs, Ubi) else "clean/labels")).fetchall()
    listed = _listed(values)
    if isinstance(logs, Esci):
        return f"{source_of(logs, 'results')}: no label is E, which stands for a click. The labels are {listed}. {need}"
    if any(value in logs.click_actions for value, _ in values):
        return (
            f"{source_of(logs, 'results')}: nothing was clicked: no event with an action of logs.click_actions "
            f"({', '.join(logs.click_actions)}) names a document and a query of these logs. The actions are {listed}. "
            f"{need}"
        )
    return (
        f"{source_of(logs, 'results')}: nothing was clicked: logs.click_actions is {', '.join(logs.click_actions)}, "
        f"and the actions are {listed}. Name those that are clicks in logs.click_actions"
    )


def _nothing_weighed(con: duckdb.DuckDBPyConnection, logs: AnyFiles, weighed: list[str]) -> str:
    """The message for logs without an action that has a weight, with the actions that they have."""
    given = listed_actions(con)
    message = f"{source_of(logs, 'results')}: logs.actions gives weights to {', '.join(weighed)}, "
    if not given:
        return message + "and no row has an action. Expected actions on results, or clicks without logs.actions"
    if any(action in weighed for action, _ in given):
        return (
            message + f"and none of these is on a result that is kept. The actions are {_listed(given)}. Expected "
            "actions on documents and searches of these logs"
        )
    return message + f"and the actions are {_listed(given)}. Give those that count a weight in logs.actions"


def _listed(values: list[tuple[str, int]]) -> str:
    """Values with their numbers of rows, as messages list them."""
    text = ", ".join(f"{value} {rows:,}" for value, rows in values[:MOST_LISTED])
    return text + (", …" if len(values) > MOST_LISTED else "")
