"""The bootstrap over clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.arrays import Float64, Int64
from ebr_core.measure.intervals import FEW_CLUSTERS, MetricValues, bootstrap, compare, compare_by_itself, robust
from proofs.coverage import ALLOWED, SETTINGS, cover, plant


def slow(values: Float64, clusters: Int64, resamples: int, seed: int) -> list[list[float]]:
    """[low, high] of each column: clusters drawn with the same random numbers, put together search by search."""
    names = sorted(set(clusters.tolist()))
    rng, means = np.random.default_rng(seed), []
    for first in range(0, resamples, 100):
        for picks in rng.integers(len(names), size=(min(100, resamples - first), len(names))):
            rows = [row for pick in picks for row in range(len(values)) if clusters[row] == names[pick]]
            means.append(values[rows].mean(0))
    return [
        [float(np.quantile([mean[column] for mean in means], q)) for q in (0.025, 0.975)]
        for column in range(values.shape[1])
    ]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([7, 120]), st.integers(1, 3))
def test_intervals_are_those_of_the_loop(seed: int, resamples: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.arange(40), rng.integers(40, size=20)]) * 7 - 50  # any names, unequal sizes
    values = rng.random((60, columns))
    got = bootstrap(values, clusters, resamples, seed)
    wanted = slow(values, clusters, resamples, seed)
    assert [[interval.low, interval.high] for interval in got] == [pytest.approx(pair) for pair in wanted]
    assert [interval.value for interval in got] == pytest.approx(values.mean(0).tolist())


def test_the_interval_covers_a_planted_mean_when_searches_of_a_searcher_resemble_each_other() -> None:
    """Clusters drive the values: an interval over clusters covers, one that takes searches for independent does not."""
    rng, covered, covered_by_rows = np.random.default_rng(0), 0, 0
    for trial in range(200):
        level = rng.standard_normal(60)
        clusters = np.repeat(np.arange(60), 10)
        values = (level[clusters] + 0.3 * rng.standard_normal(600))[:, None]
        (interval,) = bootstrap(values, clusters, 300, trial)
        covered += interval.low <= 0 <= interval.high
        (interval,) = bootstrap(values, np.arange(600), 300, trial)
        covered_by_rows += interval.low <= 0 <= interval.high
    assert 0.88 * 200 <= covered <= 0.99 * 200
    assert covered_by_rows < 0.75 * 200


@pytest.mark.parametrize("count", [0, 1, FEW_CLUSTERS - 1])
def test_few_clusters_have_a_mean_and_no_interval(count: int) -> None:
    values = np.random.default_rng(0).random((3 * count, 2))
    for column, interval in enumerate(bootstrap(values, np.repeat(np.arange(count), 3))):
        assert np.isnan([interval.low, interval.high]).all()
        assert np.isnan(interval.value) if count == 0 else interval.value == pytest.approx(values[:, column].mean())


def test_exactly_enough_clusters_have_an_interval() -> None:
    values = np.random.default_rng(0).random((FEW_CLUSTERS, 1))
    (interval,) = bootstrap(values, np.arange(FEW_CLUSTERS))
    assert interval.low < interval.value < interval.high


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    one, clusters = rng.random(500), rng.integers(90, size=500)
    other = one + 0.01
    columns = np.column_stack([one, other, one - one, other - one])
    first, second, same, better = bootstrap(columns, clusters)
    assert tuple(same) == (0, 0, 0)
    assert better == pytest.approx((0.01, 0.01, 0.01))
    assert (second.low - first.low, second.high - first.high) == pytest.approx((0.01, 0.01))


def test_a_seed_fixes_the_interval() -> None:
    values, clusters = np.random.default_rng(0).random((100, 1)), np.arange(100)
    assert bootstrap(values, clusters, seed=1) == bootstrap(values, clusters, seed=1)
    assert bootstrap(values, clusters, seed=1) != bootstrap(values, clusters, seed=2)


def slow_compare(
    baseline: MetricValues, arms: list[MetricValues], clusters: Int64, resamples: int
) -> tuple[list[list[float]], list[list[float]]]:
    """[low, high] of each difference by itself and in the family, put together cluster by cluster, without noise."""
    names = sorted(set(clusters.tolist()))
    per_search = [arm.values.mean(0) - baseline.values.mean(0) for arm in arms]
    rows_of = {name: np.flatnonzero(clusters == name) for name in names}

    def mean_and_error(values: Float64, picked: list[int]) -> tuple[float, float]:
        sums = [(values[rows_of[name]].sum(), len(rows_of[name])) for name in picked]
        n = sum(size for _, size in sums)
        mean = sum(total for total, _ in sums) / n
        squares = sum((total - mean * size) ** 2 for total, size in sums)
        return mean, float(np.sqrt(squares * len(names) / (len(names) - 1)) / n)

    plain = [mean_and_error(values, names) for values in per_search]
    rng, pivots = np.random.default_rng(0), []
    for first in range(0, resamples, 100):
        for picks in rng.integers(len(names), size=(min(100, resamples - first), len(names))):
            drawn = [mean_and_error(values, [names[pick] for pick in picks]) for values in per_search]
            pivots.append(
                [abs(d - mean) / max(s, error / 4) for (d, s), (mean, error) in zip(drawn, plain, strict=True)]
            )
    reach = np.quantile(pivots, 0.95, axis=0)
    family = np.quantile(np.max(pivots, axis=1), 0.95)
    alone = [[mean - q * error, mean + q * error] for (mean, error), q in zip(plain, reach, strict=True)]
    return alone, [[mean - family * error, mean + family * error] for mean, error in plain]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([30, 130]), st.integers(1, 3))
def test_differences_are_those_of_the_loop(seed: int, resamples: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.arange(35), rng.integers(35, size=40)]) * 3 - 50
    baseline, *arms = [MetricValues(rng.random((1, 75))) for _ in range(count + 1)]
    got = compare(baseline, arms, clusters, resamples)
    alone, family = slow_compare(baseline, arms, clusters, resamples)
    assert np.column_stack([got.low, got.high]).tolist() == [pytest.approx(pair) for pair in alone]
    assert np.column_stack([got.family_low, got.family_high]).tolist() == [pytest.approx(pair) for pair in family]
    assert got.seed_freedom == 0


def test_the_closed_form_is_the_bootstraps_limit() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.integers(300, size=3000)
    values = rng.random((3000, 2)) + rng.random(300)[clusters][:, None]
    for closed, drawn in zip(robust(values, clusters), bootstrap(values, clusters), strict=True):
        assert closed.high - closed.low == pytest.approx(drawn.high - drawn.low, rel=0.05)
    arms = [MetricValues(values[None, :, column]) for column in (0, 1)]
    nothing = MetricValues(np.zeros((1, 3000)), trained=False)
    for closed, plain in zip(compare_by_itself(nothing, arms, clusters), robust(values, clusters), strict=True):
        assert closed == pytest.approx(plain)


def test_training_noise_is_the_variance_between_seeds_without_the_noise_of_the_searches() -> None:
    """Seeds that differ by luck on single searches alone add nothing; seeds that move all searches add all of it."""
    rng = np.random.default_rng(1)
    clusters = np.arange(4000)
    nothing = MetricValues(np.zeros((1, 4000)), trained=False)
    luck = [MetricValues(rng.standard_normal((3, 4000))) for _ in range(40)]
    moved = [MetricValues(arm.values + np.array([[-0.1], [0], [0.1]])) for arm in luck]
    (by_luck, *_), (by_both, *_) = (compare_by_itself(nothing, arms, clusters) for arms in (luck, moved))
    over_searches = 1.96 / np.sqrt(3 * 4000)
    assert (by_luck.high - by_luck.low) / 2 == pytest.approx(over_searches, rel=0.25)
    assert (by_both.high - by_both.low) / 2 == pytest.approx(np.hypot(over_searches, 1.99 * 0.1 / np.sqrt(3)), rel=0.1)


def test_few_seeds_have_the_tails_of_a_t() -> None:
    """On endlessly many equal searches a difference of two seeds to a fixed number is a t test with one of freedom."""
    arm = MetricValues(np.repeat([[0.1], [0.3]], 500, axis=1))
    nothing = MetricValues(np.zeros((1, 500)), trained=False)
    got = compare(nothing, [arm], np.arange(500), 20_000)
    assert (got.high - got.value)[0] == pytest.approx(12.706 * 0.1, rel=0.06)  # t(1), 97.5 %
    (closed,) = compare_by_itself(nothing, [arm], np.arange(500))
    assert closed.high - closed.value == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_the_family_is_wider_and_of_one_the_same() -> None:
    planted = plant(SETTINGS[2], np.random.default_rng(0))
    got = compare(planted.baseline, planted.arms, planted.clusters)
    assert np.all(got.family_low < got.low)
    assert np.all(got.detectable > got.family_high - got.value)
    alone = compare(planted.baseline, planted.arms[:1], planted.clusters)
    assert alone.low == pytest.approx(alone.family_low)
    assert got.clusters == SETTINGS[2].searchers
    assert got.seed_freedom == 2 * len(planted.arms) + 2


def test_equal_arms_differ_by_nothing_and_few_clusters_say_nothing() -> None:
    arm = MetricValues(np.random.default_rng(0).random((1, 90)))
    got = compare(arm, [arm], np.arange(90) % 45)
    assert (got.low[0], got.high[0], got.detectable[0]) == (0, 0, 0)
    got = compare(arm, [arm], np.arange(90) % (FEW_CLUSTERS - 1))
    assert got.value.tolist() == [0]
    assert np.isnan([got.low, got.family_high, got.detectable]).all()


@pytest.mark.parametrize("number", [0, 2, 5])
def test_planted_differences_are_covered_and_single_searches_would_not_do(number: int) -> None:
    """A small version of `make prove`; the bounds leave room for so few data sets."""
    got = cover(SETTINGS[number], 120, 300)
    low, high = ALLOWED
    assert low - 0.03 <= got.pointwise <= high + 0.015
    assert low - 0.05 <= got.family <= 1
    assert got.by_search < 0.9
    assert got.family_by_search < 0.87
    assert got.pointwise_as_family < 0.9
