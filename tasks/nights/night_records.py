"""What became of each night: one JSON a night under EBR_HOME/nights/<experiment>, the truth about who is champion."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.measure.promotion import ChampionComparison
from tasks.home import home
from tasks.kinds import FeatureSet, Log, ModelBundle, TrainedTowers

Decision = Literal["promoted", "kept", "refused", "failed", "rolled back"]
JUDGED = ("promoted", "kept")
ROLLED_BACK = "rolled back"


class Champion(Frozen):
    """A model that a night crowned, and all that it was made of."""

    day: date
    arm: str
    log: Log
    features: FeatureSet
    towers: TrainedTowers
    bundle: ModelBundle


class Check(Frozen):
    """A figure of a day, held against the days before."""

    figure: str
    value: float
    low: float
    high: float
    typical: float

    @property
    def holds(self) -> bool:
        """Whether the day's value lies inside the band."""
        return self.low <= self.value <= self.high


class Night(Frozen):
    """One night: what was seen, what was decided and why, and who answers since."""

    number: int = Field(ge=1, description="in the order of events")
    experiment: str
    day: date = Field(description="the newest day; of a rollback, that of the champion that is back")
    at: datetime = Field(description="UTC")
    decision: Decision
    reason: str
    log: Log | None = None
    seen: dict[str, str | int] = Field(default_factory=dict, description="days and searches that were read")
    figures: dict[str, float] = Field(default_factory=dict, description="of the newest day")
    checks: tuple[Check, ...] = ()
    training: Literal["warm", "full"] | None = None
    challenger: TrainedTowers | None = Field(None, description="its towers")
    k: int | None = Field(None, description="of the recall that was compared")
    searches: int | None = Field(None, description="of the newest day that were compared")
    recall: float | None = Field(None, description="of the challenger on the newest day")
    champion_recall: float | None = Field(None, description="of the champion on the same searches")
    against: tuple[ChampionComparison, ...] = Field(
        (), description="the champion, then those before it, if they were asked"
    )
    champion: Champion | None = Field(None, description="who answers after this night")


def folder_of(experiment: str) -> Path:
    """Where the nights of an experiment are."""
    return home() / "nights" / experiment


def read_nights(experiment: str) -> list[Night]:
    """All nights of an experiment in the order of events. Errors: a file that is no night."""
    nights = []
    for path in folder_of(experiment).glob("[!.]*.json"):
        try:
            nights.append(Night.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"{path}: not a night as `ebr nightly` writes it ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
                "put it back, or move it away"
            ) from error
    return sorted(nights, key=lambda night: night.number)


def write_night(night: Night) -> Path:
    """Writes a night, in one step and onto the disk; an earlier one of the same day that did not count is replaced."""
    folder = folder_of(night.experiment)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"rollback-{night.number:04}" if night.decision == ROLLED_BACK else str(night.day)
    written, path = folder / f".{name}", folder / f"{name}.json"  # a killed process's is written over: one at a time
    with written.open("w", encoding="utf-8") as file:
        file.write(night.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
    return path


def champions_of(nights: Sequence[Night]) -> list[Champion]:
    """Who was champion, the one that answers last; a rollback takes the last away, as if it had never been crowned."""
    stack: list[Champion] = []
    for night in nights:
        if night.decision == "promoted" and night.champion:
            stack.append(night.champion)
        elif night.decision == ROLLED_BACK:
            stack.pop()
    return stack


def refused_days(nights: Sequence[Night]) -> tuple[date, ...]:
    """The days that were refused and never accepted: nothing is learnt from them, nor held against them."""
    return tuple(sorted(night.day for night in nights if night.decision == "refused"))


def next_number(nights: Sequence[Night]) -> int:
    """The number of the next event."""
    return max((night.number for night in nights), default=0) + 1


@contextmanager
def exclusive(experiment: str) -> Iterator[None]:
    """Holds the nights of an experiment for this process; a process that dies lets go. Errors: another holds them."""
    folder = folder_of(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            who = lock.read().strip() or "unknown"
            raise InputError(
                f"a night of {experiment} is under way in {home()} (process {who}); wait until it has ended, or end it"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def describe_night(night: Night) -> str:
    """A night in words."""
    lines = [f"{night.day}  {night.decision}: {night.reason}"]
    if night.recall is not None:
        told = f"  recall@{night.k} on {night.searches:,} searches of the day: challenger {night.recall:.4f}"
        told += f" ({night.training})" + (f", champion {night.champion_recall:.4f}" if night.champion_recall else "")
        lines.append(told)
    lines += [
        f"  {one.figure}: {one.value:.4g}, expected {one.low:.4g} to {one.high:.4g}, typical {one.typical:.4g}"
        for one in night.checks
        if not one.holds
    ]
    return "\n".join(lines)
