"""Metrics, parameters and tags of MLflow's runs, made from result rows and the experiment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import isnan
from typing import Any

from data.experiment.experiment_spec import Experiment, arm_of
from ebr_core.search.index_specs import NO_INDEX, OWN_INDEXES
from ebr_core.search.modes import is_of_arm
from tasks.list_measures import COUNTS
from tasks.report.answers import difference_metrics, verdict_tags
from tasks.report.curves import Curves
from tasks.report.measures import in_mlflow
from tasks.report.result import ResultRow, label, main_targets
from tasks.slices import WHOLE


def metric_name(row: ResultRow) -> str:
    """The metric in MLflow: recall_at_10 on clicks by exact search; truth/recall_at_10 on another target set, which
    MLflow's charts put into a section of its own; recall_at_10.ivfpq through an index."""
    name = row.metric + (f"_at_{row.k}" if row.k else "")
    if row.targets != "clicked":
        name = f"{row.targets}/{name}"
    return name if row.index in OWN_INDEXES else f"{name}.{row.index}"


def own_rows(rows: Iterable[ResultRow], arm: str, seed: int | None, experiment: Experiment) -> list[ResultRow]:
    """The levels of one run over all searches, the main recall first: the page compares by what is logged first."""
    levels = [row for row in rows if (row.arm, row.seed, row.question, row.slice) == (arm, seed, None, WHOLE)]
    return sorted(levels, key=lambda row: (row.metric != "recall", row.k != experiment.evaluation.main_k))


def run_metrics(
    rows: list[ResultRow], arm: str, seed: int | None, experiment: Experiment, has_own_index: bool = False
) -> dict[str, float]:
    """The final metrics of one run: its levels, and its differences in the questions.

    has_own_index: True for a list such as a retrieval, of which the index is a part and so not in names of metrics.
    """
    rows_of_run, k = own_rows(rows, arm, seed, experiment), experiment.evaluation.main_k
    if has_own_index:
        rows_of_run = [replace(row, index=NO_INDEX) for row in rows_of_run]
    levels = {
        metric_name(row): row.value
        for row in rows_of_run
        if in_mlflow(row, k) or (has_own_index and row.metric in COUNTS)
    }
    return _answer(rows, rows_of_run, k) | levels | difference_metrics(rows, arm)


def answer_metric(measure: str) -> str:
    """The metric in MLflow that a run is judged by. Its section of charts, and its place among metrics, come first,
    because MLflow sorts them by name."""
    return f"Answer/{measure}"


def _answer(rows: list[ResultRow], rows_of_run: list[ResultRow], k: int) -> dict[str, float]:
    """The main recall of a run: on the target set that answers the questions, by exact search or its own index."""
    main = main_targets(rows)
    own = [row for row in rows_of_run if row.index in OWN_INDEXES and not isnan(row.value)]
    recalls = [row.value for row in own if (row.metric, row.k, row.targets) == ("recall", k, main)]
    return {answer_metric(f"recall_at_{k}"): value for value in recalls}


def arm_tags(arm: str, kind: str, rows: list[ResultRow], experiment: Experiment) -> dict[str, str]:
    """Tags of a run: its kind and name, its role in each question, and the verdicts on the claims."""
    tags = {"kind": kind, "arm": arm}
    for name, question in experiment.questions.items():
        if arm == arm_of(question.baseline):
            tags[f"question.{name}"] = "baseline"
        elif arm in map(arm_of, question.arms):
            tags[f"question.{name}"] = "arm"
    return tags | verdict_tags(rows, arm)


def arm_parameters(arm: str, experiment: Experiment) -> dict[str, Any]:
    """All settings of an arm, flat: negatives.random = 100. Those in which arms of the experiment differ come first."""
    settings = {name: _flat(config.model_dump(mode="json")) for name, config in experiment.arms.items()}
    own = settings[arm]
    varied = [key for key in own if len({str(other.get(key)) for other in settings.values()}) > 1]
    return {key: own[key] for key in (*varied, *(key for key in own if key not in varied))}


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat


def recall_panels(rows: Iterable[ResultRow]) -> dict[str, Curves]:
    """The curves of each target set, of every run over all searches but hybrids with BM25. Recalls of different sets
    are not comparable."""
    panels: dict[str, Curves] = {}
    for row in sorted(rows, key=lambda row: (row.targets, row.k or 0)):
        if row.is_level and (row.slice, row.metric) == (WHOLE, "recall") and row.k and is_of_arm(row.arm):
            panels.setdefault(row.targets, {}).setdefault(label(row.arm, row.seed), []).append((row.k, row.value))
    return panels
