"""Ctrl-C and SIGTERM end a run at once, with one line, and leave nothing behind; the same command resumes it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent.parent
SMOKE = PROJECT / "experiments" / "smoke.yaml"


def _processes_of(home: Path) -> list[str]:
    """The commands of all processes of a home."""
    commands = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"EBR_HOME={home}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                commands.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return commands


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.more)]
)
def test_a_run_that_is_stopped_ends_in_one_line(tmp_path: Path, signum: signal.Signals, code: int) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    environment |= {"PREFECT_LOGGING_LEVEL": "WARNING"}
    run = subprocess.Popen(
        [sys.executable, "-m", "flows.app.cli", "run", str(SMOKE)],
        cwd=PROJECT,
        env=environment | {"EBR_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while run.poll() is None and not list(tmp_path.glob("artifacts/*extract-*")):
        time.sleep(0.01)
    run.send_signal(signum)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == code
    assert output == ""
    lines = [line for line in errors.splitlines() if not line.endswith("…")]  # a stage may begin while the run stops
    assert lines[-1:] == ["stopped; the same command resumes the run"]
    assert "Traceback" not in errors
    assert _processes_of(tmp_path) == []
    assert list(tmp_path.glob("artifacts/.unfinished-*")) == []
    with sqlite3.connect(tmp_path / "prefect" / "prefect.db") as database:
        assert database.execute("SELECT state_name FROM flow_run").fetchall() == [("Cancelled",)]
