"""The sections on differences: every question's by target set, and its widest one by slice."""

from __future__ import annotations

from math import isnan

from data.experiment.experiment_spec import ORACLES
from tasks.report import plots
from tasks.report.answers import SETS, difference, verdict_of, widest
from tasks.report.formats import DASH, count, share
from tasks.report.page import Block, Columns, Grid, Heading, Paragraph, Picture, tabulate
from tasks.report.result import Result, ResultRow, cells, pivot, questions, written
from tasks.slices import FEW_SEARCHES

PANELS = 5  # of slices, side by side


def difference_blocks(result: Result) -> list[Block]:
    """The forest plot of all questions, a panel for each target set, and its table."""
    rows = [row for compared in questions(result.rows).values() for row in compared]
    if not rows:
        return []
    panels = {
        name: [_line(row, f"{row.question}: {row.arm} − {row.baseline}") for row in rows if row.targets == name]
        for name in result.sets
    }
    margins = {row.margin for row in rows}
    margin = margins.pop() if len(margins) == 1 else None
    figure = plots.forest(panels, margin, _xlabel(rows))
    words = "Differences to the baseline with intervals, for each question and target set"
    return [
        Heading("Differences to the baseline"),
        Picture("differences", plots.svg(figure), words),
        Paragraph(
            "Thick line: 95% interval of this difference by itself; thin line: of all arms of the question together, "
            "which the verdict goes by. Green: the claim holds; red: contradicted; grey: undecided."
            + (f" The band is what counts as equal, ± {share(margin)}." if margin else "")
        ),
        _difference_grid(rows, result.sets),
    ]


def _difference_grid(rows: list[ResultRow], sets: list[str]) -> Grid:
    """A line for each question and arm, a column for each target set."""
    by_arm = cells(rows, lambda row: (row.question, row.arm), lambda row: row.targets)
    last = {(row.question, row.arm): row for row in rows}
    columns: Columns[ResultRow] = [
        ("question", lambda row: str(row.question)),
        ("arm", lambda row: row.arm),
        ("baseline", lambda row: str(row.baseline)),
        ("metric", lambda row: row.measure),
        ("claim", lambda row: row.claim or DASH),
    ]
    constant = [column for column in columns[2:4] if len({column[1](row) for row in last.values()}) == 1]
    columns = [column for column in columns if column not in constant]

    def on(targets: str, row: ResultRow) -> str:
        match = by_arm[row.question, row.arm].get(targets)
        return f"{difference(match)}; {verdict_of(match)}" if match else DASH

    columns += [(name, lambda row, name=name: on(name, row)) for name in sets]  # type: ignore[misc]
    constants = "".join(f"{heading.capitalize()}: {cell(rows[0])}. " for heading, cell in constant)
    explained = "; ".join(f"{name}: {SETS[name]}" for name in sets)
    return tabulate(columns, [last[key] for key in by_arm], f"{constants}Targets: {explained}.")


def slice_blocks(result: Result) -> list[Block]:
    """A forest of each question's widest difference by slice, and every arm's recall by slice on demand."""
    page: list[Block] = [Heading("Slices")]
    page.append(
        Paragraph(
            "Slices are exploratory: with so many, some differ by chance, and their intervals hold one by one only. "
            f"Pale and marked small: fewer than {FEW_SEARCHES} searches or too few searchers. A search belongs to the "
            "slice of its main target. Of a question with several arms, the one that differs most is shown.",
            "note",
        )
    )
    compared = list(questions(row for row in result.rows if row.targets == result.main).values())
    for number, first in enumerate(range(0, len(compared), PANELS), 1):
        shown = compared[first : first + PANELS]
        panels = dict(_by_slice(result, widest(rows)) for rows in shown)
        figure = plots.forest(panels, None, _xlabel([row for rows in shown for row in rows]))
        page.append(Picture(f"slices-{number}", plots.svg(figure), "Differences by slice"))
    return [*page, *(_slice_grid(result, targets) for targets in result.sets)]


def _by_slice(result: Result, whole: ResultRow) -> tuple[str, list[plots.Line]]:
    """The title of a panel, and the differences of one arm in every slice."""
    key = (whole.question, whole.arm, result.main)
    lines = [
        _line(row, f"{row.slice} ({row.n:,}{', small' if row.small else ''})")
        for row in result.rows
        if (row.question, row.arm, row.targets) == key and not isnan(row.difference)
    ]
    return f"{whole.question}\n{whole.arm} − {whole.baseline}", lines


def _slice_grid(result: Result, targets: str) -> Grid:
    """Every arm's recall@K in every slice."""
    measure = (targets, result.recall)
    rows = [row for row in result.levels if (row.targets, row.measure) == measure and row.arm not in ORACLES]
    values = pivot(rows, ["slice"], "arm")
    any_row = {row.slice: row for row in reversed(rows)}
    columns: Columns[str] = [
        ("slice", lambda name: name + (" *small*" if any_row[name].small else "")),
        ("n", lambda name: count(any_row[name].n)),
    ]
    arms = sorted(map(str, values), key=lambda arm: (arm in result.baselines, arm))
    columns += [(arm, written(values[arm], share)) for arm in arms]
    return tabulate(columns, values.index, f"{result.recall} by slice, targets: {SETS[targets]}", folded=True)


def _line(row: ResultRow, label: str) -> plots.Line:
    """A result row as a line of a forest plot; a slice has no family, so its interval by itself is used."""
    low, high = row.difference_low, row.difference_high
    family = (low, high) if isnan(row.family_low) else (row.family_low, row.family_high)
    colour = row.verdict or row.finding or "unclear"
    return plots.Line(label, row.difference, low, high, *family, colour, faint=row.small)


def _xlabel(rows: list[ResultRow]) -> str:
    return f"difference in {', '.join(sorted({row.measure for row in rows}))}"
