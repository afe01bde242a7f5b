"""Commands that run experiments or read their results: `ebr run`, `check`, `report`, `compare`, `audit`, `paper`,
`simulate`, `ui`, `schema`."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ebr_core.errors import InputError
from flows.app.session import EXPERIMENT_FILE, VERBOSE, open_console, open_session, outcome_of

if TYPE_CHECKING:
    from prefect import State
    from rich.progress import Progress

    from data.experiment.experiment_spec import Experiment

RUN = Annotated[
    str, typer.Argument(help="A run: its folder, its name (report-…), or an experiment, which stands for its last run.")
]


def run(
    experiment: EXPERIMENT_FILE,
    tune: Annotated[
        bool, typer.Option("--tune", help="Train and show figures on the validation only, to choose settings by.")
    ] = False,
    verbose: VERBOSE = False,
) -> None:
    """Run an experiment (extract, train, index, evaluate) and print its results. Existing artifacts are reused."""
    spec = _load_experiment(experiment)  # before anything starts
    show_bars = sys.stderr.isatty() and not verbose
    open_session(verbose)
    from flows.app.results_table import show, show_advice, show_tuning
    from flows.ebr import ebr
    from flows.tune import tune as tune_flow
    from tasks.progress import BARS

    console, bars = open_console(), _progress_bars()
    with bars if show_bars else nullcontext():
        token = BARS.set(bars if show_bars else None)
        flow = tune_flow if tune else ebr
        state: State[Any] = flow(str(experiment), return_state=True)
        BARS.reset(token)
    outcome = outcome_of(state)
    if tune:
        show_tuning(outcome, spec, console)
    else:
        show(outcome, spec, console)
        console.print(f"Results: {outcome.results.folder}", soft_wrap=True)
        console.print(f"Report:  {outcome.report.folder / 'report.html'}", soft_wrap=True)
        console.print("Pages:   make ui (MLflow to compare arms, Prefect to see the flow)")
        show_advice(outcome, console)
    if state.is_failed():
        console.print(f"[red]failed[/red]: {state.message}", soft_wrap=True)
        raise typer.Exit(1)


def _load_experiment(path: Path) -> Experiment:
    """The experiment in the file. Raises InputError if the file is invalid, or if logs or lists that it names do not
    exist."""
    from data.experiment.experiment_file import load_experiment
    from data.experiment.log_config import Simulated
    from data.log_fingerprint import refuse_absent

    spec = load_experiment(path)
    refuse_absent(None if isinstance(spec.logs, Simulated) else spec.logs, spec.lists)
    return spec


def _progress_bars() -> Progress:
    """Bars on standard error that disappear at the end."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )


def check(experiment: EXPERIMENT_FILE) -> None:
    """Check an experiment file and its logs without training: counts, dropped rows, split, unanswerable questions. The
    exit code is 2 if a run would be refused, 1 if a part of it would fail."""
    from flows.app.check import check_experiment

    checked = check_experiment(experiment)
    Console().print(checked.text, markup=False, soft_wrap=True, highlight=False)
    if checked.refusals or checked.failures:
        raise typer.Exit(2 if checked.refusals else 1)


def report(
    run: RUN,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to; default: a folder in EBR_HOME/reports.")
    ] = None,
) -> None:
    """Write the report of a run again from its result files: report.html, report.md and pictures."""
    from tasks.report.comparison import find_run
    from tasks.report.report_stage import write_again

    print(write_again(find_run(run), out))


def compare(
    run_a: RUN,
    run_b: RUN,
    metric: Annotated[str, typer.Option(help="The metric to compare, such as recall@10 or mrr.")] = "recall@10",
) -> None:
    """Compare the arms that two runs share, on the searches that both evaluated."""
    from flows.app.compare import show_comparison

    show_comparison(run_a, run_b, metric, open_console())


def audit(experiment: EXPERIMENT_FILE, verbose: VERBOSE = False) -> None:
    """Train the arms of the audit section again, with other splits and with less of the log, and report the effect."""
    open_session(verbose)
    from flows.app.audit import run_audit

    folder = run_audit(experiment)
    Console().print((folder / "audit.md").read_text(), markup=False, highlight=False, soft_wrap=True)
    print(folder / "audit.html")


def paper(
    experiments: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Default: experiments/paper-*.yaml, and the experiments on real logs that are on this machine."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/paper-results.md"),
    verbose: VERBOSE = False,
) -> None:
    """Run the paper's comparisons and write a page with the answer to each question. A killed run can be resumed."""
    open_session(verbose)
    from flows.app.paper import run_paper

    failures = run_paper(experiments or [], out)
    print(out)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


def simulate(
    out: Annotated[Path, typer.Option(help="A new folder for the log.")],
    searches: Annotated[int, typer.Option(help="The number of searches, reformulations included.")] = 80_000,
    documents: Annotated[
        int, typer.Option(help="The number of documents, including those that are created or removed during the log.")
    ] = 15_000,
    days: Annotated[int, typer.Option(help="The number of days.")] = 30,
    seed: Annotated[int, typer.Option(help="The seed; the same seed gives the same bytes.")] = 0,
) -> None:
    """Simulate a social search service and write its log in the `tables` layout, a folder for each day."""
    from pydantic import ValidationError
    from rich.progress import track

    from data.world.simulate import simulate as simulate_log
    from data.world.world_config import World

    try:
        world = World(searches=searches, documents=documents, days=days, seed=seed)
    except ValidationError as error:
        problems = [
            f"--{problem['loc'][0]}: got {problem['input']!r}; {problem['msg'].lower()}" for problem in error.errors()
        ]
        raise InputError("; ".join(problems)) from error
    for _ in track(simulate_log(world, out), description="days", total=days, console=Console(stderr=True)):
        pass
    print(f"{out}: searches, results, documents, edges, and truth/ (for evaluation and raters only)")


def ui(
    prefect_port: Annotated[int, typer.Option(help="The port of the Prefect pages.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="The port of the MLflow pages.")] = 5000,
) -> None:
    """Serve the Prefect and MLflow pages, all deployments and a worker on loopback. Ctrl-C ends all of them."""
    from flows.process.ui import serve_pages

    serve_pages(prefect_port, mlflow_port, Console())


def schema() -> None:
    """Print the JSON schema of experiment files, for editors."""
    from data.experiment.experiment_file import json_schema

    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
