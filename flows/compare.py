"""`ebr compare`: two runs on the searches that they share, as tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ebr_core.errors import InputError
from tasks.answers import MAIN, SETS, ends, share, signed
from tasks.compare import Compared, compare_runs, find_run


def show_comparison(one: str, other: str, metric: str, console: Console) -> None:
    """Prints each shared arm's metric in both runs with the paired difference, a table for each target set."""
    runs = find_run(one), find_run(other)
    every = compare_runs(*runs)
    found = [row for row in every if row.metric == metric]
    if not found:
        there = ", ".join(sorted({row.metric for row in every}))
        raise InputError(f"--metric: got {metric}; both runs have {there}")
    console.print(f"A: {runs[0]}\nB: {runs[1]}\n", soft_wrap=True, highlight=False)
    for targets in (name for name in MAIN if any(row.targets == name for row in found)):
        console.print(_table([row for row in found if row.targets == targets], targets, metric), Text(""))
    if not any(row.training_noise for row in found):
        console.print("Training noise is not in the intervals: one seed an arm in both runs.")


def _table(rows: list[Compared], targets: str, metric: str) -> Table:
    table = Table(title=f"{metric}, targets: {SETS[targets]}", title_justify="left")
    table.add_column("arm")
    for heading in ("A", "B", "B − A on the same searches, 95 % interval", "searches"):
        table.add_column(heading, justify="right")
    for row in sorted(rows, key=lambda row: -row.b):
        difference = f"{signed(row.difference)} {ends(row.low, row.high)}"
        table.add_row(row.arm, share(row.a), share(row.b), difference, f"{row.searches:,}")
    return table
