"""Print the results of a run as tables on a terminal."""

from __future__ import annotations

import json

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from data.experiment.experiment_spec import Experiment
from flows.tune import Tuning
from tasks.looks import describe_looks
from tasks.report.page import Grid, split_outcome, without_markup
from tasks.report.recommendation import recommendation
from tasks.report.result import FEW, read, read_rows
from tasks.report.served_row import describe_served
from tasks.report.terminal_tables import pair_grid, question_grid, recall_grid, retrieval_grid, validation_grids
from tasks.tracking.runs import Outcome

STYLES = {"better": "green", "worse": "red"}  # of a finding; all others are dim


def show(outcome: Outcome, spec: Experiment, console: Console) -> None:
    """Print, for each target set, every arm's recall over the whole corpus, then the questions' paired differences."""
    result = read(outcome.report.folder)
    for counts in (counts for counts in result.counts if counts["targets"] in result.sets):
        rows = [row for row in result.rows if row.targets == counts["targets"]]
        validation = result.validation if counts["targets"] == result.main else []
        console.print(as_table(recall_grid(rows, counts, result.checks, spec, validation, result.served)), Text(""))
    console.print(as_table(question_grid(result.rows, spec)), Text(""))
    console.print(as_table(pair_grid(result.rows, result.k)), Text(""))
    if spec.combined_lists:
        console.print(as_table(retrieval_grid(result.rows, spec)), Text(""))
    if result.few_sets:
        names = ", ".join(f"{name} ({result.every_set[name]})" for name in result.few_sets)
        console.print(f"Target sets of fewer than {FEW} searches are in the report alone: {names}.\n", soft_wrap=True)
    if result.served:
        served = describe_served(result.served, result.validation, result.k, result.unserved_lists)
        console.print(served, soft_wrap=True)
    console.print(describe_looks(outcome.looks), soft_wrap=True)
    _show_failures(outcome.failures, console)


def show_tuning(tuning: Tuning, spec: Experiment, console: Console) -> None:
    """Print, for each target set, every list's figures on the validation, and nothing of the test."""
    rows = read_rows(tuning.results.folder / "results.parquet", "validation")
    checks = json.loads((tuning.results.folder / "checks.json").read_text())
    for grid in validation_grids(rows, checks, spec):
        console.print(as_table(grid), Text(""))
    _show_failures(tuning.failures, console)


def _show_failures(failures: dict[str, str], console: Console) -> None:
    for arm, error in failures.items():
        console.print(f"[red]failed[/red] {arm}: {error}")


def show_advice(outcome: Outcome, console: Console) -> None:
    """Print what to use, in one line."""
    advice = without_markup(recommendation(read(outcome.report.folder)))
    console.print(advice, soft_wrap=True, markup=False, highlight=False, style="bold")


def as_table(grid: Grid | None) -> RenderableType:
    """The grid as a table for the terminal; empty for None."""
    if grid is None:
        return Group()
    caption = escape(grid.caption) or None
    table = Table(title=escape(grid.title), title_justify="left", caption=caption, caption_justify="left")
    for i, header in enumerate(grid.headers):
        unwrapped = header in grid.unwrapped
        table.add_column(escape(header), justify="left" if i < grid.left else "right", no_wrap=unwrapped)
    for i, row in enumerate(grid.rows):
        if i in grid.breaks:
            table.add_section()
        table.add_row(*map(_cell, row), style=grid.styles[i] if grid.styles else None)
    return table


def _cell(text: str) -> str:
    """The cell as rich's markup, with its finding in colour."""
    before, finding, rest = split_outcome(text)
    if not finding:
        return escape(text)
    gap = "\n" if ";\n" in text else " "
    return f"{escape(before)}{gap}[{STYLES.get(finding, 'dim')}]{finding}[/]{escape(rest)}"
