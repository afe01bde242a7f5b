"""The options of a search, checked before anything slow is imported. The query checks them again, with all the rest."""

from __future__ import annotations

from datetime import datetime

from ebr_core.errors import InputError

RADII = ("none", "model", "query")
MODES = ("ebr", "hybrid", "weighted", "reranked", "boolean")


def refuse_options(mode: str | None, radius: str, where: str | None = None, at: str | None = None) -> None:
    """Raise InputError for the first option that no model accepts."""
    if mode is not None and mode not in MODES:
        raise InputError(f"--mode: got {mode!r}; allowed: {', '.join(MODES)}")
    if radius not in RADII and not _is_distance(radius):
        raise InputError(f"--radius: got {radius!r}; allowed: {', '.join(RADII)}, or a cosine distance from 0 to 2")
    if at is not None:
        try:
            datetime.fromisoformat(at)
        except ValueError as error:
            raise InputError(f"--at: got {at!r}; expected a time such as 2024-03-01T12:00") from error
    if where is not None and where.strip():
        from ebr_core.search.conditions import parse

        try:
            parse(where)
        except InputError as error:
            raise InputError(f"--where: {error}") from error


def _is_distance(radius: str) -> bool:
    try:
        return 0 <= float(radius) <= 2
    except ValueError:
        return False


def read_fields(assignments: list[str]) -> dict[str, str | list[str]]:
    """Field → value of assignments such as device=phone, or the list of its values. Raises InputError for one of
    another form."""
    pairs = [assignment.partition("=") for assignment in assignments]
    if invalid := [name for name, equals, _ in pairs if not equals or not name]:
        raise InputError(f"--field: got {invalid[0]!r}; expected a name and a value, such as device=phone")
    values: dict[str, list[str]] = {}
    for name, _, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: given if len(given) > 1 else given[0] for name, given in values.items()}
