"""`ebr paper`: run the paper's experiments and write the page with their results."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Simulated
from data.experiment.packaged import PACKAGED
from data.log_fingerprint import refuse_absent
from ebr_core.errors import InputError
from flows.ebr import ebr
from tasks.report.page import as_markdown
from tasks.report.paper_page import describe_paper, read_claims
from tasks.stage_words import say

CLAIMS = Path(__file__).with_name("paper.yaml")
# Experiments on public logs, which this project does not include.
REAL = ("lastfm.yaml", "lastfm-features.yaml", "trec-session.yaml", "cranfield.yaml", "npl.yaml")


def run_paper(experiments: list[Path], out: Path) -> list[str]:
    """Run each experiment, reusing existing artifacts, and write the page; returns a message for each failure.

    Without experiments: those of the paper, and those on real logs whose files exist; the page names the others.
    """
    absent: dict[str, str] = {}
    if not experiments:
        experiments = sorted(PACKAGED.resolve().glob("paper-*.yaml"))
        absent = {name: reason for name in REAL if (reason := _missing(PACKAGED.resolve() / name))}
        experiments += [PACKAGED.resolve() / name for name in REAL if name not in absent]
    minutes: dict[str, float] = {}
    runs, failures = {}, []
    for number, path in enumerate(experiments, 1):
        say(f"experiment {number} of {len(experiments)}: {path.stem}")
        started = time.monotonic()
        state = ebr(str(path), return_state=True)
        outcome: Any = state.result(raise_on_failure=False)
        minutes[path.name] = (time.monotonic() - started) / 60
        if isinstance(outcome, BaseException):
            failures.append(f"{path}: {outcome}")
            continue
        runs[path.stem] = outcome.report.folder
        if state.is_failed():
            failures.append(f"{path}: {state.message}")
    page = describe_paper(read_claims(CLAIMS), runs, _facts(minutes), absent)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_markdown("The paper, question by question", page), encoding="utf-8")
    return failures


def _missing(path: Path) -> str | None:
    """The reason why the experiment's logs cannot be read, None if they can."""
    if not path.exists():
        return "it is in a clone of the project alone"
    logs = load_experiment(path).logs
    assert not isinstance(logs, Simulated), f"{path} is listed among the real logs"
    try:
        refuse_absent(logs)
    except InputError as error:
        return str(error)
    return None


def _facts(minutes: dict[str, float]) -> str:
    names = ", ".join(f"`{name}` ({taken:.0f} minutes)" for name, taken in minutes.items())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, `make paper` on {os.cpu_count()} cores ({platform.machine()}); artifacts that "
        f"were there were reused: {names}."
    )
