"""The weights of an ensemble, chosen by recall@K on validation searches. [EBR §6.2]"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import Bounds, direct

from ebr_core.arrays import Bool, Float32, Float64, Int32, Int64
from ebr_core.measure.metrics import Targets
from ebr_core.search.nearest import TIED

GRID = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0, 10.0)  # of one weight, the others held
MOST = 100.0  # beyond it, the first part counts for nothing
TRIES = 200  # of the optimiser, for each free weight
CELLS = 2**24  # differences of cosines at a time

Weights = tuple[float, ...]


class Contest(NamedTuple):
    """All that decides which targets are among the first K, for any weights: T targets, R rivals, n parts.

    A rival is a document that is ahead of a target by some weights and behind it by others.
    """

    k: int
    share: Float64  # (T,) what finding the target adds to the mean recall
    known: Bool  # (T, n) whether the part knows the query
    always: Int64  # (T,) documents ahead whatever the weights
    target: Int64  # (R,)
    ahead: Float32  # (R, n) the rival's cosine less the target's, 0 where they are tied
    earlier: Bool  # (R,) whether the rival comes first where all is equal


class Chosen(NamedTuple):
    """The weights, and how much hangs on them."""

    weights: Weights
    recall: float
    equal: float  # recall with all weights 1
    alone: tuple[float, ...]  # recall of each part by itself
    lines: tuple[tuple[tuple[float, float], ...], ...]  # for each part but the first, (weight, recall), the others held


def contest(documents: Sequence[Float32], queries: Sequence[Float32], targets: Targets, k: int) -> Contest:
    """What recall@K of the targets hangs on, of the parts' unit vectors (N, Dᵢ) and (S, Dᵢ); targets are rows of N.

    With weights ≥ 0 a document that no part puts ahead of a target never is, and one that all put ahead always is. A
    target with K of the latter is never found. So only rivals of the other targets are kept, and no weight has to
    search the corpus again.
    """
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)
    share = 1 / (targets.counts[owners] * len(targets.counts))
    known = np.stack([part.any(axis=1) for part in queries], axis=1)[owners]
    always = np.zeros(len(owners), np.int64)
    found = [(np.empty(0, np.int64), np.empty((0, len(queries)), np.float32), np.empty(0, bool))]
    step = max(1, CELLS // (len(documents[0]) * len(documents)))
    for first in range(0, len(owners), step):
        some, rows = owners[first : first + step], targets.documents[first : first + step]
        always[first : first + step], rivals = _rivals(documents, [part[some] for part in queries], rows, k)
        found.append((rivals[0] + first, *rivals[1:]))
    target, ahead, earlier = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Contest(k, share, known, always, target, ahead, earlier)


def _rivals(
    documents: Sequence[Float32], queries: Sequence[Float32], rows: Int32, k: int
) -> tuple[Int64, tuple[Int64, Float32, Bool]]:
    """(always (T,), rivals) of some targets, rows (T,), and their queries (T, Dᵢ)."""
    ahead = np.empty((len(rows), len(documents[0]), len(documents)), np.float32)
    for part, (theirs, asked) in enumerate(zip(documents, queries, strict=True)):
        cosines = asked @ theirs.T
        ahead[..., part] = cosines - np.take_along_axis(cosines, rows[:, None].astype(np.int64), 1)
    ahead[np.abs(ahead) <= TIED] = 0
    earlier = np.arange(len(documents[0])) < rows[:, None]
    behind_nowhere, ahead_nowhere = (ahead >= 0).all(2), (ahead <= 0).all(2)
    even = behind_nowhere & ahead_nowhere
    always = (behind_nowhere & (ahead[..., 0] > 0)) | (even & earlier)  # the first weight is never 0
    never = (ahead_nowhere & ((ahead[..., 0] < 0) | ~earlier)) | (even & ~earlier)
    counts = always.sum(1)
    target, document = np.nonzero(~always & ~never & (counts < k)[:, None])
    return counts, (target, ahead[target, document], earlier[target, document])


def recall(of: Contest, weights: Sequence[float]) -> float:
    """Mean recall@K of the ensemble with these weights (n,), as exact search over its joined vectors finds it."""
    by = np.asarray(weights, np.float64)
    score = of.ahead @ by.astype(np.float32)
    close = TIED * np.sqrt((by**2).sum() * len(by))  # what counts as tied between joined vectors
    wins = (score > close) | ((np.abs(score) <= close) & of.earlier)
    ahead = of.always + np.bincount(of.target[wins], minlength=len(of.always))
    return float(of.share[(ahead < of.k) & (of.known @ by > 0)].sum())


def choose(of: Contest) -> Chosen:
    """The weights ≥ 0, the first 1, with the highest validation recall; of equals, those nearest to all being 1.

    Recall is piecewise constant in the weights, so there is no slope to follow, and it has local peaks: DIRECT
    [Jones et al. 1993] (scipy) divides the box of u = α / (1 + α), whose middle is α = 1, where it promises most. Then
    each weight in turn goes along a grid that holds 0, until none gains. Both are deterministic.
    """
    n = of.known.shape[1]
    seen: dict[Weights, float] = {}

    def measured(weights: Weights) -> float:
        if weights not in seen:
            seen[weights] = recall(of, weights)
        return seen[weights]

    def loss(u: Float64) -> float:
        return -measured((1.0, *(round(min(float(one / (1 - one)), MOST), 3) for one in u)))

    direct(loss, Bounds(np.zeros(n - 1), np.ones(n - 1)), maxfun=TRIES * (n - 1), locally_biased=False)
    best = _best(seen)
    while True:
        for part in range(1, n):
            for weight in GRID:
                measured((*best[:part], weight, *best[part + 1 :]))
        if _best(seen) == best:
            return described(of, best)
        best = _best(seen)


def _best(seen: dict[Weights, float]) -> Weights:
    return max(seen, key=lambda weights: (round(seen[weights], 9), -sum(abs(_share(one) - 0.5) for one in weights)))


def _share(weight: float) -> float:
    """Where a weight stands between nothing and all, ½ for 1."""
    return weight / (1 + weight)


def described(of: Contest, weights: Weights) -> Chosen:
    """The same of weights that are given."""
    n = len(weights)
    alone = tuple(recall(of, np.eye(n)[part].tolist()) for part in range(n))
    lines = []
    for part in range(1, n):
        grid = sorted({*GRID, weights[part]})
        lines.append(tuple((one, recall(of, (*weights[:part], one, *weights[part + 1 :]))) for one in grid))
    return Chosen(weights, recall(of, weights), recall(of, (1.0,) * n), alone, tuple(lines))
