"""The result files of a run, read: what the report, a comparison and the paper's page are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tasks.answers import MAIN, Row, main_targets
from tasks.slices import WHOLE


@dataclass(frozen=True)
class Result:
    """The result files of a run, read."""

    rows: list[Row]  # results.parquet
    costs: list[Row]  # costs.parquet
    asked: dict[str, Any]  # experiment.yaml
    checks: dict[str, Any]
    audit: dict[str, Any]
    data: dict[str, Any]
    counts: list[dict[str, Any]]
    run: dict[str, Any]
    ensembles: list[dict[str, Any]]  # ensembles.json
    rankers: list[dict[str, Any]]  # rankers.json
    feedback: list[dict[str, Any]]  # feedback.json

    @cached_property
    def plain(self) -> list[Row]:
        """The rows of arms by themselves, through exact search, over all searches."""
        return [row for row in self.levels if row["slice"] == WHOLE]

    @cached_property
    def levels(self) -> list[Row]:
        """The same with their slices."""
        return [row for row in self.rows if row["question"] is None and row["index"] in ("exact", "none")]

    @cached_property
    def sets(self) -> list[str]:
        """The target sets that there are, the main one first."""
        return [name for name in MAIN if any(row["targets"] == name for row in self.plain)]

    @cached_property
    def main(self) -> str:
        """The target set that answers."""
        return main_targets(self.rows)

    @cached_property
    def k(self) -> int:
        """The K of the ones in evaluation.ks that is nearest to 10."""
        return int(min(self.asked["evaluation"]["ks"], key=lambda k: abs(k - 10)))
