"""The record of each night: a JSON file under EBR_HOME/nights/<experiment>. Together they determine the champion."""

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
from tasks.nights.engine_night import EngineNight

Decision = Literal["promoted", "kept", "refused", "failed", "rolled back"]
DECIDED = ("promoted", "kept")
ROLLED_BACK = "rolled back"


class Champion(Frozen):
    """A model that a night promoted, and the artifacts that it was made from."""

    day: date
    arm: str
    log: Log
    features: FeatureSet
    towers: TrainedTowers
    bundle: ModelBundle


class Check(Frozen):
    """A figure of a day, compared with earlier days."""

    figure: str
    value: float
    low: float
    high: float
    typical: float

    @property
    def holds(self) -> bool:
        """True if the day's value lies inside the band."""
        return self.low <= self.value <= self.high


class Night(Frozen):
    """One night: its data, the decision and its reason, and the champion after it."""

    number: int = Field(ge=1, description="in the order of events")
    experiment: str
    day: date = Field(description="the newest day; for a rollback, the day of the restored champion")
    at: datetime = Field(description="UTC")
    decision: Decision
    reason: str
    log: Log | None = None
    seen: dict[str, str | int] = Field(default_factory=dict, description="the days and searches read")
    figures: dict[str, float] = Field(default_factory=dict, description="figures of the newest day")
    checks: tuple[Check, ...] = ()
    training: Literal["warm", "full"] | None = None
    challenger: TrainedTowers | None = Field(None, description="the towers of the challenger")
    k: int | None = Field(None, description="the K of the compared recall")
    searches: int | None = Field(None, description="the number of compared searches of the newest day")
    recall: float | None = Field(None, description="the recall of the challenger on the newest day")
    champion_recall: float | None = Field(None, description="the recall of the champion on the same searches")
    against: tuple[ChampionComparison, ...] = Field(
        (), description="comparisons with the champion, then with earlier ones if they were made"
    )
    champion: Champion | None = Field(None, description="the champion after this night")
    unrenewed: str = Field(
        "", description="cascades and rankers over the arm's lists that could not be renewed, and why"
    )
    engine: EngineNight | None = Field(None, description="the champion in a search engine, if the experiment names one")

    @property
    def is_behind(self) -> bool:
        """True if the champion does not answer in the search engine that the experiment names."""
        return self.engine is not None and bool(self.engine.failure)


def folder_of(experiment: str) -> Path:
    """The folder of the nights of an experiment."""
    return home() / "nights" / experiment


def read_nights(experiment: str) -> list[Night]:
    """All nights of an experiment in the order of events. Raises InputError for a file that is no night."""
    nights = []
    for path in folder_of(experiment).glob("[!.]*.json"):
        try:
            nights.append(Night.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"{path}: not a night as `ebr nightly` writes it ({'.'.join(map(str, first['loc']))}: {first['msg']}); "
                "restore it, or move it away"
            ) from error
    return sorted(nights, key=lambda night: night.number)


def write_night(night: Night) -> Path:
    """The file of the night, written to disk in one step. It replaces an earlier night of the same day."""
    folder = folder_of(night.experiment)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"rollback-{night.number:04}" if night.decision == ROLLED_BACK else str(night.day)
    # One night runs at a time, so an unfinished file is that of a killed process and is overwritten.
    unfinished, path = folder / f".{name}", folder / f"{name}.json"
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(night.model_dump_json(indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return path


def champions_of(nights: Sequence[Night]) -> list[Champion]:
    """All champions in order, the one in service last; a rollback removes the last one, as if never promoted."""
    stack: list[Champion] = []
    for night in nights:
        if night.decision == "promoted" and night.champion:
            stack.append(night.champion)
        elif night.decision == ROLLED_BACK:
            stack.pop()
    return stack


def refused_days(nights: Sequence[Night]) -> tuple[date, ...]:
    """The days that were refused and never accepted: they are neither trained on nor compared with."""
    return tuple(sorted(night.day for night in nights if night.decision == "refused"))


def next_number(nights: Sequence[Night]) -> int:
    """The number of the next event."""
    return max((night.number for night in nights), default=0) + 1


@contextmanager
def exclusive(experiment: str) -> Iterator[None]:
    """Lock the nights of an experiment for this process until it ends. Raises InputError if another holds the lock."""
    folder = folder_of(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise InputError(
                f"a night of {experiment} is under way in {home()} (process {holder}); wait until it ends, or stop it"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def describe_night(night: Night) -> str:
    """A night as text, a line for each fact."""
    lines = [f"{night.day}  {night.decision}: {night.reason}"]
    if night.recall is not None:
        recall = f"  recall@{night.k} on {night.searches:,} searches of the day: challenger {night.recall:.4f}"
        recall += f" ({night.training})" + (f", champion {night.champion_recall:.4f}" if night.champion_recall else "")
        lines.append(recall)
    lines += [f"  {night.unrenewed}"] if night.unrenewed else []
    lines += [f"  {night.engine.describe()}"] if night.engine else []
    lines += [
        f"  {c.figure}: {c.value:.4g}, expected {c.low:.4g} to {c.high:.4g}, typical {c.typical:.4g}"
        for c in night.checks
        if not c.holds
    ]
    return "\n".join(lines)
