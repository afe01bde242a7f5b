"""Commands about one arm: `ebr negatives`, `explain`, `ratings export`, `ratings import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.app.session import EXPERIMENT_FILE, open_console, open_session

ratings = typer.Typer(help="Have people rate the results of an arm, and train on their ratings.")


def negatives(
    experiment: EXPERIMENT_FILE,
    arm: Annotated[str, typer.Option(help="The arm whose training pairs are shown.")],
    queries: Annotated[int, typer.Option(help="How many of its training pairs to show.", min=1, max=1000)] = 10,
) -> None:
    """Show some of an arm's training pairs, with negatives of every kind, titles and similarities."""
    open_session()
    from flows.app.negatives import inspect_negatives, show

    show(inspect_negatives(str(experiment), arm, queries), open_console(pipe_width=120))


def explain(
    query: Annotated[str, typer.Argument(help="The text of the query.")],
    arms: Annotated[
        list[str], typer.Argument(help="The arms, each written as EXPERIMENT/ARM.", metavar="EXPERIMENT/ARM…")
    ],
    document: Annotated[str, typer.Option(help="The document_id to explain.")],
    searcher: Annotated[str | None, typer.Option(help="The searcher_id; default: an unknown searcher.")] = None,
) -> None:
    """Explain how an arm ranks a document for a query: the share of each feature group and n-gram in the cosine."""
    from flows.app.explain import explain_arms

    explain_arms(arms, query, searcher, document, open_console())


@ratings.command("export")
def export_csv(
    experiment: EXPERIMENT_FILE,
    out: Annotated[Path, typer.Argument(help="A new CSV file.")],
    arm: Annotated[str, typer.Option(help="The arm whose results are rated.")],
) -> None:
    """Write the results of an arm that nobody has judged to a CSV file, in which people fill in the grades: 0 to 3."""
    open_session()
    from flows.app.ratings import export_ratings

    print(f"{out}: {export_ratings(experiment, arm, out):,} results to rate; fill in the column grade, 0 to 3")


@ratings.command("import")
def import_csv(
    experiment: EXPERIMENT_FILE,
    file: Annotated[Path, typer.Argument(help="The exported CSV file with grades, or that of the search page.")],
    arm: Annotated[str, typer.Option(help="The arm whose results were rated.")],
) -> None:
    """Check a CSV file with grades and store its ratings; arms that name this arm in ratings.of are trained on them."""
    from flows.app.ratings import import_ratings

    imported_ratings = import_ratings(experiment, arm, file)
    print(
        f"{imported_ratings.ratings:,} ratings of {imported_ratings.searches:,} searches, {imported_ratings.good:,} of "
        f"them good; stored in {imported_ratings.path}"
    )
    if imported_ratings.unasked:
        print(f"left out: ratings of {imported_ratings.unasked:,} queries that no search of the training window has")
