"""What a command is doing, in words, on standard error, from its first moment."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.spinner import Spinner

from tasks.stage_words import SAY, say


@contextmanager
def activity(words: str, on_terminal_alone: bool = False, bars: bool = True) -> Iterator[Progress | None]:
    """Show what happens, from these words on; the bars for long stages, or None where none are shown.

    On a terminal the words stand in one line that changes, above the bars, and all of it disappears at the end.
    Elsewhere each thing has a line of its own, once. on_terminal_alone: no lines elsewhere, for commands that take
    seconds. bars: False for lines on a terminal, too.
    """
    shown = _WordsAndBars() if bars and sys.stderr.isatty() else None
    listener = shown.show_words if shown else None if on_terminal_alone else _lines()
    token = SAY.set(listener)
    try:
        say(words)
        with shown or nullcontext():
            yield shown
    finally:
        SAY.reset(token)


class _WordsAndBars(Progress):
    """A line of words with a spinner and the time, above the bars of long stages."""

    def __init__(self) -> None:
        self.words, self.spinner, self.began = "", Spinner("dots"), monotonic()
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(file=sys.stderr),
            transient=True,
        )

    def show_words(self, words: str) -> None:
        """Show these words from now on."""
        self.words = words

    def get_renderables(self) -> Iterable[RenderableType]:
        """The line of words, then the bars."""
        self.spinner.update(text=f"{self.words} … {monotonic() - self.began:.0f} s")
        yield self.spinner
        yield from super().get_renderables()


def _lines() -> Callable[[str], None]:
    known: set[str] = set()

    def write(words: str) -> None:
        if words not in known:
            known.add(words)
            sys.stderr.write(f"{words} …\n")
            sys.stderr.flush()

    return write
