"""Progress of long stages: bars on a terminal, else lines; always notes in the log of the flow run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging import Logger, LoggerAdapter, getLogger
from time import monotonic

from rich.progress import Progress

BARS: ContextVar[Progress | None] = ContextVar("bars", default=None)
LINES: ContextVar[bool] = ContextVar("lines", default=False)  # without bars: print a line when a long stage ends
LONG_S = 2.0  # a stage that takes less has no line
EVERY_S = 30.0  # between two lines of one stage


@contextmanager
def show_progress(description: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """A function that takes the amount done and a note. It moves a bar if bars are on the screen; else it logs the
    notes."""
    bars, last = BARS.get(), ""
    name, logger = _task_run()
    description = name if " " in name else description  # Prefect's own names, which have no space, only count
    if bars is None:
        began = printed = monotonic()

        def log(_done: float, note: str = "") -> None:
            nonlocal last, printed
            if note and note != last:
                logger.info("%s: %s", description, note)
                last = note
                if monotonic() - printed >= EVERY_S:
                    printed = monotonic()
                    _print_line(description, note)

        yield log
        if (seconds := monotonic() - began) >= LONG_S:
            _print_line(description, ", ".join(filter(None, (last, f"{seconds:.0f} s"))))
        return
    bar = bars.add_task(description, total=total, note="")
    try:

        def move(done: float, note: str = "") -> None:
            if note:
                bars.update(bar, note=note)
            bars.update(bar, completed=done)

        yield move
        bars.update(bar, completed=total)
    finally:
        bars.stop_task(bar)


def _task_run() -> tuple[str, Logger | LoggerAdapter[Logger]]:
    """(the name of the task run around, its logger); outside a flow, where Prefect may not be loaded, "" and ebr's."""
    if "prefect.context" not in sys.modules:
        return "", getLogger("ebr")
    from prefect.context import TaskRunContext
    from prefect.logging import get_run_logger
    from prefect.runtime import task_run

    return task_run.name or "", get_run_logger() if TaskRunContext.get() else getLogger("ebr")


def _print_line(description: str, note: str) -> None:
    if LINES.get():
        sys.stderr.write(f"{description}: {note}\n")
