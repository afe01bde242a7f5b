"""Metrics of a retrieval, one value for each search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ebr_core.arrays import Bool, Float64, Int32, Int64

MATCHES = 2**24  # comparisons at a time


class Targets(NamedTuple):
    """The relevant documents of each search: documents[offsets[s]:offsets[s + 1]], at least one."""

    offsets: Int64  # (S + 1,)
    documents: Int32
    grades: Float64 | None = None  # > 0, of each target; None: all equal

    @property
    def counts(self) -> Int64:
        """(S,) number of targets of each search."""
        return np.diff(self.offsets)


def hits(retrieved: Int32, targets: Targets) -> Bool:
    """(S, K): True where the retrieved row (S, K) is a target of its search. Row −1 is no document."""
    hit = np.zeros(retrieved.shape, bool)
    for target, pos in _matches(retrieved, targets):
        hit[_owners(targets)[target], pos] = True
    return hit


def grades_of(retrieved: Int32, targets: Targets) -> Float64:
    """(S, K): the grade of each retrieved document, 1 if targets have no grades, 0 if it is not a target."""
    grades = np.zeros(retrieved.shape)
    for target, pos in _matches(retrieved, targets):
        grades[_owners(targets)[target], pos] = 1 if targets.grades is None else targets.grades[target]
    return grades


def _owners(targets: Targets) -> Int64:
    """(T,): the search of each target."""
    return np.repeat(np.arange(len(targets.counts)), targets.counts)


def _matches(retrieved: Int32, targets: Targets) -> Iterator[tuple[Int64, Int64]]:
    """Blocks of (targets, their places in their search's list)."""
    owners = _owners(targets)
    step = max(1, MATCHES // max(1, retrieved.shape[1]))
    for first in range(0, len(owners), step):
        is_match = retrieved[owners[first : first + step]] == targets.documents[first : first + step, None]
        target, pos = np.nonzero(is_match)
        yield first + target, pos


def best_grades(targets: Targets, k: int) -> Float64:
    """(S, K): the K highest grades of each search, descending, padded with 0: those of the ideal order."""
    grades = np.ones(len(targets.documents)) if targets.grades is None else targets.grades
    owners = _owners(targets)
    order = np.lexsort((-grades, owners))
    pos = np.arange(len(order)) - np.repeat(targets.offsets[:-1], targets.counts)
    best = np.zeros((len(targets.counts), k))
    in_top_k = pos < k
    best[owners[in_top_k], pos[in_top_k]] = grades[order][in_top_k]
    return best


def recall_at_k(hit: Bool, targets: Targets, k: int) -> Float64:
    """(S,) recall@K = |top-K ∩ T| / |T| [EBR §2.1]. hit is (S, K') with K' ≥ K unless the corpus is smaller.

    >>> recall_at_k(np.array([[True, False, True]]), Targets(np.array([0, 4]), np.arange(4, dtype=np.int32)), 3)
    array([0.5])
    """
    hits_in_top_k: Int64 = hit[:, :k].sum(1)
    return hits_in_top_k / targets.counts


def precision_at_k(hit: Bool, retrieved: Int32, k: int) -> Float64:
    """(S,) precision@K = |top-K ∩ T| / |top-K|, where |top-K| is the number of documents returned, at most K.

    It is 0 if nothing was returned: every search has a target, so an empty list is a failure. If empty lists were left
    out, a filter would be measured on easier searches than the arm it is compared with.

    >>> precision_at_k(np.array([[True, False, False], [False] * 3]), np.array([[4, 5, -1], [-1] * 3]), 3)
    array([0.5, 0. ])
    """
    returned: Int64 = (retrieved[:, :k] >= 0).sum(1)
    hits_in_top_k: Int64 = hit[:, :k].sum(1)
    return hits_in_top_k / np.maximum(returned, 1)


def recall_ceiling(targets: Targets, k: int) -> Float64:
    """(S,) the highest possible recall@K of each search: min(K, |T|) / |T|."""
    return np.minimum(k, targets.counts) / targets.counts


def reciprocal_rank(hit: Bool) -> Float64:
    """(S,) 1 / the rank of the first target, 0 if none was retrieved. The mean is the MRR.

    >>> reciprocal_rank(np.array([[False, True], [False, False]]))
    array([0.5, 0. ])
    """
    reciprocal: Float64 = np.where(np.any(hit, axis=1), 1 / (1 + hit.argmax(1)), 0.0)
    return reciprocal


def success_at_k(hit: Bool, k: int) -> Float64:
    """(S,) 1 if at least one target is among the first K, else 0."""
    success: Float64 = np.any(hit[:, :k], axis=1).astype(np.float64)
    return success


def ndcg_at_k(grades: Float64, ideal: Float64, k: int) -> Float64:
    """(S,) nDCG@K = Σ grade / log₂(1 + rank), divided by that of the ideal order.

    grades (S, K') are in the order retrieved, ideal (S, G) is descending.
    """
    discount = 1 / np.log2(np.arange(2, 2 + k))
    gain: Float64 = (grades[:, :k] * discount[: grades[:, :k].shape[1]]).sum(1)
    ideal_gain: Float64 = (ideal[:, :k] * discount[: ideal[:, :k].shape[1]]).sum(1)
    return gain / ideal_gain


def coverage_at_k(retrieved: Int32, candidates: int, k: int) -> float:
    """The share of the candidates that are among the first K of at least one search.

    It grows with the number of searches, so only runs on the same searches can be compared.

    >>> coverage_at_k(np.array([[3, 1], [3, -1]], np.int32), 10, 2)
    0.2
    """
    documents = retrieved[:, :k]
    is_shown = np.zeros(documents.max(initial=-1) + 2, bool)
    is_shown[documents + 1] = True
    return float(is_shown[1:].sum() / candidates)


def shared_at_k(retrieved: Int32, others: Int32, k: int) -> Int64:
    """(S,) how many documents two lists of each search, both (S, K'), have in common among their first K.

    A list has each document once.

    >>> shared_at_k(np.array([[3, 1, 2], [3, -1, -1]], np.int32), np.array([[2, 3, 4], [-1, -1, -1]], np.int32), 3)
    array([2, 0])
    """
    both = np.sort(np.concatenate([retrieved[:, :k], others[:, :k]], axis=1), axis=1)
    shared: Int64 = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(1)
    return shared


def pair_keys(queries: npt.NDArray[np.integer], documents: npt.NDArray[np.integer]) -> Int64:
    """A key for each pair of a query row and a document row, in the order of (query, document)."""
    keys: Int64 = (queries.astype(np.int64) << 32) | documents.astype(np.int64)
    return keys


def unseen_at_k(retrieved: Int32, queries: Int32, seen: Int64, k: int) -> Float64:
    """(S,) the share of the documents returned among the first K that are not among the seen ones of the query; 0 if
    nothing was returned.

    queries (S,) are query rows; seen are the sorted keys of pairs (see `pair_keys`).

    >>> unseen_at_k(np.array([[3, 4, -1]], np.int32), np.array([7]), pair_keys(np.array([7]), np.array([4])), 3)
    array([0.5])
    """
    top_k = retrieved[:, :k]
    returned = top_k >= 0
    keys = pair_keys(queries[:, None], np.maximum(top_k, 0))
    at = np.searchsorted(seen, keys)
    is_seen = np.append(seen, -1)[at] == keys
    unseen: Int64 = (returned & ~is_seen).sum(1)
    count: Int64 = returned.sum(1)
    return unseen / np.maximum(count, 1)


def click_percentile(clicks: Int64) -> Float64:
    """(N,) the click percentile of each document: the share of documents with fewer clicks, ties halved.

    >>> click_percentile(np.array([5, 0, 0, 1])).tolist()
    [0.875, 0.25, 0.25, 0.625]
    """
    ranked = np.sort(clicks)
    below, up_to = np.searchsorted(ranked, clicks), np.searchsorted(ranked, clicks, side="right")
    percentiles: Float64 = (below + up_to) / (2 * len(clicks))
    return percentiles


def popularity_lift_at_k(retrieved: Int32, targets: Targets, percentiles: Float64, k: int) -> Float64:
    """(S,) mean percentile of the first K retrieved − mean percentile of the targets; 0 if nothing was retrieved.

    Above 0, the retrieved documents are more popular than the targets. percentiles (N,) are those of `standing`.
    """
    top_k = retrieved[:, :k]
    valid = top_k >= 0
    mean = np.where(valid, percentiles[top_k], 0).sum(1) / np.maximum(valid.sum(1), 1)
    target_mean = np.add.reduceat(percentiles[targets.documents], targets.offsets[:-1]) / targets.counts
    return np.where(valid.any(1), mean - target_mean, 0.0)
