"""Recall of arms over the whole corpus, with intervals, beside BM25 and the other baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from ebr.experiment_log import ExperimentLog
from ebr_core.errors import InputError
from ebr_core.search.index_specs import OWN_INDEXES
from flows.arm_models import measure_on_test, measure_on_validation, train_model
from flows.submit import result
from tasks.looks import count_look
from tasks.report.result import ResultRow, main_targets, read_rows
from tasks.slices import WHOLE

LEVEL = ("n", "value", "low", "high")
# The column of the table → that of results.parquet. The interval is the one that the finding goes by.
DIFFERENCE = {
    "difference": "difference",
    "difference_low": "family_low",
    "difference_high": "family_high",
    "finding": "finding",
}


def evaluate(
    log: ExperimentLog,
    arms: Sequence[str] | None = None,
    split: Literal["validation", "test"] = "validation",
    targets: str | None = None,
    metric: str | None = None,
) -> pd.DataFrame:
    """A line for each arm, its hybrids with BM25 and each baseline, the best first.

    The columns are n, the number of searches; the metric, with its 95% interval `low`, `high`; and on the test the
    paired difference to BM25 with an interval that holds for all lines together, and its finding: better, worse, equal,
    unclear or too few. Arms without towers are trained first. All of it is of the experiment's first seed, so no
    interval includes training noise; `ebr run` includes it where an experiment has several seeds.

    arms: those to evaluate; None for all. split: choose by the validation, and look at the test once; each different
    table of the test counts as one more look, as a run does. targets: clicked, judged, truth …; None for the set that
    answers questions. metric: such as ndcg@10 or mrr; None for recall at the main K; differences are of that one alone.
    Raises InputError for an arm, a target set or a metric that there is not.
    """
    models = [train_model(log.prepared, arm) for arm in (log.arms if arms is None else arms)]
    if not models:
        raise InputError(f"{log.path.stem} has no arms; add one: ebr.with_arm(log, 'mine', {{}})")
    if split == "test":
        results = measure_on_test(log.prepared, models)
        count_look(log.prepared.source.log, result(log.prepared.searches.test), results)
    else:
        results = measure_on_validation(log.prepared, models)
    rows = read_rows(results.folder / "results.parquet", split)
    measure = metric or f"recall@{log.experiment.evaluation.main_k}"
    return _table(rows, targets or main_targets(rows), measure)


def _table(rows: list[ResultRow], targets: str, measure: str) -> pd.DataFrame:
    """The rows of one target set and metric, over all searches and by exact search."""
    whole = [row for row in rows if row.slice == WHOLE and row.index in OWN_INDEXES]
    of_set = [row for row in whole if row.targets == targets]
    _refuse_unknown("targets", targets, [row.targets for row in whole])
    levels = {row.arm: row for row in of_set if row.is_level and row.measure == measure}
    _refuse_unknown("metric", measure, [row.measure for row in of_set if row.is_level] if not levels else [measure])
    compared = {row.arm: row for row in of_set if row.question is not None and row.measure == measure and row.baseline}
    lines = [
        {"arm": arm}
        | {name: getattr(row, name) for name in LEVEL}
        | {column: getattr(compared.get(arm, _NOT_COMPARED), name) for column, name in DIFFERENCE.items()}
        for arm, row in sorted(levels.items(), key=lambda item: -item[1].value)
    ]
    table = pd.DataFrame(lines).set_index("arm").rename(columns={"value": measure})
    return table if compared else table.drop(columns=list(DIFFERENCE))


_NOT_COMPARED = ResultRow(arm="", value=float("nan"))


def _refuse_unknown(name: str, got: str, known: list[str]) -> None:
    if got not in known:
        raise InputError(f"{name}: got {got!r}; there are {', '.join(sorted(set(known)))}")
