"""What outlives a run that was killed is ended by the next one, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from flows.ui import RUN, end_orphans
from tasks.home import home


def test_only_servers_of_dead_runs_of_this_home_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN, "")
    dead = subprocess.Popen(["true"])
    dead.wait()

    def server(name: str, run: int, of: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "import time; print(flush=True); time.sleep(120)", name]
        told = os.environ | {"EBR_HOME": of, RUN: str(run)}
        process = subprocess.Popen(command, env=told, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()  # it runs, so its environment is its own
        return process

    orphan = server("prefect.server", dead.pid, str(home()))
    others = [
        server("prefect.server", os.getpid(), str(home())),  # its run lives
        server("prefect.server", dead.pid, "/another/home"),
        server("something.else", dead.pid, str(home())),
    ]
    try:
        end_orphans()
        assert orphan.wait(timeout=30) != 0
        time.sleep(0.2)
        assert [process.poll() for process in others] == [None] * 3
        assert os.environ[RUN] == str(os.getpid())
    finally:
        for process in (orphan, *others):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
