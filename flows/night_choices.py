"""What a night works on: the day, the arm, and from where it is trained."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np

from data.experiment.experiment_spec import Experiment
from ebr_core.arrays import Float64
from ebr_core.errors import InputError
from flows.challenger import (
    NightPlan,
)
from flows.vectors import answers_queries
from tasks.bundle_stages import models_of
from tasks.kinds import DayRecall
from tasks.nights.day_checks import drifted, fits
from tasks.nights.night_records import (
    Night,
    champions_of,
)


def choose_days(there: list[date], day: date | None, first: date | None, last: date | None) -> list[date]:
    """The days asked for, of those in the logs; by default the newest that is over. Errors: none is."""
    over = [one for one in there if one < datetime.now(UTC).date()]
    if day and (first or last):
        raise InputError("got a day and a range of days; give one of them")
    if not over:
        raise InputError("the logs hold no search of a day that is over, so there is no night to run")
    span = f"the logs hold days from {over[0]} to {over[-1]} (UTC)"
    if not (first or last):
        if day and day not in over:
            raise InputError(f"day {day} is not in the logs, or not over; {span}")
        return [day or over[-1]]
    chosen = [one for one in over if (first or over[0]) <= one <= (last or over[-1])]
    if not chosen:
        raise InputError(f"no day from {first or 'the first'} to {last or 'the last'} is in the logs; {span}")
    return chosen


def choose_arm(experiment: str, asked: Experiment, nights: list[Night]) -> str:
    """The arm that is retrained. Errors: there is none, it is not clear which, or it cannot be asked."""
    arms, champions = asked.arms, champions_of(nights)
    if not arms:
        raise InputError(f"{experiment} has no arms, so there is nothing to retrain; give it one")
    name = asked.nightly.arm
    if name is None and champions and champions[-1].arm in arms:
        name = champions[-1].arm
    if name is None:
        name = next(iter(arms)) if len(arms) == 1 else _winner(experiment)
    if name not in arms:
        raise InputError(
            f"{experiment} has several arms ({', '.join(arms)}) and none was found the best yet: name one in "
            "nightly.arm, or let `ebr run` choose"
        )
    if not answers_queries(arms[name]):
        raise InputError(
            f"arms.{name} reads columns of a search that no question brings, or has several query vectors, so it "
            "cannot answer; name another in nightly.arm"
        )
    return name


def _winner(experiment: str) -> str:
    """The champion of `ebr run` by validation, or nobody."""
    try:
        return str(models_of(experiment)["champion"])
    except InputError:
        return ""


def choose_training(plan: NightPlan, nights: list[Night], empty: Night, name: str, measured: DayRecall | None) -> str:
    """full where there is no champion to start from, the last full training is too old, or the champion drifts; else
    warm."""
    settings, champion = plan.spec.nightly, empty.champion
    if champion is None or measured is None or not fits(champion.towers, plan.spec.arms[name]):
        return "full"
    last = max((one.day for one in nights if one.training == "full"), default=None)
    if last is None or (plan.day - last).days >= settings.full_every:
        return "full"
    before = [one.champion_recall for one in nights if one.champion_recall is not None and one.day < plan.day]
    return "full" if drifted(recalls_of(measured), before, settings.drift_mads, settings.checks) else "warm"


def recalls_of(measured: DayRecall) -> Float64:
    """(S,) the recall of each search of the newest day."""
    recalls: Float64 = np.load(measured.folder / "recall.npy")
    return recalls
