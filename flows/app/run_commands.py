"""Commands that run experiments or read their results: `ebr run`, `check`, `report`, `compare`, `audit`, `paper`,
`simulate`, `ui`, `schema`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ebr_core.errors import InputError
from flows.app.file_checks import refuse_full_folder, refuse_no_folder
from flows.app.model_names import experiment_file
from flows.app.session import EXPERIMENT, JSON, VERBOSE, open_console, open_session, outcome_of

if TYPE_CHECKING:
    from prefect import State

RUN = Annotated[
    str,
    typer.Argument(
        help="A run: the file or name of an experiment, for its last run; or the run's own name (report-…) or folder."
    ),
]
RUN_ARM = Annotated[
    str,
    typer.Argument(
        help="A run, or a row of it: EXPERIMENT/ARM, such as smoke/random, smoke/bm25 or smoke/@champion. An "
        "experiment stands for its last run; a run's own name (report-…) or folder also works.",
        metavar="EXPERIMENT[/ARM]",
    ),
]


def run(
    experiment: EXPERIMENT,
    tune: Annotated[
        bool, typer.Option("--tune", help="Train and show validation results only, to choose settings.")
    ] = False,
    as_json: JSON = False,
    verbose: VERBOSE = False,
) -> None:
    """Run an experiment, print its results, and recommend a model.

    It reads the log, trains the arms, builds their indexes and measures them. It reuses the artifacts of earlier runs.
    """
    from flows.app.activity import activity
    from flows.app.json_output import one_document

    with one_document(as_json) as write:
        path = experiment_file(experiment)
        with activity(f"reading {path}", bars=not verbose) as bars:
            from flows.app.experiment_input import open_experiment

            spec = open_experiment(path)
            if tune and not spec.arms:
                raise InputError("--tune: this experiment has no arms, so there is nothing to tune; leave --tune out")
            open_session(verbose)
            from flows.app.results_table import show_run, show_tuning
            from flows.app.run_document import describe_run, describe_tuning
            from flows.ebr import ebr
            from flows.tune import tune as tune_flow
            from tasks.progress import BARS

            token = BARS.set(bars)
            flow = tune_flow if tune else ebr
            state: State[Any] = flow(str(path), return_state=True)
            BARS.reset(token)
            outcome = outcome_of(state)
        message = str(state.message) if state.is_failed() else None
        if write:
            write(describe_tuning(outcome, path.stem, message) if tune else describe_run(outcome, message))
        else:
            console = open_console()
            show_tuning(outcome, spec, console) if tune else show_run(outcome, spec, console)
            if message:
                console.print(f"[red]failed[/red]: {message}", soft_wrap=True)
        if message:
            raise typer.Exit(1)


def check(experiment: EXPERIMENT, as_json: JSON = False) -> None:
    """Check an experiment and its logs, without training.

    It shows counts, dropped rows, the split, and questions that cannot be answered. The exit code is 2 if a run would
    be refused, 1 if a part of it would fail.
    """
    from flows.app.activity import activity
    from flows.app.json_output import one_document

    with one_document(as_json) as write:
        path = experiment_file(experiment)
        with activity(f"reading {path}"):
            from flows.app.check import check_experiment

            checked = check_experiment(path)
        if write:
            write(checked.document(path))
        else:
            Console().print(checked.text, markup=False, soft_wrap=True, highlight=False)
        if checked.refusals or checked.failures:
            raise typer.Exit(2 if checked.refusals else 1)


def report(
    run: RUN,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to; default: a folder in EBR_HOME/reports.")
    ] = None,
) -> None:
    """Write the report of a run again, with its pictures."""
    from tasks.report.run_folders import find_run

    folder = find_run(run)
    from flows.app.activity import activity

    with activity(f"writing the report of {folder.name}", on_terminal_alone=True):
        from tasks.report.report_stage import write_again

        page = write_again(folder, out)
    print(page)


def compare(
    a: RUN_ARM,
    b: RUN_ARM,
    metric: Annotated[
        str | None,
        typer.Option(help="The metric to compare, such as recall@10 or mrr; default: recall at the main K of A."),
    ] = None,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate",
            help="Exit with 0 if B is better than A, 1 if it is worse, 3 if they tie, 4 if that is unclear. For runs "
            "without an arm, compare the champions.",
        ),
    ] = False,
    margin: Annotated[
        float, typer.Option(help="With --gate: the largest difference that still counts as a tie.", min=0, max=1)
    ] = 0.01,
    as_json: JSON = False,
) -> None:
    """Compare two runs or arms on the searches of both.

    With --gate, the exit code is the verdict, and the last line states it: VERDICT: better (…).
    """
    from flows.app.json_output import one_document
    from tasks.report.run_folders import read_run_arm

    with one_document(as_json) as write:
        pair = read_run_arm(a), read_run_arm(b)
        from flows.app.compare import show_comparison

        code = show_comparison(*pair, metric, margin if gate else None, open_console(), write)
    if code:
        raise typer.Exit(code)


def audit(experiment: EXPERIMENT, verbose: VERBOSE = False) -> None:
    """Train arms again on less of the log and with other splits.

    It shows whether more data or a better arm helps. The section audit names the arms.
    """
    from flows.app.activity import activity
    from flows.app.experiment_input import open_experiment

    path = experiment_file(experiment)
    with activity(f"reading {path}", bars=not verbose) as bars:
        if open_experiment(path).audit is None:
            raise InputError(f"{path}: no section audit; name up to three arms: audit: {{arms: [random, softmax]}}")
        open_session(verbose)
        from flows.app.audit import run_audit
        from tasks.progress import BARS

        token = BARS.set(bars)
        folder = run_audit(path)
        BARS.reset(token)
    Console().print((folder / "audit.md").read_text(), markup=False, highlight=False, soft_wrap=True)
    print(folder / "audit.html")


def paper(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files or names; default: experiments/paper-*.yaml, and the experiments whose real logs are on this "
            "machine."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/paper-results.md"),
    verbose: VERBOSE = False,
) -> None:
    """Run the paper's comparisons and write a page about them.

    The page answers the questions one by one. The same command resumes a killed run.
    """
    from flows.app.activity import activity
    from flows.app.experiment_input import open_experiment

    paths = [experiment_file(experiment) for experiment in experiments or []]
    refuse_no_folder(out)
    with activity("reading the experiments", bars=not verbose) as bars:
        for path in paths:
            open_experiment(path)
        open_session(verbose)
        from flows.app.paper import run_paper
        from tasks.progress import BARS

        token = BARS.set(bars)
        failures = run_paper(paths, out)
        BARS.reset(token)
    print(out)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)


def simulate(
    out: Annotated[Path, typer.Option(help="A new folder for the log.")],
    searches: Annotated[int, typer.Option(help="The number of searches, including reformulations.")] = 80_000,
    documents: Annotated[
        int, typer.Option(help="The number of documents, including those that are created or removed during the log.")
    ] = 15_000,
    days: Annotated[int, typer.Option(help="The number of days.")] = 30,
    seed: Annotated[int, typer.Option(help="The seed; the same seed gives the same bytes.")] = 0,
) -> None:
    """Simulate a social search service and write its log.

    The log has the layout `tables`, with a folder for each day.
    """
    refuse_full_folder(out)
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
    """Serve the pages of Prefect and MLflow, and run a worker.

    It also runs the schedule of nights. It listens on loopback; Ctrl-C ends everything.
    """
    from flows.process.ui import serve_pages

    serve_pages(prefect_port, mlflow_port, Console())


def schema() -> None:
    """Print the JSON schema of experiment files, for editors."""
    from data.experiment.experiment_file import json_schema

    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
