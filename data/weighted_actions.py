"""Logs with several actions on a result, each with its weight: `logs.actions` of an experiment file."""

from __future__ import annotations

from typing import Any

import duckdb

from data.experiment.action_weights import click_action, target_set_of
from data.experiment.log_config import AnyFiles, weights_of
from data.layouts import acted_table
from data.statements import set_variable, statement


def open_actions(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> None:
    """Give the view with the column `action` the column `actions`, and let `clicked` say whether one of them has a
    weight. To be called before the SQL of the layout."""
    weights = weights_of(logs)
    if not weights:
        return
    set_variable(con, "weighed_actions", list(weights))
    set_variable(con, "click_action", click_action(weights))
    con.execute(statement("actions/weights"))
    for action, weight in weights.items():
        con.execute(statement("actions/weight"), [action, target_set_of(action), weight])
    if table := acted_table(logs):
        con.execute(statement("actions/act", table=table))


def name_actions(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> None:
    """Create the view raw_actions of every action on a result. To be called after the SQL of the layout."""
    if weights_of(logs):
        con.execute(statement(f"actions/{logs.layout}"))


def keep_actions(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> None:
    """Create the table `acted` of the actions on results that are kept, and count all others."""
    if weights_of(logs):
        con.execute(statement("actions/keep"))


def count_actions(con: duckdb.DuckDBPyConnection, logs: AnyFiles) -> list[dict[str, Any]]:
    """Each action with its weight (None without one), its target set, its rows, and the results that have it."""
    if not weights_of(logs):
        return []
    names = ("action", "weight", "targets", "rows", "results")
    return [dict(zip(names, row, strict=True)) for row in con.execute(statement("actions/counts")).fetchall()]


def listed_actions(con: duckdb.DuckDBPyConnection) -> list[tuple[str, int]]:
    """(action, rows) of every action of the logs, the most frequent first."""
    return con.execute(statement("actions/read")).fetchall()
