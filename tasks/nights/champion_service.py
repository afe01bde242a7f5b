"""The champion in service: the aliases in the registry, and the file that `ebr serve` watches."""

from __future__ import annotations

from datetime import UTC, datetime

from ebr_core.errors import InputError
from tasks.nights.engine_champion import restore_champion
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
from tasks.served_models import mode_of_bundle, publish
from tasks.tracking.logged_model import point_at, register
from tasks.training_stages import best_recall


def promote_champion(experiment: str, champion: Champion, previous: Champion | None) -> None:
    """Register the champion, move the aliases, then replace the served model in one step; safe to repeat.

    The served model comes last: if an earlier step fails, yesterday's champion keeps answering.
    """
    register(experiment, champion)
    if previous:
        register(experiment, previous)
    point_at(experiment, champion, previous)
    put_into_service(experiment, champion, previous)


def put_into_service(experiment: str, champion: Champion, previous: Champion | None) -> None:
    """Replace EBR_HOME/models/<experiment>.json; the previous champion stays in it as <arm>-previous."""
    models = {champion.arm: champion} | ({f"{champion.arm}-previous": previous} if previous else {})
    publish(
        experiment,
        {
            "experiment": experiment,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "champion": champion.arm,
            "night": str(champion.day),
            "models": {
                name: {
                    "bundle": model.bundle.folder.name,
                    "mode": mode_of_bundle(model.bundle),
                    "validation_recall": best_recall(model.towers),
                }
                for name, model in models.items()
            },
        },
    )


def roll_back(experiment: str) -> Night:
    """Put the previous champion back into service, last in the search engine of the nights, and return the record.

    Raises InputError if there is no previous champion, or if a night is under way.
    """
    with exclusive(experiment):
        nights = read_nights(experiment)
        stack = champions_of(nights)
        if len(stack) < 2:
            current = f"only the champion of {stack[0].day}" if stack else "no champion"
            raise InputError(
                f"{experiment} has {current}, so there is none to go back to; `ebr status` lists the nights"
            )
        restored, earlier = stack[-2], stack[-3] if len(stack) > 2 else None
        put_into_service(experiment, restored, earlier)  # first, because it is urgent
        point_at.fn(experiment, restored, earlier)
        night = Night(
            number=next_number(nights),
            experiment=experiment,
            day=restored.day,
            at=datetime.now(UTC),
            decision=ROLLED_BACK,
            reason=f"the champion of {stack[-1].day} was taken back by hand",
            champion=restored,
        )
        write_night(night)
        engines = [earlier.engine for earlier in nights if earlier.engine]
        if engines:
            night = night.model_copy(
                update={"engine": restore_champion(engines[-1].export, experiment, restored.bundle)}
            )
            write_night(night)
    return night
