"""How sure a number is: searches of one searcher are not independent, and another seed would train another arm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import stats

from ebr_core.arrays import Float64, Int64

FEW_CLUSTERS = 30  # below it no interval is worth its name
BLOCK = 100  # resamples at a time
LEVEL = 0.95
SPREAD_LEFT = 1 / 16  # of the variance, at least: a resample without the few clusters that differ would state none
POWER = 0.8  # with which the smallest detectable difference would have been found


class Interval(NamedTuple):
    """A mean with its 95 % interval; the ends are NaN below 30 clusters."""

    value: float
    low: float
    high: float


class MetricValues(NamedTuple):
    """One arm's metric on the same searches as the others': values (R, S), a line for each seed it was trained with."""

    values: Float64
    trained: bool = True  # False: a baseline that no seed changes


class Differences(NamedTuple):
    """Arms against one baseline, (A,) each; the ends are NaN below 30 clusters."""

    value: Float64
    low: Float64  # of each by itself
    high: Float64
    family_low: Float64  # of all of them together
    family_high: Float64
    detectable: Float64  # the true difference that this sample would have shown (80 % power, family interval)
    clusters: int
    seed_freedom: int  # degrees of freedom of the training noise; 0: it is not included


class _VarianceParts(NamedTuple):
    """What the variance of the differences is made of: clusters, seeds, and what is of both."""

    totals: Float64  # (G, A) sums of the differences in each cluster
    counts: Float64  # (G,) searches in each cluster
    value: Float64  # (A,)
    sampling: Float64  # (A,) variance over clusters
    shares: Float64  # (A, 2) 1 / R of the arm and of the baseline, 0 where it is not trained
    between: float  # variance between seeds of an arm's mean on these searches, pooled
    interaction: float  # how much of it is not of the seed but of the seed on these searches
    freedom: int

    @property
    def training(self) -> float:
        """The variance between seeds that would be left on endlessly many searches."""
        return max(0.0, self.between - self.interaction)


def bootstrap(values: Float64, clusters: Int64, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """A percentile interval for the mean of each column of values (S, C), resampling whole clusters (S,).

    Every resample draws as many clusters as there are, and takes the mean over their searches. Training noise is not
    in it.
    """
    totals, counts = _sum_clusters(values, clusters)
    means = values.mean(0) if len(values) else np.full(values.shape[1], np.nan)
    if len(counts) < FEW_CLUSTERS:
        return [Interval(float(mean), np.nan, np.nan) for mean in means]
    drawn = np.concatenate(
        [(times @ totals) / (times @ counts)[:, None] for times in _resamples(len(counts), resamples, seed)]
    )
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Interval(*map(float, triple)) for triple in zip(means, low, high, strict=True)]


def robust(values: Float64, clusters: Int64) -> list[Interval]:
    """mean ± t · s for each column of values (S, C), s² = G/(G−1) · Σ_g (Σ_{i∈g} (xᵢ − mean))² / S², t with G − 1.

    The bootstrap's limit in closed form, for the many slices.
    """
    totals, counts = _sum_clusters(values, clusters)
    means = values.mean(0) if len(values) else np.full(values.shape[1], np.nan)
    if len(counts) < FEW_CLUSTERS:
        return [Interval(float(mean), np.nan, np.nan) for mean in means]
    reach = stats.t.ppf((1 + LEVEL) / 2, len(counts) - 1) * np.sqrt(_variance(totals, counts))
    return [Interval(*map(float, triple)) for triple in zip(means, means - reach, means + reach, strict=True)]


def compare(
    baseline: MetricValues, arms: list[MetricValues], clusters: Int64, resamples: int = 2000, seed: int = 0
) -> Differences:
    """Paired differences of arms to a baseline with pointwise and simultaneous (max-t) 95 % intervals.

    Seeds of an arm are meaned. The variance of a difference is that over clusters plus σ² (1/R + 1/R₀), σ² the variance
    between seeds, pooled over the arms that have several; arms with one seed borrow it. A bootstrap-t: each resample
    draws clusters and training noise, states its own error (a fresh χ² for that of the seeds), and the intervals reach
    as far as the 95 % quantile of |T|, or of max |T| over the arms. Without several seeds of any arm, training noise is
    not included.
    """
    parts = _take_apart(baseline, arms, clusters)
    scale = np.sqrt(parts.sampling + parts.training * parts.shares.sum(1))
    groups, freedom = len(parts.counts), parts.freedom
    if groups < FEW_CLUSTERS:
        nothing = np.full(len(arms), np.nan)
        return Differences(parts.value, nothing, nothing, nothing, nothing, nothing, groups, freedom)
    drawn = np.abs(np.concatenate(list(_pivots(parts, resamples, seed))))
    alone = np.quantile(drawn, LEVEL, axis=0) * scale
    together = float(np.quantile(drawn.max(1, initial=0), LEVEL))
    family = together * scale
    return Differences(
        parts.value,
        parts.value - alone,
        parts.value + alone,
        parts.value - family,
        parts.value + family,
        (together + stats.norm.ppf(POWER)) * scale,
        groups,
        freedom,
    )


def lower_bound(differences: Float64, clusters: Int64, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of paired differences (S,) with a one-sided 95 % lower bound; its upper end is +∞.

    value − q · s, s the linearised error over clusters, q the 95 % quantile of a bootstrap-t over whole clusters.
    Training noise is not in it. The bound is NaN below 30 clusters.
    """
    if not len(differences):
        return Interval(np.nan, np.nan, np.inf)
    nothing, own = (MetricValues(values[None], trained=False) for values in (np.zeros_like(differences), differences))
    parts = _take_apart(nothing, [own], clusters)
    if len(parts.counts) < FEW_CLUSTERS:
        return Interval(float(parts.value[0]), np.nan, np.inf)
    drawn = np.concatenate(list(_pivots(parts, resamples, seed)))[:, 0]
    reach = float(np.quantile(drawn, LEVEL)) * float(np.sqrt(parts.sampling[0]))
    return Interval(float(parts.value[0]), float(parts.value[0]) - reach, np.inf)


def compare_by_itself(baseline: MetricValues, arms: list[MetricValues], clusters: Int64) -> list[Interval]:
    """The same differences with pointwise intervals in closed form (Satterthwaite's degrees of freedom), for slices."""
    parts = _take_apart(baseline, arms, clusters)
    groups, share = len(parts.counts), parts.shares.sum(1)
    if groups < FEW_CLUSTERS:
        return [Interval(float(value), np.nan, np.nan) for value in parts.value]
    variance = parts.sampling + parts.training * share
    uncertain = parts.sampling**2 / (groups - 1)
    if parts.training:
        uncertain = uncertain + (parts.between * share) ** 2 / parts.freedom
    freedom = np.divide(variance**2, uncertain, out=np.full(len(arms), groups - 1.0), where=uncertain > 0)
    reach = stats.t.ppf((1 + LEVEL) / 2, np.maximum(freedom, 1)) * np.sqrt(variance)
    ends = zip(parts.value, parts.value - reach, parts.value + reach, strict=True)
    return [Interval(*map(float, triple)) for triple in ends]


def _sum_clusters(values: Float64, clusters: Int64) -> tuple[Float64, Float64]:
    """(G, C) the columns' sums in each cluster, and (G,) its searches."""
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order], prepend=clusters[order[:1]] - 1))
    counts = np.diff(starts, append=len(order)).astype(np.float64)
    totals: Float64 = np.add.reduceat(values[order], starts, axis=0) if len(starts) else np.empty((0, values.shape[1]))
    return totals, counts


def _variance(totals: Float64, counts: Float64) -> Float64:
    """(C,) the variance of Σ totals / Σ counts over clusters, linearised."""
    groups, searches = len(counts), counts.sum()
    residual = totals - totals.sum(0) / searches * counts[:, None]
    spread: Float64 = (residual**2).sum(0)
    variance: Float64 = spread * groups / max(groups - 1, 1) / searches**2
    return variance


def _take_apart(baseline: MetricValues, arms: list[MetricValues], clusters: Int64) -> _VarianceParts:
    """The differences and the parts of their variance."""
    means = np.stack([arm.values.mean(0) - baseline.values.mean(0) for arm in arms], 1)  # (S, A)
    totals, counts = _sum_clusters(means, clusters)
    between, interaction, freedom = 0.0, 0.0, 0
    for arm in (baseline, *arms):
        if not arm.trained or len(arm.values) < 2:
            continue
        free = len(arm.values) - 1
        own = _sum_clusters((arm.values - arm.values.mean(0)).T, clusters)
        between += free * float(arm.values.mean(1).var(ddof=1))
        interaction += float(_variance(*own).sum())  # over R deviations, which hold R − 1 of freedom
        freedom += free
    share = [1 / len(arm.values) if arm.trained else 0.0 for arm in (baseline, *arms)]
    shares = np.column_stack([share[1:], np.full(len(arms), share[0])])
    pooled = max(freedom, 1)
    value = totals.sum(0) / counts.sum()
    return _VarianceParts(
        totals, counts, value, _variance(totals, counts), shares, between / pooled, interaction / pooled, freedom
    )


def _pivots(parts: _VarianceParts, resamples: int, seed: int) -> Iterator[Float64]:
    """Blocks (resamples, A) of (what a resample is off by) / (the error that it would have stated)."""
    groups, counts = len(parts.counts), parts.counts
    noise = np.random.default_rng([seed, 1])
    products = np.hstack([parts.totals, parts.totals**2, parts.totals * counts[:, None], counts[:, None] ** [1, 2]])
    for times in _resamples(groups, resamples, seed):
        sums, squares, mixed, own_counts = np.split(times @ products, np.arange(1, 4) * parts.totals.shape[1], axis=1)
        searches, squared = own_counts[:, :1], own_counts[:, 1:]
        drawn = sums / searches
        stated = (squares - 2 * drawn * mixed + drawn**2 * squared) / searches**2 * groups / (groups - 1)
        stated = np.maximum(stated, parts.sampling * SPREAD_LEFT)
        off = drawn - parts.value
        if parts.training:
            own = noise.standard_normal(off.shape) * np.sqrt(parts.shares[:, 0])
            shared = noise.standard_normal((len(times), 1)) * np.sqrt(parts.shares[:, 1])
            off += np.sqrt(parts.training) * (own - shared)
            between = parts.between * noise.chisquare(parts.freedom, (len(times), 1)) / parts.freedom
            stated = stated + np.maximum(0, between - parts.interaction) * parts.shares.sum(1)
        yield np.divide(off, np.sqrt(stated), out=np.zeros_like(off), where=stated > 0)


def _resamples(groups: int, resamples: int, seed: int) -> Iterator[Float64]:
    """Blocks (resamples, G): how often each cluster is drawn."""
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, BLOCK):
        lines = min(BLOCK, resamples - first)
        picks = rng.integers(groups, size=(lines, groups))
        picks += np.arange(lines)[:, None] * groups
        yield np.bincount(picks.ravel(), minlength=lines * groups).reshape(lines, groups).astype(np.float64)
