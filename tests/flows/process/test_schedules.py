"""What the pages say about schedules, and that a pause outlives a new deployment, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from flows.process.schedules import describe_schedules, keep_paused

NIGHTLY = "experiments/nightly.yaml"


@flow
def retrain_here(experiment: str) -> str:
    """A flow to deploy."""
    return experiment


def _deploy(experiment: str = NIGHTLY, cron: str = "0 4 * * *") -> None:
    with get_client(sync_client=True) as client:
        schedule = CronSchedule(cron=cron, timezone="UTC")
        client.create_deployment(
            client.create_flow(retrain_here),
            "at-night",
            schedules=[DeploymentScheduleCreate(schedule=schedule, active=True)],
            parameters={"experiment": experiment},
        )


@pytest.fixture
def deployed(prefect_server: None) -> Iterator[None]:
    """A deployment with a schedule, as prefect.yaml makes it."""
    _deploy()
    yield
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            if deployment.name == "at-night":
                client.delete_deployment(deployment.id)


def _own() -> Any:
    with get_client(sync_client=True) as client:
        return next(deployment for deployment in client.read_deployments() if deployment.name == "at-night")


def test_an_active_schedule_is_described_with_the_ways_to_change_it(deployed: None) -> None:
    first, second, third, *_ = describe_schedules("http://127.0.0.1:4200/api")
    assert "retrain-here/at-night is on and runs experiments/nightly.yaml (an example: its log is simulated)" in first
    assert "every day at 04:00 UTC" in first
    assert "prefect.yaml" in second
    command = f"deployment schedule pause retrain-here/at-night {_own().schedules[0].id}"
    assert third.endswith(command)
    assert "PREFECT_API_URL=http://127.0.0.1:4200/api" in third


@pytest.mark.parametrize(
    ("experiment", "cron", "said"),
    [
        ("experiments/cranfield.yaml", "30 2 * * *", "runs experiments/cranfield.yaml every day at 02:30 UTC"),
        ("none.yaml", "0 4 * * 1", "runs none.yaml (which cannot be read) by 0 4 * * 1 (UTC)"),
    ],
)
def test_another_file_and_another_rule(deployed: None, experiment: str, cron: str, said: str) -> None:
    _deploy(experiment, cron)
    assert said in describe_schedules("api")[0]


def test_a_pause_outlives_a_new_deployment(deployed: None) -> None:
    with get_client(sync_client=True) as client:
        before = _own()
        client.update_deployment_schedule(before.id, before.schedules[0].id, active=False)
    with keep_paused():
        _deploy()
        assert _own().schedules[0].active  # Prefect's deployment makes it active
    paused = _own()
    assert not paused.schedules[0].active
    lines = describe_schedules("api")
    assert lines[0] == "Schedule: retrain-here/at-night (experiments/nightly.yaml) is paused. Go on with it:"
    assert lines[1].endswith(f"resume retrain-here/at-night {paused.schedules[0].id}")
    with keep_paused():
        _deploy(cron="0 5 * * *")  # another rule is another schedule
    assert _own().schedules[0].active
