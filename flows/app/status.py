"""`ebr status`: describe the champion, the last night's decision, and the time of the next night."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from flows.process.cleanup import close_runs
from tasks.nights.night_names import night_experiment
from tasks.nights.night_records import Champion, Night, champions_of, describe_night, read_nights

PAGE = 200  # runs in one answer of a server


class NightStatus(NamedTuple):
    """What is known of the nights of an experiment."""

    experiment: str
    nights: list[Night]
    champions: list[Champion]  # in order, the one in service last
    crashed: list[str]  # flow runs whose process was killed, and whose slot is free now
    next_night: datetime | None  # None: no server runs, or it plans none


def read_status(name: str, server: str | None) -> NightStatus:
    """The status of an experiment's nights. server: the address of a Prefect server, None if none runs. Raises
    InputError if the experiment has no night."""
    nights = read_nights(night_experiment(name))
    crashed, next_night = (list(close_runs()), next_run(name)) if server else ([], None)
    return NightStatus(name, nights, champions_of(nights), crashed, next_night)


def describe_status(experiment: str | None, server: str | None) -> str:
    """The status of an experiment's nights in words, by default of the experiment with the latest night."""
    return describe(read_status(night_experiment(experiment), server))


def describe(status: NightStatus) -> str:
    """A status in words, a line for each fact."""
    nights, champions = status.nights, status.champions
    lines = [status.experiment, *(_champion(nights, champions[-1]) if champions else ["  champion  none yet"])]
    if len(champions) > 1:
        previous = champions[-2]
        lines.append(
            f"  previous  arm {previous.arm} of {previous.day}; ebr rollback {status.experiment} brings it back"
        )
    lines.append(f"  last      {describe_night(nights[-1])}".replace("\n", "\n          "))
    lines += [f"  crashed   {run}: its process was killed; its slot is free now" for run in status.crashed]
    if status.next_night:
        lines.append(f"  next      {status.next_night:%Y-%m-%d %H:%M} UTC, by the schedule of retrain/nightly")
    return "\n".join(lines)


def document(status: NightStatus) -> dict[str, Any]:
    """A status for a machine (docs/command-line.md)."""
    last, champions = status.nights[-1], status.champions
    return {
        "experiment": status.experiment,
        "champion": _champion_facts(status, champions[-1]) if champions else None,
        "previous": _champion_facts(status, champions[-2]) if len(champions) > 1 else None,
        "last_night": {
            "day": str(last.day),
            "at": last.at.isoformat(timespec="seconds"),
            "decision": last.decision,
            "reason": last.reason,
            "k": last.k,
            "searches": last.searches,
            "recall": last.recall,
            "champion_recall": last.champion_recall,
            "failed_checks": [check.figure for check in last.checks if not check.holds],
            "engine": last.engine.describe() if last.engine else None,
        },
        "nights": len(status.nights),
        "crashed": status.crashed,
        "next_night": status.next_night and status.next_night.isoformat(timespec="seconds"),
    }


def _champion_facts(status: NightStatus, champion: Champion) -> dict[str, Any]:
    return {
        "model": f"{status.experiment}/{champion.arm}",
        "day": str(champion.day),
        "answers_since": _answers_since(status.nights, champion).isoformat(timespec="seconds"),
        "bundle": str(champion.bundle.folder),
        "log": str(champion.log.folder),
    }


def _answers_since(nights: list[Night], champion: Champion) -> datetime:
    """The time at which a champion began to answer, for the last time."""
    of_champion = [night for night in reversed(nights) if night.champion == champion]
    return next(night.at for night in of_champion if night.decision in ("promoted", "rolled back"))


def _champion(nights: list[Night], champion: Champion) -> list[str]:
    """Lines about the arm that answers: since when, and on which log it was trained."""
    promoted = next(night for night in reversed(nights) if night.champion == champion and night.decision == "promoted")
    period, start = promoted.seen, _answers_since(nights, champion)
    return [
        f"  champion  arm {champion.arm} of {champion.day}, answers since {start:%Y-%m-%d %H:%M} UTC; "
        f"its log runs from {period['first']} to {period['last']} ({period['searches']:,} searches)",
        f"            bundle {champion.bundle.folder.name}, log {champion.log.folder.name}",
    ]


def next_run(experiment: str) -> datetime | None:
    """The time at which the server in use will next run retrain/nightly for this experiment, None if it will not.

    The server cannot search by the parameter `experiment`, so each scheduled run is read.
    """
    from prefect import get_client
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    from flows.ebr import DEFAULT

    with get_client(sync_client=True) as client:
        for offset in itertools.count(0, PAGE):
            runs = client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])),
                deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["nightly"])),
                flow_run_filter=FlowRunFilter(
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
                ),
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=PAGE,
                offset=offset,
            )
            for run in runs:
                if Path(run.parameters.get("experiment", DEFAULT)).stem == experiment:
                    return run.expected_start_time
            if len(runs) < PAGE:
                return None
    return None
