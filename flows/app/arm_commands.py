"""Commands about one arm: `ebr negatives`, `explain`, `ratings export`, `ratings import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebr_core.errors import InputError
from flows.app.file_checks import refuse_grades, refuse_no_file
from flows.app.model_names import arm_of_file
from flows.app.old_spellings import Command
from flows.app.session import EXPERIMENT_ARM, open_console, open_session

ratings = typer.Typer(help="Have people rate results of an arm (export, import).")


def negatives(
    arm: EXPERIMENT_ARM,
    queries: Annotated[int, typer.Option(help="The number of training pairs to show.", min=1, max=1000)] = 10,
) -> None:
    """Show training pairs of an arm, with negatives of each kind.

    It lists the kinds that the arm is trained on, and shows titles and similarities.
    """
    path, name = arm_of_file(arm)
    from flows.app.activity import activity
    from flows.app.experiment_input import open_experiment

    with activity(f"reading {path}") as bars:
        settings = open_experiment(path, name).arms[name]
        open_session()
        from flows.app.negatives import inspect_negatives, show
        from tasks.progress import BARS

        token = BARS.set(bars)
        pairs = inspect_negatives(str(path), name, queries)
        BARS.reset(token)
    show(f"{path.stem}/{name}", settings, pairs, open_console(pipe_width=120))


def explain(
    query: Annotated[str, typer.Argument(help="The text of the query.")],
    arms: Annotated[
        list[str], typer.Argument(help="The arms, such as smoke/random or smoke/@champion.", metavar="EXPERIMENT/ARM…")
    ],
    document: Annotated[str, typer.Option(help="The document_id to explain.")],
    searcher: Annotated[str | None, typer.Option(help="The searcher_id; default: an unknown searcher.")] = None,
) -> None:
    """Explain how an arm ranks a document for a query.

    It shows the share of each group and n-gram in the cosine.
    """
    from flows.app.activity import activity
    from flows.app.experiment_input import open_experiment

    named = [arm_of_file(arm) for arm in arms]
    with activity("reading the experiments"):
        for path, name in named:
            open_experiment(path, name)  # before the import of what explains
        from flows.app.explain import explain_arms, open_arms

        explained = explain_arms(open_arms(arms), query, searcher, document)
    console = open_console()
    for part in explained:
        console.print(part, highlight=False, markup=False)


@ratings.command("export", cls=Command)
def export_csv(
    arm: EXPERIMENT_ARM,
    out: Annotated[Path, typer.Argument(help="A new CSV file.")],
    searches: Annotated[
        int | None,
        typer.Option(
            help="The number of searches whose results to export, chosen by a hash: the same ones each time; default: "
            "all that feedback.searches of the experiment allows.",
            min=1,
        ),
    ] = None,
) -> None:
    """Write the unjudged results of an arm to a CSV file, for people to grade.

    Grades are 0 to 3.
    """
    path, name = arm_of_file(arm)
    refuse_grades(out)
    from flows.app.activity import activity
    from flows.app.experiment_input import open_experiment

    with activity(f"reading {path}") as bars:
        most = open_experiment(path, name).feedback.searches
        if searches is not None and searches > most:
            raise InputError(f"--searches: got {searches:,}; feedback.searches of {path} is {most:,}: raise it there")
        open_session()
        from flows.app.ratings import export_ratings
        from tasks.progress import BARS

        token = BARS.set(bars)
        rows, of_searches = export_ratings(path, name, out, searches)
        BARS.reset(token)
    print(
        f"{out}: {rows:,} results of {of_searches:,} searches to rate; fill in the column grade, 0 to 3, then: "
        f"ebr ratings import {path}/{name} {out}"
    )


@ratings.command("import", cls=Command)
def import_csv(
    arm: EXPERIMENT_ARM,
    file: Annotated[
        Path, typer.Argument(help="The exported CSV file with grades, or the CSV file of the search page.")
    ],
) -> None:
    """Check a CSV file with grades and store its ratings.

    Arms that name this arm in ratings.of are trained on these ratings.
    """
    path, name = arm_of_file(arm)
    refuse_no_file(file, "the CSV file that ebr ratings export wrote, with grades")
    from flows.app.activity import activity

    with activity(f"reading {path}"):
        from flows.app.ratings import import_ratings

        imported_ratings = import_ratings(path, name, file)
    print(
        f"{imported_ratings.ratings:,} ratings of {imported_ratings.searches:,} searches, {imported_ratings.good:,} of "
        f"them good; stored in {imported_ratings.path}"
    )
    if imported_ratings.unasked:
        print(f"left out: ratings of {imported_ratings.unasked:,} queries that no search of the training window has")
