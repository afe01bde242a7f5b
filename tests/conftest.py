"""A home for each process that runs tests, created before prefect is imported and removed after its tests."""

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
LONGEST = ("test_cluster.py", "test_encoder_paths.py", "test_cli.py", "test_difficulty.py", "test_ebr.py")
LONGEST += ("test_oracle.py", "test_fine_tuning_run.py", "test_ensembles.py", "test_door.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest files first: two processes share the files, and neither should wait for the other at the end.
    While one is busy with the pages, the other compiles the kernels for both."""
    order = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_unconfigure() -> None:
    """Remove the home; the system removes later what a process under test still holds open."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _digests_cover_what_stages_reach() -> Iterator[None]:
    """Make every stage that a test runs fail if its digest covers too little."""
    from tests.reach import watched_stages

    with watched_stages():
        yield


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server for all flows of the tests."""
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.process.temporary_server import await_server, start_server

    server = start_server()
    try:
        await_server(server)
        with temporary_settings({PREFECT_API_URL: server.api}):
            yield
            APILogWorker.drain_all(timeout=5)
    finally:
        server.end()


@pytest.fixture(scope="module")
def own_home(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home for a single file of tests, which may read all artifacts and remove some."""
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings

    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EBR_HOME", str(folder))
        (folder / "artifacts").mkdir()
        with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: folder / "artifacts"}):
            yield folder
