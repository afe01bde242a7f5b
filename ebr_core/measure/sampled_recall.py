"""What an easier evaluation would have said: targets among sampled negatives in place of the whole corpus."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ebr_core.arrays import Bool, Float32, Float64, Int32, Int64
from ebr_core.measure.metrics import Targets
from ebr_core.search.nearest import TIED

NEVER = np.iinfo(np.int64).max  # the rank of what is not retrieved at all


def exact_ranks(documents: Float32, queries: Float32, targets: Targets, block: int = 256) -> Int64:
    """(T,) the rank, from 1, of each target among all documents (C, D) that are not its search's other targets.

    queries (S, D), or (h, S, D), are the searches'. Similarities within TIED are equal and go by row, as in
    `search.exact`; a zero query finds nothing, its targets' rank is NEVER.
    """
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)
    ranks = np.empty(len(owners), np.int64)
    for first in range(0, queries.shape[-2], block):
        begin, end = targets.offsets[first], targets.offsets[min(first + block, queries.shape[-2])]
        views = queries[..., first : first + block, :] @ documents.T  # (B, C), or (h, B, C)
        similarity = views.max(0) if views.ndim == 3 else views
        asked, wanted = owners[begin:end] - first, targets.documents[begin:end]
        own = similarity[asked, wanted][:, None]
        lines = similarity[asked]  # (targets of the block, C)
        before = (lines > own + TIED) | ((np.abs(lines - own) <= TIED) & (np.arange(len(documents)) < wanted[:, None]))
        ranks[begin:end] = 1 + before.sum(1) - _other_targets_before(before, asked, wanted)
    blank = ~np.any(queries, axis=(0, 2) if queries.ndim == 3 else 1)
    ranks[blank[owners]] = NEVER
    return ranks


def _other_targets_before(before: Bool, asked: Int64, wanted: Int32) -> Int64:
    """(T,) how many of the documents before each target are targets of the same search."""
    one, other = _pairs(asked)
    counts = np.zeros(len(asked), np.int64)
    np.add.at(counts, one, before[one, wanted[other]])
    return counts


def _pairs(asked: Int64) -> tuple[Int64, Int64]:
    """All pairs of targets of one search; asked is ascending."""
    starts, ends = np.searchsorted(asked, asked), np.searchsorted(asked, asked, side="right")
    sizes = ends - starts
    one = np.repeat(np.arange(len(asked)), sizes)
    return one, np.arange(len(one)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts, sizes)


def sampled_recall(ranks: Int64, targets: Targets, candidates: int, negatives: int, k: int) -> Float64:
    """(S,) the expected recall@K of each search if only `negatives` random documents were ranked beside each target.

    A target of rank r has r − 1 of the C − |T| other documents before it, and a sample of n without replacement holds a
    hypergeometric number X of them: P(X < K), meaned over the targets. Nothing is drawn. [Krichene & Rendle 2020]
    """
    others = candidates - np.repeat(targets.counts, targets.counts)
    drawn = np.minimum(negatives, others)
    before = np.clip(ranks - 1, 0, others)
    chance = np.where(ranks == NEVER, 0.0, stats.hypergeom.cdf(k - 1, others, before, drawn))
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)
    return np.bincount(owners, chance, len(targets.counts)) / targets.counts


def agreement(one: Float64, other: Float64) -> float:
    """Kendall's τ-b of two orders of the same arms: 1 the same order, −1 the reverse; NaN for fewer than two arms."""
    return float(stats.kendalltau(one, other).statistic) if len(one) > 1 else float("nan")
