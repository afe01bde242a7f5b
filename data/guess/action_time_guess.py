"""Which column of a log says when a searcher acted on a result: by its name, and by the times of the searches."""

from __future__ import annotations

import duckdb

from data.guess.column_profiles import GivenTable
from data.guess.column_roles import Choice, Roles, roles_by_name
from data.statements import identifier, statement

_MOST_EARLY = 0.05  # the share of actions that may be before their search: logs.max_dropped


def take_flat_times(con: duckdb.DuckDBPyConnection, log: GivenTable, roles: Roles) -> list[str]:
    """Give the column with the times of actions of a flat log its role. Returns what a reader should look at."""
    rows = identifier(log.name)
    return _take(con, log, roles, rows, "", identifier(roles["searched_at"].column))


def take_times(
    con: duckdb.DuckDBPyConnection, searches: GivenTable, search_roles: Roles, results: GivenTable, roles: Roles
) -> list[str]:
    """The same for a table of results, whose searches have the times."""
    if not {"search_id", "searched_at"} <= search_roles.keys() or "search_id" not in roles:
        return []
    rows = statement(
        "guess/results_of_searches",
        results=results.name,
        searches=searches.name,
        result_id=identifier(roles["search_id"].column),
        search_id=identifier(search_roles["search_id"].column),
    )
    return _take(con, results, roles, rows, "results.", f"searches.{identifier(search_roles['searched_at'].column)}")


def event_times(events: GivenTable) -> Roles:
    """The column with the times of UBI's events, if it has another name than in the layout."""
    if any(column.lower() == "timestamp" for column in events.columns):
        return {}
    found = roles_by_name(events, ("acted_at", "searched_at"))
    return {"timestamp": next(iter(found.values()))} if found else {}


def _take(
    con: duckdb.DuckDBPyConnection, table: GivenTable, roles: Roles, rows: str, prefix: str, time: str
) -> list[str]:
    """The column that is named so and is not taken becomes `acted_at`, if actions are later than their search and
    hardly one is earlier."""
    taken = {choice.column for choice in roles.values()}
    free = table._replace(columns={name: p for name, p in table.columns.items() if name not in taken})
    choice = roles_by_name(free, ("acted_at",)).get("acted_at")
    if choice is None:
        return []
    select = statement("guess/action_times", column=f"{prefix}{identifier(choice.column)}", time=time, rows=rows)
    (timed, early, later) = con.execute(select).fetchall()[0]
    if early > _MOST_EARLY * timed:
        return [
            f"{choice.column} is named as the time of an action, and {early / timed:.0%} of its values are more than "
            "10 minutes before their search: it is left out, and an action has the time of its search"
        ]
    if later:
        why = f"its name, and {later / timed:.0%} of its times are later than the search"
        roles["acted_at"] = Choice(choice.column, why, choice.is_sure)
    return []
