"""The time of the next night, from a real Prefect server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prefect import get_client
from prefect.states import Cancelled, Scheduled

from flows.app.status import next_run
from flows.nightly import retrain


def test_the_next_run_is_that_of_the_named_experiment(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    with get_client(sync_client=True) as client:
        flow = client.create_flow(retrain)
        nightly = client.create_deployment(flow, "nightly", parameters={"experiment": "experiments/shop.yaml"})
        by_hand = client.create_deployment(flow, "by hand", parameters={"experiment": "experiments/other.yaml"})

        def plan_run(hours: int, experiment: str | None = None, deployment: object = nightly) -> object:
            parameters = {"experiment": experiment} if experiment else {}
            state = Scheduled(scheduled_time=soon + timedelta(hours=hours))
            return client.create_flow_run_from_deployment(deployment, parameters=parameters, state=state).id

        assert next_run("shop") is None
        first = plan_run(1)
        plan_run(2)
        plan_run(0, "elsewhere/other-shop.yaml")
        plan_run(-1, deployment=by_hand)
        assert next_run("shop") == soon + timedelta(hours=1)
        assert next_run("other-shop") == soon
        assert next_run("other") is None
        assert next_run("nightly") is None
        monkeypatch.setattr("flows.app.status.PAGE", 1)
        assert next_run("shop") == soon + timedelta(hours=1)
        client.set_flow_run_state(first, Cancelled())
        assert next_run("shop") == soon + timedelta(hours=2)
