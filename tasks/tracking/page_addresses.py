"""Where a browser finds a run in MLflow."""

from __future__ import annotations

import os

from tasks.home import MLFLOW_PAGE, home

DEFAULT = "http://127.0.0.1:5000"  # of `ebr ui`


def mlflow_page() -> str:
    """The address of MLflow's page: that of its server, or of the `ebr ui` that ran last; by default the one at which
    `ebr ui` opens it."""
    tracking = os.environ.get("MLFLOW_TRACKING_URI", "")
    if tracking.startswith(("http://", "https://")) and "@" not in tracking:  # which may hold a password
        return tracking.rstrip("/")
    file = home() / MLFLOW_PAGE
    return file.read_text().strip() if file.exists() else DEFAULT


def report_address(experiment_id: str, run_id: str) -> str:
    """The address of a run's report, among its artifacts."""
    return f"{mlflow_page()}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/report/report.html"
