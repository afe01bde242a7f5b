"""The progress of a night, and all that nights leave in their home."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing, suppress
from datetime import date
from pathlib import Path
from typing import Any

from proofs.home_artifacts import files_of, folders

NAME, NIGHTLY = "killed", "retrain/nightly"


LATE_STEPS = ("begun in MLflow", "model saved", "registered", "alias moved", "in service", "recorded")


VOLATILE = {"prefect", "costs.json", "manifest.json"}  # Prefect's record, what a clock says, and a digest of that


# The late steps of a night in MLflow's database, one column for each step.
STEPS = """
SELECT EXISTS (SELECT 1 FROM tags WHERE key = 'day' AND value = :day),
       EXISTS (SELECT 1 FROM logged_models JOIN tags ON run_uuid = source_run_id
               WHERE key = 'day' AND value = :day AND status = 2),
       EXISTS (SELECT 1 FROM model_version_tags WHERE key = 'day' AND value = :day),
       EXISTS (SELECT 1 FROM registered_model_aliases JOIN model_version_tags USING (name, version)
               WHERE alias = 'champion' AND key = 'day' AND value = :day)
"""


def query_mlflow(home: Path, query: str, **values: str) -> list[tuple[Any, ...]]:
    """The rows of a query to the MLflow database of a home; empty if it has no tables yet."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True, timeout=30)) as database,
    ):
        return list(database.execute(query, values))
    return []


def late_steps_done(home: Path, day: date) -> int:
    """The number of late steps that a night has done."""
    if (home / "nights" / NAME / f"{day}.json").exists():
        return len(LATE_STEPS)
    steps = query_mlflow(home, STEPS, day=str(day))
    champion_file = home / "models" / f"{NAME}.json"
    in_service = champion_file.exists() and json.loads(champion_file.read_text())["night"] == str(day)
    return sum(steps[0]) + in_service if steps else 0


def steps_done(home: Path, day: date, initial_count: int) -> int:
    """The progress of a night: the number of finished stages plus late steps. initial_count: artifacts before it."""
    return len(folders(home)) - initial_count + late_steps_done(home, day)


def outcome_of(home: Path) -> dict[str, Any]:
    """All that nights leave, without times."""
    return night_state(home) | {"bytes": digests_of(home)}


def digests_of(home: Path) -> dict[str, str]:
    """The digest of each file of each artifact."""
    return {
        f"{name}/{file}": hashlib.sha256((path / file).read_bytes()).hexdigest()
        for name, path in folders(home).items()
        for file in sorted(files_of(path))
        if Path(file).name not in VOLATILE
    }


def night_state(home: Path) -> dict[str, Any]:
    """All that nights leave beside artifacts, without times."""
    records = {path.name: json.loads(path.read_text()) for path in (home / "nights" / NAME).glob("*.json")}
    runs = "SELECT day.value, status, decision.value, count(DISTINCT latest_metrics.key), sum(latest_metrics.value) "
    runs += "FROM runs JOIN tags day USING (run_uuid) JOIN tags decision USING (run_uuid) "
    runs += "JOIN latest_metrics USING (run_uuid) WHERE day.key = 'day' AND decision.key = 'decision' GROUP BY run_uuid"
    champion = json.loads((home / "models" / f"{NAME}.json").read_text())
    return {
        "records": {
            name: {key: value for key, value in night.items() if key != "at"} for name, night in records.items()
        },
        "champion": {key: value for key, value in champion.items() if key != "made_at"},
        "versions": sorted(
            query_mlflow(home, "SELECT value, count(*) FROM model_version_tags WHERE key = 'bundle' GROUP BY 1")
        ),
        "aliases": sorted(
            query_mlflow(
                home,
                "SELECT alias, value FROM registered_model_aliases JOIN model_version_tags USING (name, version) "
                "WHERE key = 'bundle'",
            )
        ),
        "MLflow's runs": sorted(query_mlflow(home, runs))
        + query_mlflow(home, "SELECT name, status FROM runs WHERE status = 'RUNNING'"),
    }


def difference(outcome: Any, expected: Any) -> Any:
    """The parts in which two outcomes differ, as pairs."""
    if isinstance(outcome, dict) and isinstance(expected, dict):
        keys = sorted({*outcome, *expected})
        return {key: (outcome.get(key), expected.get(key)) for key in keys if outcome.get(key) != expected.get(key)}
    return outcome, expected
