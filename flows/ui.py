"""`ebr ui`: the Prefect and MLflow pages, the deployments and a worker, all on loopback, all ended by Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from ebr_core.config import InputError
from flows.leftovers import close_runs, end_orphans, end_own
from flows.room import refuse_unusable
from tasks.home import home

HOST = "127.0.0.1"
PROJECT = Path(__file__).parent.parent
PATIENCE_S = 300


def serve(prefect_port: int, mlflow_port: int, console: Console) -> None:
    """Starts the Prefect server, work pool, deployments, a worker and the MLflow page; returns when one ends or on
    Ctrl-C."""
    for wish in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(wish, _interrupt)
    end_orphans()  # first: the server of killed pages still answers
    if other := use_served():
        raise InputError(f"`ebr ui` of {home()} is running already, its Prefect server at {other}; use that, or end it")
    refuse_unusable(served=False)
    api = f"http://{HOST}:{prefect_port}/api"
    mlflow_url = f"http://{HOST}:{mlflow_port}"
    for port, flag in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
        _refuse_taken(port, flag)
    environment = os.environ | {
        "PREFECT_API_URL": api,
        "PREFECT_UI_API_URL": api,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # six processes for features that nobody uses here
        "MLFLOW_BACKEND_STORE_URI": os.environ["MLFLOW_TRACKING_URI"],  # no argument: all may read those, passwords too
    }
    with ExitStack() as running:
        running.callback(end_own)  # after the others: a worker's runs are in sessions of their own
        console.print("Starting the Prefect server …")
        server = running.enter_context(
            _process(
                ["prefect", "server", "start", "--host", HOST, "--port", str(prefect_port)],
                environment,
                "prefect-server",
            )
        )
        console.print("Starting the MLflow page …")
        os.environ["PREFECT_API_URL"] = api  # before anything brings Prefect, which reads it once
        _make_database()
        mlflow = running.enter_context(
            _process(
                [
                    "mlflow",
                    "server",
                    "--host",
                    HOST,
                    "--port",
                    str(mlflow_port),
                    "--workers",
                    "1",
                    "--default-artifact-root",
                    (home() / "mlflow-artifacts").as_uri(),
                ],
                environment,
                "mlflow",
            )
        )
        _wait(f"{api}/health", server)
        console.print("Deploying prefect.yaml …")
        for name in close_runs(starting=True):
            console.print(f"  {name} was killed; it is marked as crashed, its slot is free")
        _call(["prefect", "work-pool", "create", "ebr", "--type", "process", "--overwrite"], environment)
        _call(["prefect", "--no-prompt", "deploy", "--all"], environment)
        worker = running.enter_context(
            _process(["prefect", "worker", "start", "--pool", "ebr", "--name", "ebr"], environment, "worker")
        )
        _wait(f"{mlflow_url}/health", mlflow)
        _announce(api)
        console.print(
            f"\n  Prefect   http://{HOST}:{prefect_port}\n"
            f"  MLflow    {mlflow_url}/#/experiments?workflowType=machine_learning\n\n"  # / opens on language models
            f"Run the default experiment on the worker, from another terminal in {PROJECT}:\n\n"
            f"  PREFECT_API_URL={api} {Path(sys.executable).parent / 'prefect'} deployment run ebr/full\n\n"
            f"(-p experiment=experiments/lastfm.yaml for another). Logs: {home() / 'logs'}. Ctrl-C ends all of these.",
            soft_wrap=True,
            highlight=False,
        )
        try:
            _watch({"Prefect server": server, "MLflow": mlflow, "worker": worker})
        finally:
            _served().unlink(missing_ok=True)


def _make_database() -> None:
    if not (home() / "mlflow.db").exists():
        from tasks.tracking.mlflow_store import make_database  # takes seconds to import

        make_database()


def use_served() -> str | None:
    """Points Prefect at the server of a running `ebr ui` of this home, unless the user named one; its address, if
    any."""
    if "PREFECT_API_URL" in os.environ or not _served().exists():
        return None
    api = _served().read_text().strip()
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=2):
            os.environ["PREFECT_API_URL"] = api
            return api
    except (urllib.error.URLError, OSError):
        return None  # it was killed and could not take its note away


def _served() -> Path:
    return home() / "prefect-api-url"


def _announce(api: str) -> None:
    _served().write_text(api)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _refuse_taken(port: int, flag: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port} on {HOST} is taken ({error.strerror}); choose another with {flag}"
            ) from error


@contextmanager
def _process(command: list[str], environment: dict[str, str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child in a process group of its own, its output in a log file; with its whole group ended on the way out."""
    logs = home() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=PROJECT,
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
    """Asks the group to stop, and makes it after ten seconds."""
    for wish, grace_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, wish)
        except ProcessLookupError:
            return
        until = time.monotonic() + grace_s
        while time.monotonic() < until and _alive(process):
            time.sleep(0.1)


def _alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # reaps the leader, so that the group can vanish
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _call(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise InputError(f"{process.args!r} ended with code {process.returncode}; see {home() / 'logs'}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise InputError(f"{url} did not answer within {PATIENCE_S} s; see {home() / 'logs'}")


def _watch(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                raise InputError(f"{name} ended with code {process.returncode}; see {home() / 'logs'}")
        time.sleep(0.5)
