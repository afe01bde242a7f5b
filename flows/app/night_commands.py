"""Commands about the nights of an experiment: `ebr nightly`, `rollback`, `status`."""

from __future__ import annotations

import os
from datetime import date, datetime
from typing import Annotated

import typer

from ebr_core.errors import InputError
from flows.app.model_names import experiment_file, name_of
from flows.app.session import EXPERIMENT, JSON, VERBOSE, open_session, outcome_of

OF_NIGHTS = Annotated[
    str | None,
    typer.Argument(
        help="The experiment: its file or its name; default: the experiment of the last night.", metavar="[EXPERIMENT]"
    ),
]
DAY = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The day of the night; default: the newest complete day."),
]
FIRST = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day of a backfill.")]
LAST = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day of a backfill.")]
ACCEPT = Annotated[bool, typer.Option("--accept", help="Accept the day even if its checks fail.")]


def nightly(
    experiment: EXPERIMENT,
    day: DAY = None,
    first: FIRST = None,
    last: LAST = None,
    accept: ACCEPT = False,
    verbose: VERBOSE = False,
) -> None:
    """Train a challenger, and promote it if it wins.

    The challenger is trained on all days but the newest, and judged on the newest. Each day is judged once.
    """
    newest, begin, end = (moment.date() if moment else None for moment in (day, first, last))
    _refuse_dates(newest, begin, end)
    from flows.app.activity import activity
    from flows.app.experiment_input import open_experiment

    path = experiment_file(experiment)
    with activity(f"reading {path}", bars=not verbose) as bars:
        open_experiment(path, reads_lists=False)
        open_session(verbose)
        from flows.nightly import retrain
        from tasks.nights.night_records import describe_night
        from tasks.progress import BARS

        token = BARS.set(bars)
        state = retrain(str(path), newest, begin, end, accept, return_state=True)
        BARS.reset(token)
    for night in outcome_of(state):
        print(describe_night(night))
    if state.is_failed():
        raise typer.Exit(1)


def _refuse_dates(day: date | None, first: date | None, last: date | None) -> None:
    """Raise InputError for dates that do not fit together."""
    if day and (first or last):
        raise InputError("--day is for one night, --from and --to are for several: leave one of them out")
    if first and last and last < first:
        raise InputError(f"--from {first} is after --to {last}")


def rollback(experiment: OF_NIGHTS = None) -> None:
    """Make the previous champion answer again.

    New challengers are not compared with the champion that it replaces.
    """
    from tasks.nights.night_names import night_experiment

    name = night_experiment(experiment and name_of(experiment))
    from tasks.nights.champion_service import roll_back
    from tasks.nights.night_records import describe_night

    night = roll_back(name)
    print(describe_night(night))
    if night.is_behind:
        raise typer.Exit(1)


def status(experiment: OF_NIGHTS = None, as_json: JSON = False) -> None:
    """Show the champion and the decision of the last night.

    It also shows when the champion began to answer, its log, and the time of the next night.
    """
    from flows.app.json_output import one_document
    from flows.process.ui import use_running_server
    from tasks.nights.night_names import night_experiment

    with one_document(as_json) as write:
        name = night_experiment(experiment and name_of(experiment))
        server = os.environ.get("PREFECT_API_URL") or use_running_server()
        from flows.app.status import (
            describe,
            document,
            read_status,
        )  # they import Prefect, which reads the address once

        found = read_status(name, server)
        if write:
            write(document(found))
        else:
            print(describe(found))
