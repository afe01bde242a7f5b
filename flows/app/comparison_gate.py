"""The verdict of `ebr compare --gate`, and the exit code that it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ebr_core.measure.verdicts import classify_difference
from tasks.list_measures import EVERY_SET
from tasks.report.comparison import ArmComparison
from tasks.report.formats import count, ends, signed
from tasks.report.target_sets import set_words

EXIT_CODES = {"better": 0, "worse": 1, "tie": 3, "unclear": 4}  # 2 is an error that the user can correct
_WORDS = {"equal": "tie", "too few": "unclear"}


class GateVerdict(NamedTuple):
    """Whether B is better than A, as far as this sample shows it."""

    word: str
    compared: ArmComparison
    margin: float
    reason: str  # why nothing is decided; else empty

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return EXIT_CODES[self.word]

    @property
    def line(self) -> str:
        """VERDICT: better (B − A: +.021 [+.004, +.038] in recall@10, what was clicked, 500 searches)"""
        row = self.compared
        figures = (
            f"B − A: {signed(row.difference)} {ends(row.low, row.high)} in {row.metric}, {set_words(row.targets)}, "
            f"{count(row.searches)} searches"
        )
        return f"VERDICT: {self.word} ({figures}{'; ' if self.reason else ''}{self.reason})"


def decide(compared: ArmComparison, margin: float, reason: str) -> GateVerdict:
    """better or worse if the interval excludes 0, tie if it lies inside ± margin, else unclear; unclear, too, if there
    is a reason why nothing can be decided, or if there are too few searchers for an interval."""
    found = classify_difference(compared.low, compared.high, margin)
    word = "unclear" if reason else _WORDS.get(found, found)
    return GateVerdict(word, compared, margin, reason)


def reason_against(folder: Path, row: str, targets: str, metric: str) -> str:
    """The reason why a run lets nothing be decided about one of its rows, such as a training that was ended by its cap;
    empty without one."""
    checks = json.loads((folder / "checks.json").read_text())
    reasons = checks.get("undecidable", {}).get(row.partition("@")[0], {})
    keys = (targets, f"{targets}@{metric.partition('@')[2]}", EVERY_SET)
    return next((f"{row}: {reasons[key]}" for key in keys if key in reasons), "")
