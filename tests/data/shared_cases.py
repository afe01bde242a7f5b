"""The small logs of faults beside the project, which tests read where they are present."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Split

CASES = Path(__file__).parents[2].parent / "shared" / "cases"


def case_tables(name: str) -> tuple[Any, Split]:
    """The logs and the split of a case. Skips the test if the case is not on this machine."""
    file = CASES / name / "experiment.yaml"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    spec = load_experiment(file)
    return spec.logs, spec.split
