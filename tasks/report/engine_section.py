"""The section on the engine that wrote the log: what its clicks can tell about a list, and what they cannot."""

from __future__ import annotations

from typing import Any

from data.experiment.experiment_spec import ORACLES
from tasks.report.formats import DASH, share
from tasks.report.page import Block, Columns, Grid, Heading, Paragraph, tabulate
from tasks.report.result import Result, pivot, written

UNSEEN = "unseen"


def engine_blocks(result: Result) -> list[Block]:
    """The share of each list that nobody has seen, beside its recall on every target set; empty for an earlier run."""
    rows = [row for row in result.plain if row.arm not in ORACLES]
    targets = "clicked" if "clicked" in result.sets else result.main
    unseen = pivot([row for row in rows if (row.metric, row.targets) == (UNSEEN, targets)], ["arm"], "metric")
    if unseen.empty:
        return []
    recall = pivot([row for row in rows if row.measure == result.recall], ["arm"], "targets")
    columns: Columns[str] = [("arm", str), (f"{UNSEEN}@{result.k}", written(unseen[UNSEEN], share))]
    for name in result.sets:
        n = next(row.n for row in rows if row.targets == name)
        columns.append((f"{result.recall}, {name} (n = {n:,})", written(recall[name], share)))
    words = (
        "Recall on clicks favours the engine that showed the results: what it did not show could not be clicked. "
        f"{UNSEEN}@{result.k} is the share of the first {result.k} results that nobody was shown or judged for the "
        "query, anywhere in the log up to the test: the higher it is, the less clicks can tell about a list."
    )
    if "randomised" in result.sets:
        words += (
            " In lists that were shown in random order, no place attracted clicks; but there, too, only what was shown "
            "could be clicked."
        )
    arms = sorted(unseen.index, key=lambda arm: (arm in result.baselines, unseen[UNSEEN][arm], arm))
    return [Heading("Beside the engine of today"), Paragraph(words), tabulate(columns, arms)]


def list_blocks(result: Result) -> list[Block]:
    """What became of the rows of the logged order and of the user's own lists; empty without any."""
    matches: dict[str, Any] = result.checks.get("lists", {})
    lines = [[name, *_cells(match)] for name, match in matches.items()]
    headers = ["list", "rows", "match the log", "test searches with results", "of what the log shows", "left out"]
    caption = (
        "Of what the log shows: the share of the shown documents that is among as many first ones of the list, in the "
        "searches that it covers."
    )
    return [Grid(headers, lines, caption)] if lines else []


def _cells(match: dict[str, Any]) -> list[str]:
    file = match["file"] or {"left_out": []}
    reasons = {part["reason"]: part["rows"] for part in file["left_out"]}
    reasons |= {"no rank or position": match["without_rank"], "not alive in the test": match["not_alive"]}
    return [
        f"{file['rows']:,}" if "rows" in file else DASH,
        f"{file['kept']:,}" if "kept" in file else DASH,
        f"{match['covered']:,} of {match['searches']:,}",
        DASH if match["shown"] is None else share(match["shown"]),
        "; ".join(f"{reason}: {rows:,}" for reason, rows in reasons.items() if rows) or DASH,
    ]
