"""A weighted sum of BM25 and cosine over the documents of both lists, and the choice of its weight by recall.

Scores are normalised by what a single query has: BM25 by its highest, the cosine by its distance from −1, in shares of
that of the nearest document [Bruch, Gai & Ingber 2023, theoretical min-max].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float32, Float64, Int32, Int64
from ebr_core.frozen import Frozen
from ebr_core.search.nearest import TIE_TOLERANCE

GRID = tuple(round(step / 20, 2) for step in range(21))  # weights of BM25 that are tried
FOLDS = 5
FEW_SEARCHES = 30  # with fewer, a kind of query takes the weight of all
CELLS = 2**24  # vector components gathered at a time


class Pool(NamedTuple):
    """The documents of both lists of Q queries, J each, with both scores from 0 to 1."""

    rows: Int32  # (Q, J), −1 is no document
    terms: Float32  # (Q, J)
    near: Float32  # (Q, J)


class FusionWeights(Frozen):
    """The weight of BM25 beside 1 − weight of the cosine: one for all queries, or one for each kind."""

    weight: float
    by_kind: tuple[float, ...] | None = None

    def of(self, kinds: Int64) -> Float64:
        """(Q,) the weight of each query, given its kind."""
        if self.by_kind is None:
            return np.full(len(kinds), self.weight)
        return np.array(self.by_kind)[kinds]


class FusionChoice(NamedTuple):
    """The chosen weights, and what each form reaches on searches that its weights were not chosen on."""

    weights: FusionWeights
    single: float  # recall with one weight, cross-validated
    by_kind: float  # recall with a weight for each kind, cross-validated
    held_out: Float64  # (S,) the weight that the other folds give each search, in the chosen form
    line: tuple[float, ...]  # recall with each weight of GRID, for all searches


def pool_rows(lists: Sequence[Int32]) -> Int32:
    """(Q, ΣJ) every document of the lists (Q, J) once, in the order of rows; −1 in place of repeats.

    >>> pool_rows([np.array([[5, 2, -1]]), np.array([[2, 7]])])
    array([[-1,  2, -1,  5,  7]])
    """
    rows = np.sort(np.concatenate(lists, axis=1), axis=1)
    repeats = np.zeros(rows.shape, bool)
    repeats[:, 1:] = rows[:, 1:] == rows[:, :-1]
    return np.where(repeats, -1, rows)


def normalise(rows: Int32, bm25: Float32, cosines: Float32) -> Pool:
    """The pool of documents (Q, J) with their BM25 scores and cosines (Q, J)."""
    valid = rows >= 0
    best_terms = np.where(valid, bm25, 0).max(1, initial=0)[:, None]
    best_near = np.where(valid, 1 + cosines, 0).max(1, initial=0)[:, None]
    terms = np.divide(bm25, best_terms, out=np.zeros(rows.shape, np.float32), where=valid & (best_terms > 0))
    near = np.divide(1 + cosines, best_near, out=np.zeros(rows.shape, np.float32), where=valid & (best_near > 0))
    return Pool(rows, terms, near)


def fuse_weighted(pool: Pool, weights: Float64, k: int) -> tuple[Int32, Float64]:
    """(rows, scores), both (Q, K): the documents with the highest w · BM25 + (1 − w) · cosine, padded with −1 and −∞.

    weights are (Q,). Scores that differ by less than TIE_TOLERANCE from the next are ties, which are broken by row.
    """
    share = weights[:, None]
    scores = np.where(pool.rows >= 0, share * pool.terms + (1 - share) * pool.near, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(pool.rows, order, 1)
    tie = np.zeros(rows.shape, np.int64)
    with np.errstate(invalid="ignore"):  # −∞ − −∞
        tie[:, 1:] = np.cumsum(~(scores[:, :-1] - scores[:, 1:] <= TIE_TOLERANCE), axis=1)
    order = np.lexsort((rows, tie), axis=1)[:, :k]
    scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    missing = ((0, 0), (0, k - rows.shape[1]))
    return np.pad(rows, missing, constant_values=-1).astype(np.int32), np.pad(scores, missing, constant_values=-np.inf)


def recalls_by_weight(pool: Pool, k: int, recall: Callable[[Int32], Float64]) -> Float64:
    """(weights of GRID, S) the recall of each search with each weight; recall: from lists (S, K) to (S,)."""
    searches = len(pool.rows)
    return np.stack([recall(fuse_weighted(pool, np.full(searches, weight), k)[0]) for weight in GRID])


def choose_fusion(recalls: Float64, kinds: Int64, groups: Int64, kind_count: int) -> FusionChoice:
    """The weights with the highest recall; one for each kind only if that is better on searches left out.

    recalls (weights of GRID, S); kinds (S,) from 0; groups (S,): searches of a group, such as those of one query, are
    left out together. Each fifth of the groups is measured with weights chosen on the others.
    """
    folds = np.unique(groups, return_inverse=True)[1] % FOLDS
    held_single, held_kinds = np.zeros(len(kinds)), np.zeros(len(kinds))
    for fold in range(FOLDS):
        inside = folds == fold
        chosen = _weights_of(recalls[:, ~inside], kinds[~inside], kind_count)
        held_single[inside] = chosen.weight
        held_kinds[inside] = chosen.of(kinds)[inside]
    single, by_kind = (_mean_recall(recalls, held) for held in (held_single, held_kinds))
    weights = _weights_of(recalls, kinds, kind_count)
    line = tuple(recalls.mean(1).tolist())
    if by_kind > single:
        return FusionChoice(weights, single, by_kind, held_kinds, line)
    return FusionChoice(FusionWeights(weight=weights.weight), single, by_kind, held_single, line)


def _weights_of(recalls: Float64, kinds: Int64, kind_count: int) -> FusionWeights:
    """The best weight of all searches, and of each kind that has enough of them."""
    best = _best(recalls)
    parts = [recalls[:, kinds == kind] for kind in range(kind_count)]
    by_kind = tuple(_best(part) if part.shape[1] >= FEW_SEARCHES else best for part in parts)
    return FusionWeights(weight=best, by_kind=by_kind)


def _best(recalls: Float64) -> float:
    """The weight with the highest mean recall; among equals that nearest to one half."""
    means = recalls.mean(1) if recalls.shape[1] else np.zeros(len(GRID))
    return max(GRID, key=lambda weight: (round(float(means[GRID.index(weight)]), 9), -abs(weight - 0.5)))


def _mean_recall(recalls: Float64, weights: Float64) -> float:
    """The mean recall if each search has its own weight, one of GRID."""
    at = np.searchsorted(GRID, weights)
    return float(recalls[at, np.arange(recalls.shape[1])].mean()) if recalls.shape[1] else 0.0


def cosines_of(rows: Int32, documents: Float32, queries: Float32) -> Float32:
    """(Q, J) the cosine of each query with its documents at rows (Q, J); 0 for −1.

    documents are (N, D), queries (Q, D), or (h, Q, D), of which the highest cosine counts.
    """
    views = queries if queries.ndim == 3 else queries[None]
    cosines = np.zeros(rows.shape, np.float32)
    step = max(1, CELLS // max(1, rows.shape[1] * documents.shape[1]))
    for first in range(0, len(rows), step):
        block = slice(first, first + step)
        cosines[block] = np.einsum("qjd,hqd->hqj", documents[rows[block]], views[:, block]).max(0)
    return np.where(rows >= 0, cosines, 0).astype(np.float32)
