"""Intervals over clusters of searches, with training noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.arrays import Float64, Int64
from ebr_core.measure.intervals import FEW_CLUSTERS, MetricValues, bootstrap, cluster_robust, compare, compare_pointwise
from proofs.coverage import ALLOWED, SETTINGS, cover, plant


def slow(values: Float64, clusters: Int64, resamples: int, seed: int) -> list[list[float]]:
    """[low, high] of each column: clusters drawn with the same random numbers, and assembled search by search."""
    cluster_ids = sorted(set(clusters.tolist()))
    rng, means = np.random.default_rng(seed), []
    for first in range(0, resamples, 100):
        for picks in rng.integers(len(cluster_ids), size=(min(100, resamples - first), len(cluster_ids))):
            rows = [row for pick in picks for row in range(len(values)) if clusters[row] == cluster_ids[pick]]
            means.append(values[rows].mean(0))
    return [
        [float(np.quantile([mean[column] for mean in means], q)) for q in (0.025, 0.975)]
        for column in range(values.shape[1])
    ]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([7, 120]), st.integers(1, 3))
def test_intervals_equal_a_loop(seed: int, resamples: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.arange(40), rng.integers(40, size=20)]) * 7 - 50  # any ids, unequal sizes
    values = rng.random((60, columns))
    intervals = bootstrap(values, clusters, resamples, seed)
    expected = slow(values, clusters, resamples, seed)
    assert [[interval.low, interval.high] for interval in intervals] == [pytest.approx(pair) for pair in expected]
    assert [interval.value for interval in intervals] == pytest.approx(values.mean(0).tolist())


def test_the_interval_covers_a_planted_mean_with_correlated_searches() -> None:
    """Clusters determine the values: an interval over clusters covers the mean, one over single searches does not."""
    rng, covered_by_clusters, covered_by_rows = np.random.default_rng(0), 0, 0
    for trial in range(200):
        cluster_mean = rng.standard_normal(60)
        clusters = np.repeat(np.arange(60), 10)
        values = (cluster_mean[clusters] + 0.3 * rng.standard_normal(600))[:, None]
        (interval,) = bootstrap(values, clusters, 300, trial)
        covered_by_clusters += interval.low <= 0 <= interval.high
        (interval,) = bootstrap(values, np.arange(600), 300, trial)
        covered_by_rows += interval.low <= 0 <= interval.high
    assert 0.88 * 200 <= covered_by_clusters <= 0.99 * 200
    assert covered_by_rows < 0.75 * 200


@pytest.mark.parametrize("count", [0, 1, FEW_CLUSTERS - 1])
def test_few_clusters_have_a_mean_but_no_interval(count: int) -> None:
    values = np.random.default_rng(0).random((3 * count, 2))
    for column, interval in enumerate(bootstrap(values, np.repeat(np.arange(count), 3))):
        assert np.isnan([interval.low, interval.high]).all()
        assert np.isnan(interval.value) if count == 0 else interval.value == pytest.approx(values[:, column].mean())


def test_the_fewest_allowed_clusters_have_an_interval() -> None:
    values = np.random.default_rng(0).random((FEW_CLUSTERS, 1))
    (interval,) = bootstrap(values, np.arange(FEW_CLUSTERS))
    assert interval.low < interval.value < interval.high


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    baseline, clusters = rng.random(500), rng.integers(90, size=500)
    arm = baseline + 0.01
    columns = np.column_stack([baseline, arm, baseline - baseline, arm - baseline])
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
    """[low, high] of each difference, pointwise and simultaneous, from a loop over clusters, without noise."""
    cluster_ids = sorted(set(clusters.tolist()))
    per_search = [arm.values.mean(0) - baseline.values.mean(0) for arm in arms]
    rows_of = {name: np.flatnonzero(clusters == name) for name in cluster_ids}

    def mean_and_error(values: Float64, cluster_sample: list[int]) -> tuple[float, float]:
        sums = [(values[rows_of[name]].sum(), len(rows_of[name])) for name in cluster_sample]
        n = sum(size for _, size in sums)
        mean = sum(total for total, _ in sums) / n
        squares = sum((total - mean * size) ** 2 for total, size in sums)
        return mean, float(np.sqrt(squares * len(cluster_ids) / (len(cluster_ids) - 1)) / n)

    plain = [mean_and_error(values, cluster_ids) for values in per_search]
    rng, pivots = np.random.default_rng(0), []
    for first in range(0, resamples, 100):
        for picks in rng.integers(len(cluster_ids), size=(min(100, resamples - first), len(cluster_ids))):
            drawn = [mean_and_error(values, [cluster_ids[pick] for pick in picks]) for values in per_search]
            pivots.append(
                [abs(d - mean) / max(s, error / 4) for (d, s), (mean, error) in zip(drawn, plain, strict=True)]
            )
    reach = np.quantile(pivots, 0.95, axis=0)
    family = np.quantile(np.max(pivots, axis=1), 0.95)
    pointwise = [[mean - q * error, mean + q * error] for (mean, error), q in zip(plain, reach, strict=True)]
    return pointwise, [[mean - family * error, mean + family * error] for mean, error in plain]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([30, 130]), st.integers(1, 3))
def test_differences_equal_a_loop(seed: int, resamples: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = np.concatenate([np.arange(35), rng.integers(35, size=40)]) * 3 - 50
    baseline, *arms = [MetricValues(rng.random((1, 75))) for _ in range(count + 1)]
    differences = compare(baseline, arms, clusters, resamples)
    pointwise, family = slow_compare(baseline, arms, clusters, resamples)
    assert np.column_stack([differences.low, differences.high]).tolist() == [pytest.approx(pair) for pair in pointwise]
    assert np.column_stack([differences.family_low, differences.family_high]).tolist() == [
        pytest.approx(pair) for pair in family
    ]
    assert differences.seed_freedom == 0


def test_the_closed_form_is_the_bootstraps_limit() -> None:
    rng = np.random.default_rng(0)
    clusters = rng.integers(300, size=3000)
    values = rng.random((3000, 2)) + rng.random(300)[clusters][:, None]
    for closed_form, bootstrapped in zip(cluster_robust(values, clusters), bootstrap(values, clusters), strict=True):
        assert closed_form.high - closed_form.low == pytest.approx(bootstrapped.high - bootstrapped.low, rel=0.05)
    arms = [MetricValues(values[None, :, column]) for column in (0, 1)]
    zeros = MetricValues(np.zeros((1, 3000)), trained=False)
    for closed_form, plain in zip(
        compare_pointwise(zeros, arms, clusters), cluster_robust(values, clusters), strict=True
    ):
        assert closed_form == pytest.approx(plain)


def test_training_noise_is_the_variance_between_seeds_without_that_of_searches() -> None:
    """Seeds that differ by chance on single searches add nothing; seeds that shift all searches add their variance."""
    rng = np.random.default_rng(1)
    clusters = np.arange(4000)
    zeros = MetricValues(np.zeros((1, 4000)), trained=False)
    chance_arms = [MetricValues(rng.standard_normal((3, 4000))) for _ in range(40)]
    shifted_arms = [MetricValues(arm.values + np.array([[-0.1], [0], [0.1]])) for arm in chance_arms]
    (by_chance, *_), (by_both, *_) = (compare_pointwise(zeros, arms, clusters) for arms in (chance_arms, shifted_arms))
    search_error = 1.96 / np.sqrt(3 * 4000)
    assert (by_chance.high - by_chance.low) / 2 == pytest.approx(search_error, rel=0.25)
    assert (by_both.high - by_both.low) / 2 == pytest.approx(np.hypot(search_error, 1.99 * 0.1 / np.sqrt(3)), rel=0.1)


def test_few_seeds_have_the_tails_of_a_t_distribution() -> None:
    """With many equal searches, a difference of two seeds to a constant is a t test with one degree of freedom."""
    arm = MetricValues(np.repeat([[0.1], [0.3]], 500, axis=1))
    zeros = MetricValues(np.zeros((1, 500)), trained=False)
    differences = compare(zeros, [arm], np.arange(500), 20_000)
    assert (differences.high - differences.value)[0] == pytest.approx(12.706 * 0.1, rel=0.06)  # t(1), 97.5%
    (closed_form,) = compare_pointwise(zeros, [arm], np.arange(500))
    assert closed_form.high - closed_form.value == pytest.approx(12.706 * 0.1, rel=1e-3)


def test_arms_of_the_same_models_are_compared_seed_by_seed() -> None:
    """Two lists of the same models, whose seeds differ much and whose difference does not: as if the differences by
    seed were compared with nothing. Without a word on their models, the noise of the seeds counts for both."""
    rng = np.random.default_rng(2)
    clusters, models = np.arange(600) % 60, tuple((f"softmax, seed {seed}",) for seed in range(3))
    first = MetricValues(rng.random((3, 600)) + np.array([[-0.2], [0], [0.2]]), trainings=models)
    second = MetricValues(first.values + rng.normal(0.01, 0.02, (3, 600)), trainings=models)
    paired = compare(first, [second], clusters)
    zeros = MetricValues(np.zeros((1, 600)), trained=False)
    by_seed = MetricValues(second.values - first.values)
    for field, expected in zip(paired, compare(zeros, [by_seed], clusters), strict=True):
        assert field == pytest.approx(expected)
    assert compare_pointwise(first, [second], clusters) == [
        pytest.approx(interval) for interval in compare_pointwise(zeros, [by_seed], clusters)
    ]
    unpaired = compare(first._replace(trainings=()), [second], clusters)
    assert unpaired.high - unpaired.low > 20 * (paired.high - paired.low)


def test_an_arm_of_other_models_keeps_its_noise_beside_one_of_the_same_models() -> None:
    rng = np.random.default_rng(3)
    clusters, models = np.arange(600) % 60, (("a, seed 0",), ("a, seed 1",))
    first = MetricValues(rng.random((2, 600)) + np.array([[0], [0.3]]), trainings=models)
    same = first._replace(values=first.values + 0.01 * rng.random((2, 600)))
    other = MetricValues(rng.random((2, 600)) + np.array([[0.3], [0]]), trainings=(("b, seed 0",), ("b, seed 1",)))
    (alone,), (beside_same, beside) = (compare_pointwise(first, arms, clusters) for arms in ([other], [same, other]))
    assert beside_same.high - beside_same.low < 0.01
    assert beside.value == pytest.approx(alone.value)
    assert beside.high - beside.low > 0.5  # the seeds differ by .3, in the baseline and in the arm
    swapped = first._replace(trainings=models[::-1])
    assert compare_pointwise(first, [swapped], clusters)[0].high > 0.1  # not the same model, seed by seed


def test_simultaneous_intervals_are_wider_and_equal_for_one_arm() -> None:
    planted = plant(SETTINGS[2], np.random.default_rng(0))
    differences = compare(planted.baseline, planted.arms, planted.clusters)
    assert np.all(differences.family_low < differences.low)
    assert np.all(differences.detectable > differences.family_high - differences.value)
    single = compare(planted.baseline, planted.arms[:1], planted.clusters)
    assert single.low == pytest.approx(single.family_low)
    assert differences.clusters == SETTINGS[2].searchers
    assert differences.seed_freedom == 2 * len(planted.arms) + 2


def test_equal_arms_have_no_difference_and_few_clusters_no_interval() -> None:
    arm = MetricValues(np.random.default_rng(0).random((1, 90)))
    differences = compare(arm, [arm], np.arange(90) % 45)
    assert (differences.low[0], differences.high[0], differences.detectable[0]) == (0, 0, 0)
    differences = compare(arm, [arm], np.arange(90) % (FEW_CLUSTERS - 1))
    assert differences.value.tolist() == [0]
    assert np.isnan([differences.low, differences.family_high, differences.detectable]).all()


@pytest.mark.parametrize("number", [0, 2, 5])
def test_planted_differences_are_covered_only_by_clustered_intervals(number: int) -> None:
    """A small version of `make prove`. The bounds allow for the small number of data sets."""
    coverage = cover(SETTINGS[number], 120, 300)
    low, high = ALLOWED
    assert low - 0.03 <= coverage.pointwise <= high + 0.015
    assert low - 0.05 <= coverage.family <= 1
    assert coverage.by_search < 0.9
    assert coverage.family_by_search < 0.87
    assert coverage.pointwise_as_family < 0.9
