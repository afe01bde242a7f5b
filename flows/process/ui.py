"""Serve the Prefect and MLflow pages, the deployments and a worker on loopback; Ctrl-C ends all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from rich.console import Console

from ebr_core.errors import InputError
from flows.process.cleanup import close_runs, end_descendants, end_orphans
from flows.process.free_ports import refuse_taken
from flows.process.prefect_database import copy_empty_database
from flows.process.preflight import refuse_unusable
from flows.process.schedules import describe_schedules, keep_paused
from tasks.home import MLFLOW_PAGE, ROOT, home

HOST = "127.0.0.1"
PATIENCE_S = 300
PREFECT_FILE = ROOT / "ebr" / "prefect.yaml"  # a link in a clone; the entry points in it start from ROOT


class PageAddresses(NamedTuple):
    """The addresses of the pages, and the environment of all that serves them."""

    prefect_port: int
    mlflow_port: int
    environment: dict[str, str]

    @property
    def api(self) -> str:
        """The address of the Prefect server's API."""
        return _api(self.prefect_port)

    @property
    def mlflow(self) -> str:
        """The address of the MLflow server."""
        return f"http://{HOST}:{self.mlflow_port}"


def serve_pages(prefect_port: int, mlflow_port: int, console: Console) -> None:
    """Serve the Prefect and MLflow pages, the work pool, the deployments and a worker until Ctrl-C.

    Raises InputError if the pages of this home are open already, a port is taken, or one of the processes ends.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    end_orphans()  # first, because a server that killed pages left behind still answers
    if api := use_running_server():
        raise InputError(
            f"`ebr ui` of {home()} is running already, with its Prefect server at {api}; use that one, or end it"
        )
    refuse_unusable(served=False)
    for port, flag in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
        refuse_taken(HOST, port, flag)
    pages = PageAddresses(prefect_port, mlflow_port, _environment(_api(prefect_port)))
    with ExitStack() as running:
        running.callback(end_descendants)  # last: the runs of a worker have sessions of their own
        processes = _start_servers(pages, running, console)
        _deploy(pages.environment, console)
        worker = ["prefect", "worker", "start", "--pool", "ebr", "--name", "ebr"]
        processes["worker"] = running.enter_context(_process(worker, pages.environment, "worker"))
        _wait(f"{pages.mlflow}/health", processes["MLflow"])
        _write_address(pages.api)
        (home() / MLFLOW_PAGE).write_text(pages.mlflow)  # stays: the links of later runs lead there
        _show_addresses(pages, console)
        for line in describe_schedules(pages.api):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        console.print(f"\nLogs: {home() / 'logs'}. Ctrl-C ends all of these.", soft_wrap=True, highlight=False)
        try:
            _watch(processes)
        finally:
            _address_file().unlink(missing_ok=True)


def _api(port: int) -> str:
    return f"http://{HOST}:{port}/api"


def _environment(api: str) -> dict[str, str]:
    return os.environ | {
        "PREFECT_API_URL": api,
        "PREFECT_UI_API_URL": api,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # six processes for features that are not used here
        "MLFLOW_BACKEND_STORE_URI": os.environ["MLFLOW_TRACKING_URI"],  # arguments, with passwords, are public
    }


def _start_servers(pages: PageAddresses, running: ExitStack, console: Console) -> dict[str, subprocess.Popen[bytes]]:
    """Start the Prefect server and the MLflow page side by side; returns once the Prefect server answers."""
    console.print("Starting the Prefect server …")
    copy_empty_database()
    command = ["prefect", "server", "start", "--host", HOST, "--port", str(pages.prefect_port)]
    server = running.enter_context(_process(command, pages.environment, "prefect-server"))
    console.print("Starting the MLflow page …")
    os.environ["PREFECT_API_URL"] = pages.api  # before anything imports Prefect, which reads it once
    _make_database()
    command = ["mlflow", "server", "--host", HOST, "--port", str(pages.mlflow_port), "--workers", "1"]
    command += ["--default-artifact-root", (home() / "mlflow-artifacts").as_uri()]
    mlflow = running.enter_context(_process(command, pages.environment, "mlflow"))
    _wait(f"{pages.api}/health", server)
    return {"Prefect server": server, "MLflow": mlflow}


def _deploy(environment: dict[str, str], console: Console) -> None:
    """Apply prefect.yaml, once the runs of killed processes have freed their slots."""
    console.print("Deploying prefect.yaml …")
    for name in close_runs(starting=True):
        console.print(f"  {name} was killed; it is now marked as crashed, and its slot is free")
    _call(["prefect", "work-pool", "create", "ebr", "--type", "process", "--overwrite"], environment)
    with keep_paused():
        _call(["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)], environment)


def _show_addresses(pages: PageAddresses, console: Console) -> None:
    console.print(
        f"\n  Prefect   http://{HOST}:{pages.prefect_port}\n"
        f"  MLflow    {pages.mlflow}/#/experiments?workflowType=machine_learning\n\n"  # / would open on language models
        f"Run the default experiment on the worker, from another terminal in {ROOT}:\n\n"
        f"  PREFECT_API_URL={pages.api} {Path(sys.executable).parent / 'prefect'} deployment run ebr/full\n\n"
        "(-p experiment=experiments/lastfm.yaml for another).\n",
        soft_wrap=True,
        highlight=False,
    )


def _make_database() -> None:
    """Create MLflow's database if it does not exist."""
    if not (home() / "mlflow.db").exists():
        from tasks.tracking.mlflow_store import make_database  # takes seconds to import

        make_database()


def use_running_server() -> str | None:
    """Point Prefect at the server of a running `ebr ui` of this home, unless the user named another server; returns its
    address, None without such a server."""
    if "PREFECT_API_URL" in os.environ or not _address_file().exists():
        return None
    api = _address_file().read_text().strip()
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2):
            os.environ["PREFECT_API_URL"] = api
            return api
    except (urllib.error.URLError, OSError):
        return None  # `ebr ui` was killed and could not remove its file


def _address_file() -> Path:
    """The file that holds the Prefect server's address while the pages are open."""
    return home() / "prefect-api-url"


def _write_address(api: str) -> None:
    _address_file().write_text(api)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _process(command: list[str], environment: dict[str, str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a child in its own process group, with its output in a log file; end the whole group on exit."""
    logs = home() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process group to stop, and kill it after ten seconds."""
    for signum, grace_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and _is_alive(process):
            time.sleep(0.1)


def _is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # reaps the leader, so that the group can disappear
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _call(command: list[str], environment: dict[str, str]) -> None:
    """Run a command to its end. Raises InputError if it fails."""
    process = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise InputError(f"{' '.join(command)} failed:\n{process.stdout}{process.stderr}")


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the address answers. Raises InputError if the process ends, or if nothing answers for five minutes."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise InputError(f"{process.args!r} ended with code {process.returncode}; see {home() / 'logs'}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise InputError(f"{url} did not answer within {PATIENCE_S} s; see {home() / 'logs'}")


def _watch(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """Wait until one of the processes ends, and raise InputError then."""
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise InputError(f"{name} ended with code {process.returncode}; see {home() / 'logs'}")
        time.sleep(0.5)
