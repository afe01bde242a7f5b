"""Who a process is, so that what a killed one left can be told from what a living one is at."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def identity(pid: int) -> str | None:
    """A process's number and when it began, which no later process shares; None where there is none."""
    try:
        began = Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if began[0] == "Z" else f"{pid}:{began[19]}"


def myself() -> str:
    """The identity of this process."""
    return str(identity(os.getpid()))


def is_gone(process: str, host: str | None = None) -> bool:
    """Whether a process of that identity is no more; of another machine's nobody here can say so."""
    return host in (None, socket.gethostname()) and identity(int(process.partition(":")[0])) != process
