"""The metrics of a list for each search, and the clusters to resample."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ebr_core.arrays import Float64, Int64
from ebr_core.measure import metrics
from ebr_core.measure.metrics import Targets
from ebr_core.search.index_specs import EXACT, NO_INDEX
from tasks.eval_sets import SampledSearches
from tasks.retrieved import Retrieved

EVERY_SET = "*"  # all target sets, among the reasons why nothing is decided about a list
COUNTS = ("scanned", "returned")  # metrics of lists that count documents


class EvaluatedRun(NamedTuple):
    """The origin of a list: an arm or baseline, its seed, the index."""

    arm: str
    seed: int | None
    index_name: str

    @property
    def row(self) -> dict[str, Any]:
        """The columns that identify it in result rows."""
        return {"arm": self.arm, "seed": self.seed, "index": self.index_name}

    @property
    def is_exact(self) -> bool:
        """True if the list depends on the arm alone, and not on an index."""
        return self.index_name in (EXACT, NO_INDEX)


MetricsByRun = dict[EvaluatedRun, dict[str, Float64]]  # metric → (S,) of each run


class TargetSet(NamedTuple):
    """The targets of S searches, and what the metrics of every list need of them."""

    targets: Targets
    best: Float64  # (S, K) the highest grades of each search
    standing: Float64  # the click percentile of each document row


def prepare_targets(targets: Targets, sample: SampledSearches, ks: tuple[int, ...]) -> TargetSet:
    """The target set of these targets, for lists as deep as the largest K."""
    standing = np.zeros(1 + max(int(sample.candidates.max()), int(targets.documents.max())))
    standing[sample.candidates] = metrics.click_percentile(sample.clicks)
    return TargetSet(targets, metrics.best_grades(targets, max(ks)), standing)


def measure_list(rows: Any, target_set: TargetSet, ks: tuple[int, ...]) -> dict[str, Float64]:
    """Metric → (S,) its values for the list of a run, rows (S, K). [EBR §2.1]"""
    targets, best, standing = target_set
    hit, grades = metrics.hits(rows, targets), metrics.grades_of(rows, targets)
    measured = {"mrr": metrics.reciprocal_rank(hit)}
    for k in ks:
        measured[f"recall@{k}"] = metrics.recall_at_k(hit, targets, k)
        measured[f"precision@{k}"] = metrics.precision_at_k(hit, rows, k)
        measured[f"success@{k}"] = metrics.success_at_k(hit, k)
        measured[f"ndcg@{k}"] = metrics.ndcg_at_k(grades, best, k)
        measured[f"popularity_lift@{k}"] = metrics.popularity_lift_at_k(rows, targets, standing, k)
    return measured


def add_counts(measured: MetricsByRun, lists: dict[EvaluatedRun, Retrieved], searches: dict[str, Any]) -> None:
    """Add the counts of each list for each search: documents scanned, documents returned."""
    for run, retrieved in lists.items():
        for name, counts in zip(COUNTS, (retrieved.scanned, retrieved.returned), strict=True):
            if counts is not None:
                measured[run][name] = counts[searches["at"]].astype(np.float64)


def add_unseen(
    measured: MetricsByRun, lists: dict[EvaluatedRun, Retrieved], searches: dict[str, Any], seen: Int64, k: int
) -> None:
    """Add the share of the first K of each list that nobody judged or was shown for the query."""
    for run, retrieved in lists.items():
        rows = retrieved.rows[searches["at"]]
        measured[run][f"unseen@{k}"] = metrics.unseen_at_k(rows, searches["query_row"], seen, k)


def index_recalls(lists: dict[EvaluatedRun, Retrieved], ks: tuple[int, ...]) -> MetricsByRun:
    """The recall of each index for every sampled search: the share of the K exactly nearest documents that are among
    its first K, and 1-recall@K, which is 1 if the nearest one is among them. [EBR §4.1]

    At the K for which an index was tuned, the recall is that of a search for K documents in which documents of equal
    similarity count as one, as in the tuning. Runs without an index, or without a list by exact search, are left out.
    """
    recalls: MetricsByRun = {}
    for run, retrieved in lists.items():
        exact_run = run._replace(index_name=EXACT)
        if run.is_exact or exact_run not in lists:
            continue
        approximate, exact = retrieved.rows, lists[exact_run].rows
        promised_k, promised = retrieved.promised or (0, np.empty(0))
        recalls[run] = {}
        for k in ks:
            counts = (exact[:, :k] >= 0).sum(1)
            recall = promised if k == promised_k else metrics.shared_at_k(approximate, exact, k) / np.maximum(counts, 1)
            has_nearest = ((approximate[:, :k] == exact[:, :1]) & (exact[:, :1] >= 0)).any(1)
            recalls[run] |= {f"index_recall@{k}": recall, f"one_recall@{k}": has_nearest.astype(np.float64)}
    return recalls


def clusters_of(searches: dict[str, Any]) -> Int64:
    """(S,) the cluster of each search, resampled as a whole: its searcher; if nobody is signed in, its session, or its
    query if no session has two of these searches."""
    searcher, session = searches["searcher_row"].astype(np.int64), searches["session_row"].astype(np.int64)
    anonymous = searcher < 0
    one_each = len(np.unique(session[anonymous])) == anonymous.sum()
    clusters: Int64 = np.where(anonymous, -1 - (searches["query_row"] if one_each else session), searcher)
    return clusters
