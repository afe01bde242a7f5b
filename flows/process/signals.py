"""Ctrl-C and SIGTERM: a run ends in one line, at once, and leaves nothing running. What was finished is kept anyway."""

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
SAID = "stopped; the same command goes on where it was\n"
PATIENCE_S = 3.0
_runs: list[UUID] = []  # that this process has under way
_armed: list[bool] = []


def arm() -> None:
    """From now on Ctrl-C or SIGTERM ends this process: exit code 130 or 143.

    A thread waits for the signal, because the main one may be in the midst of a long query or, under Prefect, wait for
    all tasks to end before it listens.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for wish in SIGNALS:
        signal.signal(wish, _noted)
    _armed.append(True)
    threading.Thread(target=_wait, args=(reading,), name="stop", daemon=True).start()


def watch(run: UUID) -> None:
    """Takes note of a flow run, to be told as cancelled; and takes SIGTERM back, which Prefect takes while a flow
    runs."""
    _runs.append(run)
    if _armed and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _noted)


def _noted(_signal: int, _frame: FrameType | None) -> None:
    """Nothing: the thread that waits has heard of it, too."""


def _wait(reading: int) -> None:
    wishes = {int(wish) for wish in SIGNALS}
    number = 0
    while number not in wishes:
        number = os.read(reading, 1)[0]
    logging.disable(logging.CRITICAL)
    _restore_terminal()
    os.write(sys.stderr.fileno(), SAID.encode())
    for last in (_tell_prefect, _end_server, _clear):
        with suppress(Exception):
            last()
    os._exit(128 + number)


def _restore_terminal() -> None:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\r\x1b[J\x1b[?25h")  # no half-drawn bars, and the cursor back


def _tell_prefect() -> None:
    """Without Prefect's own client: its locks may be held by the threads that are about to end."""
    api = os.environ.get("PREFECT_API_URL")
    for server in _temporary():
        api = server.api_url
    state = {"type": "CANCELLED", "name": "Cancelled", "message": SAID.strip()}
    for run in _runs if api else ():
        body = json.dumps({"state": state, "force": True}).encode()
        head = {"content-type": "application/json"}
        url = f"{api}/flow_runs/{run}/set_state"
        with urllib.request.urlopen(urllib.request.Request(url, body, head), timeout=PATIENCE_S):
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
    """Prefect's temporary servers of this process, none where it has not come that far."""
    module = sys.modules.get("prefect.server.api.server")
    return list(module.SubprocessASGIServer._instances.values()) if module else []


def _clear() -> None:
    from tasks.artifacts import clear_unfinished

    clear_unfinished(of=os.getpid())
