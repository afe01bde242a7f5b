"""MLflow's store: its database, its experiments, runs of dead processes, and a run for each night."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prefect import task

from tasks.home import home
from tasks.nights.night_records import Night
from tasks.process_identity import is_gone, own_identity
from tasks.tracking.experiment_names import refuse_deleted

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import Run

GENERATIONS = 2  # an experiment's run, those of arms in it, those of hybrids in these


def make_database() -> None:
    """Make MLflow's database, complete or not at all, if it belongs into EBR_HOME and does not exist.

    MLflow creates it in place, table by table, and can never open one whose creation was interrupted.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    database = home() / "mlflow.db"
    if database.exists() or os.environ["MLFLOW_TRACKING_URI"] != f"sqlite:///{database}":
        return
    with _database_lock():
        if database.exists():
            return
        unfinished = home() / ".mlflow.db"
        for leftover in home().glob(".mlflow.db*"):
            leftover.unlink()
        store = SqlAlchemyStore(f"sqlite:///{unfinished}", (home() / "mlflow-artifacts").as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        unfinished.rename(database)


@contextmanager
def _database_lock() -> Iterator[None]:
    """Hold a lock that one process of a home can hold at a time; it is released when the process ends."""
    with (home() / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_experiment(name: str) -> str:
    """The id of the MLflow experiment of that name, made on first use; runs of dead processes in it are closed."""
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    make_database()
    with _database_lock():
        experiment_id = _experiment(name)
        close_dead(experiment_id)
    return experiment_id


def _experiment(name: str) -> str:
    """The id of the MLflow experiment of that name, made on first use and marked so that the page opens on its runs."""
    import mlflow

    experiment = mlflow.get_experiment_by_name(name)
    refuse_deleted(experiment)
    if experiment is not None:
        return str(experiment.experiment_id)
    tags = {"mlflow.experimentKind": "custom_model_development"}
    location = (home() / "mlflow-artifacts").as_uri() if str(mlflow.get_tracking_uri()).startswith("sqlite") else None
    return str(mlflow.create_experiment(name, location, tags))


def close_dead(experiment_id: str) -> None:
    """Mark runs of dead processes, and the runs inside them, as KILLED; the next run logs everything again."""
    import mlflow

    client = mlflow.MlflowClient()
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    dead = {run.info.run_id for run in running if _is_of_dead_process(run)}
    parents = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in running}
    for _ in range(GENERATIONS):
        dead |= {run for run, parent in parents.items() if parent in dead}
    for run_id in dead:
        client.set_terminated(run_id, "KILLED")


def _is_of_dead_process(run: Run) -> bool:
    tags = run.data.tags
    return "process" in tags and is_gone(tags["process"], tags.get("host"))


def process_tags() -> dict[str, str]:
    """The tags by which a run whose process is gone is recognised."""
    return {"host": socket.gethostname(), "process": own_identity()}


@task(name="track night", task_run_name="write the night into MLflow")
def track_night(night: Night) -> None:
    """Write a night into MLflow: a run with its figures, the same run each time that the night is tracked."""
    import mlflow

    with night_run(night.experiment, str(night.day)):
        mlflow.set_tags(
            {"decision": night.decision, "reason": night.reason[:5000], "training": night.training or "none"}
            | {"champion": str(night.champion.day) if night.champion else "none"}
        )
        measured = {"challenger_recall": night.recall, "champion_recall": night.champion_recall}
        if night.against:
            measured |= {"difference": night.against[0].difference, "difference_bound": night.against[0].bound}
        measured |= {f"day/{name}": value for name, value in night.figures.items()}
        mlflow.log_metrics({name: value for name, value in measured.items() if value is not None})
        mlflow.log_text(night.model_dump_json(indent=1), "night.json")


def night_run(experiment: str, day: str) -> mlflow.ActiveRun:
    """The run of a night, recognised by its tags or begun; those of killed nights are marked as killed."""
    import mlflow

    experiment_id = open_experiment(experiment)
    runs = mlflow.MlflowClient().search_runs([experiment_id], f"tags.kind = 'night' and tags.day = '{day}'")
    if runs:
        run = mlflow.start_run(run_id=runs[0].info.run_id)
        mlflow.set_tags(process_tags())
        return run
    tags = {"kind": "night", "day": day} | process_tags()
    return mlflow.start_run(experiment_id=experiment_id, run_name=f"night {day}", tags=tags)
