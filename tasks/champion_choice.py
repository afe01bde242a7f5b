"""The champion of a run: the model with the highest validation recall among all that can be served."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from prefect import task

from ebr_core.search.modes import RERANKED, Mode
from tasks.fusion_stages import read_mode
from tasks.kinds import ModelBundle, ServedMode
from tasks.served_models import publish


def champion_of(
    bundles: Mapping[str, ModelBundle], modes: Mapping[str, ServedMode], leaking: Collection[str] = ()
) -> tuple[str, Mode, float] | None:
    """(the champion, its mode, their validation recall): the highest (never by the test); None without bundles.

    modes: of arms, ensembles, cascades and rankers. Among equals, cascades and rankers come last. leaking: models that
    have learned from answers of the test, which are chosen only if there are no others.
    """
    chosen = {name: read_mode(modes[name]) for name in sorted(bundles) if name in modes}
    chosen = {name: mode for name, mode in chosen.items() if name not in leaking} or chosen
    in_order = sorted(chosen, key=lambda name: chosen[name][0] == RERANKED)
    champion = max(in_order, key=lambda name: chosen[name][1], default=None)
    return None if champion is None else (champion, *chosen[champion])


@task(name="publish champion", task_run_name="publish champion")
def publish_champion(
    experiment: str, bundles: dict[str, ModelBundle], modes: dict[str, ServedMode], leaking: Collection[str]
) -> tuple[str, Mode, float] | None:
    """The champion, see champion_of; None without bundles.

    Write it, with the places of all bundles, to EBR_HOME/models/<experiment>.json, which the pages and the command
    line read. The file is replaced in one step.
    """
    champion = champion_of(bundles, modes, leaking)
    if champion is None:
        return None
    chosen = {arm: read_mode(modes[arm]) for arm in bundles if arm in modes}
    content = {
        "experiment": experiment,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "champion": champion[0],
        "models": {
            arm: {"bundle": bundles[arm].folder.name, "mode": mode, "validation_recall": recall}
            for arm, (mode, recall) in sorted(chosen.items(), key=lambda item: -item[1][1])
        },
    }
    publish(experiment, content)
    return champion
