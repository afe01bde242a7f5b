"""The folder of all state, named by EBR_HOME; `./.ebr` if that is not set."""

from __future__ import annotations

import os
from pathlib import Path

from ebr_core.errors import InputError

ROOT = Path(__file__).parent.parent
# Times that a thread of GNU OpenMP (PyTorch's, faiss's and numba's) polls before it sleeps: about 24 µs, which bridges
# most gaps within a training step (LOG.md). The default of 300,000 keeps a core from other processes.
SPIN_COUNT = "1000"
MLFLOW_PAGE = "mlflow-page-url"  # a file with the address of the page that `ebr ui` opened last
KERNEL_LOCATOR = "tasks.kernel_cache.SourceLocator"  # a name: numba imports it
FORBIDDEN_SIGNS = (
    "?\\"  # in the home's path: DuckDB and SQLite cut a database's path at `?` and split it at a backslash
)


def home() -> Path:
    """The folder of all state; it need not exist yet."""
    return Path(os.environ.get("EBR_HOME") or ".ebr").resolve()


def artifacts() -> Path:
    """The folder of all artifacts."""
    return home() / "artifacts"


def user_cache(name: str) -> Path:
    """The folder of that name in the user's cache, which all homes and copies of the project share; in the home where
    that cannot be written."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "ebr" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return home() / name
    return folder if os.access(folder, os.W_OK) else home() / name


def prepare_environment() -> None:
    """Point Prefect, MLflow and numba at the home, so that command line, worker and pages show the same runs.

    Call it before the first import of prefect, which reads its settings once. Variables that the user has set stay.
    Raises InputError if the home cannot be used or written.
    """
    if refused := [sign for sign in FORBIDDEN_SIGNS if sign in str(home())]:
        raise InputError(
            f"EBR_HOME is {home()}, whose path holds {refused[0]}, which databases do not accept: choose another path"
        )
    settings = {
        "PREFECT_HOME": str(home() / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(artifacts()),  # a task's record lies in the artifact that it names
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A slot's lease outlives the server: without it a slot that was held when the server was killed is never freed.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # a busy machine needs more than the default of 20
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home() / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # no model of this project holds a pickle
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a quarter of a minute; the default of 7 takes four minutes a request
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "NUMBA_CACHE_DIR": str(user_cache("kernels")),
        "NUMBA_CACHE_LOCATOR_CLASSES": f"{KERNEL_LOCATOR},UserProvidedCacheLocator",
        "NUMBA_THREADING_LAYER": "omp",  # the only installed layer with which arms can run side by side
        **({} if "OMP_WAIT_POLICY" in os.environ else {"GOMP_SPINCOUNT": SPIN_COUNT}),
        "TOKENIZERS_PARALLELISM": "false",
    }
    os.environ["EBR_HOME"] = str(home())  # absolute: a worker starts elsewhere
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        artifacts().mkdir(parents=True, exist_ok=True)
        (home() / ".writable").touch()
    except OSError as error:
        raise InputError(
            f"EBR_HOME is {home()}, which cannot be written ({error.strerror}): set EBR_HOME to a writable folder"
        ) from error
