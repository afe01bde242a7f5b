"""Print the results of a run as tables on a terminal."""

from __future__ import annotations

import json

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from data.experiment.experiment_spec import Experiment
from tasks.report.page import Grid, split_verdict
from tasks.report.result import read_rows
from tasks.report.terminal_tables import pair_grid, question_grid, recall_grid, retrieval_grid
from tasks.tracking.runs import Outcome

STYLES = {"holds": "green", "contradicted": "red", "undecided": "yellow", "too few": "dim"}
FINDINGS = ("better", "worse", "equal", "unclear", "more", "less")  # verdicts on questions without a claim


def show(outcome: Outcome, spec: Experiment, console: Console) -> None:
    """Print, for each target set, every arm's recall over the whole corpus, then the questions' paired differences."""
    rows = read_rows(outcome.results.folder / "results.parquet")
    checks = json.loads((outcome.results.folder / "checks.json").read_text())
    for counts in json.loads((outcome.sample.folder / "counts.json").read_text()):
        target_rows = [row for row in rows if row.targets == counts["targets"]]
        if target_rows:
            console.print(as_table(recall_grid(target_rows, counts, checks, spec)), Text(""))
    if spec.questions:
        console.print(as_table(question_grid(rows, spec)), Text(""))
    console.print(as_table(pair_grid(rows)), Text(""))
    if spec.combined_lists:
        console.print(as_table(retrieval_grid(rows, spec)), Text(""))
    for arm, error in outcome.failures.items():
        console.print(f"[red]failed[/red] {arm}: {error}")


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
    """The cell as rich's markup, with its verdict in colour."""
    before, word = split_verdict(text)
    if word not in (*STYLES, *FINDINGS):
        return escape(text)
    return f"{escape(before)} [{STYLES.get(word, 'default')}]{word}[/]"
