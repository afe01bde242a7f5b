"""The nightly flow: a challenger trained on all days but the newest, judged on the newest, crowned if that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_logger
from prefect.states import Failed

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment
from data.extract import timed
from ebr_core.errors import InputError
from ebr_core.measure.promotion import promote
from flows.challenger import (
    NightPlan,
    bundle_challenger,
    compare_with_champions,
    measure_challenger,
    measure_champion,
    read_day,
    train_challenger,
)
from flows.ebr import DEFAULT
from flows.night_choices import choose_arm, choose_days, choose_training, recalls_of
from flows.process.cleanup import begin
from flows.process.cluster import RUNNER
from flows.raw_files import partitions_of
from flows.sources import Source, world_log
from tasks.kinds import Partition, SimulatedLog
from tasks.log_stages import files_of
from tasks.nights.champion_service import promote_champion
from tasks.nights.day_checks import check_day, figures_of
from tasks.nights.night_records import (
    JUDGED,
    Champion,
    Night,
    champions_of,
    describe_night,
    exclusive,
    next_number,
    read_nights,
    refused_days,
    write_night,
)
from tasks.nights.notice import notify
from tasks.partition_stage import days_of
from tasks.tracking.mlflow_store import track_night
from tasks.tracking.run_metrics import main_k


@flow(name="retrain", task_runner=RUNNER, flow_run_name="{experiment}")
def retrain(
    experiment: str = DEFAULT,
    day: date | None = None,
    first: date | None = None,
    last: date | None = None,
    accept: bool = False,
) -> list[Night] | State[list[Night]]:
    """One night for the experiment file of that path: of `day`, by default the newest that is over; or, one after
    another, for each day of the logs from `first` to `last`. A refused or failed night fails the run.

    accept: days that are unlike those before them are taken for right.
    """
    begin()
    spec, name = load_experiment(Path(experiment)), Path(experiment).stem
    with exclusive(name):
        choose_arm(name, spec, read_nights(name))  # before anything starts
        world = world_log(spec)
        parts, days = read_partitions(name, spec, world, day or last)
        chosen = choose_days(days, day, first, last)
        nights = run_nights(NightPlan(name, spec, world, chosen[0], days, parts, accept), chosen)
    return conclude_nights(nights)


def conclude_nights(nights: list[Night]) -> list[Night] | State[list[Night]]:
    """The nights; a failed state around them where one was refused or failed."""
    bad = [describe_night(night) for night in nights if night.decision in ("refused", "failed")]
    return Failed(data=nights, message="\n".join(bad)) if bad else nights


def read_partitions(
    name: str, spec: Experiment, world: SimulatedLog | None, day: date | None
) -> tuple[dict[str, list[Partition]], list[date]]:
    """(table that grows by the day → its files, as read; the days of the logs in order). A failure is recorded as that
    of the night of `day`."""
    files = timed(files_of(spec.logs, world))
    try:
        parts = partitions_of(files)
        return parts, list(days_of(files, parts))
    except InputError as error:
        tell_unread(name, spec, day, error)
        raise


def run_nights(plan: NightPlan, days: Sequence[date]) -> list[Night]:
    """The nights of these days, one after another, up to the first that fails."""
    nights: list[Night] = []
    for day in days:
        nights.append(run_night(plan._replace(day=day)))
        if nights[-1].decision == "failed":
            break
    return nights


def run_night(plan: NightPlan) -> Night:
    """The night of a day, recorded whatever becomes of it. A day that was judged is not judged again."""
    nights = read_nights(plan.name)
    arm = choose_arm(plan.name, plan.spec, nights)
    if (settled := _settled(plan, nights)) is not None:
        return settled
    champions = champions_of(nights)
    empty = Night(
        number=next_number(nights),
        experiment=plan.name,
        day=plan.day,
        at=datetime.now(UTC),
        decision="failed",
        reason="",
        champion=champions[-1] if champions else None,
    )
    try:
        night = judge_day(plan, nights, empty, arm)
        if night in nights:
            return night
        track_night(night)
        if night.decision == "promoted" and night.champion:
            promote_champion(plan.name, night.champion, champions[-1] if champions else None)
    except Exception as error:  # whatever it was, it is recorded and reported, and the champion answers on
        night = empty.model_copy(update={"reason": f"{type(error).__name__}: {error}"[:2000]})
    write_night(night)
    tell(plan.spec, night)
    return night


def tell(asked: Experiment, made: Night) -> None:
    """Tells who wants to hear of such a night."""
    notice = asked.nightly.notice
    if notice and made.decision in notice.on and (problem := notify(notice, made)):
        get_logger("flow_runs").warning(problem)


def tell_unread(name: str, asked: Experiment, day: date | None, error: InputError) -> None:
    """Records and tells a night that failed before its day was known: yesterday's, where none was asked for.

    Only where a champion answers, since it is that which is not kept fresh; a night that was recorded is left alone.
    """
    nights = read_nights(name)
    champions, of = champions_of(nights), day or datetime.now(UTC).date() - timedelta(days=1)
    if not champions:
        return
    at, told = datetime.now(UTC), {"decision": "failed", "reason": f"the logs could not be read: {error}"[:2000]}
    made = Night(number=next_number(nights), experiment=name, day=of, at=at, champion=champions[-1], **told)
    if not any(one.day == of and one.decision != "failed" for one in nights):
        write_night(made)
    tell(asked, made)


def _settled(plan: NightPlan, nights: list[Night]) -> Night | None:
    """What the day's night came to, where that stands. Errors: the day lies before one that was judged."""
    done = next((one for one in nights if one.day == plan.day and one.decision != "rolled back"), None)
    if done and done.decision in JUDGED:
        return done
    last = max((one.day for one in nights if one.decision in JUDGED), default=None)
    if last is None or plan.day > last:
        return None
    if done and done.decision == "refused" and plan.accept:
        reason = "taken for right by hand; not judged, since a later day was"
        made = done.model_copy(update={"decision": "kept", "reason": reason, "number": next_number(nights)})
        write_night(made)
        return made
    if done:
        return done
    raise InputError(
        f"day {plan.day} lies before {last}, which was judged: a model that has learnt from a day cannot be judged on "
        "it. Nights run forward"
    )


def judge_day(plan: NightPlan, nights: list[Night], empty: Night, name: str) -> Night:
    """What a night finds and decides; only artifacts are written."""
    champion, champions = empty.champion, champions_of(nights)
    source, searches = read_day(plan, refused_days([night for night in nights if night.day != plan.day]))
    looked = check_figures(plan, source, empty)
    if looked.decision == "refused":
        return _same(looked, nights) or looked
    measured = measure_champion(plan, source, searches.test, champion) if champion else None
    training = choose_training(plan, nights, empty, name, measured)
    challenger = train_challenger(plan, source, searches, name, champion if training == "warm" else None)
    recall = measure_challenger(plan, searches.test, challenger)
    against = compare_with_champions(plan, source, searches.test, recall, measured, champions)
    promoted, reason = promote(against[0] if against else None, against[1:], plan.spec.nightly.tolerance)
    if promoted:
        bundle = bundle_challenger(plan, source, searches, challenger)
        parts = {"log": source.log, "features": challenger.features, "towers": challenger.towers, "bundle": bundle}
        champion = Champion(day=plan.day, arm=name, **parts)
    return looked.model_copy(
        update={
            "decision": "promoted" if promoted else "kept",
            "reason": reason,
            "training": training,
            "challenger": challenger.towers,
            "k": main_k(plan.spec),
            "searches": len(recalls_of(recall)),
            "recall": float(recalls_of(recall).mean()),
            "champion_recall": float(recalls_of(measured).mean()) if measured else None,
            "against": against,
            "champion": champion,
        }
    )


def check_figures(plan: NightPlan, source: Source, empty: Night) -> Night:
    """The night with the day's figures and the bands of the days before it; refused where they do not hold and nobody
    accepts the day."""
    figures = figures_of(source.log)
    checks = check_day(figures, plan.day, plan.spec.nightly.checks)
    searches = int(sum(of_day["searches"] for of_day in figures.values()))
    seen = {"first": str(min(figures)), "last": str(max(figures)), "days": len(figures), "searches": searches}
    update = {"log": source.log, "seen": seen, "figures": figures[plan.day], "checks": checks}
    outside = [check.figure for check in checks if not check.holds]
    if outside and not plan.accept:
        reason = f"the day is unlike the days before it: {', '.join(outside)}"
        update |= {"decision": "refused", "reason": reason}
    return empty.model_copy(update=update)


def _same(looked: Night, nights: list[Night]) -> Night | None:
    """The refusal of the same day with the same figures, if there was one: nothing is to be told again."""
    return next(
        (
            one
            for one in nights
            if (one.decision, one.day, one.figures, one.checks)
            == ("refused", looked.day, looked.figures, looked.checks)
        ),
        None,
    )
