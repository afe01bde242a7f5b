"""The last choice of a run: its champion, which answers from then on."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task

from ebr_core.search.modes import Mode
from tasks.fusion_stages import read_mode
from tasks.kinds import ModelBundle, ServedMode
from tasks.served_models import champion_of, publish


@task(name="publish_champion")
def publish_champion(
    experiment: str, bundles: dict[str, ModelBundle], modes: dict[str, ServedMode]
) -> tuple[str, Mode, float] | None:
    """The champion, see champion_of; None without bundles.

    Write it, with the places of all bundles, to EBR_HOME/models/<experiment>.json, which the pages and the command
    line read. The file is replaced in one step.
    """
    champion = champion_of(bundles, modes)
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
