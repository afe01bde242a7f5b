"""A Prefect server for one process: it starts while the process imports its libraries, and ends with it."""

from __future__ import annotations

import atexit
import importlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ebr_core.errors import InputError
from flows.process.prefect_database import copy_empty_database
from tasks.home import home

# What a flow imports sooner or later, the surest first. Nothing else can be done until the server answers.
LIBRARIES = ("prefect", "flows.ebr", "torch", "mlflow")
WITHOUT_PAGES = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
PATIENCE_S = 5.0
RESUME = "finished stages are kept, and the same command resumes the run"
_running: list[TemporaryServer] = []


class TemporaryServer(NamedTuple):
    """A server that this process has started."""

    process: subprocess.Popen[bytes]
    api: str  # its address
    log: Path  # its output

    def answers(self) -> bool:
        """True once it answers. Raises InputError if it has ended."""
        if self.process.poll() is not None:
            raise InputError(f"Prefect's temporary server did not start; see {self.log}; {RESUME}")
        with suppress(OSError), urllib.request.urlopen(f"{self.api}/health", timeout=1):
            return True
        return False

    def end(self) -> None:
        """End the process, whether it agrees or not."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_server() -> TemporaryServer:
    """A server of EBR_HOME that has just been started, and need not answer yet."""
    copy_empty_database()
    log = home() / "logs" / "temporary-server.log"
    log.parent.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.process.prefect_server", str(port)],
            env=environment | WITHOUT_PAGES,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return TemporaryServer(process, f"http://127.0.0.1:{port}/api", log)


def serve_process() -> TemporaryServer | None:
    """The server that this process reports to from now on, started unless another is in use: None then.

    Call it before anything imports Prefect, which reads the address once.
    """
    if "PREFECT_API_URL" in os.environ:
        return None
    server = start_server()
    _running.append(server)
    os.environ["PREFECT_API_URL"] = server.api
    atexit.register(end_servers)
    return server


def await_server(server: TemporaryServer | None) -> None:
    """Import what a flow needs until the server answers. Raises InputError if it ends, or does not answer in time."""
    deadline = time.monotonic() + float(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"])
    libraries = iter(LIBRARIES)
    while server and not server.answers():
        if library := next(libraries, None):
            importlib.import_module(library)
        elif time.monotonic() > deadline:
            raise InputError(f"Prefect's temporary server does not answer; see {server.log}")
        else:
            time.sleep(0.05)


def temporary_api() -> str | None:
    """The address of the server that this process has started, None without one."""
    return _running[-1].api if _running else None


def end_servers() -> None:
    """End the servers that this process has started."""
    while _running:
        _running.pop().end()
