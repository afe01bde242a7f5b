"""The sections on differences: every question's by target set, and its widest one by slice."""

from __future__ import annotations

import textwrap
from math import isnan

from data.experiment.experiment_spec import ORACLES
from tasks.report import plots
from tasks.report.answers import CLAIMS, outcome_cell, widest
from tasks.report.formats import DASH, count, share
from tasks.report.page import Block, Columns, Grid, Heading, Paragraph, Picture, tabulate, without_markup
from tasks.report.result import FEW, REFERENCE, Result, ResultRow, cells, pivot, written
from tasks.report.target_sets import set_words
from tasks.slices import FEW_SEARCHES

PANELS = 4  # of slices, side by side
TITLE_LETTERS = 34  # on a line beside a picture
PANEL_LETTERS = 26  # on a line above a panel


def difference_blocks(result: Result) -> list[Block]:
    """The forest plots of all questions, a panel for each target set, and their table."""
    rows = [row for compared in result.compared.values() for row in compared]
    shown = [row for row in rows if row.targets in result.sets]
    if not shown:
        return []
    margins = {row.margin for row in shown}
    margin = margins.pop() if len(margins) == 1 else None
    band = f" The band is a tie, ± {share(margin)}." if margin else ""
    pictures = {_picture(row): [other for other in shown if _picture(other) == _picture(row)] for row in shown}
    return [
        Heading("Differences to the baseline"),
        *(_forest(result, name, rows_of_picture, margin) for name, rows_of_picture in pictures.items()),
        Paragraph(
            "Green: better than the baseline; red: worse; grey: a tie, or not decided. Thick line: 95% interval of "
            f"this difference by itself; thin line: of all arms of the question together, which decides.{band}"
        ),
        _difference_grid(result, shown, result.sets),
        *_few_sets(result, rows),
    ]


def _picture(row: ResultRow) -> str:
    """The name of the picture of a difference: larger ones, to BM25 or of documents, have pictures of their own."""
    return "differences-" + ("scanned" if row.metric == "scanned" else "bm25" if row.baseline == REFERENCE else "arms")


def _forest(result: Result, name: str, rows: list[ResultRow], margin: float | None) -> Picture:
    """A line for each question and arm, a panel for each target set."""
    first = {str(row.question): row.arm for row in reversed(rows)}  # the title stands above it alone

    def label(row: ResultRow) -> str:
        above = f"{_title(result, row)}\n" if first[str(row.question)] == row.arm else ""
        return f"{above}{row.arm} − {row.baseline} ({row.question})"

    panels = {
        targets: [_line(row, label(row), str(row.finding)) for row in rows if row.targets == targets]
        for targets in result.sets
    }
    words = "Differences to the baseline with intervals, for each question and target set"
    return Picture(name, plots.svg(plots.forest(panels, None if "scanned" in name else margin, _xlabel(rows))), words)


def _title(result: Result, row: ResultRow, letters: int = TITLE_LETTERS) -> str:
    """The title of a question on lines of at most so many letters."""
    return textwrap.fill(without_markup(result.title(str(row.question))), letters)


def _difference_grid(result: Result, rows: list[ResultRow], sets: list[str], folded: bool = False) -> Grid:
    """A line for each question and arm, a column for each target set."""
    by_arm = cells(rows, lambda row: (row.question, row.arm), lambda row: row.targets)
    last = {(row.question, row.arm): row for row in rows}
    first = {row.question: row.arm for row in reversed(rows)}

    def _is_first(row: ResultRow) -> bool:
        return first[row.question] == row.arm

    columns: Columns[ResultRow] = [
        ("question", lambda row: result.title(str(row.question)) if _is_first(row) else ""),
        ("arm − baseline", lambda row: f"{row.arm} − {row.baseline}"),
        ("claimed", lambda row: CLAIMS[row.claim] if row.claim else DASH),
    ]
    if len({row.measure for row in rows}) > 1:
        columns.insert(2, ("metric", lambda row: row.measure))

    def on(targets: str, row: ResultRow) -> str:
        match = by_arm[row.question, row.arm].get(targets)
        return outcome_cell(match) if match else DASH

    columns += [(name, lambda row, name=name: on(name, row)) for name in sets]  # type: ignore[misc]
    columns.append(("code", lambda row: f"*{row.question}*"))
    explained = "; ".join(f"{name}: {set_words(name)}" for name in sets)
    return tabulate(columns, [last[key] for key in by_arm], f"Targets: {explained}.", folded)


def _few_sets(result: Result, rows: list[ResultRow]) -> list[Block]:
    """The differences on target sets of too few searches, on demand."""
    few = [row for row in rows if row.targets in result.few_sets]
    if not few:
        return []
    grid = _difference_grid(result, few, result.few_sets, folded=True)
    names = ", ".join(f"{name} ({result.every_set[name]})" for name in result.few_sets)
    return [grid._replace(caption=f"Target sets of fewer than {FEW} searches: {names}. {grid.caption}")]


def slice_blocks(result: Result) -> list[Block]:
    """A forest of each question's widest difference by slice, and every arm's recall by slice on demand."""
    page: list[Block] = [Heading("Slices")]
    page.append(
        Paragraph(
            "Slices are exploratory: with so many, some differ by chance, and intervals and colours hold one by one. "
            f"Pale and marked small: fewer than {FEW_SEARCHES} searches or too few searchers. A search belongs to the "
            "slice of its main target. Of a question with several arms, the one that differs most is shown.",
            "note",
        )
    )
    compared = [
        of_main for rows in result.compared.values() if (of_main := [row for row in rows if row.targets == result.main])
    ]
    for number, first in enumerate(range(0, len(compared), PANELS), 1):
        shown = compared[first : first + PANELS]
        panels = dict(_by_slice(result, widest(rows)) for rows in shown)
        figure = plots.forest(panels, None, _xlabel([row for rows in shown for row in rows]))
        page.append(Picture(f"slices-{number}", plots.svg(figure), "Differences by slice"))
    return [*page, *(_slice_grid(result, targets) for targets in result.sets)]


def _by_slice(result: Result, whole: ResultRow) -> tuple[str, list[plots.Line]]:
    """The title of a panel, and the differences of one arm in every slice."""
    key = (whole.question, whole.arm, result.main)
    decided = whole.open_because is None
    lines = [
        _line(row, f"{row.slice} ({row.n:,}{', small' if row.small else ''})", _sign(row) if decided else "")
        for row in result.rows
        if (row.question, row.arm, row.targets) == key and not isnan(row.difference)
    ]
    difference = textwrap.fill(f"{whole.arm} − {whole.baseline} ({whole.question})", PANEL_LETTERS)
    return f"{_title(result, whole, PANEL_LETTERS)}\n{difference}", lines


def _sign(row: ResultRow) -> str:
    """The finding by the interval of this difference by itself; of documents scanned none is better."""
    if row.metric == "scanned" or isnan(row.difference_low):
        return ""
    return "better" if row.difference_low > 0 else "worse" if row.difference_high < 0 else ""


def _slice_grid(result: Result, targets: str) -> Grid:
    """Every arm's recall@K in every slice."""
    measure = (targets, result.recall)
    rows = [row for row in result.levels if (row.targets, row.measure) == measure and row.arm not in ORACLES]
    values = pivot(rows, ["slice"], "arm")
    any_row = {row.slice: row for row in reversed(rows)}
    columns: Columns[str] = [
        ("slice", lambda name: name + (" *(small)*" if any_row[name].small else "")),
        ("n", lambda name: count(any_row[name].n)),
    ]
    arms = [arm for arm in result.arms if arm in values]
    columns += [(arm, written(values[arm], share)) for arm in arms]
    return tabulate(columns, values.index, f"{result.recall} by slice, targets: {set_words(targets)}", folded=True)


def _line(row: ResultRow, label: str, finding: str) -> plots.Line:
    """A result row as a line of a forest plot; a slice has no family, so its interval by itself is used."""
    low, high = row.difference_low, row.difference_high
    family = (low, high) if isnan(row.family_low) else (row.family_low, row.family_high)
    finding = "" if row.metric == "scanned" else finding
    return plots.Line(label, row.difference, low, high, *family, finding, faint=row.small)


def _xlabel(rows: list[ResultRow]) -> str:
    measures = {row.measure for row in rows}
    return f"difference in {measures.pop()}" if len(measures) == 1 else "difference"
