"""Which other columns an arm could read: groups of values and of numbers, and the columns that are left out."""

from __future__ import annotations

import re
from typing import NamedTuple

import duckdb

from data.guess.column_profiles import Profile
from data.guess.column_roles import folded
from data.guess.layout_guess import GuessedTable, LayoutGuess
from data.statements import identifier, statement

PLACE = ("city", "region", "country", "language")
_MANY = 0.3  # a column with more different values than this share of its rows is likely an identifier or a text
_LATITUDES = ("lat", "latitude", "userlat", "userlatitude", "geolat")
_LONGITUDES = ("lon", "lng", "longitude", "userlon", "userlng", "userlongitude", "geolon")
_NUMBER_VALUES = 20  # numbers with more different values are cut into buckets


class FoundGroup(NamedTuple):
    """A feature group of an arm."""

    name: str
    settings: dict[str, object]
    why: str


class FoundGroups(NamedTuple):
    """The groups that an arm could read, and the columns that it does not, each with the reason."""

    groups: list[FoundGroup]
    left_out: dict[str, str]


def find_groups(con: duckdb.DuckDBPyConnection, guess: LayoutGuess) -> FoundGroups:
    """The groups of the columns that play no part in the layout."""
    log = guess.tables.get("impressions") or guess.tables.get("searches")
    documents = guess.tables.get("documents")
    groups, left_out = [], {}
    if log and documents and (both := [c for c in PLACE if c in log.roles and c in documents.roles]):
        groups.append(FoundGroup("place", {"kind": "values", "searches": both, "documents": both}, "on both sides"))
    spots = {side: _coordinates(table) for side, table in (("searches", log), ("documents", documents))}
    if spots["searches"] and spots["documents"]:
        groups.append(FoundGroup("where", {"kind": "location", **spots}, "latitude and longitude on both sides"))
    for side, table in (("documents", documents), ("searches", log)):
        if table is None:
            continue
        for column, profile in table.given.columns.items():
            if column in {choice.column for choice in table.roles.values()}:
                continue
            if folded(column) in (*_LATITUDES, *_LONGITUDES):
                if not all(spots.values()):
                    left_out[f"{side}.{column}"] = "a coordinate, which kind: location needs on both sides"
                continue
            reason = _reason_against(profile)
            if reason is None and side == "searches":
                reason = _varies(con, table, column)
            if reason:
                left_out[f"{side}.{column}"] = reason
                continue
            name = _group_name(column, {group.name for group in groups})
            groups.append(FoundGroup(name, _settings(side, column, profile), _describe(profile)))
    if "edges" in guess.tables:
        settings: dict[str, object] = {"kind": "graph"}
        groups.append(FoundGroup("friends", settings, "the table edges; edges without a date are not read"))
    return FoundGroups(groups, left_out)


def _coordinates(table: GuessedTable | None) -> list[str]:
    """The columns of latitude and longitude, by their names; empty if one is missing."""
    names = {folded(column): column for column in table.given.columns} if table else {}
    found = [next((names[name] for name in known if name in names), None) for known in (_LATITUDES, _LONGITUDES)]
    return [name for name in found if name is not None] if None not in found else []


def _reason_against(profile: Profile) -> str | None:
    """The reason why a column is no group, None if it may be one."""
    if profile.type.startswith(("STRUCT", "MAP")):
        return "a nested record; take a field of it by SQL"
    if profile.distinct < 2:
        return "it has a single value, or none"
    if profile.nearly_all(profile.times):
        return "a time"
    if profile.nearly_all(profile.numbers) and profile.distinct > _NUMBER_VALUES:
        return (
            None
            if not profile.nearly_all(profile.wholes) or profile.distinct <= 0.5 * profile.rows
            else "an identifier"
        )
    if profile.distinct > _MANY * profile.filled:
        return "nearly every value is another: an identifier or a text"
    return None


def _varies(con: duckdb.DuckDBPyConnection, table: GuessedTable, column: str) -> str | None:
    """The reason against a column that differs between the results of a search."""
    keys = [table.roles[role].column for role in ("searched_at", "query", "searcher_id") if role in table.roles]
    row = con.execute(
        statement(
            "guess/varying",
            column=identifier(column),
            table=table.given.name,
            keys=", ".join(identifier(key) for key in keys),
        )
    ).fetchone()
    return "it differs between the results of a search" if row and row[0] > 0.01 else None


def _settings(side: str, column: str, profile: Profile) -> dict[str, object]:
    if profile.nearly_all(profile.numbers) and profile.distinct > _NUMBER_VALUES:
        return {"kind": "numbers", side: [column]}
    separator = profile.separator if profile.is_flat and not profile.nearly_all(profile.numbers) else None
    return {"kind": "values", side: [column], **({"separator": separator} if separator else {})}


def _describe(profile: Profile) -> str:
    missing = 1 - profile.filled / max(profile.rows, 1)
    return f"{profile.distinct:,} different values" + (f", {missing:.0%} missing" if missing >= 0.005 else "")


def _group_name(column: str, taken: set[str]) -> str:
    name = re.sub(r"[^a-z0-9_]+", "_", column.lower()).strip("_") or folded(column) or "column"
    while name in taken or name == "text":
        name += "_2"
    return name
