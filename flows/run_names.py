"""The names of runs on the pages of Prefect."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def name_of_run() -> str:
    """The name of a flow's run: its arm, if it is about one, its experiment file, and the time (UTC)."""
    from prefect.runtime import flow_run

    parameters = flow_run.parameters or {}
    arm = f"{parameters['arm']} of " if "arm" in parameters else ""
    return f"{arm}{Path(str(parameters.get('experiment', 'run'))).stem} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
