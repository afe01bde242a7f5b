"""The file that names the models which a run or a night has made, and the champion among them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebr_core.errors import InputError
from tasks.home import artifacts, home

if TYPE_CHECKING:  # commands read the file before anything imports Prefect
    from tasks.kinds import ModelBundle


def mode_of_bundle(bundle: ModelBundle) -> str:
    """The mode in which a bundle answers; "hybrid" for one of an earlier version."""
    return str(json.loads((bundle.folder / "manifest.json").read_text()).get("mode", "hybrid"))


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
        experiments = ", ".join(experiments_with_models()) or "none yet"
        missing = f"no model of experiment {experiment!r}" if experiment else "no model"
        raise InputError(
            f"{missing} under {home()} (there are: {experiments}); run an experiment with arms first: ebr run …"
        )
    content: dict[str, Any] = json.loads(files[-1].read_text())
    return content


def experiments_with_models() -> list[str]:
    """The names of the experiments that have models."""
    return sorted(path.stem for path in (home() / "models").glob("*.json"))


def bundle_of(content: dict[str, Any], arm: str | None) -> Path:
    """The folder of an arm's bundle, by default the champion's. Raises InputError if there is no such arm."""
    arm = arm or content["champion"]
    if arm not in content["models"]:
        names = [f"{content['experiment']}/{name}" for name in content["models"]]
        raise InputError(f"no model {arm!r} of {content['experiment']}; there are {', '.join(names)}")
    return artifacts() / str(content["models"][arm]["bundle"])
