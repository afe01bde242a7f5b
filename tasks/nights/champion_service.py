"""Puts a champion into service, and takes it out again: the registry's aliases, the file that `ebr serve` watches."""

from __future__ import annotations

from datetime import UTC, datetime

from ebr_core.errors import InputError
from tasks.bundle_stages import publish
from tasks.nights.night_records import (
    ROLLED_BACK,
    Champion,
    Night,
    champions_of,
    exclusive,
    next_number,
    read_nights,
    write_night,
)
from tasks.tracking.logged_model import point_at, register
from tasks.training_stages import best_recall


def promote_champion(experiment: str, champion: Champion, previous: Champion | None) -> None:
    """Registers the champion, moves the aliases, then replaces what is served in one step; safe to be done again.

    What is served comes last: whatever fails before, the champion of yesterday answers on.
    """
    register(experiment, champion)
    if previous:
        register(experiment, previous)
    point_at(experiment, champion, previous)
    put_into_service(experiment, champion, previous)


def put_into_service(experiment: str, champion: Champion, previous: Champion | None) -> None:
    """Replaces EBR_HOME/models/<experiment>.json; the previous champion stays there under a name of its own."""
    models = {champion.arm: champion} | ({f"{champion.arm}-previous": previous} if previous else {})
    publish(
        experiment,
        {
            "experiment": experiment,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "champion": champion.arm,
            "night": str(champion.day),
            "models": {
                name: {"bundle": one.bundle.folder.name, "validation_recall": best_recall(one.towers)}
                for name, one in models.items()
            },
        },
    )


def roll_back(experiment: str) -> Night:
    """Makes the previous champion answer again, and records it. Errors: there is none, or a night is under way."""
    with exclusive(experiment):
        nights = read_nights(experiment)
        stack = champions_of(nights)
        if len(stack) < 2:
            there = f"only the champion of {stack[0].day}" if stack else "no champion"
            raise InputError(f"{experiment} has {there}, so there is none to go back to; `ebr status` tells the nights")
        back, before = stack[-2], stack[-3] if len(stack) > 2 else None
        put_into_service(experiment, back, before)  # first: this is what is urgent
        point_at.fn(experiment, back, before)
        night = Night(
            number=next_number(nights),
            experiment=experiment,
            day=back.day,
            at=datetime.now(UTC),
            decision=ROLLED_BACK,
            reason=f"the champion of {stack[-1].day} was taken back by hand",
            champion=back,
        )
        write_night(night)
    return night


def name_of(experiment: str | None) -> str:
    """The experiment asked for, by default the one that had a night last. Errors: none has."""
    from tasks.home import home

    there = sorted((home() / "nights").glob("*/*.json"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.name for path in there]
    if not names or (experiment and experiment not in names):
        known = ", ".join(sorted(set(names))) or "none yet"
        asked = f"no night of {experiment!r}" if experiment else "no night"
        raise InputError(f"{asked} under {home()} (there are: {known}); run one first: ebr nightly EXPERIMENT")
    return experiment or names[-1]
