"""From what was retrieved to results: one row a question, arm, seed, index, target set, slice and metric."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.experiment import ORACLES, Evaluation, Question
from data.schemas import PER_SEARCH, RESULTS_OF_RUN
from ebr_core.config import Frozen
from ebr_core.intervals import Interval, bootstrap
from ebr_core.metrics import Float64, Targets, hits, recall_at_k, recall_ceiling, reciprocal_rank
from tasks.artifacts import Artifact, stage
from tasks.progress import showing
from tasks.samples import read_sample


class Retrieved(Frozen):
    """What one arm (or baseline) with one seed retrieved through one index."""

    arm: str
    seed: int | None  # a baseline has none
    index: str
    rows: Artifact


@stage
def evaluate(
    folder: Path,
    evaluated: Artifact,
    retrieved: list[Retrieved],
    questions: dict[str, Question],
    evaluation: Evaluation,
) -> None:
    """results.parquet and per_search.parquet of everything that was retrieved, and checks.json."""
    sample = read_sample(evaluated)
    there = [run for run in retrieved if (run.rows.folder / "retrieved.npy").exists()]
    results: list[dict[str, Any]] = []
    per_search: list[pa.Table] = []
    checks: dict[str, Any] = {"unavailable": _unavailable(retrieved), "ceilings": {}}
    for name in sorted(set(sample.targets["targets"].to_pylist())):
        searches, targets = sample.for_targets(name)
        measured = {(run.arm, run.seed, run.index): _measure(run, searches, targets, evaluation.ks) for run in there}
        _add_index_recall(measured, there, searches, evaluation.ks)
        with showing(f"evaluate, {name} targets", 1):
            results += _rows(name, searches, measured, questions, evaluation)
        if name == "truth":
            checks["above_oracle"] = _above_oracle(searches, measured, evaluation)
        per_search += _per_search(name, searches, measured)
        checks["ceilings"][name] = {f"recall@{k}": float(recall_ceiling(targets, k).mean()) for k in evaluation.ks}
    pq.write_table(pa.Table.from_pylist(results, RESULTS_OF_RUN), folder / "results.parquet")
    pq.write_table(pa.concat_tables([PER_SEARCH.empty_table(), *per_search]), folder / "per_search.parquet")
    (folder / "checks.json").write_text(json.dumps(checks, indent=1))


def _unavailable(retrieved: list[Retrieved]) -> dict[str, str]:
    files = {run.arm: run.rows.folder / "unavailable.json" for run in retrieved}
    return {arm: json.loads(file.read_text())["reason"] for arm, file in files.items() if file.exists()}


def _measure(run: Retrieved, searches: dict[str, Any], targets: Targets, ks: tuple[int, ...]) -> dict[str, Float64]:
    """Each metric of a run, (S,)."""
    hit = hits(np.load(run.rows.folder / "retrieved.npy")[searches["at"]], targets)
    metrics = {f"recall@{k}": recall_at_k(hit, targets, k) for k in ks} | {"mrr": reciprocal_rank(hit)}
    counted = {name: run.rows.folder / f"{name}.npy" for name in ("scanned", "returned", "kept")}
    return metrics | {
        name: np.load(file)[searches["at"]].astype(float) for name, file in counted.items() if file.exists()
    }


def _add_index_recall(
    measured: dict[tuple[str, int | None, str], dict[str, Float64]],
    there: list[Retrieved],
    searches: dict[str, Any],
    ks: tuple[int, ...],
) -> None:
    """The index's own numbers: the share of the K exactly nearest that it finds among its first K, and whether the one
    exactly nearest is among them (1-recall@K) [EBR §4.1]."""
    found = {(run.arm, run.seed, run.index): run.rows.folder / "retrieved.npy" for run in there}
    for (arm, seed, index), metrics in measured.items():
        if index in ("exact", "none") or (arm, seed, "exact") not in found:
            continue
        ours = np.load(found[arm, seed, index])[searches["at"]]
        truth = np.load(found[arm, seed, "exact"])[searches["at"]]
        for k in ks:
            nearest = truth[:, :k]
            counts = (nearest >= 0).sum(1)
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            wanted = Targets(offsets, nearest[nearest >= 0])
            metrics[f"index_recall@{k}"] = hits(ours[:, :k], wanted).sum(1) / np.maximum(counts, 1)
            metrics[f"one_recall@{k}"] = ((ours[:, :k] == truth[:, :1]) & (truth[:, :1] >= 0)).any(1).astype(float)


def clusters_of(searches: dict[str, Any]) -> Any:
    """(S,) the searcher of each search, else its session: what is resampled as a whole."""
    return np.where(
        searches["searcher_row"] >= 0, searches["searcher_row"], -1 - searches["session_row"].astype(np.int64)
    )


def _slices(searches: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each slice of the searches and who is in it, (S,)."""
    yield "all", np.ones(len(searches["at"]), bool)
    if searches["attempt"].any():  # a simulated world, which knows
        yield "misspelt", searches["misspelt"]
        yield "spelt right", ~searches["misspelt"]
        yield "first attempt", searches["attempt"] == 1
    for slice_of, column in (("query", "query_seen"), ("(query, searcher)", "pair_seen")):
        yield f"{slice_of} seen", searches[column]
        yield f"{slice_of} new", ~searches[column]


def _rows(
    name: str,
    searches: dict[str, Any],
    measured: dict[tuple[str, int | None, str], dict[str, Float64]],
    questions: dict[str, Question],
    evaluation: Evaluation,
) -> list[dict[str, Any]]:
    """Result rows of one target set: every run by itself, then every question's differences to its baseline."""
    rows = []
    for slice_name, inside in _slices(searches):
        clusters, n = clusters_of(searches)[inside], int(inside.sum())
        if n == 0:
            continue
        shared = {"targets": name, "split": "test", "slice": slice_name, "n": n}
        columns = [(key, metric, values[inside]) for key, of in measured.items() for metric, values in of.items()]
        intervals = bootstrap(np.column_stack([column for *_, column in columns]), clusters, evaluation.resamples)
        for ((arm, seed, index), metric, _), interval in zip(columns, intervals, strict=True):
            rows.append(_row(shared, arm, seed, index, metric, interval))
        rows += _question_rows(shared, inside, clusters, measured, questions, evaluation.resamples)
    return rows


def _question_rows(
    shared: dict[str, Any],
    inside: Any,
    clusters: Any,
    measured: dict[tuple[str, int | None, str], dict[str, Float64]],
    questions: dict[str, Question],
    resamples: int,
) -> list[dict[str, Any]]:
    """Paired differences on the same searches, each arm's seeds meaned, through exact search."""
    asked = []
    for question, its in sorted(questions.items()):
        means = {arm: _mean_over_seeds(measured, arm, its.metric) for arm in (its.baseline, *its.arms)}
        base = means[its.baseline]
        asked += [
            (question, its, arm, mean[inside], base[inside])
            for arm, mean in means.items()
            if mean is not None and base is not None
        ]
    if not asked:
        return []
    values = bootstrap(np.column_stack([mean for *_, mean, _ in asked]), clusters, resamples)
    differences = bootstrap(np.column_stack([mean - base for *_, mean, base in asked]), clusters, resamples)
    rows = []
    for (question, its, arm, *_), value, difference in zip(asked, values, differences, strict=True):
        row = _row(shared, arm, None, _index_asked(measured, arm), its.metric, value) | {"question": question}
        if arm != its.baseline:
            row |= {
                "baseline": its.baseline,
                "difference": difference.value,
                "difference_low": difference.low,
                "difference_high": difference.high,
            }
        rows.append(row)
    return rows


def _mean_over_seeds(
    measured: dict[tuple[str, int | None, str], dict[str, Float64]], arm: str, metric: str
) -> Float64 | None:
    asked = _index_asked(measured, arm)
    seeds = [of[metric] for (name, _, index), of in measured.items() if (name, index) == (arm, asked)]
    return np.mean(seeds, axis=0) if seeds else None


def _index_asked(measured: dict[tuple[str, int | None, str], dict[str, Float64]], arm: str) -> str:
    """The index through which a question looks at an arm: exact search; a retrieval has one of its own."""
    there = [index for name, _, index in measured if name == arm]
    return "exact" if "exact" in there or not there else there[0]


def _above_oracle(
    searches: dict[str, Any],
    measured: dict[tuple[str, int | None, str], dict[str, Float64]],
    evaluation: Evaluation,
) -> list[str]:
    """The runs that beat the Bayes-optimal list beyond the interval of the difference, which only a leak explains.

    On searches that are their session's first: those after a failed one tell more than the oracle hears.
    """
    first, best = searches["attempt"] == 1, ("oracle-everything", None, "none")
    runs = [key for key in measured if key[0] not in ORACLES]
    if not first.any() or best not in measured or not runs:
        return []
    metric = f"recall@{max(evaluation.ks)}", f"recall@{min(evaluation.ks, key=lambda k: abs(k - 10))}"
    columns = [(key, name, (measured[key][name] - measured[best][name])[first]) for key in runs for name in metric]
    clusters = clusters_of(searches)[first]
    intervals = bootstrap(np.column_stack([column for *_, column in columns]), clusters, evaluation.resamples)
    return [
        f"{arm} through {index} is above the oracle on {name} by {interval.value:.3f} [{interval.low:.3f}, "
        f"{interval.high:.3f}]: something leaks"
        for ((arm, _seed, index), name, _), interval in zip(columns, intervals, strict=True)
        if interval.low > 0
    ]


def above_oracle(results: Artifact) -> list[str]:
    """What the check against the oracle found; empty where there is no oracle."""
    checks = json.loads((results.folder / "checks.json").read_text())
    return list(checks.get("above_oracle", []))


def _row(
    shared: dict[str, Any], arm: str, seed: int | None, index: str, metric: str, interval: Interval
) -> dict[str, Any]:
    name, _, k = metric.partition("@")
    numbers = {"value": interval.value, "low": interval.low, "high": interval.high}
    return shared | {"arm": arm, "seed": seed, "index": index, "metric": name, "k": int(k) if k else None} | numbers


def _per_search(
    name: str, searches: dict[str, Any], measured: dict[tuple[str, int | None, str], dict[str, Float64]]
) -> list[pa.Table]:
    tables = []
    for (arm, seed, index), metrics in measured.items():
        for metric, values in metrics.items():
            short, _, k = metric.partition("@")
            n = len(values)
            constant = {
                "arm": arm,
                "seed": seed,
                "index": index,
                "targets": name,
                "metric": short,
                "k": int(k) if k else None,
            }
            columns = {
                key: pa.repeat(pa.scalar(value, PER_SEARCH.field(key).type), n) for key, value in constant.items()
            }
            columns |= {"search_row": pa.array(searches["search_row"], pa.int32()), "value": pa.array(values)}
            tables.append(pa.table([columns[field.name] for field in PER_SEARCH], PER_SEARCH))
    return tables
