"""`ebr compare`: compare two runs on the searches that they share, as tables on a terminal."""

from __future__ import annotations

from rich.console import Console

from data.experiment.experiment_spec import metric_of
from ebr_core.errors import InputError
from flows.app.results_table import print_grid
from tasks.report.comparison import ArmComparison, compare_runs, find_run
from tasks.report.formats import count, ends, share, signed
from tasks.report.page import Columns, tabulate
from tasks.report.target_sets import in_order, set_words

COLUMNS: Columns[ArmComparison] = [
    ("arm", lambda row: row.arm),
    ("A", lambda row: share(row.a)),
    ("B", lambda row: share(row.b)),
    (
        "B − A on the same searches, 95% interval",
        lambda row: f"{signed(row.difference)} {ends(row.low, row.high)}",
    ),
    ("searches", lambda row: count(row.searches)),
]


def show_comparison(run_a: str, run_b: str, metric: str, console: Console) -> None:
    """Print each shared arm's metric in both runs with the paired difference, a table for each target set."""
    metric = metric_of(metric)
    runs = find_run(run_a), find_run(run_b)
    comparisons = compare_runs(*runs)
    rows = [row for row in comparisons if row.metric == metric]
    if not rows:
        metrics = ", ".join(sorted({row.metric for row in comparisons}))
        raise InputError(f"--metric: got {metric}; both runs have {metrics}")
    console.print(f"A: {runs[0]}\nB: {runs[1]}\n", soft_wrap=True, highlight=False)
    for targets in in_order(row.targets for row in rows):
        best_first = sorted((row for row in rows if row.targets == targets), key=lambda row: -row.b)
        grid = tabulate(COLUMNS, best_first)._replace(title=f"{metric}, targets: {set_words(targets)}")
        print_grid(grid, console)
    if not any(row.training_noise for row in rows):
        console.print("The intervals do not include training noise: both runs have only one seed for each arm.")
