"""`ebr status`: describe the champion, the last night's decision, and the time of the next night."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path

from flows.process.cleanup import close_runs
from tasks.nights.night_records import Champion, Night, champions_of, describe_night, night_experiment, read_nights

PAGE = 200  # runs in one answer of a server


def describe_status(experiment: str | None, server: str | None) -> str:
    """The status of an experiment's nights in words. server: the address of a Prefect server, None if none runs."""
    name = night_experiment(experiment)
    nights = read_nights(name)
    champions = champions_of(nights)
    lines = [name, *(_champion(nights, champions[-1]) if champions else ["  champion  none yet"])]
    if len(champions) > 1:
        previous = champions[-2]
        lines.append(
            f"  previous  arm {previous.arm} of {previous.day}; ebr rollback --experiment {name} brings it back"
        )
    lines.append(f"  last      {describe_night(nights[-1])}".replace("\n", "\n          "))
    if server:
        lines += [f"  crashed   {run}: its process was killed; its slot is free now" for run in close_runs()]
    if server and (next_night := next_run(name)):
        lines.append(f"  next      {next_night:%Y-%m-%d %H:%M} UTC, by the schedule of retrain/nightly")
    return "\n".join(lines)


def _champion(nights: list[Night], champion: Champion) -> list[str]:
    """Lines about the arm that answers: since when, and on which log it was trained."""
    of_champion = [night for night in reversed(nights) if night.champion == champion]
    period = next(night.seen for night in of_champion if night.decision == "promoted")
    start = next(night.at for night in of_champion if night.decision in ("promoted", "rolled back"))
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
