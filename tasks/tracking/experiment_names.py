"""Names of experiments that MLflow takes. MLflow, which takes seconds to import, is loaded only where it must be."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ebr_core.errors import InputError
from tasks.home import home

if TYPE_CHECKING:
    from mlflow.entities import Experiment

_NOT_IN_MODELS = "/:'"  # a quote ends the name in a search of versions
LONGEST_NAME = 500  # MLflow's own limit, by a test


def is_registrable(name: str) -> bool:
    """True if the registry of models takes the name."""
    return not any(sign in name for sign in _NOT_IN_MODELS)


def refuse_untrackable(name: str, registers: bool = False) -> None:
    """Raise InputError if MLflow would refuse the runs of an experiment of this name, or with registers its models:
    because the experiment was deleted there, or because of the name. Creates nothing."""
    if registers and (bad := sorted({sign for sign in name if sign in _NOT_IN_MODELS})):
        raise InputError(
            f"{name}.yaml: the registry of models takes the file's name and refuses {' and '.join(bad)} in it. Rename "
            "the file"
        )
    if len(name) > LONGEST_NAME or not name.strip(". "):
        raise InputError(f"{name}.yaml: MLflow refuses the file's name as that of an experiment. Rename the file")
    address, database = os.environ["MLFLOW_TRACKING_URI"], home() / "mlflow.db"
    if address == f"sqlite:///{database}" and _is_usable(database, name):
        return
    import mlflow

    mlflow.set_tracking_uri(address)
    refuse_deleted(mlflow.get_experiment_by_name(name))


def _is_usable(database: Path, name: str) -> bool:
    """True if the home's own database is not there yet, or holds no deleted experiment of this name; False if it says
    so, or cannot be read here."""
    if not database.exists():
        return True
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT lifecycle_stage FROM experiments WHERE name = ?", (name,)).fetchall()
    except sqlite3.Error:
        return False
    return all(stage == "active" for (stage,) in found)


def refuse_deleted(experiment: Experiment | None) -> None:
    """Raise InputError for an experiment that was deleted in MLflow, with the way to restore it."""
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        address = os.environ["MLFLOW_TRACKING_URI"]
        shown = address if address.startswith("sqlite:") else "…"  # another address may hold a password
        raise InputError(
            f"the experiment {experiment.name} was deleted in MLflow, which takes no runs for it. Restore it with "
            f"`MLFLOW_TRACKING_URI={shown} mlflow experiments restore --experiment-id {experiment.experiment_id}`, or "
            "rename the experiment file"
        )
