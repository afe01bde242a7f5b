"""A full disk, a locked or broken database, a server that went away: each is one line, before or after a run."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import mlflow
import pytest

from ebr_core.errors import InputError
from flows.process import preflight
from flows.process.preflight import environment_error, refuse_unusable
from tasks.nights.night_records import Night
from tasks.tracking.mlflow_store import track_night

PROJECT = Path(__file__).parent.parent.parent.parent
SMOKE = PROJECT / "experiments" / "smoke.yaml"
CANARY = "canary-31c7ab"  # a password that must not be told


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(preflight, "LOCKED_S", 0.1)
    return tmp_path


@pytest.mark.parametrize("name", ["prefect/prefect.db", "mlflow.db"])
def test_a_database_that_another_holds_is_told_and_not_waited_for(home: Path, name: str) -> None:
    (home / "prefect").mkdir()
    with closing(sqlite3.connect(home / name, isolation_level=None)) as other:
        other.execute("CREATE TABLE kept (at INT)")
        refuse_unusable(served=False)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=f"{name}: database is locked: another process holds it"):
            refuse_unusable(served=False)
        other.execute("ROLLBACK")
        refuse_unusable(served=False)
    (home / name).write_bytes(b"no database " * 100)
    with pytest.raises(InputError, match="not a database: move it away, and a new one is made"):
        refuse_unusable(served=False)


def test_a_running_server_holds_its_database_itself(home: Path) -> None:
    (home / "prefect").mkdir()
    with closing(sqlite3.connect(home / "prefect" / "prefect.db", isolation_level=None)) as server:
        server.execute("BEGIN EXCLUSIVE")
        refuse_unusable(served=True)


def test_a_server_that_cannot_start_is_told_and_its_words_are_kept(tmp_path: Path) -> None:
    """By a setting that it refuses, seen by nobody before."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    environment |= {
        "EBR_HOME": str(tmp_path),
        "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////no/such/a.db",
    }
    command = [sys.executable, "-m", "flows.app.cli", "run", str(SMOKE)]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: Prefect's temporary server did not start")
    assert "Traceback" not in done.stderr
    assert "unable to open database" in (tmp_path / "logs" / "temporary-server.log").read_text()


def _nobody() -> str:
    """An address where nobody listens, with a password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://me:{CANARY}@127.0.0.1:{probe.getsockname()[1]}"


def test_an_mlflow_server_that_does_not_answer_is_told_before_a_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", _nobody())
    with pytest.raises(InputError, match=r"the MLflow server at http://127.0.0.1:\d+ does not answer") as told:
        refuse_unusable(served=True)
    assert CANARY not in str(told.value)


def test_an_mlflow_server_that_went_away_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a run that was under way when its server was killed."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", gone := _nobody())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(mlflow.MlflowException) as raised:
        mlflow.MlflowClient(gone).get_experiment_by_name("any")
    line = environment_error(raised.value)
    assert line
    assert re.fullmatch(r"the MLflow server at http://127.0.0.1:\d+ does not answer any more; .*the same.*", line)


def test_mlflow_locked_in_mid_night_is_one_line_and_the_night_is_told_once(home: Path) -> None:
    """MLflow waits for twenty seconds by itself."""
    night = Night(number=1, experiment="a", day=date(2026, 1, 2), at=datetime.now(UTC), decision="kept", reason="")
    track_night.fn(night)
    with closing(sqlite3.connect(home / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(mlflow.MlflowException) as raised:
            track_night.fn(night)
        other.execute("ROLLBACK")
    line = environment_error(raised.value)
    assert line
    assert "\n" not in line
    assert "database is locked: another process holds it" in line
    track_night.fn(night)
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    found = client.get_experiment_by_name("a")
    assert found is not None
    assert [run.info.status for run in client.search_runs([found.experiment_id])] == ["FINISHED"]


def _as_cause(error: Exception) -> Exception:
    outer = RuntimeError("the stage failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), "no space is left where EBR_HOME lies"),
        (_as_cause(sqlite3.OperationalError("database or disk is full")), "no space is left where EBR_HOME lies"),
        (_as_cause(sqlite3.OperationalError("database is locked")), "another process holds it"),
        (
            _as_cause(sqlite3.OperationalError("table runs already exists")),
            "mlflow.db was left half made: .*move it away",
        ),
        (OSError(30, "Read-only file system", "/x/artifacts"), "'/x/artifacts'; what is finished is kept"),
        (httpx.ConnectError("All connection attempts failed"), "Prefect server .*does not answer any more"),
        (ValueError("a bug"), None),
    ],
)
def test_what_lies_in_the_surroundings_is_one_line_and_a_bug_is_not(error: Exception, told: str | None) -> None:
    if told is None:
        assert environment_error(error) is None
        return
    line = environment_error(error)
    assert line
    assert "\n" not in line
    assert "the same command goes on" in line
    assert re.search(told, line)


def _mounts() -> bool:
    """Whether a small disk of one's own can be had here."""
    if not shutil.which("unshare"):
        return False
    tried = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


@pytest.mark.skipif(not _mounts(), reason="no small disk can be mounted here")
@pytest.mark.parametrize(
    ("options", "told"),
    [("size=8m", "8 MB are left where EBR_HOME lies"), ("ro", "cannot be written (Read-only file system)")],
)
def test_a_full_or_read_only_disk_is_told_at_once(tmp_path: Path, options: str, told: str) -> None:
    """A real one, in a namespace of its own."""
    run = f"mount -t tmpfs -o {options} tmpfs {tmp_path} && exec {sys.executable} -m flows.app.cli run {SMOKE}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", run],
        cwd=PROJECT,
        env=environment | {"EBR_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr
