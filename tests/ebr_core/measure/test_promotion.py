"""Promotion of challengers and bands of a day's figures, against rules written case by case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebr_core.measure.intervals import FEW_CLUSTERS, MetricValues, compare, lower_bound
from ebr_core.measure.promotion import ChampionComparison, band, promote, share_band

BOUNDS = st.none() | st.sampled_from([-0.02, -0.005, -0.0049, 0.0, 0.001]) | st.floats(-0.1, 0.1)
TOLERANCE = 0.005


def _comparisons(bounds: list[float | None], recalls: list[float]) -> list[ChampionComparison]:
    return [
        ChampionComparison(day=str(i), recall=recall, difference=(bound or 0) + 0.01, bound=bound)
        for i, (bound, recall) in enumerate(zip(bounds, recalls, strict=True))
    ]


def slow(champion: ChampionComparison | None, others: list[ChampionComparison]) -> bool:
    """The rule of promotion, one sentence at a time."""
    if champion is None:
        return True
    if champion.bound is None:
        return False
    if champion.bound > 0:
        return True
    best = champion
    for other in others:
        if other.recall > best.recall:
            best = other
    equal_to_champion = champion.bound > -TOLERANCE
    equal_to_best = best.bound is not None and best.bound > -TOLERANCE
    return equal_to_champion and equal_to_best


@given(st.lists(st.tuples(BOUNDS, st.floats(0, 1)), max_size=6))
def test_promotion_follows_the_rule(drawn: list[tuple[float | None, float]]) -> None:
    comparisons = _comparisons([bound for bound, _ in drawn], [recall for _, recall in drawn])
    champion, others = (comparisons[0], comparisons[1:]) if comparisons else (None, [])
    promoted, reason = promote(champion, others, TOLERANCE)
    assert promoted == slow(champion, others)
    assert reason


def test_equal_but_fresher_challengers_cannot_ratchet_recall_down() -> None:
    """Each champion is 0.4 points below the previous one: the second step is refused because of the best one."""
    champion, best = _comparisons([-0.004, -0.008], [0.496, 0.5])
    assert promote(champion, [], TOLERANCE)[0]
    promoted, reason = promote(champion, [best], TOLERANCE)
    assert not promoted
    assert "the best of those before" in reason


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.1, 10), st.floats(0, 0.5), st.floats(0, 1))
def test_bands_equal_a_loop(figures: list[float], mads: float, floor: float, value: float) -> None:
    middle = sorted(figures)[(len(figures) - 1) // 2] / 2 + sorted(figures)[len(figures) // 2] / 2
    deviations = sorted(abs(figure - middle) for figure in figures)
    mad = deviations[(len(deviations) - 1) // 2] / 2 + deviations[len(deviations) // 2] / 2
    result = band(figures, mads, floor)
    assert (result.low, result.high) == pytest.approx(
        (middle - max(mads * mad, floor), middle + max(mads * mad, floor))
    )
    assert result.low - 1e-12 <= middle <= result.high + 1e-12
    assert result.holds(value) == (result.low <= value <= result.high)
    assert share_band(figures, 0.5).low == pytest.approx(middle / 2)


def test_a_constant_figure_does_not_refuse_every_change() -> None:
    assert band([0.3] * 14, mads=4, floor=0.02).holds(0.315)
    assert not band([0.3] * 14, mads=4, floor=0.0).holds(0.315)


@given(st.floats(0.01, 0.99), st.integers(20, 2000), st.integers(0, 100))
def test_chance_alone_stays_in_the_band(share: float, searches: int, seed: int) -> None:
    """A share that varies by chance leaves the band of days with the expected share only once in 15,000 days."""
    deviation = abs(np.random.default_rng(seed).binomial(searches, share) / searches - share)
    reach = band([share] * 14, 4, 0.0, searches).high - share
    assert reach == pytest.approx(4 * (share * (1 - share) / searches) ** 0.5)
    assert deviation <= 2 * reach + 1 / searches


def test_the_bound_lies_above_the_lower_end_of_the_two_sided_interval() -> None:
    """The one-sided 95% bound is the lower end of a two-sided 90% interval, above that of the two-sided 95% one."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(80), 5)
    values = 0.1 + rng.standard_normal(80)[clusters] * 0.2 + rng.standard_normal(400) * 0.1
    interval = lower_bound(values, clusters)
    zeros, arm = (MetricValues(column[None], trained=False) for column in (np.zeros(400), values))
    assert compare(zeros, [arm], clusters).low[0] < interval.low < interval.value == pytest.approx(values.mean())


def test_the_bound_has_its_coverage_of_a_planted_mean() -> None:
    """95% of the bounds lie below the true mean with correlated searches of a searcher."""
    rng, below = np.random.default_rng(1), 0
    for trial in range(300):
        sizes = rng.integers(1, 8, size=60)
        clusters = np.repeat(np.arange(60), sizes)
        values = rng.standard_normal(60)[clusters] * 0.3 + rng.standard_normal(len(clusters)) * 0.3
        below += lower_bound(values, clusters, 200, trial).low <= 0
    assert 0.915 * 300 <= below <= 0.98 * 300


def test_equal_values_have_a_bound_of_0_and_few_searchers_none() -> None:
    assert lower_bound(np.zeros(200), np.arange(200)).low == 0
    assert np.isnan(lower_bound(np.ones(FEW_CLUSTERS - 1), np.arange(FEW_CLUSTERS - 1)).low)
    assert np.isnan(lower_bound(np.empty(0), np.empty(0, np.int64)).low)
