"""End a run on Ctrl-C or SIGTERM: at once, with one line, with nothing left running. Finished stages are kept."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import urllib.request
from contextlib import suppress
from types import FrameType
from typing import Any
from uuid import UUID

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MESSAGE = "stopped; the same command goes on where it was\n"
PATIENCE_S = 3.0
_runs: list[UUID] = []  # of this process, unfinished
_installed: list[bool] = []


def install_handlers() -> None:
    """Let Ctrl-C and SIGTERM end this process from here on, with exit code 130 or 143.

    A thread waits for the signal, because the main one may be in the midst of a long query or, under Prefect, wait for
    all tasks to end before it listens.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for wish in SIGNALS:
        signal.signal(wish, _ignore)
    _installed.append(True)
    threading.Thread(target=_wait, args=(reading,), name="stop", daemon=True).start()


def watch(run: UUID) -> None:
    """Mark this flow run as cancelled should a signal end the process. Takes SIGTERM back, which Prefect takes while a
    flow runs."""
    _runs.append(run)
    if _installed and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _ignore)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing: the waiting thread reads the signal from the pipe."""


def _wait(reading: int) -> None:
    """Wait for a signal on the pipe, clean up, end the process."""
    wishes = {int(wish) for wish in SIGNALS}
    number = 0
    while number not in wishes:
        number = os.read(reading, 1)[0]
    logging.disable(logging.CRITICAL)
    _restore_terminal()
    os.write(sys.stderr.fileno(), MESSAGE.encode())
    for step in (_cancel_runs, _end_server, _clear):
        with suppress(Exception):
            step()
    os._exit(128 + number)


def _restore_terminal() -> None:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\r\x1b[J\x1b[?25h")  # no half-drawn bars, and the cursor back


def _cancel_runs() -> None:
    """Mark the runs as cancelled, without Prefect's client, whose locks may belong to the threads that are ending."""
    api = os.environ.get("PREFECT_API_URL")
    for server in _temporary():
        api = server.api_url
    state = {"type": "CANCELLED", "name": "Cancelled", "message": MESSAGE.strip()}
    for run in _runs if api else ():
        body = json.dumps({"state": state, "force": True}).encode()
        headers = {"content-type": "application/json"}
        url = f"{api}/flow_runs/{run}/set_state"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=PATIENCE_S):
            pass


def _end_server() -> None:
    for server in _temporary():
        if server.server_process:
            server.server_process.terminate()
            try:
                server.server_process.wait(PATIENCE_S)
            except Exception:
                server.server_process.kill()


def _temporary() -> list[Any]:
    """The temporary Prefect servers of this process."""
    module = sys.modules.get("prefect.server.api.server")
    return list(module.SubprocessASGIServer._instances.values()) if module else []


def _clear() -> None:
    from tasks.artifacts import clear_unfinished

    clear_unfinished(of=os.getpid())
