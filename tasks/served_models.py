"""The models that a run or a night has made: which of them is the champion, and the file that names them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ebr_core.errors import InputError
from ebr_core.search.modes import RERANKED, Mode
from tasks.fusion_stages import read_mode
from tasks.home import artifacts, home
from tasks.kinds import ModelBundle, ServedMode


def mode_of_bundle(bundle: ModelBundle) -> str:
    """The mode in which a bundle answers; "hybrid" for one of an earlier version."""
    return str(json.loads((bundle.folder / "manifest.json").read_text()).get("mode", "hybrid"))


def champion_of(bundles: Mapping[str, ModelBundle], modes: Mapping[str, ServedMode]) -> tuple[str, Mode, float] | None:
    """(the champion, its mode, their validation recall): the highest (never by the test); None without bundles.

    modes: of arms, ensembles, cascades and rankers. Among equals, cascades and rankers come last.
    """
    chosen = {name: read_mode(modes[name]) for name in sorted(bundles) if name in modes}
    in_order = sorted(chosen, key=lambda name: chosen[name][0] == RERANKED)
    champion = max(in_order, key=lambda name: chosen[name][1], default=None)
    return None if champion is None else (champion, *chosen[champion])


def publish(experiment: str, content: dict[str, Any]) -> None:
    """Replace EBR_HOME/models/<experiment>.json by this content, in one step."""
    folder = home() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{experiment}.{os.getpid()}"
    unfinished.write_text(json.dumps(content, indent=1))
    unfinished.replace(folder / f"{experiment}.json")


def models_of(experiment: str | None) -> dict[str, Any]:
    """The content that `publish` wrote for an experiment, by default for the one that ran last.

    Raises InputError if no such experiment has run.
    """
    folder = home() / "models"
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if experiment is not None:
        files = [path for path in files if path.stem == experiment]
    if not files:
        experiments = ", ".join(sorted(path.stem for path in folder.glob("*.json"))) or "none yet"
        missing = f"no model of experiment {experiment!r}" if experiment else "no model"
        raise InputError(
            f"{missing} under {home()} (there are: {experiments}); run an experiment with arms first: ebr run …"
        )
    content: dict[str, Any] = json.loads(files[-1].read_text())
    return content


def bundle_of(content: dict[str, Any], arm: str | None) -> Path:
    """The folder of an arm's bundle, by default the champion's. Raises InputError if there is no such arm."""
    arm = arm or content["champion"]
    if arm not in content["models"]:
        raise InputError(f"no model {arm!r} of {content['experiment']}; there are {', '.join(content['models'])}")
    return artifacts() / str(content["models"][arm]["bundle"])
