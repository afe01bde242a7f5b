"""The sentence that says which row is served, and what did better on the validation but cannot be."""

from __future__ import annotations

from collections.abc import Iterable

from ebr_core.search.modes import is_hybrid
from tasks.finished_run import ServedRow
from tasks.report.formats import share
from tasks.report.result import ResultRow
from tasks.slices import WHOLE

SERVED = " (served)"  # the mark of the row


def describe_served(served: ServedRow, validation: Iterable[ResultRow], k: int, lists: Iterable[str]) -> str:
    """What `ebr search` and the others answer with, and the lists that the validation prefers but no bundle holds.

    lists: the names of the lists that no bundle holds: retrievals and filters.
    """
    measured = [row for row in validation if (row.targets, row.slice, row.measure) == ("clicked", WHOLE, f"recall@{k}")]
    names, reasons = set(lists), served.refused
    better = {row.arm: row.value for row in measured if row.arm in {*names, *reasons} and row.value > served.recall}
    unserved = {name: value for name, value in better.items() if name in names}
    sentence = (
        f"search, serve, batch, export and nights answer with `{served.row}` through the index {served.index}: of all "
        f"that a bundle can serve it has the highest recall@{k} on the validation, {share(served.recall)} by exact "
        "search."
    )
    if unserved:
        values = ", ".join(f"`{name}` {share(value)}" for name, value in unserved.items())
        sentence += f" Higher there, but not served, because bundles hold no such list: {values}."
    for name, reason in reasons.items():
        value = f", {share(better[name])} there," if name in better else ""
        sentence += f" Not served: `{name}`{value} because {reason}."
    return sentence


def is_served(served: ServedRow | None, arm: str, index: str | None = None) -> bool:
    """True for the row that is served. index: that of the row, if rows through indexes are told apart."""
    return served is not None and arm == served.row and index in (None, served.index)


def is_shown(served: ServedRow | None, row: ResultRow) -> bool:
    """False for hybrids through an index, unless they are what is served: a table shows them by exact search."""
    return not is_hybrid(row.arm) or row.is_level or is_served(served, row.arm, row.index)
