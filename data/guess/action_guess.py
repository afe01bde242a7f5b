"""Which column of a log says what searchers did with a result, and a first weight for each action."""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from data.experiment.action_weights import SHOWN
from data.guess.column_profiles import GivenTable
from data.guess.column_roles import Roles, folded, roles_by_name
from data.statements import identifier, statement

# Parts of an action's name, without case and separators → its first weight; the largest that fits counts.
_WEIGHTS = {"click": 1.0, "cart": 3.0, "basket": 3.0, "purchase": 5.0, "order": 5.0, "buy": 5.0}
_TAKEN_BACK = ("remove", "cancel", "return", "refund", "delete")  # what speaks against a result
_NO_ACTIONS = (SHOWN, "impressions", "shown", "none")


class GuessedActions(NamedTuple):
    """The weights of actions, and the actions without one."""

    weights: dict[str, float]
    left_out: list[str]

    @property
    def doubt(self) -> str:
        """What a reader should look at."""
        text = "actions: the weights are a start, by the names of the actions"
        return f"{text}; without one, and so left out: {', '.join(self.left_out)}" if self.left_out else text


def actions_of(con: duckdb.DuckDBPyConnection, table: GivenTable, column: str) -> GuessedActions | None:
    """The actions of a column, None if no value looks like one."""
    rows = con.execute(statement("guess/values", table=table.name, column=identifier(column))).fetchall()
    values = [str(value) for value, _ in rows]
    weights = {value: weight for value in values if (weight := _weight_of(value))}
    if not weights:
        return None
    left_out = [value for value in values if value not in weights and folded(value) not in _NO_ACTIONS]
    return GuessedActions(dict(sorted(weights.items(), key=lambda entry: entry[1])), left_out)


def take_actions(con: duckdb.DuckDBPyConnection, table: GivenTable, roles: Roles) -> GuessedActions | None:
    """The actions of a table, whose column becomes one of the roles; None if it has no such column.

    A column of clicks that was found by its values alone is given up for it.
    """
    choice = roles_by_name(table, ("action",)).get("action")
    actions = actions_of(con, table, choice.column) if choice else None
    if choice is None or actions is None:
        return None
    for role in [role for role, other in roles.items() if other.column == choice.column]:
        del roles[role]
    if "clicked" in roles and not roles["clicked"].is_sure:
        del roles["clicked"]
    roles["action"] = choice._replace(why=f"its name, and its values are actions such as {next(iter(actions.weights))}")
    return actions


def _weight_of(action: str) -> float:
    """The first weight of an action by its name, 0 if the name says nothing, or that something was taken back.

    >>> [_weight_of(action) for action in ("Add_To_Cart", "removeFromCart", "hover")]
    [3.0, 0.0, 0.0]
    """
    name = folded(action)
    if any(part in name for part in _TAKEN_BACK):
        return 0.0
    return max((weight for part, weight in _WEIGHTS.items() if part in name), default=0.0)
