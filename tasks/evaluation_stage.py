"""From what was retrieved to results: one row a question, arm, seed, index, target set, slice and metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from data.experiment.experiment_spec import ORACLES, Comparison, Evaluation, arm_of
from data.schemas import PER_SEARCH, RESULTS_OF_RUN
from ebr_core.arrays import Bool, Int64
from ebr_core.frozen import Frozen
from ebr_core.measure import metrics
from ebr_core.measure.intervals import (
    FEW_CLUSTERS,
    Interval,
    MetricValues,
    bootstrap,
    compare,
    compare_by_itself,
    robust,
)
from ebr_core.measure.verdicts import find, verdict
from tasks.artifacts import stage
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import EvalSet, RetrievedList, RunResults
from tasks.list_measures import COUNTS, By, EvaluatedRun, add_counts, add_index_recall, clusters_of, measure_list
from tasks.progress import showing
from tasks.retrieved import Retrieved, load_retrieved
from tasks.slices import FEW_SEARCHES, WHOLE, slices_of

KEPT = ("recall", "mrr", "index_recall")  # what per_search.parquet holds, beside the metrics of the questions
DIFFERENCE = ("difference", "difference_low", "difference_high", "family_low", "family_high", "detectable")


class EvaluatedList(Frozen):
    """What one arm (or baseline) with one seed retrieved through one index."""

    arm: str
    seed: int | None  # a baseline has none
    index: str
    rows: RetrievedList
    leak: str | None = None  # what may have let the test into its training


class Part(NamedTuple):
    """A slice of the searches of one target set."""

    targets: str
    slice: str
    inside: Bool  # (S,)
    clusters: Int64  # (those inside,)

    @property
    def row(self) -> dict[str, Any]:
        """What all its result rows share."""
        n, clusters = int(self.inside.sum()), len(np.unique(self.clusters))
        small = n < FEW_SEARCHES or clusters < FEW_CLUSTERS
        shared = {"targets": self.targets, "split": "test", "slice": self.slice}
        return shared | {"n": n, "clusters": clusters, "small": small}


@stage(RunResults)
def evaluate(
    folder: Path,
    evaluated: EvalSet,
    retrieved: list[EvaluatedList],
    questions: dict[str, Comparison],
    evaluation: Evaluation,
) -> None:
    """results.parquet and per_search.parquet of everything that was retrieved, and checks.json."""
    sample = read_sample(evaluated)
    loaded = {EvaluatedRun(run.arm, run.seed, run.index): load_retrieved(run.rows) for run in retrieved}
    lists = {run: of_run for run, of_run in loaded.items() if isinstance(of_run, Retrieved)}
    unavailable = {run.arm: reason for run, reason in loaded.items() if isinstance(reason, str)}
    found = {run: of_run.rows for run, of_run in lists.items()}
    results: list[dict[str, Any]] = []
    per_search: list[pa.Table] = []
    leaks = {run.arm: run.leak for run in retrieved if run.leak}
    checks: dict[str, Any] = {"unavailable": unavailable, "leaks": leaks, "ceilings": {}}
    with threadpool_limits(1):  # the bytes of a product of matrices depend on the threads
        for name in sample.names:
            searches, targets = sample.for_targets(name)
            measured = {
                run: measure_list(of[searches["at"]], targets, sample, evaluation.ks) for run, of in found.items()
            }
            add_counts(measured, lists, searches)
            add_index_recall(measured, lists, searches, evaluation.ks)
            with showing(f"evaluate, {name} targets", 1):
                results += _coverage_rows(name, searches, found, sample, evaluation.ks)
                results += _rows(name, searches, measured, questions, evaluation)
            if name == "truth":
                checks["above_oracle"] = _above_oracle(searches, measured, evaluation)
            per_search += _per_search(name, searches, measured, {question.metric for question in questions.values()})
            checks["ceilings"][name] = {
                f"recall@{k}": float(metrics.recall_ceiling(targets, k).mean()) for k in evaluation.ks
            }
    pq.write_table(pa.Table.from_pylist(results, RESULTS_OF_RUN), folder / "results.parquet")
    pq.write_table(pa.concat_tables([PER_SEARCH.empty_table(), *per_search]), folder / "per_search.parquet")
    (folder / "checks.json").write_text(json.dumps(checks, indent=1))


def _coverage_rows(
    name: str, searches: dict[str, Any], found: dict[EvaluatedRun, Any], sample: SampledSearches, ks: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Coverage is of all searches together: no interval, no slices."""
    part = Part(name, WHOLE, np.ones(len(searches["at"]), bool), clusters_of(searches))
    shared = part.row
    rows = []
    for run, documents in found.items():
        for k in ks:
            value = metrics.coverage_at_k(documents[searches["at"]], len(sample.candidates), k)
            rows.append(_row(shared, run, f"coverage@{k}", Interval(value, np.nan, np.nan)))
    return rows


def _rows(
    name: str, searches: dict[str, Any], measured: By, questions: dict[str, Comparison], evaluation: Evaluation
) -> list[dict[str, Any]]:
    """Result rows of one target set: every run by itself, then every question's differences to its baseline."""
    rows, clusters = [], clusters_of(searches)
    for slice_name, inside in slices_of(searches):
        part = Part(name, slice_name, inside, clusters[inside])
        shared, whole = part.row, slice_name == WHOLE
        columns = [
            (run, metric, values) for run, of in measured.items() for metric, values in of.items() if whole or run.exact
        ]
        table = np.column_stack([values for *_, values in columns])[inside]
        intervals = bootstrap(table, part.clusters, evaluation.resamples) if whole else robust(table, part.clusters)
        for (run, metric, _), interval in zip(columns, intervals, strict=True):
            rows.append(_row(shared, run, metric, _inside_bounds(metric, interval)))
        for asked, question in sorted(questions.items()):
            rows += _question_rows(asked, question, part, measured, evaluation.resamples)
    return rows


def _inside_bounds(metric: str, interval: Interval) -> Interval:
    """A share cannot lie outside 0 and 1, whatever ± t · s says; NaN stays."""
    if metric in COUNTS:
        return interval
    lowest = -1 if metric.startswith("popularity_lift") else 0
    return interval._replace(low=float(np.clip(interval.low, lowest, 1)), high=float(np.clip(interval.high, lowest, 1)))


def _question_rows(asked: str, question: Comparison, part: Part, measured: By, resamples: int) -> list[dict[str, Any]]:
    """Paired differences on the same searches with the verdicts on the whole."""
    there = {
        arm: of
        for arm in (question.baseline, *question.arms)
        if (of := _by_seed(measured, arm, question.metric, part.inside)) is not None
    }
    if question.baseline not in there:
        return []
    levels = robust(np.column_stack([of.values.mean(0) for of in there.values()]), part.clusters)
    shared = part.row | {"question": asked}
    rows = {}
    for (arm, of), level in zip(there.items(), levels, strict=True):
        run = EvaluatedRun(arm, None, _index_asked(measured, arm))
        rows[arm] = _row(shared, run, question.metric, _inside_bounds(question.metric, level))
        rows[arm]["seeds"] = len(of.values) if of.trained else 0
    compared = [arm for arm in there if arm != question.baseline]
    baseline, arms = there[question.baseline], [there[arm] for arm in compared]
    if arms and part.slice == WHOLE:
        found = compare(baseline, arms, part.clusters, resamples)
        for at, arm in enumerate(compared):
            rows[arm] |= dict(zip(DIFFERENCE, (float(column[at]) for column in found[:6]), strict=True))
            rows[arm] |= {"baseline": question.baseline, "training_noise": found.seed_freedom > 0}
            rows[arm] |= _judged(question, rows[arm]["family_low"], rows[arm]["family_high"])
    elif arms:
        for arm, interval in zip(compared, compare_by_itself(baseline, arms, part.clusters), strict=True):
            rows[arm] |= {"baseline": question.baseline} | dict(zip(DIFFERENCE[:3], interval, strict=True))
    return list(rows.values())


def _by_seed(measured: By, arm: str, metric: str, inside: Bool) -> MetricValues | None:
    """An arm's metric by seed on some searches, None where it was not retrieved; what has no seed was not trained."""
    index = _index_asked(measured, arm)
    runs = [run for run in measured if (run.arm, run.through) == (arm_of(arm), index)]
    if not runs:
        return None
    return MetricValues(np.stack([measured[run][metric][inside] for run in runs]), trained=runs[0].seed is not None)


def _index_asked(measured: By, arm: str) -> str:
    """The index through which a question looks at an arm: the one after its @, else exact search; a retrieval has one
    of its own."""
    if "@" in arm:
        return arm.partition("@")[2]
    there = [run.through for run in measured if run.arm == arm]
    return "exact" if "exact" in there or not there else there[0]


def _judged(question: Comparison, low: float, high: float) -> dict[str, Any]:
    return {
        "claim": question.claim,
        "margin": question.margin,
        "finding": find(low, high, question.margin),
        "verdict": verdict(question.claim, low, high, question.margin) if question.claim else None,
    }


def _above_oracle(searches: dict[str, Any], measured: By, evaluation: Evaluation) -> list[str]:
    """The runs that beat the Bayes-optimal list beyond the interval of the difference, which only a leak explains.

    On searches that are their session's first: those after a failed one tell more than the oracle hears.
    """
    first, best = searches["attempt"] == 1, EvaluatedRun("oracle-everything", None, "none")
    runs = [run for run in measured if run.arm not in ORACLES]
    if not first.any() or best not in measured or not runs:
        return []
    names = f"recall@{max(evaluation.ks)}", f"recall@{min(evaluation.ks, key=lambda k: abs(k - 10))}"
    columns = [(run, name, (measured[run][name] - measured[best][name])[first]) for run in runs for name in names]
    clusters = clusters_of(searches)[first]
    intervals = bootstrap(np.column_stack([column for *_, column in columns]), clusters, evaluation.resamples)
    return [
        f"{run.arm} through {run.through} is above the oracle on {name} by {interval.value:.3f} [{interval.low:.3f}, "
        f"{interval.high:.3f}]: something leaks"
        for (run, name, _), interval in zip(columns, intervals, strict=True)
        if interval.low > 0
    ]


def above_oracle(results: RunResults) -> list[str]:
    """What the check against the oracle found; empty where there is no oracle."""
    checks = json.loads((results.folder / "checks.json").read_text())
    return list(checks.get("above_oracle", []))


def _row(shared: dict[str, Any], run: EvaluatedRun, metric: str, interval: Interval) -> dict[str, Any]:
    name, _, k = metric.partition("@")
    return shared | run.row | {"metric": name, "k": int(k) if k else None} | interval._asdict()


def _per_search(name: str, searches: dict[str, Any], measured: By, asked: set[str]) -> list[pa.Table]:
    tables = []
    for run, of in measured.items():
        for metric, values in of.items():
            short, _, k = metric.partition("@")
            if short not in KEPT and metric not in asked:
                continue
            constant = run.row | {"targets": name, "metric": short, "k": int(k) if k else None}
            columns = {
                key: pa.repeat(pa.scalar(value, PER_SEARCH.field(key).type), len(values))
                for key, value in constant.items()
            }
            columns |= {"search_row": pa.array(searches["search_row"], pa.int32()), "value": pa.array(values)}
            tables.append(pa.table([columns[field.name] for field in PER_SEARCH], PER_SEARCH))
    return tables
