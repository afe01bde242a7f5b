"""What `ebr run --json` prints (docs/command-line.md)."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from typing import Any

from data.experiment.experiment_spec import BM25
from flows.tune import Tuning
from tasks.report.page import without_markup
from tasks.report.recommendation import champion_difference, main_recalls, recommendation, served_levels
from tasks.report.result import Result, ResultRow, main_targets, read, read_rows
from tasks.report.seed_means import over_seeds, validation_recalls
from tasks.tracking.runs import Outcome


def describe_run(outcome: Outcome, failed: str | None) -> dict[str, Any]:
    """The results of a run for a machine. failed: why the run counts as failed; None if it does not."""
    result = read(outcome.report.folder)
    levels = served_levels(result)
    return {
        "experiment": outcome.experiment,
        "run": outcome.report.folder.name,
        "folder": str(outcome.report.folder),
        "report": str(outcome.report.folder / "report.html"),
        "failed": failed,
        "failures": outcome.failures,
        "advice": without_markup(recommendation(result)) or None,
        "targets": result.main,
        "metric": result.recall,
        "searches": result.every_set.get(result.main, 0),
        "champion": _champion(outcome, result, levels),
        "bm25": levels.get(BM25),
        "rows": _rows(result),
        "questions": [_answer(row, result) for rows in result.compared.values() for row in _whole(rows, result)],
        "looks_at_the_test": outcome.looks,
        "mlflow_run": outcome.mlflow_run_id,
    }


def _champion(outcome: Outcome, result: Result, levels: dict[str, float]) -> dict[str, Any] | None:
    """The model that answers, its recall, and its difference to BM25; None without one."""
    served = outcome.served
    if served is None:
        return None
    row = champion_difference(result, BM25)
    return {
        "model": f"{outcome.experiment}/{served.arm}",
        "row": served.row,
        "mode": served.mode,
        "index": served.index,
        "validation_recall": served.recall,
        "recall": levels.get(served.row, nan),
        "against_bm25": row and _difference(row),
    }


def _difference(row: ResultRow) -> dict[str, Any]:
    """A difference with its interval, which holds for all arms of the question together."""
    return {
        "difference": row.difference,
        "low": row.family_low,
        "high": row.family_high,
        "finding": row.finding,
        "because": row.open_because,
    }


def _rows(result: Result) -> list[dict[str, Any]]:
    """The main recall of every row on the main targets, by exact search where it was made, the mean over seeds."""
    validation = validation_recalls(result.validation, result.k)
    rows = over_seeds(main_recalls(result))
    return [
        {
            "row": row.arm,
            "index": row.index,
            "value": row.value,
            "low": row.low,
            "high": row.high,
            "validation": validation[row.arm].value if row.arm in validation else None,
        }
        for row in sorted(rows, key=lambda row: -row.value)
    ]


def _whole(rows: Iterable[ResultRow], result: Result) -> list[ResultRow]:
    """The answers on the main targets."""
    return [row for row in rows if row.targets == result.main]


def _answer(row: ResultRow, result: Result) -> dict[str, Any]:
    return {
        "question": row.question,
        "title": without_markup(result.title(str(row.question))),
        "row": row.arm,
        "baseline": row.baseline,
        "metric": row.measure,
        **_difference(row),
        "claim": row.claim,
        "verdict": row.verdict,
    }


def describe_tuning(tuning: Tuning, experiment: str, failed: str | None) -> dict[str, Any]:
    """The figures of `ebr run --tune` for a machine: the validation alone."""
    rows = read_rows(tuning.results.folder / "results.parquet", "validation", with_slices=False)
    levels = over_seeds([row for row in rows if row.question is None])
    return {
        "experiment": experiment,
        "folder": str(tuning.results.folder),
        "failed": failed,
        "failures": tuning.failures,
        "split": "validation",
        "targets": main_targets(rows),
        "rows": [
            {
                "row": row.arm,
                "index": row.index,
                "targets": row.targets,
                "metric": row.measure,
                "value": row.value,
                "low": row.low,
                "high": row.high,
                "searches": row.n,
            }
            for row in levels
        ],
    }
