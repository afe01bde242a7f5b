"""The rows of lists that were clicked in: what was clicked is in them by construction, so they stand apart."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from data.experiment.experiment_spec import LOGGED

NO_RIVAL = " (no rival)"  # behind the name of such a row; the caption has the reason


def engine_rows(checks: dict[str, Any], targets: str, lists: Collection[str]) -> frozenset[str]:
    """The logged order and those of the user's ranked lists that made the targets of a set.

    checks: of the run, with the reasons why nothing is decided about a list; lists: the user's own.
    """
    undecidable = checks.get("undecidable", {})
    return frozenset(name for name in (LOGGED, *lists) if targets in undecidable.get(name, {}))
