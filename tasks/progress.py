"""Progress of long stages: bars on a terminal, else lines in the log of the flow run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging import getLogger

from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from rich.progress import Progress

BARS: ContextVar[Progress | None] = ContextVar("bars", default=None)


@contextmanager
def show_progress(description: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """A function that takes the amount done and a note. It moves a bar if bars are on the screen; else it logs the
    notes."""
    bars, last = BARS.get(), ""
    name = task_run.name or ""
    description = name if " " in name else description  # Prefect's own names, which have no space, only count
    if bars is None:
        logger = get_run_logger() if TaskRunContext.get() else getLogger("ebr")  # a stage may be called outside a flow

        def log(_done: float, note: str = "") -> None:
            nonlocal last
            if note and note != last:
                logger.info("%s: %s", description, note)
                last = note

        yield log
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
