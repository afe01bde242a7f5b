"""Confidence intervals: searches of one searcher are not independent, and another seed trains another arm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float64, Int64

FEW_CLUSTERS = 30  # with fewer, no interval is given
BLOCK = 100  # resamples at a time
LEVEL = 0.95
MIN_VARIANCE_SHARE = (
    1 / 16
)  # of the variance, at least: a resample without the few clusters that differ would have none
POWER = 0.8  # of the test for the smallest detectable difference
DIFFERING = 0.2  # share of the searches on which two arms are taken to differ before anything is measured


class Interval(NamedTuple):
    """A mean with its 95% interval. The ends are NaN with fewer than 30 clusters."""

    value: float
    low: float
    high: float


class MetricValues(NamedTuple):
    """One arm's metric on S searches shared by all arms: values (R, S), a line for each seed it was trained with."""

    values: Float64
    trained: bool = True  # False for a baseline that does not depend on the seed
    trainings: tuple[tuple[str, ...], ...] = ()  # (R,) the trained models in each line; () if they are not known

    def shares_trainings(self, other: MetricValues) -> bool:
        """True if both were made of the same trained models, seed by seed: the training noise of one is the other's."""
        return self.trained and bool(self.trainings) and self.trainings == other.trainings


class Differences(NamedTuple):
    """Differences of A arms to one baseline, each field (A,). The ends are NaN with fewer than 30 clusters."""

    value: Float64
    low: Float64  # pointwise interval
    high: Float64
    family_low: Float64  # simultaneous interval
    family_high: Float64
    detectable: Float64  # smallest true difference that this sample detects (80% power, simultaneous interval)
    clusters: int
    seed_freedom: int  # degrees of freedom of the training noise; 0: not included


class _VarianceComponents(NamedTuple):
    """The components of the variance of the differences: clusters, seeds, and their interaction."""

    totals: Float64  # (G, A) sums of the differences in each cluster
    counts: Float64  # (G,) searches in each cluster
    value: Float64  # (A,)
    sampling: Float64  # (A,) variance over clusters
    shares: Float64  # (A, 2) 1 / R of the arm and of the baseline, 0 if not trained, or if both share their models
    pools: tuple[_SeedVariance, _SeedVariance]  # of the means of single arms; of differences that share their models
    pool_of: Int64  # (A,) the pool of each difference

    @property
    def training(self) -> Float64:
        """(A,) the variance between seeds in the limit of infinitely many searches."""
        return np.array([pool.limit for pool in self.pools])[self.pool_of]

    @property
    def freedom(self) -> int:
        """The degrees of freedom of the training noise; 0: not included."""
        return max(pool.freedom for pool in self.pools)


class _SeedVariance(NamedTuple):
    """A variance between seeds, pooled over arms or differences."""

    between: float  # variance between seeds of a mean on these searches
    interaction: float  # the part of it that is due to the seed on these searches only
    freedom: int

    @property
    def limit(self) -> float:
        """The variance between seeds in the limit of infinitely many searches."""
        return max(0.0, self.between - self.interaction)


def bootstrap(values: Float64, clusters: Int64, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """A percentile interval for the mean of each column of values (S, C), resampling whole clusters (S,).

    Every resample draws as many clusters as there are and takes the mean over their searches. Training noise is not
    included.
    """
    totals, counts = _sum_clusters(values, clusters)
    means = values.mean(0) if len(values) else np.full(values.shape[1], np.nan)
    if len(counts) < FEW_CLUSTERS:
        return [Interval(float(mean), np.nan, np.nan) for mean in means]
    resampled = np.concatenate(
        [(times @ totals) / (times @ counts)[:, None] for times in _resamples(len(counts), resamples, seed)]
    )
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Interval(*map(float, triple)) for triple in zip(means, low, high, strict=True)]


def cluster_robust(values: Float64, clusters: Int64) -> list[Interval]:
    """mean ± t · s for each column of values (S, C), s² = G/(G−1) · Σ_g (Σ_{i∈g} (xᵢ − mean))² / S², t with G − 1.

    This is the bootstrap's limit in closed form, for metrics with many slices.
    """
    from scipy import special

    totals, counts = _sum_clusters(values, clusters)
    means = values.mean(0) if len(values) else np.full(values.shape[1], np.nan)
    if len(counts) < FEW_CLUSTERS:
        return [Interval(float(mean), np.nan, np.nan) for mean in means]
    reach = special.stdtrit(len(counts) - 1, (1 + LEVEL) / 2) * np.sqrt(_variance(totals, counts))
    return [Interval(*map(float, triple)) for triple in zip(means, means - reach, means + reach, strict=True)]


def compare(
    baseline: MetricValues, arms: list[MetricValues], clusters: Int64, resamples: int = 2000, seed: int = 0
) -> Differences:
    """Paired differences of arms to a baseline with pointwise and simultaneous (max-t) 95% intervals.

    The seeds of an arm are averaged. The variance of a difference is that over clusters plus σ² (1/R + 1/R₀), where σ²
    is the variance between seeds, pooled over the arms that have several; it is applied to arms with one seed too. An
    arm made of the same trained models as the baseline is compared seed by seed: plus σ² / R, where σ² is the variance
    between seeds of such differences. The intervals are those of a bootstrap-t: each resample draws clusters and
    training noise and has an error of its own (with a new χ² for that of the seeds), and the intervals reach to the 95%
    quantile of |T|, or of max |T| over the arms. If no arm has several seeds, training noise is not included.
    """
    from scipy import special

    components = _variance_components(baseline, arms, clusters)
    scale = np.sqrt(components.sampling + components.training * components.shares.sum(1))
    groups, freedom = len(components.counts), components.freedom
    if groups < FEW_CLUSTERS:
        missing = np.full(len(arms), np.nan)
        return Differences(components.value, missing, missing, missing, missing, missing, groups, freedom)
    pivots = np.abs(np.concatenate(list(_pivots(components, resamples, seed))))
    pointwise = np.quantile(pivots, LEVEL, axis=0) * scale
    family_quantile = float(np.quantile(pivots.max(1, initial=0), LEVEL))
    family = family_quantile * scale
    return Differences(
        components.value,
        components.value - pointwise,
        components.value + pointwise,
        components.value - family,
        components.value + family,
        (family_quantile + special.ndtri(POWER)) * scale,
        groups,
        freedom,
    )


def smallest_difference(searches: int, differing: float = DIFFERING) -> float:
    """(z(.975) + z(POWER)) · √(differing / searches), the true difference in recall that a paired comparison of two
    arms on so many independent searches detects.

    differing: the share of the searches in which one of the arms finds the target and the other does not.

    >>> round(smallest_difference(1_000), 3)
    0.04
    """
    from scipy import special

    quantiles = special.ndtri((1 + LEVEL) / 2) + special.ndtri(POWER)
    return float(quantiles * np.sqrt(differing / searches))


def lower_bound(differences: Float64, clusters: Int64, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of paired differences (S,) with a one-sided 95% lower bound; its upper end is +∞.

    The bound is value − q · s, with s the linearised error over clusters and q the 95% quantile of a bootstrap-t over
    whole clusters. Training noise is not included. The bound is NaN with fewer than 30 clusters.
    """
    if not len(differences):
        return Interval(np.nan, np.nan, np.inf)
    zeros, arm = (MetricValues(values[None], trained=False) for values in (np.zeros_like(differences), differences))
    components = _variance_components(zeros, [arm], clusters)
    if len(components.counts) < FEW_CLUSTERS:
        return Interval(float(components.value[0]), np.nan, np.inf)
    pivots = np.concatenate(list(_pivots(components, resamples, seed)))[:, 0]
    reach = float(np.quantile(pivots, LEVEL)) * float(np.sqrt(components.sampling[0]))
    return Interval(float(components.value[0]), float(components.value[0]) - reach, np.inf)


def compare_pointwise(baseline: MetricValues, arms: list[MetricValues], clusters: Int64) -> list[Interval]:
    """Paired differences with pointwise intervals in closed form (Satterthwaite's degrees of freedom), for slices."""
    from scipy import special

    components = _variance_components(baseline, arms, clusters)
    groups, share = len(components.counts), components.shares.sum(1)
    if groups < FEW_CLUSTERS:
        return [Interval(float(value), np.nan, np.nan) for value in components.value]
    variance = components.sampling + components.training * share
    spread = components.sampling**2 / (groups - 1)
    for number, pool in enumerate(components.pools):
        if pool.limit:
            spread = spread + (components.pool_of == number) * (pool.between * share) ** 2 / pool.freedom
    freedom = np.divide(variance**2, spread, out=np.full(len(arms), groups - 1.0), where=spread > 0)
    reach = special.stdtrit(np.maximum(freedom, 1), (1 + LEVEL) / 2) * np.sqrt(variance)
    ends = zip(components.value, components.value - reach, components.value + reach, strict=True)
    return [Interval(*map(float, triple)) for triple in ends]


def _sum_clusters(values: Float64, clusters: Int64) -> tuple[Float64, Float64]:
    """The column sums (G, C) and the number of searches (G,) of each cluster."""
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order], prepend=clusters[order[:1]] - 1))
    counts = np.diff(starts, append=len(order)).astype(np.float64)
    totals: Float64 = np.add.reduceat(values[order], starts, axis=0) if len(starts) else np.empty((0, values.shape[1]))
    return totals, counts


def _variance(totals: Float64, counts: Float64) -> Float64:
    """(C,): the linearised variance of Σ totals / Σ counts over clusters."""
    groups, searches = len(counts), counts.sum()
    residual = totals - totals.sum(0) / searches * counts[:, None]
    spread: Float64 = (residual**2).sum(0)
    variance: Float64 = spread * groups / max(groups - 1, 1) / searches**2
    return variance


def _variance_components(baseline: MetricValues, arms: list[MetricValues], clusters: Int64) -> _VarianceComponents:
    """The differences and the components of their variance."""
    means = np.stack([arm.values.mean(0) - baseline.values.mean(0) for arm in arms], 1)  # (S, A)
    totals, counts = _sum_clusters(means, clusters)
    shared = np.array([arm.shares_trainings(baseline) for arm in arms], bool)
    differences = [arm.values - baseline.values for arm, is_shared in zip(arms, shared, strict=True) if is_shared]
    alone = [arm.values for arm in (baseline, *arms) if arm.trained and not shared.all()]
    pools = _seed_variance(alone, clusters), _seed_variance(differences, clusters)
    seed_shares = [1 / len(arm.values) if arm.trained else 0.0 for arm in (baseline, *arms)]
    shares = np.column_stack([seed_shares[1:], np.where(shared, 0.0, seed_shares[0])])
    value = totals.sum(0) / counts.sum()
    return _VarianceComponents(totals, counts, value, _variance(totals, counts), shares, pools, shared.astype(np.int64))


def _seed_variance(by_seed: list[Float64], clusters: Int64) -> _SeedVariance:
    """The variance between the lines of each (R, S), pooled over those that have several."""
    between, interaction, freedom = 0.0, 0.0, 0
    for values in by_seed:
        if len(values) < 2:
            continue
        seed_freedom = len(values) - 1
        seed_deviations = _sum_clusters((values - values.mean(0)).T, clusters)
        between += seed_freedom * float(values.mean(1).var(ddof=1))
        interaction += float(_variance(*seed_deviations).sum())  # of R deviations, which have R − 1 degrees of freedom
        freedom += seed_freedom
    pooled = max(freedom, 1)
    return _SeedVariance(between / pooled, interaction / pooled, freedom)


def _pivots(components: _VarianceComponents, resamples: int, seed: int) -> Iterator[Float64]:
    """Blocks (resamples, A) of T = (deviation of a resample) / (its own estimate of the error)."""
    groups, counts = len(components.counts), components.counts
    noise = np.random.default_rng([seed, 1])
    products = np.hstack(
        [components.totals, components.totals**2, components.totals * counts[:, None], counts[:, None] ** [1, 2]]
    )
    for times in _resamples(groups, resamples, seed):
        sums, squares, cross, count_moments = np.split(
            times @ products, np.arange(1, 4) * components.totals.shape[1], axis=1
        )
        searches, squared_counts = count_moments[:, :1], count_moments[:, 1:]
        means = sums / searches
        variance = (squares - 2 * means * cross + means**2 * squared_counts) / searches**2 * groups / (groups - 1)
        variance = np.maximum(variance, components.sampling * MIN_VARIANCE_SHARE)
        deviation = means - components.value
        if components.training.any():
            arm_noise = noise.standard_normal(deviation.shape) * np.sqrt(components.shares[:, 0])
            baseline_noise = noise.standard_normal((len(times), 1)) * np.sqrt(components.shares[:, 1])
            deviation += np.sqrt(components.training) * (arm_noise - baseline_noise)
            drawn = np.hstack([_drawn_variance(pool, len(times), noise) for pool in components.pools])
            variance = variance + drawn[:, components.pool_of] * components.shares.sum(1)
        yield np.divide(deviation, np.sqrt(variance), out=np.zeros_like(deviation), where=variance > 0)


def _drawn_variance(pool: _SeedVariance, resamples: int, rng: np.random.Generator) -> Float64:
    """(resamples, 1) estimates of the variance between seeds, as other seeds would give them; zeros without any."""
    if not pool.limit:
        return np.zeros((resamples, 1))
    between = pool.between * rng.chisquare(pool.freedom, (resamples, 1)) / pool.freedom
    return np.maximum(0, between - pool.interaction)


def _resamples(groups: int, resamples: int, seed: int) -> Iterator[Float64]:
    """Blocks (resamples, G) with the number of times that each cluster is drawn."""
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, BLOCK):
        lines = min(BLOCK, resamples - first)
        picks = rng.integers(groups, size=(lines, groups))
        picks += np.arange(lines)[:, None] * groups
        yield np.bincount(picks.ravel(), minlength=lines * groups).reshape(lines, groups).astype(np.float64)
