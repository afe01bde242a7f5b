"""Choose a night's days, its arm, and the towers from which the arm is trained."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np

from data.experiment.experiment_spec import Experiment
from ebr_core.arrays import Float64
from ebr_core.errors import InputError
from flows.challenger import NightPlan
from tasks.kinds import DayRecall
from tasks.nights.day_checks import fits, has_drifted
from tasks.nights.night_records import Night, champions_of
from tasks.served_models import models_of


def choose_days(log_days: list[date], day: date | None, first: date | None, last: date | None) -> list[date]:
    """The chosen days, out of those in the logs; by default the newest day that is over.

    Raises InputError if no day is left, or if both a day and a range are given.
    """
    past_days = [past_day for past_day in log_days if past_day < datetime.now(UTC).date()]
    if day and (first or last):
        raise InputError("got a day and a range of days; give one of them")
    if not past_days:
        raise InputError("the logs hold no search of a day that is over, so there is no night to run")
    span = f"the logs hold days from {past_days[0]} to {past_days[-1]} (UTC)"
    if not (first or last):
        if day and day not in past_days:
            raise InputError(f"day {day} is not in the logs, or not over; {span}")
        return [day or past_days[-1]]
    selection = [past_day for past_day in past_days if (first or past_days[0]) <= past_day <= (last or past_days[-1])]
    if not selection:
        raise InputError(f"no day from {first or 'the first'} to {last or 'the last'} is in the logs; {span}")
    return selection


def choose_arm(experiment: str, spec: Experiment, nights: list[Night]) -> str:
    """The arm that is retrained: nightly.arm, or else the arm of the last champion, the only arm, or the champion of
    `ebr run`.

    Raises InputError if none of these names an arm.
    """
    arms, champions = spec.arms, champions_of(nights)
    if not arms:
        raise InputError(f"{experiment} has no arms, so there is nothing to retrain; add an arm")
    name = spec.nightly.arm
    if name is None and champions and champions[-1].arm in arms:
        name = champions[-1].arm
    if name is None:
        name = next(iter(arms)) if len(arms) == 1 else _run_champion(experiment, spec)
    if name not in arms:
        raise InputError(
            f"{experiment} has several arms ({', '.join(arms)}) and no champion yet: name one in nightly.arm, or let "
            "`ebr run` choose"
        )
    return name


def _run_champion(experiment: str, spec: Experiment) -> str:
    """The champion of `ebr run`, which validation chose; of a cascade or ranker, the arm whose lists it reorders; an
    empty text if there is none."""
    try:
        champion = str(models_of(experiment)["champion"])
    except InputError:
        return ""
    return _reordered(spec).get(champion, champion)


def _reordered(spec: Experiment) -> dict[str, str]:
    """Cascade or ranker → the arm or ensemble whose lists it reorders."""
    cascades = {name: cascade.first for name, cascade in spec.cascades.items()}
    return cascades | {name: ranker.of for name, ranker in spec.rankers.items()}


def choose_training(
    plan: NightPlan, nights: list[Night], draft: Night, name: str, champion_recall: DayRecall | None
) -> str:
    """The kind of training: "full" if there is no champion to start from, the last full training is too old, or the
    champion drifts; otherwise "warm".

    champion_recall: that of the champion on the newest day.
    """
    settings, champion = plan.spec.nightly, draft.champion
    if champion is None or champion_recall is None or not fits(champion.towers, plan.spec.arms[name]):
        return "full"
    last = max((night.day for night in nights if night.training == "full"), default=None)
    if last is None or (plan.day - last).days >= settings.full_every:
        return "full"
    earlier_recalls = [
        night.champion_recall for night in nights if night.champion_recall is not None and night.day < plan.day
    ]
    return (
        "full"
        if has_drifted(recalls_of(champion_recall), earlier_recalls, settings.drift_mads, settings.checks)
        else "warm"
    )


def recalls_of(recall: DayRecall) -> Float64:
    """(S,) the recall of each search of the newest day."""
    values: Float64 = np.load(recall.folder / "recall.npy")
    return values
