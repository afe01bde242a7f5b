"""Recall among sampled negatives instead of the whole corpus, an easier evaluation."""

from __future__ import annotations

import numpy as np

from ebr_core.arrays import Bool, Float32, Float64, Int32, Int64
from ebr_core.measure.metrics import Targets
from ebr_core.search.exclusions import Exclusions
from ebr_core.search.nearest import TIE_TOLERANCE

NOT_RETRIEVED = np.iinfo(np.int64).max  # the rank of a target that is not retrieved


def exact_ranks(
    documents: Float32, queries: Float32, targets: Targets, block: int = 256, excluded: Exclusions | None = None
) -> Int64:
    """(T,) the rank, from 1, of each target among the documents (C, D) without the other targets of its search and
    without those that are excluded for it.

    queries are (S, D), or (h, S, D). Similarities within TIED are ties and are ordered by row, as in `search_exact`. A
    zero query retrieves nothing, so its targets have rank NEVER.
    """
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)
    ranks = np.empty(len(owners), np.int64)
    for first in range(0, queries.shape[-2], block):
        begin, end = targets.offsets[first], targets.offsets[min(first + block, queries.shape[-2])]
        views = queries[..., first : first + block, :] @ documents.T  # (B, C), or (h, B, C)
        block_cosines = views.max(0) if views.ndim == 3 else views
        if excluded is not None:
            part = excluded.take(np.arange(first, first + len(block_cosines)))
            block_cosines[np.repeat(np.arange(len(block_cosines)), part.counts), part.documents] = -np.inf
        block_searches, rows = owners[begin:end] - first, targets.documents[begin:end]
        threshold = block_cosines[block_searches, rows][:, None]
        cosines = block_cosines[block_searches]  # (targets of the block, C)
        before = (cosines > threshold + TIE_TOLERANCE) | (
            (np.abs(cosines - threshold) <= TIE_TOLERANCE) & (np.arange(len(documents)) < rows[:, None])
        )
        ranks[begin:end] = 1 + before.sum(1) - _other_targets_before(before, block_searches, rows)
    blank = ~np.any(queries, axis=(0, 2) if queries.ndim == 3 else 1)
    ranks[blank[owners]] = NOT_RETRIEVED
    return ranks


def _other_targets_before(before: Bool, searches: Int64, rows: Int32) -> Int64:
    """(T,) number of documents before each target that are targets of the same search."""
    first, second = _pairs(searches)
    counts = np.zeros(len(searches), np.int64)
    np.add.at(counts, first, before[first, rows[second]])
    return counts


def _pairs(searches: Int64) -> tuple[Int64, Int64]:
    """All pairs of targets of the same search. searches (T,) is ascending."""
    starts, ends = np.searchsorted(searches, searches), np.searchsorted(searches, searches, side="right")
    sizes = ends - starts
    first = np.repeat(np.arange(len(searches)), sizes)
    return first, np.arange(len(first)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)


def sampled_recall(ranks: Int64, targets: Targets, candidates: int, negatives: int, k: int) -> Float64:
    """(S,) the expected recall@K if each target of a search were ranked among `negatives` random documents only.

    A target of rank r has r − 1 of the C − |T| other documents before it, and a sample of n without replacement holds a
    hypergeometric number X of them. The recall is the mean of P(X < K) over the targets. Nothing is drawn.
    [Krichene & Rendle 2020]
    """
    others = candidates - np.repeat(targets.counts, targets.counts)
    sample_size = np.minimum(negatives, others)
    before = np.clip(ranks - 1, 0, others)
    from scipy import stats  # takes a second to import

    chance = np.where(ranks == NOT_RETRIEVED, 0.0, stats.hypergeom.cdf(k - 1, others, before, sample_size))
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)
    return np.bincount(owners, chance, len(targets.counts)) / targets.counts


def agreement(first: Float64, second: Float64) -> float:
    """Kendall's τ-b of two orders of the same arms: 1 if equal, −1 if reversed, NaN for fewer than two arms."""
    from scipy import stats  # takes a second to import

    return float(stats.kendalltau(first, second).statistic) if len(first) > 1 else float("nan")
