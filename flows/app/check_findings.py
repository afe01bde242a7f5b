"""What `ebr check` finds, for people and for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple


class Checked(NamedTuple):
    """What `ebr check` found."""

    text: str
    refusals: list[str]  # the errors that would stop a run
    failures: dict[str, str]  # arm that a run would report as failed → the reason
    questions: dict[str, list[str]]  # question → the arms without which it cannot be answered
    report: dict[str, Any]  # what extraction says of the log
    remarks: list[str]  # the plan and the remarks, a sentence each

    def document(self, path: Path) -> dict[str, Any]:
        """The findings for a machine (docs/command-line.md)."""
        return {
            "experiment": path.stem,
            "file": str(path),
            "refusals": self.refusals,
            "failures": self.failures,
            "questions": {
                name: {"answerable": not missing, "missing": missing} for name, missing in self.questions.items()
            },
            "remarks": self.remarks,
            "log": self.report,
        }
