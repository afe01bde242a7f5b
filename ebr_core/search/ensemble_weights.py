"""The weights of an ensemble, chosen by recall@K on validation searches. [EBR §6.2]"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Bool, Float32, Float64, Int32, Int64
from ebr_core.measure.metrics import Targets
from ebr_core.search.exclusions import Exclusions
from ebr_core.search.nearest import TIE_TOLERANCE

GRID = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0)  # of one weight, with the others fixed
MAX_WEIGHT = 100.0  # with a larger weight, the first part has no effect
TRIES = 200  # evaluations by the optimiser for each free weight
CELLS = 2**24  # cosine differences computed at a time

Weights = tuple[float, ...]


class Contest(NamedTuple):
    """The data that decides for any weights which targets are among the first K: T targets, R rivals, n parts.

    A rival is a document that is ahead of a target with some weights and behind it with others.
    """

    k: int
    share: Float64  # (T,) the mean recall gained by finding the target
    known: Bool  # (T, n) True if the part's query vector is not zero
    always: Int64  # (T,) number of documents ahead with any weights
    target: Int64  # (R,) the target of each rival
    ahead: Float32  # (R, n) the rival's cosine minus the target's, 0 if they are tied
    earlier: Bool  # (R,) True if the rival comes first in a tie


class WeightChoice(NamedTuple):
    """The chosen weights, and how sensitive recall is to them."""

    weights: Weights
    recall: float
    equal: float  # recall with all weights 1
    alone: tuple[float, ...]  # recall of each part by itself
    lines: tuple[tuple[tuple[float, float], ...], ...]  # (weight, recall) for each part but the first, the others fixed


def build_contest(
    documents: Sequence[Float32],
    queries: Sequence[Float32],
    targets: Targets,
    k: int,
    excluded: Exclusions | None = None,
) -> Contest:
    """The contest for recall@K from the parts' unit vectors (N, Dᵢ) and (S, Dᵢ); the targets are rows of N, as are the
    documents that are excluded for each search.

    With weights ≥ 0, a document that no part places ahead of a target is never ahead, and a document that all parts
    place ahead always is. A target with K of the latter is never found. So only the rivals of the other targets are
    kept, and no weights need another search of the corpus.
    """
    searches = np.repeat(np.arange(len(targets.counts)), targets.counts)
    share = 1 / (targets.counts[searches] * len(targets.counts))
    is_nonzero = np.stack([part.any(axis=1) for part in queries], axis=1)[searches]
    always = np.zeros(len(searches), np.int64)
    pieces = [(np.empty(0, np.int64), np.empty((0, len(queries)), np.float32), np.empty(0, bool))]
    step = max(1, CELLS // (len(documents[0]) * len(documents)))
    for first in range(0, len(searches), step):
        block_searches, rows = searches[first : first + step], targets.documents[first : first + step]
        block_excluded = None if excluded is None else excluded.take(block_searches)
        block_queries = [part[block_searches] for part in queries]
        always[first : first + step], rivals = _rivals(documents, block_queries, rows, k, block_excluded)
        pieces.append((rivals[0] + first, *rivals[1:]))
    target, ahead, earlier = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return Contest(k, share, is_nonzero, always, target, ahead, earlier)


def _rivals(
    documents: Sequence[Float32], queries: Sequence[Float32], rows: Int32, k: int, excluded: Exclusions | None
) -> tuple[Int64, tuple[Int64, Float32, Bool]]:
    """(always (T,), rivals) for the targets at rows (T,) with their queries (T, Dᵢ)."""
    ahead = np.empty((len(rows), len(documents[0]), len(documents)), np.float32)
    for part, (document_vectors, query_vectors) in enumerate(zip(documents, queries, strict=True)):
        cosines = query_vectors @ document_vectors.T
        ahead[..., part] = cosines - np.take_along_axis(cosines, rows[:, None].astype(np.int64), 1)
    ahead[np.abs(ahead) <= TIE_TOLERANCE] = 0
    if excluded is not None:  # behind every target with any weights
        ahead[np.repeat(np.arange(len(rows)), excluded.counts), excluded.documents] = -np.inf
    earlier = np.arange(len(documents[0])) < rows[:, None]
    never_behind, never_ahead = (ahead >= 0).all(2), (ahead <= 0).all(2)
    always_tied = never_behind & never_ahead
    always = (never_behind & (ahead[..., 0] > 0)) | (always_tied & earlier)  # the first weight is never 0
    never_wins = (never_ahead & ((ahead[..., 0] < 0) | ~earlier)) | (always_tied & ~earlier)
    counts = always.sum(1)
    target, document = np.nonzero(~always & ~never_wins & (counts < k)[:, None])
    return counts, (target, ahead[target, document], earlier[target, document])


def recall(contest: Contest, weights: Sequence[float]) -> float:
    """Mean recall@K of the ensemble with weights (n,), equal to that of exact search over the concatenated vectors."""
    alphas = np.asarray(weights, np.float64)
    score = contest.ahead @ alphas.astype(np.float32)
    tolerance = TIE_TOLERANCE * np.sqrt((alphas**2).sum() * len(alphas))  # the tie tolerance for concatenated vectors
    wins = (score > tolerance) | ((np.abs(score) <= tolerance) & contest.earlier)
    ahead = contest.always + np.bincount(contest.target[wins], minlength=len(contest.always))
    return float(contest.share[(ahead < contest.k) & (contest.known @ alphas > 0)].sum())


def choose(contest: Contest) -> WeightChoice:
    """The weights ≥ 0, the first of them 1, with the highest validation recall; in a tie, those nearest to all ones.

    Recall is piecewise constant in the weights, so it has no gradient, and it has local maxima. DIRECT [Jones et al.
    1993] (scipy) divides the box of u = α / (1 + α), whose centre is α = 1, where the gain looks largest. Then each
    weight in turn is searched on a grid that contains 0, until none improves recall. Both steps are deterministic.
    """
    from scipy.optimize import Bounds, direct

    n = contest.known.shape[1]
    recalls: dict[Weights, float] = {}

    def measure(weights: Weights) -> float:
        if weights not in recalls:
            recalls[weights] = recall(contest, weights)
        return recalls[weights]

    def loss(u: Float64) -> float:
        return -measure((1.0, *(round(min(float(x / (1 - x)), MAX_WEIGHT), 3) for x in u)))

    direct(loss, Bounds(np.zeros(n - 1), np.ones(n - 1)), maxfun=TRIES * (n - 1), locally_biased=False)
    best = _best(recalls)
    while True:
        for part in range(1, n):
            for weight in GRID:
                measure((*best[:part], weight, *best[part + 1 :]))
        if _best(recalls) == best:
            return describe_weights(contest, best)
        best = _best(recalls)


def _best(recalls: dict[Weights, float]) -> Weights:
    return max(
        recalls, key=lambda weights: (round(recalls[weights], 9), -sum(abs(_share(weight) - 0.5) for weight in weights))
    )


def _share(weight: float) -> float:
    """The weight mapped to [0, 1): ½ for 1."""
    return weight / (1 + weight)


def describe_weights(contest: Contest, weights: Weights) -> WeightChoice:
    """The weights given, their recall, and how sensitive recall is to them."""
    n = len(weights)
    alone = tuple(recall(contest, np.eye(n)[part].tolist()) for part in range(n))
    lines = []
    for part in range(1, n):
        grid = sorted({*GRID, weights[part]})
        lines.append(
            tuple((weight, recall(contest, (*weights[:part], weight, *weights[part + 1 :]))) for weight in grid)
        )
    return WeightChoice(weights, recall(contest, weights), recall(contest, (1.0,) * n), alone, tuple(lines))
