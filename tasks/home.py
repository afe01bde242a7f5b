"""Where all state lives: one folder, named by EBR_HOME, `./.ebr` where it is not set."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ebr_core.errors import InputError

ROOT = Path(__file__).parent.parent
# Looks that a thread of GNU OpenMP (PyTorch's, faiss's and numba's) takes before it sleeps: about a tenth of a
# millisecond, which bridges the gaps within a training step. Its own 300,000 keep a core from other processes.
SPIN_COUNT = "5000"
REFUSED = "?\\"  # in the home's path: DuckDB and SQLite cut a database's path at the one and split it at the other


def home() -> Path:
    """The folder of all state; it need not exist yet."""
    return Path(os.environ.get("EBR_HOME") or ".ebr").resolve()


def artifacts() -> Path:
    """The folder of all artifacts."""
    return home() / "artifacts"


def _compiled() -> Path:
    """Where compiled kernels are kept: a folder for each state of the sources.

    numba looks only at the file of a kernel, not at those of the kernels it calls, so its own rule could run old code.
    """
    digest = hashlib.sha256()
    for room in ("ebr_core", "data"):
        for file in sorted((ROOT / room).rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    place = ROOT if os.access(ROOT, os.W_OK) else home()
    return place / "__pycache__" / f"numba-{digest.hexdigest()[:16]}"


def prepare_environment() -> None:
    """Points Prefect, MLflow and numba at the home, so that the command line, the worker and the pages show the same
    runs.

    Has to come before the first import of prefect, which reads its settings once. What the user has set stays.
    """
    if held := [sign for sign in REFUSED if sign in str(home())]:
        raise InputError(
            f"EBR_HOME is {home()}, whose path holds {held[0]}, which databases take for something else: choose another"
        )
    settings = {
        "PREFECT_HOME": str(home() / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(artifacts()),  # a task's record lies in the artifact that it names
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A slot's lease outlives the server: without it a slot that was held when the server was killed is never freed.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # a busy machine needs more than its 20
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home() / 'mlflow.db'}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # what is logged here holds none
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a quarter of a minute; its own 7 are four minutes a request
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "NUMBA_CACHE_DIR": str(_compiled()),
        "NUMBA_THREADING_LAYER": "omp",  # the only layer at hand that lets arms run side by side
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
            f"EBR_HOME is {home()}, which cannot be written ({error.strerror}): set EBR_HOME to a folder that can"
        ) from error
