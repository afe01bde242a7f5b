"""Which layout some files have, and which table of it each is."""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from data.guess.action_guess import GuessedActions, actions_of, take_actions
from data.guess.action_time_guess import event_times, take_flat_times, take_times
from data.guess.column_profiles import GivenTable
from data.guess.column_roles import NAMES, Choice, Roles, folded, role_by_values, roles_by_name
from data.layouts import EXPECTED, LAYOUTS
from data.statements import identifier, statement
from ebr_core.errors import InputError

_DOCUMENT_ROLES = ("document_id", "title", "body", "kind", "city", "region", "country", "language", "created_at",
                   "removed_at")  # fmt: skip
_SEARCH_ROLES = ("search_id", "searched_at", "query", "searcher_id", "session_id", "topic", "city", "region", "country",
                 "language")  # fmt: skip
_RESULT_ROLES = ("search_id", "document_id", "position", "clicked", "randomised")
_FLAT_ROLES = (*_SEARCH_ROLES, *_RESULT_ROLES[1:], "title")
_SAME = 0.5  # the share of a log's documents that a catalogue must know


class GuessedTable(NamedTuple):
    """A table of a layout: its files, and the columns that play a part."""

    given: GivenTable
    roles: Roles


class LayoutGuess(NamedTuple):
    """A layout, its tables by name, and what speaks for and against the guess."""

    layout: str
    tables: dict[str, GuessedTable]
    reasons: list[str]
    doubts: list[str]
    actions: GuessedActions | None = None  # None where clicks are the only action


def guess_layout(con: duckdb.DuckDBPyConnection, tables: list[GivenTable]) -> LayoutGuess:
    """The layout of these tables. Raises InputError, which says what was found, if no layout fits."""
    for layout in ("ubi", "esci", "beir"):
        if (exact := _exact(layout, tables)) is not None:
            return _with_events(con, exact) if layout == "ubi" else exact
    rest, found = list(tables), {}
    for name, roles in (("edges", ("source_id", "target_id", "source_type", "target_type", "kind", "weight",
                                   "created_at")),
                        ("judgements", ("grade", "search_id", "query", "topic", "document_id"))):  # fmt: skip
        for table in rest:
            chosen = roles_by_name(table, roles)
            if all(role in chosen for role in list(LAYOUTS["tables"][name][0])):
                found[name] = GuessedTable(table, chosen)
                rest.remove(table)
                break
    guess = _guess_log(con, rest)
    return guess._replace(tables=guess.tables | found)


def _exact(layout: str, tables: list[GivenTable]) -> LayoutGuess | None:
    """The layout if its own column names are all there, None otherwise."""
    found: dict[str, GuessedTable] = {}
    for name, (required, _) in LAYOUTS[layout].items():
        for table in tables:
            used = [guessed.given for guessed in found.values()]
            if table not in used and required.keys() <= {column.lower() for column in table.columns}:
                found[name] = GuessedTable(table, {})
                break
    needed = {
        "ubi": ("queries", "events", "documents"),
        "esci": ("examples", "products"),
        "beir": ("corpus", "queries"),
    }
    if not all(name in found for name in needed[layout]) or (layout == "beir" and "train_qrels" not in found):
        return None
    if layout == "beir":  # the only qrels found are the test
        found["test_qrels"] = found.pop("train_qrels")
    return LayoutGuess(layout, found, [f"the columns are those of the layout {layout}"], [])


def _with_events(con: duckdb.DuckDBPyConnection, guess: LayoutGuess) -> LayoutGuess:
    """The layout ubi with the weights of its events' actions, if there are others than clicks."""
    events = guess.tables["events"].given
    guess.tables["events"].roles.update(event_times(events))
    column = next(column for column in events.columns if column.lower() == "action_name")
    actions = actions_of(con, events, column)
    if actions is None or list(actions.weights) == ["click"]:
        return guess
    return guess._replace(actions=actions, doubts=[*guess.doubts, actions.doubt])


def _guess_log(con: duckdb.DuckDBPyConnection, tables: list[GivenTable]) -> LayoutGuess:
    """The layout impressions or tables."""
    searches = [table for table in tables if _finds(table, ("searched_at", "query"))]
    by_size = sorted(searches, key=lambda table: -table.rows)
    for log in by_size:
        rest = [table for table in tables if table is not log]
        catalogue = _catalogue(con, log, rest)
        roles = _fill(log, _FLAT_ROLES)
        if catalogue:
            roles["document_id"] = catalogue.log_choice
        if "document_id" in roles and (catalogue or "title" in roles):
            actions = take_actions(con, log, roles)
            doubts = take_flat_times(con, log, roles)
            return _flat(log, roles, catalogue, actions, doubts)
        results = next((table for table in rest if {"search_id", "document_id"} <= roles_by_name(
            table, _RESULT_ROLES).keys()), None)  # fmt: skip
        if results is not None and "search_id" in roles:
            return _three_tables(con, log, results, [table for table in rest if table is not results])
    columns = "\n".join(f"  {table.path}: {', '.join(table.columns)}" for table in tables)
    unread = "".join(f"{sentence}\n" for table in tables for sentence in _unread_times(con, table))
    raise InputError(
        "ebr init: no table has a time, a query and a document of each shown result, and no two tables have searches "
        f"and their results. The columns are\n{columns}\n{unread}Name the columns yourself: docs/layouts.md lists the "
        "layouts, docs/recipes.md has SQL for common logs"
    )


def _unread_times(con: duckdb.DuckDBPyConnection, table: GivenTable) -> list[str]:
    """A sentence for the first column that is named as a time and whose values are none; empty if a column is one."""
    if "searched_at" in _fill(table, ("searched_at",)):
        return []
    named = [column for name in NAMES["searched_at"] for column in table.columns if folded(column) == name]
    for column in named[:1]:
        select = statement("guess/examples", table=table.name, column=identifier(column))
        examples = ", ".join(repr(value) for (value,) in con.execute(select).fetchall()) or "nothing"
        return [
            f"Column {column!r} of {table.path} is named as a time and holds {examples}. Expected {EXPECTED['time']}. "
            f"Write it so by SQL, as in strptime({column}, '%d.%m.%Y %H:%M:%S') AS searched_at"
        ]
    return []


def _finds(table: GivenTable, roles: tuple[str, ...]) -> bool:
    found = _fill(table, roles)
    return all(role in found for role in roles)


def _fill(table: GivenTable, roles: tuple[str, ...]) -> Roles:
    """The columns that play these parts: by name, and where a name says nothing by values."""
    found = roles_by_name(table, roles)
    for role in ("searched_at", "query", "clicked", "position", "title"):
        if role in roles and role not in found and (choice := role_by_values(table, role, found)) is not None:
            found[role] = choice
    return found


class _Catalogue(NamedTuple):
    table: GuessedTable
    log_choice: Choice  # the log's column of documents
    share: float


def _catalogue(con: duckdb.DuckDBPyConnection, log: GivenTable, tables: list[GivenTable]) -> _Catalogue | None:
    """The table of documents that knows most of a log's documents, None if none knows half of them."""
    best: _Catalogue | None = None
    best_rank: tuple[float, ...] = ()
    by_name = roles_by_name(log, ("document_id",)).get("document_id")
    for table in tables:
        roles = _fill(table, _DOCUMENT_ROLES)
        if "title" not in roles:
            continue
        for own in _identities(table):
            for column, profile in log.columns.items():
                if not profile.is_flat or profile.nearly_all(profile.times) or profile.distinct < 2:
                    continue
                share = _overlap(con, log, column, table, own)
                named = by_name is not None and column == by_name.column
                rank = (named, share, folded(own) in NAMES["document_id"], profile.distinct)  # a rank is an id, too
                if share >= _SAME and rank > best_rank:
                    best_rank = rank
                    why = f"{share:.0%} of its values are in {own} of {table.path}"
                    roles["document_id"] = Choice(own, "its values are unique, and the log names them")
                    best = _Catalogue(GuessedTable(table, dict(roles)), Choice(column, why, named), share)
    return best


def _identities(table: GivenTable) -> list[str]:
    """The columns whose values are all there and nearly all different."""
    return [
        column
        for column, profile in table.columns.items()
        if profile.is_flat and profile.filled == profile.rows and profile.distinct >= 0.95 * profile.rows
    ]


def _overlap(con: duckdb.DuckDBPyConnection, log: GivenTable, column: str, catalogue: GivenTable, own: str) -> float:
    row = con.execute(
        statement(
            "guess/overlap",
            table=log.name,
            column=identifier(column),
            catalogue=catalogue.name,
            catalogue_column=identifier(own),
        )
    ).fetchone()
    return float(row[0] or 0) if row else 0.0


def _flat(
    log: GivenTable,
    roles: Roles,
    catalogue: _Catalogue | None,
    actions: GuessedActions | None,
    time_doubts: list[str],
) -> LayoutGuess:
    tables = {"impressions": GuessedTable(log, roles)}
    reasons = [f"impressions: {log.path} has a time, a query and a document in each row"]
    doubts = [*([actions.doubt] if actions else []), *time_doubts]
    _refuse_unread_clicks(log, roles)
    if catalogue:
        roles.pop("title", None)
        tables["documents"] = catalogue.table
        reasons.append(f"documents: {catalogue.table.given.path} knows {catalogue.share:.0%} of the log's documents")
    else:
        reasons.append("no catalogue was given: the documents are those of the log, with their newest title")
    if "clicked" not in roles and not actions:
        doubts.append("no column says what was clicked, so each row counts as a click")
    if not {"search_id", "searcher_id", "session_id"} & roles.keys():
        doubts.append(
            "no column is named as a search, a searcher or a session, so only rows of the same time are one search: "
            "later pages, and actions in rows of their own, are searches of their own. If a column of the log holds "
            "searchers, name it under columns as searcher_id"
        )
    if "search_id" not in roles:
        reasons.append(
            "no column identifies a search: rows of one searcher and query are one search while none follows "
            "another by more than 30 minutes (search_gap_minutes)"
        )
    return LayoutGuess("impressions", tables, reasons, doubts, actions)


def _refuse_unread_clicks(log: GivenTable, roles: Roles) -> None:
    """Raises InputError if a column is named as clicks and its values are none: each row, or another column, would
    count as the clicks."""
    named = [column for column in log.columns if folded(column) in NAMES["clicked"]]
    if named and ("clicked" not in roles or roles["clicked"].column not in named):
        raise InputError(
            f"ebr init: column {named[0]!r} of {log.path} is named as clicks, and its values are not true and false, "
            "yes and no, or 1 and 0. Write it as such, or leave the column out if each row is a click"
        )


def _three_tables(
    con: duckdb.DuckDBPyConnection, searches: GivenTable, results: GivenTable, rest: list[GivenTable]
) -> LayoutGuess:
    catalogue = _catalogue(con, results, rest)
    if catalogue is None:
        raise InputError(f"ebr init: no table has titles and the documents of {results.path}. Give the catalogue, too")
    roles = _fill(results, _RESULT_ROLES)
    roles["document_id"] = catalogue.log_choice
    actions = take_actions(con, results, roles)
    search_roles = _fill(searches, _SEARCH_ROLES)
    doubts = [*([actions.doubt] if actions else []), *take_times(con, searches, search_roles, results, roles)]
    tables = {
        "searches": GuessedTable(searches, search_roles),
        "results": GuessedTable(results, roles),
        "documents": catalogue.table,
    }
    if "clicked" not in roles and not actions:
        raise InputError(
            f"ebr init: no column of {results.path} says what was clicked; its columns are "
            f"{', '.join(results.columns)}. If every row is a click, write it by SQL: SELECT *, true AS clicked FROM …"
        )
    reasons = [f"{name}: {table.given.path}" for name, table in tables.items()]
    return LayoutGuess("tables", tables, reasons, doubts, actions)
