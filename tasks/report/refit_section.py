"""The section on what was trained on the validation, too."""

from __future__ import annotations

from math import nan
from typing import Any

from data.experiment.experiment_spec import REFIT
from tasks.report.formats import ends, signed
from tasks.report.page import Block, Columns, Heading, Paragraph, tabulate
from tasks.report.result import Result
from tasks.report.target_sets import set_words

REMARK = f"{REFIT}: trained on the validation's days, too, with the trial and for the epochs that validation chose"


def refit_blocks(result: Result) -> list[Block]:
    """What the last days bring: the difference of each refit to what it repeats; empty without a refit."""
    refits = result.checks.get("refits", [])
    if not refits:
        return []
    columns: Columns[dict[str, Any]] = [
        ("refit − first training", lambda refit: f"{refit['arm']} − {refit['of']}"),
        ("targets", lambda refit: set_words(refit["targets"])),
        (result.recall, lambda refit: _interval(refit)),
    ]
    caption = "95% intervals over searchers on the same test searches, one seed: training noise is not included."
    return [
        Heading("Trained on the validation, too"),
        Paragraph(f"{REMARK}. On the validation it has no figure."),
        tabulate(columns, refits, caption),
    ]


def _interval(refit: dict[str, Any]) -> str:
    return f"{signed(refit['difference'])} {ends(refit.get('low', nan), refit.get('high', nan))}"
