"""The HTTP server, and how it ends: it goes on for a while, finishes the requests that run, then stops."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

import uvicorn

FINISH_S = 10  # for requests that run when the server ends, and for clients that are slow to take an answer


class GracefulServer(uvicorn.Server):
    """A server that sets an event on SIGTERM or Ctrl-C. After SIGTERM it answers for drain_s seconds more; a second
    signal ends that time."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event, drain_s: float) -> None:
        super().__init__(config)
        self.stopping, self.drain_s, self.ends_at = stopping, drain_s, float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end. Runs as the handler of a signal."""
        is_first = not self.stopping.is_set()
        self.stopping.set()
        if is_first and sig == signal.SIGTERM and self.drain_s:
            self.ends_at = time.monotonic() + self.drain_s
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """True if the server should close now. Called every tenth of a second."""
        self.should_exit = self.should_exit or time.monotonic() >= self.ends_at
        return await super().on_tick(counter)
