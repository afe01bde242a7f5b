"""Measures of a retrieval, a number for each search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ebr_core.bags import Int32, Int64

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class Targets(NamedTuple):
    """The relevant documents of each search: documents[offsets[s]:offsets[s + 1]], at least one."""

    offsets: Int64  # (S + 1,)
    documents: Int32
    grades: Float64 | None = None  # > 0, of each target; None: all alike

    @property
    def counts(self) -> Int64:
        """(S,) how many targets each search has."""
        return np.diff(self.offsets)


def hits(retrieved: Int32, targets: Targets) -> Bool:
    """(S, K): whether each retrieved document row (S, K) is a target of its search; row −1 is no document."""
    width, wanted = _keys(retrieved, targets)
    searches = np.arange(len(retrieved), dtype=np.int64)
    return np.isin(searches[:, None] * width + retrieved, wanted) & (retrieved >= 0)


def grades_of(retrieved: Int32, hit: Bool, targets: Targets) -> Float64:
    """(S, K): the grade of each retrieved document, 0 for what is no target; hit is that of `hits`."""
    if targets.grades is None:
        return hit.astype(np.float64)
    width, wanted = _keys(retrieved, targets)
    order = np.argsort(wanted, kind="stable")
    owners, _ = np.nonzero(hit)
    grades = np.zeros(hit.shape)
    grades[hit] = targets.grades[order[np.searchsorted(wanted[order], owners * width + retrieved[hit])]]
    return grades


def best_grades(targets: Targets, k: int) -> Float64:
    """(S, K): each search's K highest grades, descending, 0 behind the last: what the best order would retrieve."""
    grades = np.ones(len(targets.documents)) if targets.grades is None else targets.grades
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)
    order = np.lexsort((-grades, owners))
    place = np.arange(len(order)) - np.repeat(targets.offsets[:-1], targets.counts)
    best = np.zeros((len(targets.counts), k))
    kept = place < k
    best[owners[kept], place[kept]] = grades[order][kept]
    return best


def _keys(retrieved: Int32, targets: Targets) -> tuple[int, Int64]:
    """(W, one number for each target): search · W + document."""
    width = int(max(retrieved.max(initial=0), targets.documents.max(initial=0))) + 1
    searches = np.arange(len(retrieved), dtype=np.int64)
    return width, np.repeat(searches, targets.counts) * width + targets.documents


def recall_at_k(hit: Bool, targets: Targets, k: int) -> Float64:
    """(S,) recall@K = |top-K ∩ T| / |T| [EBR §2.1]; hit is (S, K') with K' ≥ K unless the corpus is smaller.

    >>> recall_at_k(np.array([[True, False, True]]), Targets(np.array([0, 4]), np.arange(4, dtype=np.int32)), 3)
    array([0.5])
    """
    found: Int64 = hit[:, :k].sum(1)
    return found / targets.counts


def recall_ceiling(targets: Targets, k: int) -> Float64:
    """(S,) the highest recall@K that a search allows: min(K, |T|) / |T|."""
    return np.minimum(k, targets.counts) / targets.counts


def reciprocal_rank(hit: Bool) -> Float64:
    """(S,) 1 / the rank of the first target, 0 where none was retrieved; its mean is the MRR.

    >>> reciprocal_rank(np.array([[False, True], [False, False]]))
    array([0.5, 0. ])
    """
    return np.where(hit.any(1), 1 / (1 + hit.argmax(1)), 0.0)


def success_at_k(hit: Bool, k: int) -> Float64:
    """(S,) 1 where at least one target is among the first K, else 0."""
    return hit[:, :k].any(1).astype(np.float64)


def ndcg_at_k(grades: Float64, ideal: Float64, k: int) -> Float64:
    """(S,) nDCG@K = Σ grade / log₂(1 + rank), over that of the best order.

    grades (S, K') as retrieved, ideal (S, G) descending.
    """
    discount = 1 / np.log2(np.arange(2, 2 + k))
    gained: Float64 = (grades[:, :k] * discount[: grades[:, :k].shape[1]]).sum(1)
    most: Float64 = (ideal[:, :k] * discount[: ideal[:, :k].shape[1]]).sum(1)
    return gained / most


def coverage_at_k(retrieved: Int32, candidates: int, k: int) -> float:
    """The share of the candidates that are among the first K of at least one search: how much of the corpus is ever
    shown. It grows with the number of searches, so that only runs on the same searches compare.

    >>> coverage_at_k(np.array([[3, 1], [3, -1]], np.int32), 10, 2)
    0.2
    """
    shown = np.unique(retrieved[:, :k])
    return float((shown >= 0).sum() / candidates)


def standing(clicks: Int64) -> Float64:
    """(N,) where each document stands in the order of clicks: the share of documents with fewer, ties halved.

    >>> standing(np.array([5, 0, 0, 1])).tolist()
    [0.875, 0.25, 0.25, 0.625]
    """
    ranked = np.sort(clicks)
    below, upto = np.searchsorted(ranked, clicks), np.searchsorted(ranked, clicks, side="right")
    return (below + upto) / (2 * len(clicks))


def popularity_lift_at_k(retrieved: Int32, targets: Targets, stands: Float64, k: int) -> Float64:
    """(S,) mean standing of the first K retrieved − mean standing of the targets; 0 where nothing was retrieved.

    Above 0 the retrieval prefers documents more popular than those wanted. stands (N,) is by document row.
    """
    first = retrieved[:, :k]
    there = first >= 0
    mean = np.where(there, stands[first], 0).sum(1) / np.maximum(there.sum(1), 1)
    wanted = np.add.reduceat(stands[targets.documents], targets.offsets[:-1]) / targets.counts
    return np.where(there.any(1), mean - wanted, 0.0)
