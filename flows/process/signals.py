"""End a run on Ctrl-C or SIGTERM: at once, with one line, and with no process left. Finished stages are kept."""

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
from uuid import UUID

from flows.process.temporary_server import end_servers

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MESSAGE = "stopped; the same command resumes the run\n"
PATIENCE_S = 3.0
_runs: list[UUID] = []  # of this process, unfinished
_installed: list[bool] = []


def install_handlers() -> None:
    """Let Ctrl-C and SIGTERM end this process from here on, with exit code 130 or 143.

    A thread waits for the signal, because the main thread may be in the middle of a long query or, under Prefect, waits
    for all tasks before it listens.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for signum in SIGNALS:
        signal.signal(signum, _ignore)
    _installed.append(True)
    threading.Thread(target=_wait, args=(read_end,), name="stop", daemon=True).start()


def watch(run: UUID) -> None:
    """Register a flow run, to be marked as cancelled if a signal ends the process. Takes SIGTERM back from Prefect,
    which handles it while a flow runs."""
    _runs.append(run)
    if _installed and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _ignore)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Do nothing: the waiting thread reads the signal from the pipe."""


def _wait(read_end: int) -> None:
    """Wait for a signal on the pipe, clean up, and end the process."""
    numbers = {int(signum) for signum in SIGNALS}
    number = 0
    while number not in numbers:
        number = os.read(read_end, 1)[0]
    logging.disable(logging.CRITICAL)
    _restore_terminal()
    os.write(sys.stderr.fileno(), MESSAGE.encode())
    for step in (_cancel_runs, end_servers, _clear):
        with suppress(Exception):
            step()
    os._exit(128 + number)


def _restore_terminal() -> None:
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\r\x1b[J\x1b[?25h")  # no half-drawn bars, and the cursor back


def _cancel_runs() -> None:
    """Mark the runs as cancelled, without Prefect's client, whose locks may belong to the threads that are ending."""
    api = os.environ.get("PREFECT_API_URL")
    state = {"type": "CANCELLED", "name": "Cancelled", "message": MESSAGE.strip()}
    for run in _runs if api else ():
        body = json.dumps({"state": state, "force": True}).encode()
        headers = {"content-type": "application/json"}
        url = f"{api}/flow_runs/{run}/set_state"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=PATIENCE_S):
            pass


def _clear() -> None:
    from tasks.artifacts import clear_unfinished

    clear_unfinished(pid=os.getpid())
