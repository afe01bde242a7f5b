"""`ebr status`: who answers, since when, what the last night said, and when the next one is."""

from __future__ import annotations

import os
from datetime import datetime

from flows.leftovers import close_runs
from tasks.nights import champions_of, described, read_nights
from tasks.promoting import name_of


def told_status(experiment: str | None, server: str | None) -> str:
    """The status of an experiment's nights in words. server: the address of a Prefect server, None where none runs."""
    name = name_of(experiment)
    nights = read_nights(name)
    champions = champions_of(nights)
    lines = [name]
    if champions:
        now = champions[-1]
        crowned = next(night for night in reversed(nights) if night.champion == now and night.decision == "promoted")
        since = next(night.at for night in reversed(nights) if _took_over(night.decision) and night.champion == now)
        seen = crowned.seen
        lines += [
            f"  champion  arm {now.arm} of {now.day}, answers since {since:%Y-%m-%d %H:%M} UTC; its log runs from "
            f"{seen['first']} to {seen['last']} ({seen['searches']:,} searches)",
            f"            bundle {now.bundle.folder.name}, log {now.log.folder.name}",
        ]
    else:
        lines.append("  champion  none yet")
    if len(champions) > 1:
        before = champions[-2]
        lines.append(f"  previous  arm {before.arm} of {before.day}; ebr rollback {name} brings it back")
    lines.append(f"  last      {described(nights[-1])}".replace("\n", "\n          "))
    if server:
        os.environ["PREFECT_API_URL"] = server
        lines += [f"  crashed   {run}: its process was killed; its slot is free now" for run in close_runs()]
    if server and (at := next_run()):
        lines.append(f"  next      {at:%Y-%m-%d %H:%M} UTC, by the schedule of retrain/nightly")
    return "\n".join(lines)


def _took_over(decision: str) -> bool:
    return decision in ("promoted", "rolled back")


def next_run() -> datetime | None:
    """When the deployment retrain/nightly runs next, by the server in use; None where it has no such run."""
    from prefect import get_client
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["nightly"])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=1,
        )
    return runs[0].expected_start_time if runs else None
