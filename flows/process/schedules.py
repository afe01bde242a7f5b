"""The schedules of the deployments, in words: when, with which experiment, and how to change or pause them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ebr_core.errors import InputError
from tasks.home import ROOT

if TYPE_CHECKING:
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse


@contextmanager
def keep_paused() -> Iterator[None]:
    """Pause again, after the block, what was paused before it: to deploy makes every schedule anew, and active."""
    from prefect import get_client

    with get_client(sync_client=True) as client:
        paused = {
            (deployment.id, str(schedule.schedule))
            for deployment in client.read_deployments()
            for schedule in deployment.schedules
            if not schedule.active
        }
    yield
    if not paused:
        return
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            for schedule in deployment.schedules:
                if (deployment.id, str(schedule.schedule)) in paused:
                    client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def describe_schedules(api: str) -> list[str]:
    """Lines about each deployment with a schedule on the Prefect server at that address."""
    from prefect import get_client

    with get_client(sync_client=True) as client:
        deployments = [deployment for deployment in client.read_deployments() if deployment.schedules]
        flows = {deployment.id: client.read_flow(deployment.flow_id).name for deployment in deployments}
    lines: list[str] = []
    for deployment in sorted(deployments, key=lambda deployment: deployment.name):
        lines += describe_schedule(f"{flows[deployment.id]}/{deployment.name}", deployment, api)
    return lines


def describe_schedule(name: str, deployment: DeploymentResponse, api: str) -> list[str]:
    """The lines about one deployment: what runs when, and the commands that change it."""
    experiment = str(deployment.parameters.get("experiment", ""))
    prefect = f"PREFECT_API_URL={api} {Path(sys.executable).parent / 'prefect'}"
    active = [schedule for schedule in deployment.schedules if schedule.active]
    if not active:
        ids = [schedule.id for schedule in deployment.schedules]
        return [
            f"Schedule: {name} ({experiment}) is paused. Go on with it:",
            *(f"  {prefect} deployment schedule resume {name} {schedule}" for schedule in ids),
        ]
    times = ", ".join(_when(schedule) for schedule in active)
    return [
        f"Schedule: {name} is on and runs {experiment}{_example(experiment)} {times}, while this runs.",
        f"  Your own: write its file at `experiment:` of {name.partition('/')[2]} in {ROOT / 'prefect.yaml'}, and "
        "start this again",
        *(f"  Pause it: {prefect} deployment schedule pause {name} {schedule.id}" for schedule in active),
    ]


def _when(schedule: DeploymentSchedule) -> str:
    """Every day at 04:00 UTC, or the rule as it is written."""
    cron = str(getattr(schedule.schedule, "cron", "") or schedule.schedule)
    zone = getattr(schedule.schedule, "timezone", None) or "UTC"
    minute, hour, *rest = [*cron.split(), "", ""]
    if minute.isdigit() and hour.isdigit() and rest[:3] == ["*"] * 3:
        return f"every day at {int(hour):02}:{int(minute):02} {zone}"
    return f"by {cron} ({zone})"


def _example(experiment: str) -> str:
    """A remark on a file whose log is simulated, as in the example that the project brings."""
    from data.experiment.experiment_file import load_experiment
    from data.experiment.log_config import Simulated

    try:
        spec = load_experiment(ROOT / experiment, needs_encoder=False)
    except (InputError, OSError):
        return " (which cannot be read)"
    return " (an example: its log is simulated)" if isinstance(spec.logs, Simulated) else ""
