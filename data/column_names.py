"""The columns of searches and documents under the user's own names, as `logs.columns` gives them.

Either name may be written wherever a column is named. One that is the user's name of a column and the layout's of
another means the layout's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from data.experiment.log_config import AnyFiles, Impressions, Simulated
from data.layouts import SIDES as TABLES
from data.layouts import columns_of
from data.renamed_columns import renames_of
from ebr_core.errors import InputError
from ebr_core.own_names import OwnNames, standard_name
from ebr_core.towers.column_config import SIDES, Column, Columns, Side, with_meanings
from ebr_core.towers.feature_config import Group, Location, Numbers, Values
from ebr_core.towers.history_config import History
from ebr_core.towers.vector_config import Encoder, GivenVectors, Graph
from ebr_core.training.arm_config import Arm

_PLACE = ("city", "region", "country", "language")
STANDARD: dict[Side, tuple[str, ...]] = {
    "searches": ("search_id", "searched_at", "query", "searcher_id", "session_id", "topic", *_PLACE),
    "documents": ("document_id", "title", "body", "kind", *_PLACE, "created_at", "removed_at"),
}
# Columns of a layout that the extracted tables hold under another name: layout → table → column → its name there.
_EXTRACTED: dict[str, dict[str, dict[str, str]]] = {
    "ubi": {
        "queries": {
            "query_id": "search_id",
            "timestamp": "searched_at",
            "user_query": "query",
            "client_id": "searcher_id",
        }
    },
    "esci": {
        "examples": {"query_id": "search_id", "product_locale": "country"},
        "products": {"product_title": "title", "product_locale": "country"},
    },
    "beir": {
        "queries": {"_id": "search_id", "text": "query"},
        "corpus": {"_id": "document_id", "text": "body"},
    },
}


def side_table(logs: AnyFiles, side: str) -> str:
    """The table that holds the columns of a side."""
    if side == "documents" and isinstance(logs, Impressions) and logs.documents is None:
        return "impressions"
    return TABLES[logs.layout][side][0]


def own_names(logs: AnyFiles | Simulated, side: Side) -> dict[str, str]:
    """The name of a column in the user's table of a side → the standard name, where these differ."""
    if isinstance(logs, Simulated):
        return {}
    table = side_table(logs, side)
    given, extracted = renames_of(logs, table).names, _EXTRACTED.get(logs.layout, {}).get(table, {})
    pairs = ((given.get(column, column), extracted.get(column, column)) for column in columns_of(logs, table))
    return {own: name for own, name in pairs if name in STANDARD[side] and own.lower() not in STANDARD[side]}


def ambiguous_names(logs: AnyFiles | Simulated) -> list[str]:
    """A sentence for each name that `columns` gives to one column and that is the layout's name of another."""
    if isinstance(logs, Simulated):
        return []
    return list(
        dict.fromkeys(
            f"logs.columns reads your {name} as {column}; wherever else a column is named, {name.lower()} means the "
            f"layout's {name.lower()}, so write {column} for yours"
            for side in SIDES
            for column, name in renames_of(logs, side_table(logs, side)).names.items()
            if name.lower() != column and name.lower() in STANDARD[side] and column in STANDARD[side]
        )
    )


def with_standard_names(arms: dict[str, Arm], logs: AnyFiles | Simulated) -> dict[str, Arm]:
    """The arms with the standard names of columns in their groups. Raises InputError for a column that a group names
    by both names."""
    names = {side: own_names(logs, side) for side in SIDES}
    if not any(names.values()):
        return arms
    return {
        name: arm.model_copy(
            update={
                "groups": {
                    key: _standard_group(f"arms.{name}.groups.{key}", group, names) for key, group in arm.groups.items()
                }
            }
        )
        for name, arm in arms.items()
    }


def _standard_group(key: str, group: Group, names: dict[Side, dict[str, str]]) -> Group:
    match group:
        case Graph() | GivenVectors() | Encoder():  # vectors are no values of the layout's columns
            return group
        case History():
            column = group.column and standard_name(group.column, names["searches"])
            return group.model_copy(update={"column": column}) if column != group.column else group
        case Location():
            pairs = {side: tuple(standard_name(name, names[side]) for name in getattr(group, side)) for side in SIDES}
            return group.model_copy(update=_changed(group, pairs))
        case Values() | Numbers():
            sides = {
                side: tuple(_standard_column(column, side, names) for column in getattr(group, side)) for side in SIDES
            }
            for side, columns in sides.items():
                _refuse_twice(f"{key}.{side}", columns, names[side])
            return group.model_copy(update=_changed(group, sides))
        case _:
            assert_never(group)


def _changed(group: Group, sides: Mapping[Side, object]) -> dict[str, object]:
    """The columns that differ from the group's: what a file leaves out stays left out."""
    return {side: columns for side, columns in sides.items() if columns != getattr(group, side)}


def _refuse_twice(key: str, columns: Columns, names: OwnNames) -> None:
    meanings = [column.means for column in with_meanings(columns)]
    if twice := sorted({name for name in meanings if meanings.count(name) > 1}):
        own = [own for own, column in names.items() if column in twice]
        raise InputError(
            f"{key}: {', '.join(own)} is your name of {', '.join(twice)}, which is named, too; name each column once"
        )


def _standard_column(column: str | Column, side: Side, names: dict[Side, dict[str, str]]) -> str | Column:
    """A column of a group; what it means may be a name of the other side."""
    if isinstance(column, str):
        return standard_name(column, names[side])
    other: Side = "documents" if side == "searches" else "searches"
    means = standard_name(standard_name(column.means, names[side]), names[other])
    return Column(column=standard_name(column.column, names[side]), means=means)
