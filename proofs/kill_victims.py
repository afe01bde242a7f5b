"""Starts and kills the victims of `proofs.kills` and `proofs.night_kills`: a run, or the pages with their worker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).parent.parent
EXPERIMENT = PROJECT / "proofs" / "kills.yaml"
PATIENCE_S = 900
FINAL_STATES = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LIVE_STATES = ("PENDING", "RUNNING", "CANCELLING")


class Process(NamedTuple):
    """A process, identified by more than its number, which may be used again."""

    pid: int
    start_time: str
    command: str


def processes(home: Path) -> Iterator[Process]:
    """All processes whose environment has this EBR_HOME, whatever their parent."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if f"EBR_HOME={home}".encode() in environment and stat[0] != "Z":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(folder.name), stat[19], command)


def kill(home: Path, *words: str) -> int:
    """Kill (-9) the processes of this home whose command holds one of the words; return their number."""
    victims = [process for process in processes(home) if any(word in process.command for word in words)]
    for process in victims:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return len(victims)


def start(home: Path, *arguments: str, **extra_environment: str) -> subprocess.Popen[bytes]:
    """A process of `ebr` with these arguments, in its own process group, with its output in the home's log."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    with log_of(home).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.app.cli", *arguments],
            cwd=PROJECT,
            env=inherited | {"EBR_HOME": str(home), "OMP_NUM_THREADS": "1"} | extra_environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def log_of(home: Path) -> Path:
    """The file with the output of a home's processes."""
    return home.with_suffix(".log")


def until(holds: Callable[[], Any], description: str, pause_s: float = 0.05) -> Any:
    """Wait for a true result of `holds` and return it; raise TimeoutError after PATIENCE_S."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if result := holds():
            return result
        time.sleep(pause_s)
    raise TimeoutError(f"waited {PATIENCE_S} s for {description}")


def _free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pages(NamedTuple):
    """A running `ebr ui`."""

    process: subprocess.Popen[bytes]
    api: str
    mlflow: str

    def call_api(self, path: str, content: dict[str, Any] | None = None) -> Any:
        """The Prefect server's answer. A busy server is called again, as Prefect's own client does."""
        body, head = None if content is None else json.dumps(content).encode(), {"content-type": "application/json"}
        for pause_s in (1, 2, 4, 8, 16, 0):
            try:
                with urllib.request.urlopen(urllib.request.Request(self.api + path, body, head), timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or not pause_s:
                    raise
                time.sleep(pause_s)
        return None

    def start_run(self, deployment: str = "ebr/full", **parameters: str) -> str:
        """Start a run of a deployment and return its id. The default experiment is EXPERIMENT."""
        deployment_id = self.call_api(f"/deployments/name/{deployment}")["id"]
        request = {"parameters": {"experiment": str(EXPERIMENT)} | parameters}
        return str(self.call_api(f"/deployments/{deployment_id}/create_flow_run", request)["id"])

    def state(self, run: str) -> str:
        """The state of a run."""
        return str(self.call_api(f"/flow_runs/{run}")["state_type"])

    def slots(self, deployment: str) -> int:
        """The number of occupied slots of a deployment."""
        limit = self.call_api(f"/deployments/name/{deployment}")["global_concurrency_limit"]
        return int(limit["active_slots"])

    def stuck(self) -> int:
        """The number of runs that Prefect considers under way."""
        query = {"flow_runs": {"state": {"type": {"any_": LIVE_STATES}}}}
        return len(self.call_api("/flow_runs/filter", query))


def stuck_after(pages: Pages, patience_s: float = 300) -> int:
    """The number of runs that are still under way after `patience_s`.

    The wait is for runs that were scheduled when the kill came: they start later by themselves, and end.
    """
    end = time.monotonic() + patience_s
    while (count := pages.stuck()) and time.monotonic() < end:
        time.sleep(1)
    return count


def open_pages(home: Path) -> Pages:
    """Start `ebr ui` and wait until it has written its address."""
    note = home / "prefect-api-url"
    ports = _free_port(), _free_port()
    process = start(home, "ui", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]))
    api = f"http://127.0.0.1:{ports[0]}/api"

    def is_open() -> bool:
        if process.poll() is not None:
            raise ChildProcessError(f"ebr ui ended with code {process.returncode}; see {log_of(home)}")
        return note.exists() and note.read_text().strip() == api

    until(is_open, "ebr ui")
    return Pages(process, api, f"http://127.0.0.1:{ports[1]}")


RUN, RUN_PROCESS, RUN_SERVER = "run, its whole group", "run, its process alone", "run's Prefect server"


WORKER, WORKER_AND_RUN, PAGES_SERVER = "worker", "worker and its run", "pages' Prefect server"


MLFLOW, PAGES = "MLflow server", "ebr ui itself"


def strike(home: Path, victim: str, process: subprocess.Popen[bytes] | None, pages: Pages | None) -> None:
    """Kill (-9) the victim."""
    if victim == RUN and process:
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == RUN_PROCESS and process:
        process.kill()
    elif victim == PAGES and pages:
        pages.process.kill()
    elif victim == RUN_SERVER:
        kill(home, "prefect.server")
    elif victim == PAGES_SERVER:
        kill(home, "prefect server", "prefect.server")
    elif victim == MLFLOW:
        kill(home, "mlflow server", "mlflow.server")
    else:
        kill(
            home,
            "worker start",
            *(("prefect.engine", "prefect.runner", "flow-run") if victim == WORKER_AND_RUN else ()),
        )
