"""The nightly flow: train a challenger on all days but the newest, judge it on the newest, promote it if it wins."""

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
from data.experiment.log_config import Simulated
from data.extract import require_times
from ebr_core.errors import InputError
from ebr_core.measure.promotion import promote
from flows.challenger import (
    NightPlan,
    compare_with_champions,
    measure_challenger,
    measure_champion,
    read_day,
    train_challenger,
)
from flows.ebr import DEFAULT
from flows.night_bundle import bundle_challenger
from flows.night_choices import choose_arm, choose_days, choose_training, recalls_of
from flows.process.cleanup import begin, end
from flows.process.cluster import RUNNER
from flows.raw_files import partitions_of
from flows.run_names import name_of_run
from flows.sources import Source, world_log
from tasks.experiment_paths import note_path
from tasks.kinds import Partition, SimulatedLog
from tasks.log_stages import files_of
from tasks.nights.champion_service import promote_champion
from tasks.nights.day_checks import check_day, figures_of
from tasks.nights.engine_champion import export_champion
from tasks.nights.night_records import (
    DECIDED,
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
from tasks.tracking.experiment_names import refuse_untrackable
from tasks.tracking.mlflow_store import track_night


@flow(name="retrain", task_runner=RUNNER, flow_run_name=name_of_run)
def retrain(
    experiment: str = DEFAULT,
    day: date | None = None,
    first: date | None = None,
    last: date | None = None,
    accept: bool = False,
) -> list[Night] | State[list[Night]]:
    """Run a night for the experiment in that file: that of `day`, by default the newest day that is over; or one night
    after another, for each day of the logs from `first` to `last`. A refused or failed night fails the run.

    accept: accept days that are unlike the days before them.
    """
    begin()
    spec, name = load_experiment(Path(experiment)), Path(experiment).stem
    note_path(Path(experiment))
    refuse_untrackable(name, registers=True)  # before anything is trained
    with exclusive(name):
        choose_arm(name, spec, read_nights(name))  # before anything starts
        world = world_log(spec)
        spec, parts, days = read_partitions(name, spec, world, day or last)
        selection = choose_days(days, day, first, last)
        nights = run_nights(NightPlan(name, spec, world, selection[0], days, parts, accept), selection)
    end()
    return conclude_nights(nights)


def conclude_nights(nights: list[Night]) -> list[Night] | State[list[Night]]:
    """The nights; in a failed state if one of them was refused or failed, or the champion is missing in an engine."""
    problems = [describe_night(night) for night in nights if night.decision in ("refused", "failed") or night.is_behind]
    return Failed(data=nights, message="\n".join(problems)) if problems else nights


def read_partitions(
    name: str, spec: Experiment, world: SimulatedLog | None, day: date | None
) -> tuple[Experiment, dict[str, list[Partition]], list[date]]:
    """(the experiment with its lake tables as they are now, growing table → the partitions of its files, the days of
    the logs in order).

    If the logs cannot be read, this is recorded as the failure of the night of `day`, and the InputError is raised.
    """
    try:
        files = require_times(files_of(spec.logs, world))
        parts = partitions_of(files)
        pinned = spec if isinstance(spec.logs, Simulated) else spec.model_copy(update={"logs": files})
        return pinned, parts, list(days_of(files, parts))
    except InputError as error:
        record_unread_logs(name, spec, day, error)
        raise


def run_nights(plan: NightPlan, days: Sequence[date]) -> list[Night]:
    """The nights of these days, run one after another up to the first that fails."""
    nights: list[Night] = []
    for day in days:
        nights.append(run_night(plan._replace(day=day)))
        if nights[-1].decision == "failed":
            break
    return nights


def run_night(plan: NightPlan) -> Night:
    """The night of a day, recorded whether it succeeds or fails. A day that was judged is not judged again."""
    nights = read_nights(plan.name)
    arm = choose_arm(plan.name, plan.spec, nights)
    champions = champions_of(nights)
    if (final := _final_night(plan, nights)) is not None:
        return _tried_again(plan, final, champions)
    draft = Night(
        number=next_number(nights),
        experiment=plan.name,
        day=plan.day,
        at=datetime.now(UTC),
        decision="failed",
        reason="",
        champion=champions[-1] if champions else None,
    )
    try:
        night = judge_day(plan, nights, draft, arm)
        if night in nights:
            return night
        track_night(night)
        if night.decision == "promoted" and night.champion:
            promote_champion(plan.name, night.champion, champions[-1] if champions else None)
        night = answer_in_engine(plan, night)  # last of all: it may fail, and all else is done
    except Exception as error:  # any error is recorded and reported, and the champion continues to answer
        night = draft.model_copy(update={"reason": f"{type(error).__name__}: {error}"[:2000]})
    write_night(night)
    send_notice(plan.spec, night)
    return night


def answer_in_engine(plan: NightPlan, night: Night) -> Night:
    """The night with its champion in the search engine that the experiment names, whether it was promoted or kept."""
    export = plan.spec.nightly.export
    if export is None or night.champion is None or night.decision not in DECIDED:
        return night
    return night.model_copy(update={"engine": export_champion(export, plan.name, night.champion.bundle)})


def _tried_again(plan: NightPlan, final: Night, champions: list[Champion]) -> Night:
    """A night that is on record; if its champion still answers and is missing in the engine, that is tried again."""
    is_there = final.engine is not None and not final.is_behind and final.engine.export == plan.spec.nightly.export
    if is_there or not champions or final.champion != champions[-1]:
        return final
    night = answer_in_engine(plan, final)
    if night != final:
        write_night(night)
    return night


def send_notice(spec: Experiment, night: Night) -> None:
    """Send the notice of the night if the experiment asks for one after such a decision; log why it cannot be sent. A
    champion that is missing in the search engine counts as a failure."""
    notice = spec.nightly.notice
    events = {night.decision} | ({"failed"} if night.is_behind else set())
    if notice and events & set(notice.on) and (problem := notify(notice, night)):
        get_logger("flow_runs").warning(problem)


def record_unread_logs(name: str, spec: Experiment, day: date | None, error: InputError) -> None:
    """Record a night that failed before its day was known, and send its notice; by default the day is yesterday.

    Does nothing without a champion, because only a champion can go stale. A night that is on record is not replaced.
    """
    nights = read_nights(name)
    champions, failed_day = champions_of(nights), day or datetime.now(UTC).date() - timedelta(days=1)
    if not champions:
        return
    now, details = datetime.now(UTC), {"decision": "failed", "reason": f"the logs could not be read: {error}"[:2000]}
    night = Night(
        number=next_number(nights), experiment=name, day=failed_day, at=now, champion=champions[-1], **details
    )
    if not any(recorded.day == failed_day and recorded.decision != "failed" for recorded in nights):
        write_night(night)
    send_notice(spec, night)


def _final_night(plan: NightPlan, nights: list[Night]) -> Night | None:
    """The recorded night of the day if it is final, None if the day is to be judged.

    Raises InputError if a later day was judged already.
    """
    recorded = next((night for night in nights if night.day == plan.day and night.decision != "rolled back"), None)
    if recorded and recorded.decision in DECIDED:
        return recorded
    last = max((night.day for night in nights if night.decision in DECIDED), default=None)
    if last is None or plan.day > last:
        return None
    if recorded and recorded.decision == "refused" and plan.accept:
        reason = "accepted by hand; not judged, because a later day was judged already"
        night = recorded.model_copy(update={"decision": "kept", "reason": reason, "number": next_number(nights)})
        write_night(night)
        return night
    if recorded:
        return recorded
    raise InputError(
        f"day {plan.day} comes before {last}, which was judged already: a model cannot be judged on a day that it was "
        "trained on. Nights run forward"
    )


def judge_day(plan: NightPlan, nights: list[Night], draft: Night, name: str) -> Night:
    """The night with its checks, measurements and decision; only artifacts are written."""
    champion, champions = draft.champion, champions_of(nights)
    source, searches = read_day(plan, refused_days([night for night in nights if night.day != plan.day]), name)
    night = check_figures(plan, source, draft)
    if night.decision == "refused":
        return _earlier_refusal(night, nights) or night
    champion_recall = measure_champion(plan, source, searches.test, champion) if champion else None
    training = choose_training(plan, nights, draft, name, champion_recall)
    challenger = train_challenger(plan, source, searches, name, champion if training == "warm" else None)
    recall = measure_challenger(plan, searches.test, challenger)
    comparisons = compare_with_champions(plan, source, searches.test, recall, champion_recall, champions)
    promoted, reason = promote(comparisons[0] if comparisons else None, comparisons[1:], plan.spec.nightly.tolerance)
    unrenewed = ""
    if promoted:
        bundle, reasons = bundle_challenger(plan, source, searches, challenger)
        unrenewed = "; ".join(f"{name} was not renewed: {reason}" for name, reason in reasons.items())
        parts = {"log": source.log, "features": challenger.features, "towers": challenger.towers, "bundle": bundle}
        champion = Champion(day=plan.day, arm=name, **parts)
    return night.model_copy(
        update={
            "decision": "promoted" if promoted else "kept",
            "reason": reason,
            "training": training,
            "challenger": challenger.towers,
            "k": plan.spec.evaluation.main_k,
            "searches": len(recalls_of(recall)),
            "recall": float(recalls_of(recall).mean()),
            "champion_recall": float(recalls_of(champion_recall).mean()) if champion_recall else None,
            "against": comparisons,
            "champion": champion,
            "unrenewed": unrenewed,
        }
    )


def check_figures(plan: NightPlan, source: Source, draft: Night) -> Night:
    """The night with the day's figures and checks; refused if a check fails and the day is not accepted by hand."""
    figures = figures_of(source.log)
    checks = check_day(figures, plan.day, plan.spec.nightly.checks)
    searches = int(sum(of_day["searches"] for of_day in figures.values()))
    period = {"first": str(min(figures)), "last": str(max(figures)), "days": len(figures), "searches": searches}
    update = {"log": source.log, "seen": period, "figures": figures[plan.day], "checks": checks}
    failures = [check.figure for check in checks if not check.holds]
    if failures and not plan.accept:
        reason = f"the day is unlike the days before it: {', '.join(failures)}"
        update |= {"decision": "refused", "reason": reason}
    return draft.model_copy(update=update)


def _earlier_refusal(refusal: Night, nights: list[Night]) -> Night | None:
    """An earlier refusal of the same day with the same figures, which needs no second notice; None without one."""
    return next(
        (
            night
            for night in nights
            if (night.decision, night.day, night.figures, night.checks)
            == ("refused", refusal.day, refusal.figures, refusal.checks)
        ),
        None,
    )
