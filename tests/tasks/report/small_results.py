"""Hand-written results for the tests of the report's parts."""

from __future__ import annotations

from typing import Any

from tasks.report.result import Result, ResultRow


def a_difference(difference: float, low: float, high: float, finding: str, /, **fields: Any) -> ResultRow:
    """A row of question P01: `new` against `old`, over 500 searches."""
    row: dict[str, Any] = {
        "arm": "new",
        "value": 0.5 + difference,
        "question": "P01",
        "baseline": "old",
        "k": 10,
        "n": 500,
    }
    row |= {"clusters": 90, "difference": difference, "family_low": low, "family_high": high, "margin": 0.01}
    row |= {
        "difference_low": low,
        "difference_high": high,
        "detectable": 0.02,
        "finding": finding,
        "training_noise": False,
    }
    return ResultRow(**row | fields)


def a_level(arm: str, value: float, **fields: Any) -> ResultRow:
    """The recall@10 of an arm over 500 searches."""
    return ResultRow(**{"arm": arm, "value": value, "k": 10, "n": 500, "seed": 0} | fields)


def a_result(rows: list[ResultRow], champion: str | None = "new", **files: Any) -> Result:
    """The result files of a run with these rows."""
    spec: dict[str, Any] = {"evaluation": {"ks": [1, 10]}, "questions": {}, "arms": {}, "logs": {"layout": "tables"}}
    run = {"champion": champion, "failures": {}, "made_at": "2026-01-01T00:00:00+00:00", "experiment": "e"}
    content: dict[str, Any] = {"costs": [], "validation": [], "checks": {}, "audit": {"leaks": [], "sampled": {}}}
    content |= {"data": {}, "counts": []}
    return Result(**content | {"rows": rows, "spec": spec, "run": run} | files)
