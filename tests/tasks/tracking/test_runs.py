"""Runs and metrics in MLflow, and runs that killed processes left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

import mlflow
import pytest
from mlflow.utils.validation import MAX_EXPERIMENT_NAME_LENGTH

from ebr_core.errors import InputError
from tasks.nights.night_records import Night
from tasks.process_identity import own_identity
from tasks.report.result import ResultRow
from tasks.tracking.experiment_names import LONGEST_NAME, refuse_untrackable
from tasks.tracking.mlflow_store import close_dead, make_database, open_experiment, track_night
from tasks.tracking.run_metrics import recall_panels
from tasks.tracking.runs import shorten_note


def test_each_target_set_has_its_own_curve() -> None:
    rows = [
        ResultRow(
            question=None,
            arm="random",
            seed=0,
            index=index,
            targets=targets,
            slice=slice_,
            metric=metric,
            k=k,
            value=value,
        )
        for targets, values in (("truth", (0.1, 0.4)), ("clicked", (0.2, 0.5)))
        for k, value in zip((10, 1), reversed(values), strict=True)
        for index, slice_, metric in (
            ("exact", "all", "recall"),
            ("ivfpq", "all", "recall"),
            ("exact", "misspelt", "recall"),
            ("exact", "all", "mrr"),
        )
    ]
    assert recall_panels(rows) == {
        "clicked": {"random": [(1, 0.2), (10, 0.5)]},
        "truth": {"random": [(1, 0.1), (10, 0.4)]},
    }


def test_a_long_note_is_cut_at_a_line_and_says_where_the_rest_is() -> None:
    lines = [f"answer {number}" for number in range(2_000)]
    note = shorten_note("\n".join(lines))
    assert 7_900 < len(note) <= 8_000
    *kept, _, end = note.split("\n")
    assert kept == lines[: len(kept)]
    assert "report/report.md" in end
    assert shorten_note("short") == "short"


def test_runs_of_a_killed_process_are_marked_as_killed() -> None:
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("killed")

    def begin_run(**tags: str) -> str:
        return str(client.create_run(experiment, tags=tags).info.run_id)

    host = socket.gethostname()
    dead = begin_run(process=f"{os.getpid()}:1", host=host)
    child = begin_run(**{"mlflow.parentRunId": dead})
    inside = begin_run(**{"mlflow.parentRunId": child})  # as a hybrid is inside its arm
    running = [
        begin_run(process=own_identity(), host=host),
        begin_run(process=f"{os.getpid()}:1", host="elsewhere"),
        begin_run(),
    ]
    close_dead(experiment)
    statuses = [client.get_run(run).info.status for run in (dead, child, inside, *running)]
    assert statuses == ["KILLED"] * 3 + ["RUNNING"] * 3


def test_runs_of_a_killed_night_are_marked_or_logged_again(tmp_path: Path) -> None:
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("killed nights", tmp_path.as_uri())
    tags_of_dead = {"kind": "night", "process": f"{os.getpid()}:1", "host": socket.gethostname()}
    not_repeated, repeated = (
        client.create_run(experiment, tags=tags_of_dead | {"day": f"2026-01-0{at}"}).info.run_id for at in (1, 2)
    )
    night = Night(
        number=1, experiment="killed nights", day=date(2026, 1, 2), at=datetime.now(UTC), decision="kept", reason=""
    )
    track_night.fn(night)
    assert [client.get_run(run).info.status for run in (not_repeated, repeated)] == ["KILLED", "FINISHED"]
    assert client.get_run(repeated).data.tags["process"] == own_identity()
    assert len(client.search_runs([experiment])) == 2


def test_an_experiment_that_was_deleted_is_refused_with_the_way_out() -> None:
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client = mlflow.MlflowClient()
    refuse_untrackable("deleted")  # which does not exist yet
    experiment = open_experiment("deleted")
    refuse_untrackable("deleted")
    client.delete_experiment(experiment)
    for refuse in (refuse_untrackable, open_experiment):
        with pytest.raises(InputError, match=f"mlflow experiments restore --experiment-id {experiment}"):
            refuse("deleted")
    client.restore_experiment(experiment)
    assert open_experiment("deleted") == experiment


def test_the_longest_name_is_that_of_mlflow() -> None:
    assert LONGEST_NAME == MAX_EXPERIMENT_NAME_LENGTH
    refuse_untrackable("n" * LONGEST_NAME)
    with pytest.raises(InputError, match="Rename the file"):
        refuse_untrackable("n" * (LONGEST_NAME + 1))


@pytest.mark.parametrize("name", ["a:b", "Ann's"])
def test_names_that_the_registry_refuses_are_refused_for_nights(name: str) -> None:
    refuse_untrackable(name)
    with pytest.raises(InputError, match="Rename the file"):
        refuse_untrackable(name, registers=True)


def test_a_process_killed_while_it_makes_the_database_leaves_no_partial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri := f"sqlite:///{tmp_path / 'mlflow.db'}")
    maker = subprocess.Popen(
        [sys.executable, "-c", "from tasks.tracking.mlflow_store import make_database; make_database()"]
    )
    while not (tmp_path / ".mlflow.db").exists() and maker.poll() is None:
        time.sleep(0.01)
    maker.kill()
    assert maker.wait() == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    make_database()
    assert [experiment.name for experiment in mlflow.MlflowClient(uri).search_experiments()] == ["Default"]
    assert list(tmp_path.glob(".mlflow.db*")) == []
