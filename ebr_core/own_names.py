"""The user's own names of columns: each means the layout's column wherever a column is named."""

from __future__ import annotations

from collections.abc import Mapping

OwnNames = Mapping[str, str]  # the user's name of a column, as written → the layout's; no key is a name of the layout


def standard_name(name: str, own_names: OwnNames) -> str:
    """The layout's name of a column that is written under the user's name, whatever its case; any other name as it
    is."""
    return {own.lower(): column for own, column in own_names.items()}.get(name.lower(), name)


def written_name(name: str, own_names: OwnNames) -> str | None:
    """The user's name that `name` is, as `columns` of the logs writes it; None if it is none."""
    return next((own for own in own_names if own.lower() == name.lower()), None)


def own_name(column: str, own_names: OwnNames) -> str:
    """The user's name of a column of the layout; the layout's if it has no other."""
    return next((own for own, standard in own_names.items() if standard == column), column)
