"""From retrieved lists to results: a row for each question, arm, seed, index, target set, slice and metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from threadpoolctl import threadpool_limits

from data.experiment.experiment_spec import ORACLES, REFIT, Comparison, Evaluation, arm_of
from data.schemas import PER_SEARCH, RESULTS_OF_RUN
from ebr_core.arrays import Bool, Int64
from ebr_core.frozen import Frozen
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
from ebr_core.search.exclusions import is_excluded
from ebr_core.search.index_specs import EXACT, NO_INDEX
from tasks.artifacts import stage
from tasks.eval_sets import SampledSearches, read_sample, read_seen
from tasks.kinds import EvalSet, RetrievedList, RunResults
from tasks.list_measures import (
    COUNTS,
    EVERY_SET,
    EvaluatedRun,
    MetricsByRun,
    add_counts,
    add_index_recall,
    add_unseen,
    clusters_of,
    measure_list,
)
from tasks.progress import show_progress
from tasks.retrieved import Retrieved, load_match, load_retrieved
from tasks.slices import FEW_SEARCHES, WHOLE, slices_of

PER_SEARCH_METRICS = ("recall", "mrr", "index_recall")  # metrics in per_search.parquet, beside those of the questions
DIFFERENCE = ("difference", "difference_low", "difference_high", "family_low", "family_high", "detectable")


class EvaluatedList(Frozen):
    """The list that one arm (or baseline) with one seed retrieved through one index."""

    arm: str
    seed: int | None  # a baseline has none
    index: str
    rows: RetrievedList
    leak: str | None = None  # the reason why its training may have seen the test
    undecidable: dict[str, str] = Field(default_factory=dict)  # set, set@K or EVERY_SET → why nothing is decided there


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


@stage(RunResults)
def evaluate(
    folder: Path,
    eval_set: EvalSet,
    evaluated_lists: list[EvaluatedList],
    questions: dict[str, Comparison],
    evaluation: Evaluation,
    validation: RunResults | None = None,
) -> None:
    """Write results.parquet and per_search.parquet of all retrieved lists, and checks.json.

    eval_set: of the test. validation: evaluate_validation of the same experiment, whose rows are taken over.
    """
    sample, seen = read_sample(eval_set), read_seen(eval_set)
    outcomes = {EvaluatedRun(run.arm, run.seed, run.index): load_retrieved(run.rows) for run in evaluated_lists}
    lists = {run: outcome for run, outcome in outcomes.items() if isinstance(outcome, Retrieved)}
    unavailable = {run.arm: reason for run, reason in outcomes.items() if isinstance(reason, str)}
    rows_by_run = {run: outcome.rows for run, outcome in lists.items()}
    _refuse_excluded(sample, rows_by_run)
    results: list[dict[str, Any]] = []
    per_search: list[pa.Table] = []
    leaks = {run.arm: run.leak for run in evaluated_lists if run.leak}
    undecidable = {run.arm: run.undecidable for run in evaluated_lists if run.undecidable}
    matches = {run.arm: match.model_dump() for run in evaluated_lists if (match := load_match(run.rows))}
    checks: dict[str, Any] = {"unavailable": unavailable, "leaks": leaks, "undecidable": undecidable}
    checks |= {"lists": matches, "ceilings": {}, "refits": []}
    with threadpool_limits(1):  # the bytes of a product of matrices depend on the threads
        for name in sample.names:
            searches, targets = sample.for_targets(name)
            measured = {
                run: measure_list(rows[searches["at"]], targets, sample, evaluation.ks)
                for run, rows in rows_by_run.items()
            }
            add_unseen(measured, lists, searches, seen, evaluation.main_k)
            add_counts(measured, lists, searches)
            add_index_recall(measured, lists, searches, evaluation.ks)
            with show_progress(f"evaluate, {name} targets", 1):
                results += _coverage_rows(name, searches, rows_by_run, sample, evaluation.ks)
                results += _rows(name, searches, measured, questions, evaluation, undecidable)
            if name == "truth":
                checks["above_oracle"] = _above_oracle(searches, measured, evaluation)
            checks["refits"] += _refits(name, searches, measured, evaluation)
            per_search += _per_search(name, searches, measured, {question.metric for question in questions.values()})
            checks["ceilings"][name] = {
                f"recall@{k}": float(metrics.recall_ceiling(targets, k).mean()) for k in evaluation.ks
            }
    table = pa.Table.from_pylist(results, RESULTS_OF_RUN)
    if validation is not None:
        table = pa.concat_tables([table, pq.read_table(validation.folder / "results.parquet")])
    pq.write_table(table, folder / "results.parquet")
    pq.write_table(pa.concat_tables([PER_SEARCH.empty_table(), *per_search]), folder / "per_search.parquet")
    (folder / "checks.json").write_text(json.dumps(checks, indent=1))


def _refuse_excluded(sample: SampledSearches, rows_by_run: dict[EvaluatedRun, Any]) -> None:
    """Raise ValueError if a list holds a document that evaluation.exclude takes out of its candidates."""
    excluded = sample.excluded_rows
    for run, rows in rows_by_run.items():
        if is_excluded(rows, excluded).any():
            raise ValueError(f"{run.arm} retrieves excluded documents: its stage must cut its lists by first_allowed")


@stage(RunResults)
def evaluate_validation(
    folder: Path, eval_set: EvalSet, evaluated_lists: list[EvaluatedList], evaluation: Evaluation
) -> None:
    """Write results.parquet: the levels of all lists over the validation searches, with intervals; and checks.json:
    remarks on arms whose figures are not to be believed, or decide nothing."""
    sample = read_sample(eval_set)
    outcomes = {EvaluatedRun(run.arm, run.seed, run.index): load_retrieved(run.rows) for run in evaluated_lists}
    lists = {run: outcome for run, outcome in outcomes.items() if isinstance(outcome, Retrieved)}
    results: list[dict[str, Any]] = []
    with threadpool_limits(1), show_progress("evaluate, validation", 1):
        for name in sample.names if lists else ():
            searches, targets = sample.for_targets(name)
            measured = {
                run: measure_list(outcome.rows[searches["at"]], targets, sample, evaluation.ks)
                for run, outcome in lists.items()
            }
            add_counts(measured, lists, searches)
            part = Part("validation", name, WHOLE, np.ones(len(searches["at"]), bool), clusters_of(searches))
            results += _level_rows(part, measured, evaluation.resamples)
    pq.write_table(pa.Table.from_pylist(results, RESULTS_OF_RUN), folder / "results.parquet")
    leaks = {run.arm: run.leak for run in evaluated_lists if run.leak}
    undecidable = {run.arm: run.undecidable for run in evaluated_lists if run.undecidable}
    checks = {"leaks": leaks, "undecidable": undecidable}
    (folder / "checks.json").write_text(json.dumps(checks, indent=1))


def _coverage_rows(
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


def _rows(
    name: str,
    searches: dict[str, Any],
    measured: MetricsByRun,
    questions: dict[str, Comparison],
    evaluation: Evaluation,
    undecidable: dict[str, dict[str, str]],
) -> list[dict[str, Any]]:
    """Result rows of one target set: every run by itself, then every question's differences to its baseline.

    undecidable: arm → its EvaluatedList.undecidable.
    """
    rows, clusters = [], clusters_of(searches)
    for slice_name, inside in slices_of(searches):
        part = Part("test", name, slice_name, inside, clusters[inside])
        rows += _level_rows(part, measured, evaluation.resamples)
        for question_name, question in sorted(questions.items()):
            reasons = _reasons(undecidable, name, question.metric, max(evaluation.ks))
            rows += _question_rows(question_name, question, part, measured, evaluation.resamples, reasons)
    return rows


def _level_rows(part: Part, measured: MetricsByRun, resamples: int) -> list[dict[str, Any]]:
    """Rows of every run by itself; in slices, only of those that depend on the arm alone."""
    whole = part.slice == WHOLE
    columns = [
        (run, metric, values)
        for run, metrics_of_run in measured.items()
        for metric, values in metrics_of_run.items()
        if whole or run.is_exact
    ]
    if not columns:
        return []
    table = np.column_stack([values for *_, values in columns])[part.inside]
    intervals = bootstrap(table, part.clusters, resamples) if whole else cluster_robust(table, part.clusters)
    shared = part.row
    return [
        _row(shared, run, metric, _inside_bounds(metric, interval))
        for (run, metric, _), interval in zip(columns, intervals, strict=True)
    ]


def _inside_bounds(metric: str, interval: Interval) -> Interval:
    """The interval, cut to the values that a share can take, which ± t · s may exceed; NaN stays."""
    if metric in COUNTS:
        return interval
    lowest = -1 if metric.startswith("popularity_lift") else 0
    return interval._replace(low=float(np.clip(interval.low, lowest, 1)), high=float(np.clip(interval.high, lowest, 1)))


def _question_rows(
    name: str,
    question: Comparison,
    part: Part,
    measured: MetricsByRun,
    resamples: int,
    undecidable: dict[str, str],
) -> list[dict[str, Any]]:
    """Rows of paired differences on the same searches; those over all searches have verdicts."""
    values_by_arm = {
        arm: values
        for arm in (question.baseline, *question.arms)
        if (values := _by_seed(measured, arm, question.metric, part.inside)) is not None
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
        comparison = compare(baseline, arms, part.clusters, resamples)
        for at, arm in enumerate(arm_names):
            rows[arm] |= dict(zip(DIFFERENCE, (float(column[at]) for column in comparison[:6]), strict=True))
            rows[arm] |= {"baseline": question.baseline, "training_noise": comparison.seed_freedom > 0}
            reason = undecidable.get(arm_of(arm)) or undecidable.get(arm_of(question.baseline))
            rows[arm] |= _verdict_columns(question, rows[arm]["family_low"], rows[arm]["family_high"], reason)
    elif arms:
        for arm, interval in zip(arm_names, compare_pointwise(baseline, arms, part.clusters), strict=True):
            rows[arm] |= {"baseline": question.baseline} | dict(zip(DIFFERENCE[:3], interval, strict=True))
    return list(rows.values())


def _by_seed(measured: MetricsByRun, arm: str, metric: str, inside: Bool) -> MetricValues | None:
    """An arm's metric by seed on some searches; None if it retrieved no list. An arm without a seed was not trained."""
    index = _index_of(measured, arm)
    runs = [run for run in measured if (run.arm, run.index_name) == (arm_of(arm), index)]
    if not runs:
        return None
    return MetricValues(np.stack([measured[run][metric][inside] for run in runs]), trained=runs[0].seed is not None)


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


def _above_oracle(searches: dict[str, Any], measured: MetricsByRun, evaluation: Evaluation) -> list[str]:
    """The runs that beat the Bayes-optimal list beyond the interval of the difference, which only a leak explains.

    Only the first search of each session counts: a search after a failed one holds more than the oracle can see.
    """
    first, best = searches["attempt"] == 1, EvaluatedRun("oracle-everything", None, NO_INDEX)
    runs = [run for run in measured if run.arm not in ORACLES]
    if not first.any() or best not in measured or not runs:
        return []
    names = f"recall@{max(evaluation.ks)}", f"recall@{evaluation.main_k}"
    columns = [(run, name, (measured[run][name] - measured[best][name])[first]) for run in runs for name in names]
    clusters = clusters_of(searches)[first]
    intervals = bootstrap(np.column_stack([column for *_, column in columns]), clusters, evaluation.resamples)
    return [
        f"{run.arm} through {run.index_name} is above the oracle on {name} by {interval.value:.3f} "
        f"[{interval.low:.3f}, {interval.high:.3f}]: something leaks"
        for (run, name, _), interval in zip(columns, intervals, strict=True)
        if interval.low > 0
    ]


def _refits(
    name: str, searches: dict[str, Any], measured: MetricsByRun, evaluation: Evaluation
) -> list[dict[str, Any]]:
    """The paired difference of each refit to what it repeats, with the same seed and index, on a target set."""
    metric, clusters = f"recall@{evaluation.main_k}", clusters_of(searches)
    refits = [run for run in measured if run.is_exact and run.arm.endswith(REFIT)]
    pairs = [(run, run._replace(arm=run.arm.removesuffix(REFIT))) for run in refits]
    pairs = [(run, source) for run, source in pairs if source in measured]
    if not pairs:
        return []
    differences = np.column_stack([measured[run][metric] - measured[source][metric] for run, source in pairs])
    intervals = bootstrap(differences, clusters, evaluation.resamples)
    return [
        {"targets": name, "arm": run.arm, "of": source.arm, "metric": metric, "difference": interval.value}
        | ({} if np.isnan(interval.low) else {"low": interval.low, "high": interval.high})
        for (run, source), interval in zip(pairs, intervals, strict=True)
    ]


def above_oracle(results: RunResults) -> list[str]:
    """A sentence for each run above the oracle; empty without an oracle."""
    checks = json.loads((results.folder / "checks.json").read_text())
    return list(checks.get("above_oracle", []))


def _row(shared: dict[str, Any], run: EvaluatedRun, metric: str, interval: Interval) -> dict[str, Any]:
    name, _, k = metric.partition("@")
    return shared | run.row | {"metric": name, "k": int(k) if k else None} | interval._asdict()


def _per_search(
    name: str, searches: dict[str, Any], measured: MetricsByRun, metrics_of_questions: set[str]
) -> list[pa.Table]:
    tables = []
    for run, metrics_of_run in measured.items():
        for metric, values in metrics_of_run.items():
            short, _, k = metric.partition("@")
            if short not in PER_SEARCH_METRICS and metric not in metrics_of_questions:
                continue
            constant = run.row | {"targets": name, "metric": short, "k": int(k) if k else None}
            columns = {
                key: pa.repeat(pa.scalar(value, PER_SEARCH.field(key).type), len(values))
                for key, value in constant.items()
            }
            columns |= {"search_row": pa.array(searches["search_row"], pa.int32()), "value": pa.array(values)}
            tables.append(pa.table([columns[field.name] for field in PER_SEARCH], PER_SEARCH))
    return tables
