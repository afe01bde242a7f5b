"""Print the results of a run as tables on a terminal."""

from __future__ import annotations

import json

from rich.console import Console

from data.experiment.experiment_spec import Experiment
from flows.app.narrow_tables import print_grid
from flows.tune import Tuning
from tasks.looks import describe_looks
from tasks.report.page import without_markup
from tasks.report.recommendation import recommendation
from tasks.report.result import FEW, read, read_rows
from tasks.report.served_row import describe_served
from tasks.report.terminal_tables import pair_grid, question_grid, recall_grid, retrieval_grid, validation_grids
from tasks.tracking.runs import Outcome


def show_run(outcome: Outcome, spec: Experiment, console: Console) -> None:
    """Print all tables of a run, where its pages are, and what to use."""
    show(outcome, spec, console)
    console.print(f"Results: {outcome.results.folder}", soft_wrap=True)
    console.print(f"Report:  {outcome.report.folder / 'report.html'}", soft_wrap=True)
    console.print("Pages:   make ui (MLflow to compare arms, Prefect to see the flow)")
    show_advice(outcome, console)


def show(outcome: Outcome, spec: Experiment, console: Console) -> None:
    """Print, for each target set, every arm's recall over the whole corpus, then the questions' paired differences."""
    result = read(outcome.report.folder)
    for counts in (counts for counts in result.counts if counts["targets"] in result.sets):
        rows = [row for row in result.rows if row.targets == counts["targets"]]
        validation = result.validation if counts["targets"] == result.main else []
        print_grid(recall_grid(rows, counts, result.checks, spec, validation, result.served), console)
    print_grid(question_grid(result.rows, spec), console)
    print_grid(pair_grid(result.rows, result.k), console)
    if spec.combined_lists:
        print_grid(retrieval_grid(result.rows, spec), console)
    if result.few_sets:
        names = ", ".join(f"{name} ({result.every_set[name]})" for name in result.few_sets)
        console.print(f"Target sets of fewer than {FEW} searches are in the report alone: {names}.\n", soft_wrap=True)
    if result.served:
        served = describe_served(result.served, result.validation, result.k, result.unserved_lists)
        console.print(served, soft_wrap=True)
    console.print(describe_looks(outcome.looks), soft_wrap=True)
    for index, words in result.run.get("finer_codes", {}).items():
        console.print(f"Index {index}: {words}.", soft_wrap=True)
    _show_failures(outcome.failures, console)


def show_tuning(tuning: Tuning, spec: Experiment, console: Console) -> None:
    """Print, for each target set, every list's figures on the validation, and nothing of the test."""
    rows = read_rows(tuning.results.folder / "results.parquet", "validation")
    checks = json.loads((tuning.results.folder / "checks.json").read_text())
    for grid in validation_grids(rows, checks, spec):
        print_grid(grid, console)
    _show_failures(tuning.failures, console)


def _show_failures(failures: dict[str, str], console: Console) -> None:
    for arm, error in failures.items():
        console.print(f"[red]failed[/red] {arm}: {error}")


def show_advice(outcome: Outcome, console: Console) -> None:
    """Print what to use, in one line."""
    advice = without_markup(recommendation(read(outcome.report.folder)))
    console.print(advice, soft_wrap=True, markup=False, highlight=False, style="bold")
