"""One home for each process that runs tests, made before prefect is imported, gone when its tests are done."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = tempfile.mkdtemp(prefix="ebr-tests-")
os.environ["EBR_HOME"] = HOME
for _name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_LOCAL_STORAGE_PATH", "MLFLOW_TRACKING_URI"):
    os.environ.pop(_name, None)

from tasks.home import prepare_environment  # noqa: E402

prepare_environment()

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
LONGEST = ("test_cli.py", "test_difficulty.py", "test_ebr.py", "test_oracle.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first: two processes share the files, and neither should wait for the other at
    the end. While one is busy with the pages, the other compiles the kernels for both."""
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_unconfigure() -> None:
    """Removes the home; what a process under test still holds open there, the system removes later."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _stages_reach_what_names_them() -> Iterator[None]:
    """Has every stage that a test runs fail where its digest is too narrow."""
    from tests.reach import watched_stages

    with watched_stages():
        yield


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server for all flows of the tests."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def own_home(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for one file alone, which may look through all artifacts and remove some."""
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EBR_HOME", str(folder))
        (folder / "artifacts").mkdir()
        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: folder / "artifacts"}):
            yield folder
