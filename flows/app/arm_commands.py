"""Commands about one arm: `ebr negatives`, `explain`, `ratings export`, `ratings import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.app.session import EXPERIMENT_FILE, open_console, open_session

ratings = typer.Typer(help="Have people rate what an arm retrieves, and train on their ratings.")


def negatives(
    experiment: EXPERIMENT_FILE,
    arm: Annotated[str, typer.Option(help="The arm to look at.")],
    queries: Annotated[int, typer.Option(help="How many of its training pairs to show.", min=1, max=1000)] = 10,
) -> None:
    """Show some of an arm's training pairs, with negatives of every kind, titles and similarities."""
    open_session(quiet=True)
    from flows.app.negatives import inspect_negatives, show

    show(inspect_negatives(str(experiment), arm, queries), open_console(pipe_width=120))


def explain(
    query: Annotated[str, typer.Argument(help="The text, as typed.")],
    arms: Annotated[list[str], typer.Argument(help="Arms, each as EXPERIMENT/ARM.", metavar="EXPERIMENT/ARM…")],
    document: Annotated[str, typer.Option(help="The document_id to explain.")],
    searcher: Annotated[str | None, typer.Option(help="The searcher_id; default: an unknown searcher.")] = None,
) -> None:
    """Explain why an arm ranks a document where it does for a query: the share of each feature group and n-gram."""
    from flows.app.explain import explain_arms

    explain_arms(arms, query, searcher, document, open_console())


@ratings.command("export")
def export_csv(
    experiment: EXPERIMENT_FILE,
    out: Annotated[Path, typer.Argument(help="A new CSV file.")],
    arm: Annotated[str, typer.Option(help="The arm whose results are rated.")],
) -> None:
    """Write an arm's retrieved results without a judgement as CSV, for people to fill in the column grade: 0 to 3."""
    open_session(quiet=True)
    from flows.app.ratings import export_ratings

    print(f"{out}: {export_ratings(experiment, arm, out):,} results to rate; fill in the column grade, 0 to 3")


@ratings.command("import")
def import_csv(
    experiment: EXPERIMENT_FILE,
    file: Annotated[Path, typer.Argument(help="The exported CSV with grades.")],
    arm: Annotated[str, typer.Option(help="The arm whose results were rated.")],
) -> None:
    """Check a CSV with grades and keep its ratings; arms that name this arm in ratings.of learn from them."""
    from flows.app.ratings import import_ratings

    done = import_ratings(experiment, arm, file)
    print(f"{done.ratings:,} ratings of {done.searches:,} searches, {done.good:,} of them good; kept in {done.kept}")
