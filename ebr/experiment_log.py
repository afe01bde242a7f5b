"""A log, read by the rules of an experiment: from its file, from a mapping, or from files that are guessed at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import yaml

from data.experiment.experiment_file import read_content, read_experiment
from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Simulated
from data.experiment.packaged import find_experiment
from data.guess.first_experiment import first_experiment
from data.log_fingerprint import refuse_absent
from ebr_core.errors import InputError
from flows.arm_models import PreparedLog, prepare_log
from flows.submit import result

IN_MEMORY = Path("notebook.yaml")  # the file that a mapping stands for
EXPERIMENT_FILES = (".yaml", ".yml")
TABLES = ("searches", "documents", "results")


class ExperimentLog(NamedTuple):
    """An extracted log, cut into parts, with the arms that its experiment defines."""

    path: Path  # of the experiment file; of a mapping, where such a file would be
    content: dict[str, Any]  # of that file
    prepared: PreparedLog

    @property
    def experiment(self) -> Experiment:
        """All settings, validated."""
        return self.prepared.spec

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that can be trained."""
        return tuple(self.experiment.arms)

    @property
    def folder(self) -> Path:
        """The folder with the extracted tables, Parquet files."""
        return self.prepared.source.log.folder

    def __repr__(self) -> str:
        """The size of the log and the names of its arms."""
        rows = {name: pq.read_metadata(self.folder / f"{name}.parquet").num_rows for name in TABLES}
        test = pq.read_metadata(result(self.prepared.searches.test).folder / "searches.parquet").num_rows
        sizes = ", ".join(f"{count:,} {name}" for name, count in rows.items())
        return f"ExperimentLog({self.path.stem}: {sizes}; {test:,} searches sampled for the test; arms: {self._arms})"

    @property
    def _arms(self) -> str:
        return ", ".join(self.arms) or "none"


def load_log(source: str | Path | Mapping[str, Any] | Sequence[str | Path]) -> ExperimentLog:
    """The log that an experiment reads, extracted and checked as `ebr run` does it.

    source: an experiment file or the name of one that comes with ebr (smoke, default); a mapping with the sections of
    such a file, whose relative paths start from the current folder; or the files of a log (Parquet, CSV, NDJSON), whose
    layout and columns are guessed as `ebr init` does it. What was extracted before is reused. Raises InputError if the
    experiment or the log cannot be used, with all problems of the experiment at once.
    """
    match source:
        case Mapping():
            content, path = json.loads(json.dumps(source, default=str)), IN_MEMORY
        case str() | Path() if _names_experiment(Path(source)):
            path = find_experiment(Path(source))
            content = read_content(path)
        case _:
            files = [source] if isinstance(source, str | Path) else list(source)
            path, text = first_experiment([str(file) for file in files], None)
            content = yaml.safe_load(text)
    return _prepared(content, path)


def with_arm(log: ExperimentLog, name: str, settings: Mapping[str, Any]) -> ExperimentLog:
    """The log with one more arm, which `train` and `evaluate` know by its name.

    settings: those of an arm in an experiment file, such as {"negatives": {"random": 20}}; they are laid over the arm
    `base` of the experiment. Raises InputError if the name is taken, or for a setting that does not exist.
    """
    arms = log.content.get("arms") or {}
    if name in arms:
        raise InputError(f"{log.path.stem} has an arm {name!r}; choose another name")
    return _prepared({**log.content, "arms": {**arms, name: json.loads(json.dumps(settings, default=str))}}, log.path)


def _names_experiment(path: Path) -> bool:
    """True for a path that names an experiment file, or an experiment that comes with ebr."""
    return path.suffix in EXPERIMENT_FILES or not (path.suffix or path.exists() or "*" in str(path))


def _prepared(content: Any, path: Path) -> ExperimentLog:
    spec = read_experiment(content, path)
    refuse_absent(None if isinstance(spec.logs, Simulated) else spec.logs, spec.lists)
    return ExperimentLog(path, content, prepare_log(spec))
