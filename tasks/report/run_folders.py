"""The folders of runs, by the names that commands give them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ebr_core.errors import InputError
from ebr_core.search.index_specs import OWN_INDEXES
from ebr_core.search.modes import label_of, row_of
from tasks.experiment_paths import CHAMPION, SUFFIXES
from tasks.home import artifacts


class RunArm(NamedTuple):
    """A run, and the row of it that a command names."""

    folder: Path
    row: str | None  # None: the run as a whole; @champion: the row that it serves

    @property
    def facts(self) -> dict[str, Any]:
        """The content of run.json."""
        facts: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return facts


def find_run(name: str) -> Path:
    """The folder of a run: name is its path, the name of the run or a prefix of it, or an experiment (its file or its
    name), for its last run.

    Raises InputError, with a list of the runs, if there is no run of that name.
    """
    found = _find(name)
    if found is None:
        labels = [f"{folder.name} ({run['experiment']}, {run['made_at']})" for folder, run in _runs().items()]
        listed = ", ".join(sorted(labels)) or "none yet: ebr run makes one"
        raise InputError(
            f"{name}: no such run; name an experiment, for its last run, or a run or its folder. There are: {listed}"
        )
    return found


def read_run_arm(text: str) -> RunArm:
    """The run and the row of a text such as shop, shop/random, shop/@champion, report-0123abcd/bm25, or @champion, for
    that of the last run. Raises InputError if there is no such run.
    """
    if text == CHAMPION:
        runs = _runs()
        if not runs:
            raise InputError(f"{text}: no run yet; ebr run EXPERIMENT makes one")
        return RunArm(_newest(runs, runs), CHAMPION)
    whole = _find(text)
    if whole is not None or "/" not in text or Path(text).suffix in SUFFIXES:
        return RunArm(whole or find_run(text), None)
    run, _, row = text.rpartition("/")
    return RunArm(find_run(run), row or None)


def with_champion(run: RunArm) -> RunArm:
    """The run with the row that answers, with its mode and its index, in place of @champion, or of no row. Raises
    InputError if nothing is served."""
    if run.row not in (None, CHAMPION):
        return run
    facts = run.facts
    if not facts.get("champion"):
        raise InputError(f"{facts['experiment']}: the run {run.folder.name} has no champion, because nothing is served")
    served = facts.get("served")
    if not served:  # a run of an earlier version
        return run._replace(row=str(facts["champion"]))
    row, index = row_of(served["arm"], served["mode"]), served["index"]
    return run._replace(row=label_of(row, served["mode"], index, OWN_INDEXES))


def run_of_model(model: str) -> Path | None:
    """The folder of the latest run that made the bundle with this digest; None if it is not in this home."""
    runs = _runs()
    makers = [folder for folder, run in runs.items() if model in run.get("models", {}).values()]
    return _newest(runs, makers) if makers else None


def _find(name: str) -> Path | None:
    path = Path(name)
    if (path / "run.json").is_file():
        return path
    runs, experiment = _runs(), path.stem if path.suffix in SUFFIXES else name
    matches = [folder for folder, run in runs.items() if experiment == run["experiment"]]
    digest = name.removeprefix("report-")
    matches = matches or [
        folder for folder in runs if digest and folder.name.removeprefix("report-").startswith(digest)
    ]
    return _newest(runs, matches) if matches else None


def _runs() -> dict[Path, dict[str, Any]]:
    return {file.parent: json.loads(file.read_text()) for file in artifacts().glob("report-*/run.json")}


def _newest(runs: dict[Path, dict[str, Any]], folders: Iterable[Path]) -> Path:
    return max(folders, key=lambda folder: str(runs[folder]["made_at"]))
