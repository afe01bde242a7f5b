"""An experiment as a command reads it before anything slow starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows.app.model_names import refuse_unknown_arm

if TYPE_CHECKING:
    from data.experiment.experiment_spec import Experiment


def open_experiment(path: Path, arm: str | None = None, reads_lists: bool = True) -> Experiment:
    """The experiment in the file, for a command about the whole of it or about one arm.

    Raises InputError if the file is invalid, if it has no such arm, or if logs or lists that it names do not exist.
    reads_lists: False for commands that do not read the lists.
    """
    from data.experiment.encoder_arms import ENCODER
    from data.experiment.experiment_file import load_experiment
    from data.experiment.log_config import Simulated
    from data.log_fingerprint import refuse_absent

    spec = load_experiment(path, needs_encoder=arm in (None, ENCODER))
    if arm is not None:
        refuse_unknown_arm(spec, arm, path)
    lists = spec.lists if reads_lists and arm is None else None
    refuse_absent(None if isinstance(spec.logs, Simulated) else spec.logs, lists)
    return spec
