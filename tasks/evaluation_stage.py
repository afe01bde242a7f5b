"""From retrieved lists to results: a row for each question, arm, seed, index, target set, slice and metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from threadpoolctl import threadpool_limits

from data.experiment.experiment_spec import Comparison, Evaluation
from data.schemas import PER_SEARCH, RESULTS_OF_RUN
from ebr_core.frozen import Frozen
from ebr_core.measure import metrics
from ebr_core.search.exclusions import is_excluded
from tasks.artifacts import stage
from tasks.eval_sets import SampledSearches, read_sample, read_seen
from tasks.evaluation_checks import compare_refits, find_above_oracle
from tasks.kinds import EvalSet, OwnSlices, RetrievedList, RunResults
from tasks.list_measures import (
    EvaluatedRun,
    MetricsByRun,
    add_counts,
    add_unseen,
    clusters_of,
    index_recalls,
    measure_list,
    prepare_targets,
)
from tasks.own_slices import read_own_slices
from tasks.progress import show_progress
from tasks.result_rows import ListNotes, Part, coverage_rows, level_rows, rows_of_targets, tabulate_metrics
from tasks.retrieved import Retrieved, load_match, load_retrieved
from tasks.slices import OWN, WHOLE

PER_SEARCH_METRICS = ("recall", "mrr", "index_recall")  # metrics in per_search.parquet, beside those of the questions


class EvaluatedList(Frozen):
    """The list that one arm (or baseline) with one seed retrieved through one index."""

    arm: str
    seed: int | None  # a baseline has none
    index: str
    rows: RetrievedList
    leak: str | None = None  # the reason why its training may have seen the test
    undecidable: dict[str, str] = Field(default_factory=dict)  # set, set@K or EVERY_SET → why nothing is decided there
    trainings: tuple[str, ...] = ()  # the trained models that made it, with their seeds


@stage(RunResults)
def evaluate(
    folder: Path,
    eval_set: EvalSet,
    evaluated_lists: list[EvaluatedList],
    questions: dict[str, Comparison],
    evaluation: Evaluation,
    validation: RunResults | None = None,
    own_slices: OwnSlices | None = None,
) -> None:
    """Write results.parquet and per_search.parquet of all retrieved lists, and checks.json.

    eval_set: of the test. validation: evaluate_validation of the same experiment, whose rows are taken over.
    own_slices: of the same searches, by the user's own columns.
    """
    sample, seen = read_sample(eval_set), read_seen(eval_set)
    outcomes = {_run_of(run): load_retrieved(run.rows) for run in evaluated_lists}
    lists = {run: outcome for run, outcome in outcomes.items() if isinstance(outcome, Retrieved)}
    unavailable = {run.arm: reason for run, reason in outcomes.items() if isinstance(reason, str)}
    rows_by_run = {run: outcome.rows for run, outcome in lists.items()}
    _refuse_excluded(sample, rows_by_run)
    recalls_of_indexes = index_recalls(lists, evaluation.ks)
    results: list[dict[str, Any]] = []
    per_search: list[pa.Table] = []
    leaks = {run.arm: run.leak for run in evaluated_lists if run.leak}
    undecidable = {run.arm: run.undecidable for run in evaluated_lists if run.undecidable}
    matches = {run.arm: match.model_dump() for run in evaluated_lists if (match := load_match(run.rows))}
    notes = ListNotes(undecidable, {_run_of(run): run.trainings for run in evaluated_lists})
    checks: dict[str, Any] = {"unavailable": unavailable, "leaks": leaks, "undecidable": undecidable}
    checks |= {"lists": matches, "ceilings": {}, "refits": []}
    with threadpool_limits(1):  # the bytes of a product of matrices depend on the threads
        for name in sample.names:
            searches, targets = sample.for_targets(name)
            searches[OWN] = read_own_slices(own_slices, name)
            target_set = prepare_targets(targets, sample, evaluation.ks)
            measured = {
                run: measure_list(rows[searches["at"]], target_set, evaluation.ks) for run, rows in rows_by_run.items()
            }
            add_unseen(measured, lists, searches, seen, evaluation.main_k)
            add_counts(measured, lists, searches)
            for run, recalls in recalls_of_indexes.items():
                measured[run] |= {metric: values[searches["at"]] for metric, values in recalls.items()}
            with show_progress(f"evaluate, {name} targets", 1):
                results += coverage_rows(name, searches, rows_by_run, sample, evaluation.ks)
                results += rows_of_targets(name, searches, measured, questions, evaluation, notes)
            if name == "truth":
                checks["above_oracle"] = find_above_oracle(searches, measured, evaluation)
            checks["refits"] += compare_refits(name, searches, measured, evaluation)
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


def _run_of(evaluated: EvaluatedList) -> EvaluatedRun:
    return EvaluatedRun(evaluated.arm, evaluated.seed, evaluated.index)


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
    outcomes = {_run_of(run): load_retrieved(run.rows) for run in evaluated_lists}
    lists = {run: outcome for run, outcome in outcomes.items() if isinstance(outcome, Retrieved)}
    results: list[dict[str, Any]] = []
    with threadpool_limits(1), show_progress("evaluate, validation", 1):
        for name in sample.names if lists else ():
            searches, targets = sample.for_targets(name)
            target_set = prepare_targets(targets, sample, evaluation.ks)
            measured = {
                run: measure_list(outcome.rows[searches["at"]], target_set, evaluation.ks)
                for run, outcome in lists.items()
            }
            add_counts(measured, lists, searches)
            part = Part("validation", name, WHOLE, np.ones(len(searches["at"]), bool), clusters_of(searches))
            results += level_rows(part, tabulate_metrics(measured), evaluation.resamples)
    pq.write_table(pa.Table.from_pylist(results, RESULTS_OF_RUN), folder / "results.parquet")
    leaks = {run.arm: run.leak for run in evaluated_lists if run.leak}
    undecidable = {run.arm: run.undecidable for run in evaluated_lists if run.undecidable}
    checks = {"leaks": leaks, "undecidable": undecidable}
    (folder / "checks.json").write_text(json.dumps(checks, indent=1))


def above_oracle(results: RunResults) -> list[str]:
    """A sentence for each run above the oracle; empty without an oracle."""
    checks = json.loads((results.folder / "checks.json").read_text())
    return list(checks.get("above_oracle", []))


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
