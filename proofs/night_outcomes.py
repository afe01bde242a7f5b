"""How far a night has come, and all that nights leave behind, read from their home."""

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


LATE = ("begun in MLflow", "model saved", "registered", "alias moved", "in service", "recorded")


VOLATILE = {"prefect", "costs.json", "manifest.json"}  # Prefect's record, what a clock says, and a digest of that


# How far a night has come in MLflow's database, step by step.
STEPS = """
SELECT EXISTS (SELECT 1 FROM tags WHERE key = 'day' AND value = :day),
       EXISTS (SELECT 1 FROM logged_models JOIN tags ON run_uuid = source_run_id
               WHERE key = 'day' AND value = :day AND status = 2),
       EXISTS (SELECT 1 FROM model_version_tags WHERE key = 'day' AND value = :day),
       EXISTS (SELECT 1 FROM registered_model_aliases JOIN model_version_tags USING (name, version)
               WHERE alias = 'champion' AND key = 'day' AND value = :day)
"""


def ask(home: Path, query: str, **values: str) -> list[tuple[Any, ...]]:
    """What MLflow's database of a home says; nothing where it has no tables yet."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True, timeout=30)) as database,
    ):
        return list(database.execute(query, values))
    return []


def late(home: Path, day: date) -> int:
    """How many of the last steps a night has made."""
    if (home / "nights" / NAME / f"{day}.json").exists():
        return len(LATE)
    steps = ask(home, STEPS, day=str(day))
    served = home / "models" / f"{NAME}.json"
    in_service = served.exists() and json.loads(served.read_text())["night"] == str(day)
    return sum(steps[0]) + in_service if steps else 0


def come(home: Path, day: date, before: int) -> int:
    """How far a night has come: finished stages, then the last steps."""
    return len(folders(home)) - before + late(home, day)


def outcome_of(home: Path) -> dict[str, Any]:
    """All that nights leave, without the times."""
    return told(home) | {"bytes": digests_of(home)}


def digests_of(home: Path) -> dict[str, str]:
    """The digest of each file of each artifact."""
    return {
        f"{name}/{file}": hashlib.sha256((path / file).read_bytes()).hexdigest()
        for name, path in folders(home).items()
        for file in sorted(files_of(path))
        if Path(file).name not in VOLATILE
    }


def told(home: Path) -> dict[str, Any]:
    """What nights leave beside artifacts."""
    records = {path.name: json.loads(path.read_text()) for path in (home / "nights" / NAME).glob("*.json")}
    runs = "SELECT day.value, status, decision.value, count(DISTINCT latest_metrics.key), sum(latest_metrics.value) "
    runs += "FROM runs JOIN tags day USING (run_uuid) JOIN tags decision USING (run_uuid) "
    runs += "JOIN latest_metrics USING (run_uuid) WHERE day.key = 'day' AND decision.key = 'decision' GROUP BY run_uuid"
    served = json.loads((home / "models" / f"{NAME}.json").read_text())
    return {
        "records": {name: {key: told for key, told in night.items() if key != "at"} for name, night in records.items()},
        "champion": {key: told for key, told in served.items() if key != "made_at"},
        "versions": sorted(ask(home, "SELECT value, count(*) FROM model_version_tags WHERE key = 'bundle' GROUP BY 1")),
        "aliases": sorted(
            ask(
                home,
                "SELECT alias, value FROM registered_model_aliases JOIN model_version_tags USING (name, version) "
                "WHERE key = 'bundle'",
            )
        ),
        "MLflow's runs": sorted(ask(home, runs)) + ask(home, "SELECT name, status FROM runs WHERE status = 'RUNNING'"),
    }


def difference(found: Any, expected: Any) -> Any:
    """Where two outcomes differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted({*found, *expected})
        return {key: (found.get(key), expected.get(key)) for key in keys if found.get(key) != expected.get(key)}
    return found, expected
