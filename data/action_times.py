"""The times of actions, where results have a column `acted_at`, events a time stamp, or rows of impressions their own.

An action without a time of its own has that of its search.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import duckdb

from data.experiment.log_config import AnyFiles, Impressions, Split, Tables, weights_of
from data.layouts import labels
from data.statements import single_row, statement
from data.user_columns import user_name
from ebr_core.errors import InputError

NEXT = {
    "train": "training does not know them.",
    "validation": "the validation does not know them; a refit does not, either.",
}
_LEAST_EARLY = 10  # actions; fewer say nothing about the column
# layout → the table and the column with the times of actions
TIMES = {"tables": ("results", "acted_at"), "ubi": ("events", "timestamp"), "impressions": ("impressions", "acted_at")}


class TimeCheck(NamedTuple):
    """The actions of a part that have a time of their own."""

    part: str
    actions: int
    later: int  # of these, later than their search
    before: int  # earlier than their search: they count at its time
    early: int  # of these, by more than ten minutes, which no clock explains
    after: int  # from the first session of the next part on, which the part does not know
    example: dict[str, Any] | None  # search, document, searched_at, acted_at of one that is early


def hide_unknown_actions(con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split) -> None:
    """Leave out actions that were not known at `split.until`, and those of days that are left out.

    To be called after the actions have weights and before the SQL of the layout. Events of UBI are left out there.
    """
    if not isinstance(logs, Tables | Impressions) or not (split.until or split.without):
        return
    table = TIMES[logs.layout][0]
    is_flat = isinstance(logs, Impressions)
    time = "coalesce(since_1970(acted_at), searched_at)" if is_flat else "since_1970(acted_at)"
    if not single_row(con, "actions/any_unknown", table=table, time=time)[0]:
        return
    acts = "CASE WHEN getvariable('has_clicked') THEN clicked ELSE true END" if is_flat else "clicked"
    more = f", CASE WHEN unknown_then({time}) THEN [] ELSE actions END AS actions" if weights_of(logs) else ""
    con.execute(statement("actions/hide_unknown", table=table, time=time, acts=acts, more=more))


def keep_action_times(con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split) -> None:
    """Create the table timed_actions of the actions on kept results that have a time. To be called after the split.

    Raises InputError if ten actions and more than max_dropped of a part's are long before their search, or if none of a
    part had happened when the next part began.
    """
    con.execute(statement("actions/times" if weights_of(logs) else "actions/click_times"))
    con.execute(statement("actions/part_ends"))
    checks = check_action_times(con)
    if any(check.after for check in checks):
        _refuse_unknown_parts(con, logs, split)
    for check in checks:
        if check.early >= _LEAST_EARLY and check.early > logs.max_dropped * check.actions:
            raise InputError(_early_message(con, logs, check))


def _refuse_unknown_parts(con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split) -> None:
    actions = "acted" if weights_of(logs) else "timed_actions"
    way_out = (
        "Correct the column of split.by, or leave split.by out"
        if split.by
        else "Set split.validation_from and split.test_from so that actions lie between them"
    )
    for part, known_until in con.execute(statement("actions/unknown_parts", actions=actions)).fetchall():
        column = user_name(con, logs.layout, *TIMES[logs.layout])
        raise InputError(
            f"split: every click or other action on the searches of {part} comes at {known_until} (UTC) or later by "
            f"{column}, when the next part has begun, so {part} knows none. {way_out}, "
            "or use logs of a longer period"
        )


def has_later_actions(con: duckdb.DuckDBPyConnection) -> bool:
    """True if an action is later than its search."""
    return bool(single_row(con, "actions/any_later")[0])


def check_action_times(con: duckdb.DuckDBPyConnection) -> list[TimeCheck]:
    """One check for each part in which actions have times."""
    return [TimeCheck(*row) for row in con.execute(statement("actions/time_checks")).fetchall()]


def _early_message(con: duckdb.DuckDBPyConnection, logs: AnyFiles, check: TimeCheck) -> str:
    table, column = TIMES[logs.layout]
    name, example = user_name(con, logs.layout, table, column), check.example
    assert example is not None, "a part with early actions has one of them"
    return (
        f"{table}: {labels(logs)[table]}: by {name}, {check.early:,} of {check.actions:,} actions in {check.part} are "
        f"more than 10 minutes before their search, above logs.max_dropped = {logs.max_dropped:g}. Document "
        f"{example['document']} has an action of {example['acted_at']} in search {example['search']} of "
        f"{example['searched_at']} (UTC). Correct the times (is one of the two in another zone?), or leave the column "
        f"out, as by SQL: SELECT * EXCLUDE ({name.partition(' (')[0]}) FROM …. An action without a time has that of "
        "its search"
    )


def action_time_notes(con: duckdb.DuckDBPyConnection, layout: str) -> Iterator[str]:
    """Sentences on the times of actions: how many are later, before their search, or after the end of their part."""
    head = "impressions" if layout == "impressions" else ".".join(TIMES.get(layout, ("", "")))
    if single_row(con, "actions/unread_times")[0]:
        yield f"{head}: not read, because no search has a time."
    checks = check_action_times(con)
    if later := sum(check.later for check in checks):
        actions = sum(check.actions for check in checks)
        yield f"{head}: {later:,} of {actions:,} actions with a time are later than their search."
        if not single_row(con, "actions/in_order")[0]:
            yield (
                f"{head}: training searches are later than searches of other parts, so times of actions do not count: "
                "every part knows all actions of its searches."
            )
    for check in checks:
        if check.before:
            yield (
                f"{head}: {check.before:,} of {check.actions:,} actions in {check.part} are before their search, and "
                "count at its time."
            )
        if check.after:
            yield (
                f"{head}: {check.after:,} of {check.actions:,} actions in {check.part} come after its end, so that "
                f"{NEXT[check.part]}"
            )
