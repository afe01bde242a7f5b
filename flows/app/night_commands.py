"""Commands about the nights of an experiment: `ebr nightly`, `rollback`, `status`."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated

import typer

from ebr_core.errors import InputError
from flows.app.session import EXPERIMENT_FILE, VERBOSE, open_session, outcome_of

NAME = Annotated[str | None, typer.Argument(help="The same as --experiment.", metavar="[NAME]", hidden=True)]
EXPERIMENT = Annotated[
    str | None, typer.Option(help="The name of the experiment; default: that of the last night.", metavar="NAME")
]
DAY = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="The day of the night; default: the newest day that is over."),
]
FIRST = Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day of a back-fill.")]
LAST = Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day of a back-fill.")]
ACCEPT = Annotated[bool, typer.Option("--accept", help="Accept the day even if its checks fail.")]


def nightly(
    experiment: EXPERIMENT_FILE,
    day: DAY = None,
    first: FIRST = None,
    last: LAST = None,
    accept: ACCEPT = False,
    verbose: VERBOSE = False,
) -> None:
    """Retrain on all days but the newest, and promote the challenger if it wins on the newest. A day is judged once."""
    open_session(verbose)
    from flows.nightly import retrain
    from tasks.nights.night_records import describe_night

    newest, begin, end = (moment.date() if moment else None for moment in (day, first, last))
    state = retrain(str(experiment), newest, begin, end, accept, return_state=True)
    for night in outcome_of(state):
        print(describe_night(night))
    if state.is_failed():
        raise typer.Exit(1)


def rollback(name: NAME = None, experiment: EXPERIMENT = None) -> None:
    """Make the previous champion answer again. New challengers are not compared with the one that it replaces."""
    from tasks.nights.champion_service import roll_back
    from tasks.nights.night_records import describe_night, night_experiment

    night = roll_back(night_experiment(_one_name(name, experiment)))
    print(describe_night(night))
    if night.is_behind:
        raise typer.Exit(1)


def status(name: NAME = None, experiment: EXPERIMENT = None) -> None:
    """Show the champion, since when it answers, its log, the last night's decision, and the time of the next night."""
    from flows.process.ui import use_running_server

    server = os.environ.get("PREFECT_API_URL") or use_running_server()
    from flows.app.status import describe_status  # it imports Prefect, which reads the server's address once

    print(describe_status(_one_name(name, experiment), server))


def _one_name(name: str | None, experiment: str | None) -> str | None:
    """The experiment, by either spelling. Raises InputError if they name two."""
    if name and experiment and name != experiment:
        raise InputError(f"got {name} and --experiment {experiment}; name one experiment")
    return experiment or name
