"""A full disk, a locked or broken database, a server that went away: each gives one line, before or after a run."""

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
CANARY = "canary-31c7ab"  # a password that no message may hold


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(preflight, "LOCKED_S", 0.1)
    return tmp_path


@pytest.mark.parametrize("name", ["prefect/prefect.db", "mlflow.db"])
def test_a_database_that_another_process_holds_is_reported_at_once(home: Path, name: str) -> None:
    (home / "prefect").mkdir()
    with closing(sqlite3.connect(home / name, isolation_level=None)) as database:
        database.execute("CREATE TABLE kept (at INT)")
        refuse_unusable(served=False)
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=f"{name}: database is locked: another process holds it"):
            refuse_unusable(served=False)
        database.execute("ROLLBACK")
        refuse_unusable(served=False)
    (home / name).write_bytes(b"no database " * 100)
    with pytest.raises(InputError, match="not a database: move it away, and the next run creates a new one"):
        refuse_unusable(served=False)


def test_the_database_of_a_running_server_is_not_checked(home: Path) -> None:
    (home / "prefect").mkdir()
    with closing(sqlite3.connect(home / "prefect" / "prefect.db", isolation_level=None)) as server:
        server.execute("BEGIN EXCLUSIVE")
        refuse_unusable(served=True)


def test_a_server_that_cannot_start_is_reported_and_its_output_is_kept(tmp_path: Path) -> None:
    """The server refuses its database setting, which no check sees before."""
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


def _silent_address() -> str:
    """An address with a password at which no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://me:{CANARY}@127.0.0.1:{probe.getsockname()[1]}"


def test_an_mlflow_server_that_does_not_answer_is_reported_before_a_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", _silent_address())
    with pytest.raises(InputError, match=r"the MLflow server at http://127.0.0.1:\d+ does not answer") as refused:
        refuse_unusable(served=True)
    assert CANARY not in str(refused.value)


def test_an_mlflow_server_that_went_away_gives_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like a run whose server was killed while it ran."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address := _silent_address())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(mlflow.MlflowException) as raised:
        mlflow.MlflowClient(address).get_experiment_by_name("any")
    line = environment_error(raised.value)
    assert line
    assert re.fullmatch(r"the MLflow server at http://127.0.0.1:\d+ does not answer any more; .*the same.*", line)


@pytest.mark.more
def test_a_lock_on_mlflow_during_a_night_gives_one_line_and_the_night_has_one_run(home: Path) -> None:
    """MLflow itself waits for twenty seconds."""
    night = Night(number=1, experiment="a", day=date(2026, 1, 2), at=datetime.now(UTC), decision="kept", reason="")
    track_night.fn(night)
    with closing(sqlite3.connect(home / "mlflow.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(mlflow.MlflowException) as raised:
            track_night.fn(night)
        database.execute("ROLLBACK")
    line = environment_error(raised.value)
    assert line
    assert "\n" not in line
    assert "database is locked: another process holds it" in line
    track_night.fn(night)
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("a")
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FINISHED"]


def _as_cause(error: Exception) -> Exception:
    outer = RuntimeError("the stage failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "no space is left on the disk of EBR_HOME"),
        (_as_cause(sqlite3.OperationalError("database or disk is full")), "no space is left on the disk of EBR_HOME"),
        (_as_cause(sqlite3.OperationalError("database is locked")), "another process holds it"),
        (
            _as_cause(sqlite3.OperationalError("table runs already exists")),
            "mlflow.db is incomplete: .*move it away",
        ),
        (OSError(30, "Read-only file system", "/x/artifacts"), "'/x/artifacts'; finished stages are kept"),
        (httpx.ConnectError("All connection attempts failed"), "Prefect server .*does not answer any more"),
        (ValueError("a bug"), None),
    ],
)
def test_an_error_of_the_environment_gives_one_line_and_a_bug_does_not(error: Exception, message: str | None) -> None:
    if message is None:
        assert environment_error(error) is None
        return
    line = environment_error(error)
    assert line
    assert "\n" not in line
    assert "the same command resumes the run" in line
    assert re.search(message, line)


def _can_mount() -> bool:
    """True if a small disk can be mounted here."""
    if not shutil.which("unshare"):
        return False
    process = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return process.returncode == 0


@pytest.mark.skipif(not _can_mount(), reason="no small disk can be mounted here")
@pytest.mark.parametrize(
    ("options", "message"),
    [("size=8m", "8 MB are left on the disk of EBR_HOME"), ("ro", "cannot be written (Read-only file system)")],
)
def test_a_full_or_read_only_disk_is_reported_at_once(tmp_path: Path, options: str, message: str) -> None:
    """A real disk, in a namespace of its own."""
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
    assert [line for line in done.stderr.splitlines() if not line.endswith("…")] == done.stderr.splitlines()[-1:]
    assert message in done.stderr
