"""What MLflow is shown."""

from __future__ import annotations

import os
import socket

import mlflow

from tasks.process import myself
from tasks.tracking import _panels, close_dead


def test_each_target_set_has_its_own_curve() -> None:
    rows = [
        {
            "question": None,
            "arm": "random",
            "seed": 0,
            "index": index,
            "targets": targets,
            "slice": slice_,
            "metric": metric,
            "k": k,
            "value": value,
        }
        for targets, values in (("truth", (0.1, 0.4)), ("clicked", (0.2, 0.5)))
        for k, value in zip((10, 1), reversed(values), strict=True)
        for index, slice_, metric in (
            ("exact", "all", "recall"),
            ("ivfpq", "all", "recall"),
            ("exact", "misspelt", "recall"),
            ("exact", "all", "mrr"),
        )
    ]
    assert _panels(rows) == {
        "clicked": {"random": [(1, 0.2), (10, 0.5)]},
        "truth": {"random": [(1, 0.1), (10, 0.4)]},
    }


def test_what_a_killed_process_began_to_tell_is_marked_as_killed() -> None:
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("killed")

    def begun(**tags: str) -> str:
        return str(client.create_run(experiment, tags=tags).info.run_id)

    here = socket.gethostname()
    dead = begun(process=f"{os.getpid()}:1", host=here)
    child = begun(**{"mlflow.parentRunId": dead})
    kept = [begun(process=myself(), host=here), begun(process=f"{os.getpid()}:1", host="elsewhere"), begun()]
    close_dead(experiment)
    assert [client.get_run(run).info.status for run in (dead, child, *kept)] == ["KILLED"] * 2 + ["RUNNING"] * 3
