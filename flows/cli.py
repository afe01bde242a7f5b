"""The command line `ebr`."""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import sys
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from ebr_core.config import InputError
from tasks.home import home, prepare_environment

app = typer.Typer(
    help="Embedding-based retrieval on your own search logs: which positives, negatives and index are best.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
FILE = Annotated[Path, typer.Argument(help="The experiment file (YAML).", metavar="EXPERIMENT")]
NIGHTS = Annotated[
    str | None, typer.Argument(help="The experiment's name; default: that of the last night.", metavar="[NAME]")
]
DAY = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The newest day; default: the newest that is over.")
]


@app.command()
def run(experiment: FILE) -> None:
    """Run an experiment: extract, train, index, evaluate; prints the table. What is already there is not made again."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    _prepare_flow()
    if watched := sys.stderr.isatty():
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")  # the bars say it
    from data.experiment import load_experiment
    from data.fingerprint import refuse_absent
    from data.logs import Simulated

    asked = load_experiment(experiment)  # before anything starts
    if not isinstance(asked.logs, Simulated):
        refuse_absent(asked.logs)
    from flows.ebr import ebr
    from flows.room import start_server
    from flows.table import show
    from tasks.progress import BARS

    for logger in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(_without_traceback)
    console = Console(width=None if sys.stdout.isatty() else 170)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
    start_server()
    with bars if watched else nullcontext():
        token = BARS.set(bars if watched else None)
        state = ebr(str(experiment), return_state=True)
        BARS.reset(token)
    outcome: Any = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    show(outcome, asked, console)
    console.print(f"Results: {outcome.results.folder}", soft_wrap=True)
    console.print(f"Report:  {outcome.report.folder / 'report.html'}", soft_wrap=True)
    console.print("Pages:   make ui (MLflow to compare arms, Prefect to see the flow)")
    if state.is_failed():
        console.print(f"[red]failed[/red]: {state.message}", soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def check(experiment: FILE) -> None:
    """Check an experiment file and its logs without training: counts, what would be dropped, the split, what cannot
    be answered."""
    from flows.check import describe_experiment

    Console().print(describe_experiment(experiment), markup=False, soft_wrap=True, highlight=False)


RUN = Annotated[str, typer.Argument(help="A run: its folder, its name (report-…) or an experiment, for its last run.")]


@app.command()
def report(
    run: RUN,
    out: Annotated[Path | None, typer.Option(help="The folder to write; default: reports/ in EBR_HOME.")] = None,
) -> None:
    """Make the report of a run again from its result files: report.html, report.md and its pictures."""
    from tasks.report.comparison import find_run
    from tasks.report.report_stage import write

    folder = find_run(run)
    into = out or home() / "reports" / folder.resolve().name
    write(folder, into)
    print(into / "report.html")


@app.command()
def compare(
    run_a: RUN, run_b: RUN, metric: Annotated[str, typer.Option(help="What to compare: recall@K or mrr.")] = "recall@10"
) -> None:
    """Compare the arms that two runs share, on the searches that both evaluated."""
    from flows.compare import show_comparison

    show_comparison(run_a, run_b, metric, Console(width=None if sys.stdout.isatty() else 170))


@app.command()
def negatives(
    experiment: FILE,
    arm: Annotated[str, typer.Option(help="The arm to look at.")],
    queries: Annotated[int, typer.Option(help="How many of its training pairs to show.", min=1, max=1000)] = 10,
) -> None:
    """Show what an arm is trained on: some of its pairs, with negatives of every kind, titles and similarities."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    _prepare_flow()
    from flows.negatives import look, show
    from flows.room import start_server

    start_server()
    show(look(str(experiment), arm, queries), Console(width=None if sys.stdout.isatty() else 120))


ratings = typer.Typer(help="Have people rate what an arm retrieves, and train on what they say.")
app.add_typer(ratings, name="ratings")


@ratings.command("export")
def ratings_export(
    experiment: FILE,
    out: Annotated[Path, typer.Argument(help="A new CSV file.")],
    arm: Annotated[str, typer.Option(help="The arm whose results are rated.")],
) -> None:
    """Write what an arm retrieves and no log has judged as CSV, for people to fill in the column grade: 0 to 3."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from flows.ratings import export_ratings
    from flows.ui import use_served

    use_served()
    print(f"{out}: {export_ratings(experiment, arm, out):,} results to rate; fill in the column grade, 0 to 3")


@ratings.command("import")
def ratings_import(
    experiment: FILE,
    file: Annotated[Path, typer.Argument(help="The exported CSV with grades.")],
    arm: Annotated[str, typer.Option(help="The arm whose results were rated.")],
) -> None:
    """Check a filled-in CSV and keep its ratings; arms that name this one in ratings.of learn from them."""
    from flows.ratings import import_ratings

    done = import_ratings(experiment, arm, file)
    print(f"{done.ratings:,} ratings of {done.searches:,} searches, {done.good:,} of them good; kept in {done.kept}")


@app.command()
def explain(
    query: Annotated[str, typer.Argument(help="What was typed.")],
    arms: Annotated[list[str], typer.Argument(help="Arms, each as EXPERIMENT/ARM.", metavar="EXPERIMENT/ARM…")],
    document: Annotated[str, typer.Option(help="The document_id to explain.")],
    searcher: Annotated[str | None, typer.Option(help="The searcher_id; left out: nobody is known.")] = None,
) -> None:
    """Explain why an arm puts a document where it does for a query: what each feature group adds, and each n-gram."""
    from flows.explain import explain_arms

    explain_arms(arms, query, searcher, document, Console(width=None if sys.stdout.isatty() else 170))


@app.command()
def audit(experiment: FILE) -> None:
    """Train the arms of the audit section again, under other splits and with less of the log, and say what it shows."""
    _prepare_flow()
    from flows.audit import run_audit
    from flows.room import start_server

    start_server()
    folder = run_audit(experiment)
    Console().print((folder / "audit.md").read_text(), markup=False, highlight=False, soft_wrap=True)
    print(folder / "audit.html")


@app.command()
def nightly(
    experiment: FILE,
    day: DAY = None,
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Back-fill from here.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Back-fill up to here.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Take the day for right, whatever its figures.")] = False,
) -> None:
    """Retrain on all days but the newest, judge on the newest, and crown the challenger if that shows it; a day that
    was judged is not judged again."""
    _prepare_flow()
    from flows.nightly import retrain
    from flows.room import start_server
    from tasks.nights import described

    for logger in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(_without_traceback)
    one, begin, end = (given.date() if given else None for given in (day, first, last))
    start_server()
    state = retrain(str(experiment), one, begin, end, accept, return_state=True)
    nights: Any = state.result(raise_on_failure=False)
    if isinstance(nights, BaseException):
        raise nights
    for night in nights:
        print(described(night))
    if state.is_failed():
        raise typer.Exit(1)


@app.command()
def rollback(experiment: NIGHTS = None) -> None:
    """Make the previous champion answer again; the one that is taken back is no yardstick any more."""
    from tasks.nights import described
    from tasks.promoting import name_of, roll_back

    print(described(roll_back(name_of(experiment))))


@app.command()
def status(experiment: NIGHTS = None) -> None:
    """Say which champion answers, since when, on what data, what the last night decided and why, when the next is."""
    from flows.ui import use_served

    server = os.environ.get("PREFECT_API_URL") or use_served()
    from flows.status import told_status  # Prefect, which comes with it, reads the server's address once

    print(told_status(experiment, server))


@app.command()
def paper(
    experiments: Annotated[
        list[Path] | None, typer.Argument(help="Default: experiments/paper-*.yaml and the real logs that are there.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/paper-results.md"),
) -> None:
    """Run the paper's comparisons and write what they say, question by question; a killed run goes on where it was."""
    _prepare_flow()
    from flows.paper import run_paper
    from flows.room import start_server

    start_server()
    failed = run_paper(experiments or [], out)
    print(out)
    for told in failed:
        print(f"failed: {told}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="A new folder for the log.")],
    searches: Annotated[int, typer.Option(help="Searches in the log, reformulations included.")] = 80_000,
    documents: Annotated[int, typer.Option(help="Documents, born or gone at any time.")] = 15_000,
    days: Annotated[int, typer.Option(help="Days of the log.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Simulate a social search service and write its log in the `tables` layout, a folder a day."""
    from pydantic import ValidationError
    from rich.progress import track

    from data.world.config import World
    from data.world.simulate import simulate as live

    try:
        world = World(searches=searches, documents=documents, days=days, seed=seed)
    except ValidationError as error:
        problems = [
            f"--{problem['loc'][0]}: got {problem['input']!r}; {problem['msg'].lower()}" for problem in error.errors()
        ]
        raise InputError("; ".join(problems)) from error
    for _ in track(live(world, out), description="days", total=days, console=Console(stderr=True)):
        pass
    print(f"{out}: searches, results, documents, edges, and truth/ (for evaluation and raters alone)")


@app.command()
def ui(
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect pages.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow pages.")] = 5000,
) -> None:
    """Serve the Prefect and MLflow pages, all deployments and a worker, on loopback; Ctrl-C ends all of them."""
    from flows.ui import serve

    serve(prefect_port, mlflow_port, Console())


EXPERIMENT = Annotated[str | None, typer.Option(help="The experiment whose models answer; default: the last that ran.")]
MODEL = Annotated[str | None, typer.Option(help="The arm that answers; default: the champion, by validation recall.")]
BUNDLE = Annotated[Path | None, typer.Option(help="A bundle's folder, in place of an experiment and model.")]
TOP = Annotated[int | None, typer.Option(help="Documents wanted; default: 10.")]
MODE = Annotated[str, typer.Option(help="boolean (every word), ebr (near by the embedding) or hybrid (both).")]
RADIUS = Annotated[str, typer.Option(help="none, model or query (as calibrated), or a cosine distance.")]
WHERE = Annotated[str | None, typer.Option(help="A condition on documents: kind = person AND NOT country = DE.")]


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="The text, as typed.")],
    searcher: Annotated[
        str | None, typer.Option(help="Who asks; the place is then theirs unless one is given.")
    ] = None,
    city: Annotated[str | None, typer.Option(help="Where the searcher is.")] = None,
    region: Annotated[str | None, typer.Option()] = None,
    country: Annotated[str | None, typer.Option()] = None,
    language: Annotated[str | None, typer.Option(help="The searcher's.")] = None,
    where: WHERE = None,
    k: TOP = None,
    mode: MODE = "hybrid",
    radius: RADIUS = "none",
    experiment: EXPERIMENT = None,
    model: MODEL = None,
    bundle: BUNDLE = None,
) -> None:
    """Ask a model: prints ranked titles with scores and why."""
    from flows.search import open_model, question_of, show_hits

    place = {"city": city, "region": region, "country": country, "language": language}
    told = {"query": query, "searcher_id": searcher, "where": where, "k": k, "mode": mode, "radius": radius} | place
    question = question_of(told)
    show_hits(open_model(experiment, model, bundle), question, Console(width=None if sys.stdout.isatty() else 170))


@app.command()
def batch(
    queries: Annotated[Path, typer.Argument(help="Parquet with the column query; searcher_id, city … if there are.")],
    out: Annotated[Path, typer.Argument(help="Parquet: query_row, rank, document_id, title, score, cosine.")],
    where: WHERE = None,
    k: TOP = None,
    mode: MODE = "hybrid",
    radius: RADIUS = "none",
    experiment: EXPERIMENT = None,
    model: MODEL = None,
    bundle: BUNDLE = None,
) -> None:
    """Answer every query of a Parquet file into another."""
    from flows.search import answer_file, open_model

    opened, settings = open_model(experiment, model, bundle), {"k": k, "mode": mode, "radius": radius, "where": where}
    print(f"{out}: answers to {answer_file(opened, queries, out, settings, Console(stderr=True)):,} queries")


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    queries: Annotated[Path | None, typer.Option(help="Parquet with the column query, embedded beside.")] = None,
    experiment: EXPERIMENT = None,
    model: MODEL = None,
    bundle: BUNDLE = None,
) -> None:
    """Write a model's vectors and identities as Parquet, for other engines."""
    from flows.search import export_vectors, open_model

    for name, rows in export_vectors(open_model(experiment, model, bundle), out, queries).items():
        print(f"{out / name}: {rows:,} vectors")


@app.command()
def serve(
    experiment: EXPERIMENT = None,
    models: Annotated[str, typer.Option(help="Arms beside the champion, with commas; default: the next best.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    at_once: Annotated[int, typer.Option(help="Requests at a time; more are told to come again.")] = 256,
) -> None:
    """Serve models over HTTP with a page that compares two; a new champion is taken over as it comes."""
    from flows.serve import serve_models

    serve_models(experiment, tuple(filter(None, models.split(","))), host, port, at_once)


@app.command()
def schema() -> None:
    """Print the JSON schema of experiment files, for editors."""
    from data.experiment import json_schema

    print(json.dumps(json_schema(), indent=1, ensure_ascii=False))


def _prepare_flow() -> None:
    """What comes before a flow, and before prefect is imported: an end to what killed runs left, and the server that
    runs already, if one does. From then on Ctrl-C ends the run in one line."""
    from flows import stop
    from flows.leftovers import end_orphans
    from flows.room import refuse_unusable
    from flows.ui import use_served

    stop.arm()
    end_orphans()
    use_served()
    refuse_unusable(served="PREFECT_API_URL" in os.environ)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _leave(code: int) -> None:
    """Ends the process after all that is registered for its end, without the report of leaked objects that DuckDB's
    binding
    prints when an error's frames still hold a connection."""
    if "prefect.logging.handlers" in sys.modules:
        sys.modules["prefect.logging.handlers"].APILogWorker.drain_all(timeout=5)  # while the server still listens
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Lets every record pass, what the user can mend without the traceback that only a developer needs."""
    from flows.room import mishap

    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, InputError) or (error and mishap(error)):
        record.exc_info = record.exc_text = None
    return True


def main() -> None:
    """Runs the command line; what the user can mend is told without a traceback, exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)  # else Prefect's temporary server would outlive a run that is ended
    try:
        prepare_environment()
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        _leave(2)
    except Exception as error:
        from flows.room import mishap

        if (told := mishap(error)) is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        _leave(2)
    except SystemExit as ended:
        if ended.code:  # a failed run's frames, too
            _leave(ended.code if isinstance(ended.code, int) else 1)
        raise


if __name__ == "__main__":
    main()
