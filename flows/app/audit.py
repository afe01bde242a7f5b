"""`ebr audit`: train the arms of the audit section again with other splits and with less of the log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError
from flows.ebr import ebr
from tasks.home import home
from tasks.report.audit_page import describe_audit, variants
from tasks.report.page import as_html, as_markdown
from tasks.stage_words import say


def run_audit(path: Path) -> Path:
    """Run every variant, reusing existing artifacts, and write audit.html and audit.md; returns their folder."""
    spec = load_experiment(path)
    folder = home() / "audits" / path.stem
    folder.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Path] = {}
    contents = variants(spec)
    for name, content in contents.items():
        file = folder / f"{path.stem}-{re.sub(r'[^a-z0-9]+', '-', name)}.yaml"
        say(f"variant {len(runs) + 1} of {len(contents)}: {name}")
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        outcome: Any = ebr(str(file), return_state=True).result(raise_on_failure=False)
        if isinstance(outcome, BaseException):
            raise InputError(f"{name}: {outcome}") from outcome
        runs[name] = outcome.report.folder  # also of a failed run, such as one whose split leaks
    assert spec.audit is not None  # variants checks it
    title, page = f"{path.stem}: other splits, less of the log", describe_audit(spec.audit.arms, runs)
    (folder / "audit.html").write_text(as_html(title, page), encoding="utf-8")
    (folder / "audit.md").write_text(as_markdown(title, page), encoding="utf-8")
    return folder
