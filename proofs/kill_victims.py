"""What `proofs.kills` and `proofs.night_kills` start and kill: a run, the pages with their worker, and how each
is found again."""

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
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LIVE = ("PENDING", "RUNNING", "CANCELLING")


class Process(NamedTuple):
    """A process as it can be told from a later one of the same number."""

    pid: int
    started: str
    command: str


def processes(home: Path) -> Iterator[Process]:
    """All processes, of whatever parent, whose environment says that they belong to this home."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            told = (place / "environ").read_bytes().split(b"\0")
            stat = (place / "stat").read_text().rsplit(")", 1)[1].split()
            if f"EBR_HOME={home}".encode() in told and stat[0] != "Z":
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(place.name), stat[19], command)


def kill(home: Path, *words: str) -> int:
    """kill -9 of the processes of this home whose command holds one of the words; how many there were."""
    chosen = [process for process in processes(home) if any(word in process.command for word in words)]
    for process in chosen:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return len(chosen)


def start(home: Path, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
    """`ebr` with these arguments in a process group of its own, its output in a file beside the home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    with log_of(home).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.app.cli", *arguments],
            cwd=PROJECT,
            env=kept | {"EBR_HOME": str(home), "OMP_NUM_THREADS": "1"} | more,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def log_of(home: Path) -> Path:
    """Where what a home's processes said is kept."""
    return home.with_suffix(".log")


def until(holds: Callable[[], Any], what: str, pause_s: float = 0.05) -> Any:
    """Waits until something holds and returns it. Errors: it never did."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if told := holds():
            return told
        time.sleep(pause_s)
    raise TimeoutError(f"waited {PATIENCE_S} s for {what}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pages(NamedTuple):
    """A running `ebr ui`."""

    process: subprocess.Popen[bytes]
    api: str
    mlflow: str

    def ask(self, path: str, told: dict[str, Any] | None = None) -> Any:
        """What the Prefect server answers; asked again, as by its own client, where it says that it is busy."""
        body, head = None if told is None else json.dumps(told).encode(), {"content-type": "application/json"}
        for pause_s in (1, 2, 4, 8, 16, 0):
            try:
                with urllib.request.urlopen(urllib.request.Request(self.api + path, body, head), timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or not pause_s:
                    raise
                time.sleep(pause_s)
        return None

    def order(self, deployment: str = "ebr/full", **parameters: str) -> str:
        """Orders a run of a deployment, of the experiment above where none is named; its id."""
        known = self.ask(f"/deployments/name/{deployment}")["id"]
        asked = {"parameters": {"experiment": str(EXPERIMENT)} | parameters}
        return str(self.ask(f"/deployments/{known}/create_flow_run", asked)["id"])

    def state(self, run: str) -> str:
        """The state of a run."""
        return str(self.ask(f"/flow_runs/{run}")["state_type"])

    def slots(self, deployment: str) -> int:
        """How many slots of a deployment are taken."""
        limit = self.ask(f"/deployments/name/{deployment}")["global_concurrency_limit"]
        return int(limit["active_slots"])

    def stuck(self) -> int:
        """How many runs are told to be under way."""
        live = {"flow_runs": {"state": {"type": {"any_": LIVE}}}}
        return len(self.ask("/flow_runs/filter", live))


def stuck_after(pages: Pages, patience_s: float = 300) -> int:
    """How many runs are told to be under way after a while: an order that a kill found waiting begins by itself later,
    and lives."""
    end = time.monotonic() + patience_s
    while (count := pages.stuck()) and time.monotonic() < end:
        time.sleep(1)
    return count


def open_pages(home: Path) -> Pages:
    """Starts `ebr ui` and waits until it says that all is there."""
    note = home / "prefect-api-url"
    ports = _free_port(), _free_port()
    process = start(home, "ui", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]))
    api = f"http://127.0.0.1:{ports[0]}/api"

    def there() -> bool:
        if process.poll() is not None:
            raise ChildProcessError(f"ebr ui ended with code {process.returncode}; see {log_of(home)}")
        return note.exists() and note.read_text().strip() == api

    until(there, "ebr ui")
    return Pages(process, api, f"http://127.0.0.1:{ports[1]}")


RUN, PARENT, ITS_SERVER = "run, its whole group", "run, its process alone", "run's Prefect server"


WORKER, BOTH, SERVER = "worker", "worker and its run", "pages' Prefect server"


MLFLOW, PAGES = "MLflow server", "ebr ui itself"


def strike(home: Path, victim: str, process: subprocess.Popen[bytes] | None, pages: Pages | None) -> None:
    """kill -9 of the victim."""
    if victim == RUN and process:
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == PARENT and process:
        process.kill()
    elif victim == PAGES and pages:
        pages.process.kill()
    elif victim == ITS_SERVER:
        kill(home, "prefect.server")
    elif victim == SERVER:
        kill(home, "prefect server", "prefect.server")
    elif victim == MLFLOW:
        kill(home, "mlflow server", "mlflow.server")
    else:
        kill(home, "worker start", *(("prefect.engine", "prefect.runner", "flow-run") if victim == BOTH else ()))
