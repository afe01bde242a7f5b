"""The metrics of a list for each search, and the clusters that are resampled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ebr_core.arrays import Float64, Int64
from ebr_core.measure import metrics
from ebr_core.measure.metrics import Targets
from tasks.eval_sets import SampledSearches
from tasks.retrieved import EXACT, NO_INDEX, Retrieved

COUNTS = ("scanned", "returned")  # documents, where a retrieval counts them


class EvaluatedRun(NamedTuple):
    """Who retrieved: an arm or baseline, its seed, the index."""

    arm: str
    seed: int | None
    through: str  # the index

    @property
    def row(self) -> dict[str, Any]:
        """Who it was, as result rows say it."""
        return {"arm": self.arm, "seed": self.seed, "index": self.through}

    @property
    def exact(self) -> bool:
        """Whether nothing but the arm itself decides what is found."""
        return self.through in (EXACT, NO_INDEX)


By = dict[EvaluatedRun, dict[str, Float64]]  # metric → (S,) of each run


def measure_list(rows: Any, targets: Targets, sample: SampledSearches, ks: tuple[int, ...]) -> dict[str, Float64]:
    """Each metric of what a run retrieved for these searches, (S,). [EBR §2.1]"""
    hit, grades = metrics.hits(rows, targets), metrics.grades_of(rows, targets)
    best = metrics.best_grades(targets, max(ks))
    stands = np.zeros(1 + max(int(sample.candidates.max()), int(targets.documents.max())))
    stands[sample.candidates] = metrics.standing(sample.clicks)
    measured = {"mrr": metrics.reciprocal_rank(hit)}
    for k in ks:
        measured[f"recall@{k}"] = metrics.recall_at_k(hit, targets, k)
        measured[f"precision@{k}"] = metrics.precision_at_k(hit, rows, k)
        measured[f"success@{k}"] = metrics.success_at_k(hit, k)
        measured[f"ndcg@{k}"] = metrics.ndcg_at_k(grades, best, k)
        measured[f"popularity_lift@{k}"] = metrics.popularity_lift_at_k(rows, targets, stands, k)
    return measured


def add_counts(measured: By, lists: dict[EvaluatedRun, Retrieved], searches: dict[str, Any]) -> None:
    """What a list counted for each search: documents scanned, documents returned."""
    for run, retrieved in lists.items():
        for name, counts in zip(COUNTS, (retrieved.scanned, retrieved.returned), strict=True):
            if counts is not None:
                measured[run][name] = counts[searches["at"]].astype(np.float64)


def add_index_recall(
    measured: By, lists: dict[EvaluatedRun, Retrieved], searches: dict[str, Any], ks: tuple[int, ...]
) -> None:
    """The index's own numbers: the share of the K exactly nearest that it finds among its first K, and whether the one
    exactly nearest is among them (1-recall@K) [EBR §4.1]. Where an index was tuned for a K, what it finds asked for so
    few counts, equal documents standing for each other, as it did in the tuning."""
    for run, of_run in measured.items():
        exactly = run._replace(through=EXACT)
        if run.exact or exactly not in lists:
            continue
        ours, truth = lists[run].rows[searches["at"]], lists[exactly].rows[searches["at"]]
        promised_k, promised = lists[run].promised or (0, np.empty(0))
        for k in ks:
            nearest = truth[:, :k]
            counts = (nearest >= 0).sum(1)
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            wanted = Targets(offsets, nearest[nearest >= 0])
            of_run[f"index_recall@{k}"] = metrics.hits(ours[:, :k], wanted).sum(1) / np.maximum(counts, 1)
            if k == promised_k:
                of_run[f"index_recall@{k}"] = promised[searches["at"]]
            of_run[f"one_recall@{k}"] = ((ours[:, :k] == truth[:, :1]) & (truth[:, :1] >= 0)).any(1).astype(np.float64)


def clusters_of(searches: dict[str, Any]) -> Int64:
    """(S,) the searcher of each search; where nobody is signed in, its session, or, where no session has two of these
    searches, its query: what is resampled as a whole."""
    searcher, session = searches["searcher_row"].astype(np.int64), searches["session_row"].astype(np.int64)
    nobody = searcher < 0
    alone = len(np.unique(session[nobody])) == nobody.sum()
    clusters: Int64 = np.where(nobody, -1 - (searches["query_row"] if alone else session), searcher)
    return clusters
