"""Levels as means over seeds, the one value that every table shows."""

from __future__ import annotations

from dataclasses import replace
from math import nan

from data.experiment.experiment_spec import arm_of
from tasks.report.result import ResultRow, main_targets
from tasks.slices import WHOLE


def over_seeds(rows: list[ResultRow]) -> list[ResultRow]:
    """A row for each arm, index, target set, slice and measure: the mean over its seeds.

    Its interval is that of the only seed, or else that of the mean in a question; NaN where neither is.
    """

    def key(row: ResultRow) -> tuple[str, ...]:
        return arm_of(row.arm), row.index, row.targets, row.slice, row.measure

    of_question = {key(row): row for row in reversed(rows) if row.question is not None}
    by_key: dict[tuple[str, ...], list[ResultRow]] = {}
    for row in rows:
        if row.question is None:
            by_key.setdefault(key(row), []).append(row)
    return [_mean(of_seeds, of_question.get(at)) for at, of_seeds in by_key.items()]


def _mean(rows: list[ResultRow], of_question: ResultRow | None) -> ResultRow:
    if len(rows) == 1:
        return rows[0]
    low, high = (of_question.low, of_question.high) if of_question else (nan, nan)
    value = sum(row.value for row in rows) / len(rows)
    return replace(rows[0], seed=None, seeds=len(rows), value=value, low=low, high=high)


def validation_recalls(rows: list[ResultRow], k: int) -> dict[str, ResultRow]:
    """The recall@k of each arm on validation, the mean over seeds, from the rows of that split."""
    recalls = [row for row in over_seeds(rows) if (row.metric, row.k, row.slice) == ("recall", k, WHOLE)]
    targets = "clicked" if any(row.targets == "clicked" for row in recalls) else main_targets(recalls)
    by_itself = sorted((row for row in recalls if row.targets == targets), key=lambda row: row.is_level)
    return {row.arm: row for row in by_itself}
