"""One home for the whole test run, made before prefect is imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["EBR_HOME"] = tempfile.mkdtemp(prefix="ebr-tests-")
for _name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_LOCAL_STORAGE_PATH", "MLFLOW_TRACKING_URI"):
    os.environ.pop(_name, None)

from tasks.home import prepare_environment  # noqa: E402

prepare_environment()

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server for all flows of the tests."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
