"""Result rows: levels of every list, and paired differences of the questions, by target set and slice."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from data.experiment.experiment_spec import Comparison, Evaluation, arm_of
from ebr_core.arrays import Bool, Float64, Int64
from ebr_core.measure import metrics
from ebr_core.measure.intervals import (
    FEW_CLUSTERS,
    Interval,
    MetricValues,
    bootstrap,
    cluster_robust,
    compare,
    compare_pointwise,
)
from ebr_core.measure.verdicts import classify_difference, verdict
from ebr_core.search.index_specs import EXACT
from tasks.eval_sets import SampledSearches
from tasks.list_measures import COUNTS, EVERY_SET, EvaluatedRun, MetricsByRun, clusters_of
from tasks.slices import FEW_SEARCHES, WHOLE, slices_of

DIFFERENCE = ("difference", "difference_low", "difference_high", "family_low", "family_high", "detectable")


class ListNotes(NamedTuple):
    """What the differences between lists need to know of how these were made."""

    undecidable: dict[str, dict[str, str]]  # arm → its EvaluatedList.undecidable
    trainings: dict[EvaluatedRun, tuple[str, ...]]  # the trained models that made a list


class Part(NamedTuple):
    """A slice of the searches of one target set."""

    split: str
    targets: str
    slice: str
    inside: Bool  # (S,)
    clusters: Int64  # (those inside,)

    @property
    def row(self) -> dict[str, Any]:
        """The values that all its result rows share."""
        n, clusters = int(self.inside.sum()), len(np.unique(self.clusters))
        small = n < FEW_SEARCHES or clusters < FEW_CLUSTERS
        shared = {"targets": self.targets, "split": self.split, "slice": self.slice}
        return shared | {"n": n, "clusters": clusters, "small": small}


def coverage_rows(
    name: str,
    searches: dict[str, Any],
    rows_by_run: dict[EvaluatedRun, Any],
    sample: SampledSearches,
    ks: tuple[int, ...],
) -> list[dict[str, Any]]:
    """Rows of coverage, which is of all searches together: no interval, no slices."""
    part = Part("test", name, WHOLE, np.ones(len(searches["at"]), bool), clusters_of(searches))
    shared = part.row
    coverage_rows = []
    for run, documents in rows_by_run.items():
        for k in ks:
            value = metrics.coverage_at_k(documents[searches["at"]], len(sample.candidates), k)
            coverage_rows.append(_row(shared, run, f"coverage@{k}", Interval(value, np.nan, np.nan)))
    return coverage_rows


def rows_of_targets(
    name: str,
    searches: dict[str, Any],
    measured: MetricsByRun,
    questions: dict[str, Comparison],
    evaluation: Evaluation,
    notes: ListNotes,
) -> list[dict[str, Any]]:
    """Result rows of one target set: every run by itself, then every question's differences to its baseline."""
    rows, clusters, table = [], clusters_of(searches), tabulate_metrics(measured)
    exact = _columns(table, [run.is_exact for run, _ in table.columns])
    for slice_name, inside in slices_of(searches):
        part = Part("test", name, slice_name, inside, clusters[inside])
        rows += level_rows(part, table if slice_name == WHOLE else exact, evaluation.resamples)
        for question_name, question in sorted(questions.items()):
            rows += _question_rows(question_name, question, part, measured, evaluation, notes)
    return rows


class MetricTable(NamedTuple):
    """The metrics of several runs side by side."""

    columns: list[tuple[EvaluatedRun, str]]  # run and metric
    values: Float64  # (S, columns)


def tabulate_metrics(measured: MetricsByRun) -> MetricTable:
    """The metrics of all runs side by side."""
    columns = [(run, metric) for run, metrics_of_run in measured.items() for metric in metrics_of_run]
    if not columns:
        return MetricTable([], np.empty((0, 0)))
    return MetricTable(columns, np.column_stack([measured[run][metric] for run, metric in columns]))


def _columns(table: MetricTable, chosen: list[bool]) -> MetricTable:
    """The table of the chosen columns alone."""
    columns = [column for column, is_chosen in zip(table.columns, chosen, strict=True) if is_chosen]
    return MetricTable(columns, np.ascontiguousarray(table.values[:, chosen]))


def level_rows(part: Part, table: MetricTable, resamples: int) -> list[dict[str, Any]]:
    """Rows of every run of the table by itself, with bootstrapped intervals unless the part is a slice."""
    if not table.columns:
        return []
    values, whole = table.values[part.inside], part.slice == WHOLE
    intervals = bootstrap(values, part.clusters, resamples) if whole else cluster_robust(values, part.clusters)
    shared = part.row
    return [
        _row(shared, run, metric, _inside_bounds(metric, interval))
        for (run, metric), interval in zip(table.columns, intervals, strict=True)
    ]


def _inside_bounds(metric: str, interval: Interval) -> Interval:
    """The interval, cut to the values that a share can take, which ± t · s may exceed; NaN stays."""
    if metric in COUNTS:
        return interval
    lowest = -1.0 if metric.startswith("popularity_lift") else 0.0
    low, high = (max(min(end, 1.0), lowest) for end in (interval.low, interval.high))
    return interval._replace(low=low, high=high)


def _question_rows(
    name: str,
    question: Comparison,
    part: Part,
    measured: MetricsByRun,
    evaluation: Evaluation,
    notes: ListNotes,
) -> list[dict[str, Any]]:
    """Rows of paired differences on the same searches; those over all searches have verdicts."""
    values_by_arm = {
        arm: values
        for arm in (question.baseline, *question.arms)
        if (values := _by_seed(measured, arm, question.metric, part.inside, notes.trainings)) is not None
    }
    if question.baseline not in values_by_arm:
        return []
    levels = cluster_robust(
        np.column_stack([values.values.mean(0) for values in values_by_arm.values()]), part.clusters
    )
    shared = part.row | {"question": name}
    rows = {}
    for (arm, values), level in zip(values_by_arm.items(), levels, strict=True):
        run = EvaluatedRun(arm, None, _index_of(measured, arm))
        rows[arm] = _row(shared, run, question.metric, _inside_bounds(question.metric, level))
        rows[arm]["seeds"] = len(values.values) if values.trained else 0
    arm_names = [arm for arm in values_by_arm if arm != question.baseline]
    baseline, arms = values_by_arm[question.baseline], [values_by_arm[arm] for arm in arm_names]
    if arms and part.slice == WHOLE:
        comparison = compare(baseline, arms, part.clusters, evaluation.resamples)
        reasons = _reasons(notes.undecidable, part.targets, question.metric, max(evaluation.ks))
        for at, arm in enumerate(arm_names):
            rows[arm] |= dict(zip(DIFFERENCE, (float(column[at]) for column in comparison[:6]), strict=True))
            rows[arm] |= {"baseline": question.baseline, "training_noise": comparison.seed_freedom > 0}
            reason = reasons.get(arm_of(arm)) or reasons.get(arm_of(question.baseline))
            rows[arm] |= _verdict_columns(question, rows[arm]["family_low"], rows[arm]["family_high"], reason)
    elif arms:
        for arm, interval in zip(arm_names, compare_pointwise(baseline, arms, part.clusters), strict=True):
            rows[arm] |= {"baseline": question.baseline} | dict(zip(DIFFERENCE[:3], interval, strict=True))
    return list(rows.values())


def _by_seed(
    measured: MetricsByRun, arm: str, metric: str, inside: Bool, trainings: dict[EvaluatedRun, tuple[str, ...]]
) -> MetricValues | None:
    """An arm's metric by seed on some searches; None if it retrieved no list. An arm without a seed was not trained."""
    index = _index_of(measured, arm)
    runs = [run for run in measured if (run.arm, run.index_name) == (arm_of(arm), index)]
    if not runs:
        return None
    values = np.stack([measured[run][metric][inside] for run in runs])
    of_runs = tuple(trainings.get(run, ()) for run in runs)
    return MetricValues(values, runs[0].seed is not None, of_runs if all(of_runs) else ())


def _index_of(measured: MetricsByRun, arm: str) -> str:
    """The index of an arm in a question: the one after its @, else exact search, or the one that a list has."""
    if "@" in arm:
        return arm.partition("@")[2]
    indexes = [run.index_name for run in measured if run.arm == arm]
    return EXACT if EXACT in indexes or not indexes else indexes[0]


def _verdict_columns(question: Comparison, low: float, high: float, reason: str | None) -> dict[str, Any]:
    """The columns of the verdict; with a reason, nothing is decided, whatever the interval."""
    finding = classify_difference(low, high, question.margin)
    answer = verdict(question.claim, low, high, question.margin) if question.claim else None
    if reason and finding != "too few":
        finding, answer = "unclear", "undecided" if question.claim else None
    return {
        "claim": question.claim,
        "margin": question.margin,
        "finding": finding,
        "verdict": answer,
        "open_because": reason,
    }


def _reasons(undecidable: dict[str, dict[str, str]], targets: str, metric: str, deepest: int) -> dict[str, str]:
    """Arm → the reason why this metric on these targets decides nothing about it. deepest: K of metrics without one."""
    keys = targets, f"{targets}@{metric.partition('@')[2] or deepest}", EVERY_SET
    found = {arm: [by_set[key] for key in keys if key in by_set] for arm, by_set in undecidable.items()}
    return {arm: reasons[0] for arm, reasons in found.items() if reasons}


def _row(shared: dict[str, Any], run: EvaluatedRun, metric: str, interval: Interval) -> dict[str, Any]:
    name, _, k = metric.partition("@")
    return shared | run.row | {"metric": name, "k": int(k) if k else None} | interval._asdict()
