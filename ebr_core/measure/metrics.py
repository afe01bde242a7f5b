"""Measures of a retrieval, a number for each search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Bool, Float64, Int32, Int64

MATCHES = 2**24  # comparisons at a time


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
    hit = np.zeros(retrieved.shape, bool)
    for target, place in _matches(retrieved, targets):
        hit[_owners(targets)[target], place] = True
    return hit


def grades_of(retrieved: Int32, targets: Targets) -> Float64:
    """(S, K): the grade of each retrieved document, 1 where targets have none, 0 for what is no target."""
    grades = np.zeros(retrieved.shape)
    for target, place in _matches(retrieved, targets):
        grades[_owners(targets)[target], place] = 1 if targets.grades is None else targets.grades[target]
    return grades


def _owners(targets: Targets) -> Int64:
    """The search of each target."""
    return np.repeat(np.arange(len(targets.counts)), targets.counts)


def _matches(retrieved: Int32, targets: Targets) -> Iterator[tuple[Int64, Int64]]:
    """(targets, their places in their search's list), some targets at a time."""
    owners = _owners(targets)
    step = max(1, MATCHES // max(1, retrieved.shape[1]))
    for first in range(0, len(owners), step):
        found = retrieved[owners[first : first + step]] == targets.documents[first : first + step, None]
        target, place = np.nonzero(found)
        yield first + target, place


def best_grades(targets: Targets, k: int) -> Float64:
    """(S, K): each search's K highest grades, descending, 0 behind the last: what the best order would retrieve."""
    grades = np.ones(len(targets.documents)) if targets.grades is None else targets.grades
    owners = _owners(targets)
    order = np.lexsort((-grades, owners))
    place = np.arange(len(order)) - np.repeat(targets.offsets[:-1], targets.counts)
    best = np.zeros((len(targets.counts), k))
    kept = place < k
    best[owners[kept], place[kept]] = grades[order][kept]
    return best


def recall_at_k(hit: Bool, targets: Targets, k: int) -> Float64:
    """(S,) recall@K = |top-K ∩ T| / |T| [EBR §2.1]; hit is (S, K') with K' ≥ K unless the corpus is smaller.

    >>> recall_at_k(np.array([[True, False, True]]), Targets(np.array([0, 4]), np.arange(4, dtype=np.int32)), 3)
    array([0.5])
    """
    found: Int64 = hit[:, :k].sum(1)
    return found / targets.counts


def precision_at_k(hit: Bool, retrieved: Int32, k: int) -> Float64:
    """(S,) precision@K = |top-K ∩ T| / |top-K|, over what was returned: a list of three is divided by three.

    0 where nothing was returned: every search measured has a target, so an empty list is a failure. Left out instead,
    a filter would be measured on easier searches than what it is compared with.

    >>> precision_at_k(np.array([[True, False, False], [False] * 3]), np.array([[4, 5, -1], [-1] * 3]), 3)
    array([0.5, 0. ])
    """
    returned: Int64 = (retrieved[:, :k] >= 0).sum(1)
    found: Int64 = hit[:, :k].sum(1)
    return found / np.maximum(returned, 1)


def recall_ceiling(targets: Targets, k: int) -> Float64:
    """(S,) the highest recall@K that a search allows: min(K, |T|) / |T|."""
    return np.minimum(k, targets.counts) / targets.counts


def reciprocal_rank(hit: Bool) -> Float64:
    """(S,) 1 / the rank of the first target, 0 where none was retrieved; its mean is the MRR.

    >>> reciprocal_rank(np.array([[False, True], [False, False]]))
    array([0.5, 0. ])
    """
    reciprocal: Float64 = np.where(np.any(hit, axis=1), 1 / (1 + hit.argmax(1)), 0.0)
    return reciprocal


def success_at_k(hit: Bool, k: int) -> Float64:
    """(S,) 1 where at least one target is among the first K, else 0."""
    found: Float64 = np.any(hit[:, :k], axis=1).astype(np.float64)
    return found


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
    place: Float64 = (below + upto) / (2 * len(clicks))
    return place


def popularity_lift_at_k(retrieved: Int32, targets: Targets, stands: Float64, k: int) -> Float64:
    """(S,) mean standing of the first K retrieved − mean standing of the targets; 0 where nothing was retrieved.

    Above 0 the retrieval prefers documents more popular than those wanted. stands (N,) is by document row.
    """
    first = retrieved[:, :k]
    there = first >= 0
    mean = np.where(there, stands[first], 0).sum(1) / np.maximum(there.sum(1), 1)
    wanted = np.add.reduceat(stands[targets.documents], targets.offsets[:-1]) / targets.counts
    return np.where(there.any(1), mean - wanted, 0.0)
