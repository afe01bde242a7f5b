"""The bootstrap over clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.bags import Int64
from ebr_core.intervals import FEW_CLUSTERS, bootstrap
from ebr_core.metrics import Float64


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
