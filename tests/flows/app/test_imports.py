"""What a command loads before it does anything: libraries that take a second each only where they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = ("lightgbm", "matplotlib", "mlflow", "scipy.stats", "sklearn", "transformers")


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("flows.app.cli", (*SLOW, "prefect", "torch", "duckdb", "pandas")),
        ("flows.app.check", SLOW),
        ("flows.app.model_search", (*SLOW, "prefect.flow_engine")),
    ],
)
def test_a_command_loads_no_library_that_it_does_not_use(module: str, slow: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted(set({slow!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
