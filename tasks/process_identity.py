"""The identity of a process, by which leftovers of a dead process differ from the work of a running one."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def identity(pid: int) -> str | None:
    """The id of a process and its start time, which no later process shares; None if no such process runs."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else f"{pid}:{stat[19]}"


def own_identity() -> str:
    """The identity of this process."""
    return str(identity(os.getpid()))


def is_gone(process: str, host: str | None = None) -> bool:
    """True if the process of that identity has ended; False for one of another machine, which is not checked."""
    return host in (None, socket.gethostname()) and identity(int(process.partition(":")[0])) != process
