"""Who takes over, and which day is like the days before it: against rules written out case by case."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebr_core.measure.intervals import FEW_CLUSTERS, MetricValues, compare, lower_bound
from ebr_core.measure.promotion import ChampionComparison, around, band, promote

BOUNDS = st.none() | st.sampled_from([-0.02, -0.005, -0.0049, 0.0, 0.001]) | st.floats(-0.1, 0.1)
TOLERANCE = 0.005


def _compared(bounds: list[float | None], recalls: list[float]) -> list[ChampionComparison]:
    return [
        ChampionComparison(day=str(at), recall=recall, difference=(bound or 0) + 0.01, bound=bound)
        for at, (bound, recall) in enumerate(zip(bounds, recalls, strict=True))
    ]


def slow(champion: ChampionComparison | None, others: list[ChampionComparison]) -> bool:
    """The rule as the issue states it, one sentence at a time."""
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
def test_promotion_is_that_of_the_rule(drawn: list[tuple[float | None, float]]) -> None:
    every = _compared([bound for bound, _ in drawn], [recall for _, recall in drawn])
    champion, others = (every[0], every[1:]) if every else (None, [])
    promoted, reason = promote(champion, others, TOLERANCE)
    assert promoted == slow(champion, others)
    assert reason


def test_equal_and_fresher_cannot_ratchet_downwards() -> None:
    """Each champion lies 0.4 points below the one before: the second such step is refused by the best before."""
    champion, best = _compared([-0.004, -0.008], [0.496, 0.5])
    assert promote(champion, [], TOLERANCE)[0]
    promoted, reason = promote(champion, [best], TOLERANCE)
    assert not promoted
    assert "the best of those before" in reason


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.1, 10), st.floats(0, 0.5), st.floats(0, 1))
def test_bands_are_those_of_the_loop(before: list[float], mads: float, floor: float, value: float) -> None:
    middle = sorted(before)[(len(before) - 1) // 2] / 2 + sorted(before)[len(before) // 2] / 2
    off = sorted(abs(one - middle) for one in before)
    mad = off[(len(off) - 1) // 2] / 2 + off[len(off) // 2] / 2
    its = band(before, mads, floor)
    assert (its.low, its.high) == pytest.approx((middle - max(mads * mad, floor), middle + max(mads * mad, floor)))
    assert its.low - 1e-12 <= middle <= its.high + 1e-12
    assert its.holds(value) == (its.low <= value <= its.high)
    assert around(before, 0.5).low == pytest.approx(middle / 2)


def test_a_figure_that_never_moved_does_not_refuse_everything() -> None:
    assert band([0.3] * 14, mads=4, floor=0.02).holds(0.315)
    assert not band([0.3] * 14, mads=4, floor=0.0).holds(0.315)


@given(st.floats(0.01, 0.99), st.integers(20, 2000), st.integers(0, 100))
def test_chance_alone_is_no_news(share: float, searches: int, seed: int) -> None:
    """A day's share as chance makes it lies in the band of days that were just as expected, but once in 15,000 days."""
    off = abs(np.random.default_rng(seed).binomial(searches, share) / searches - share)
    reach = band([share] * 14, 4, 0.0, searches).high - share
    assert reach == pytest.approx(4 * (share * (1 - share) / searches) ** 0.5)
    assert off <= 2 * reach + 1 / searches


def test_the_bound_lies_between_the_ends_of_wider_and_narrower_intervals() -> None:
    """One-sided 95 % is what a two-sided 90 % interval has at its lower end: above the two-sided 95 % one."""
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(80), 5)
    values = 0.1 + rng.standard_normal(80)[clusters] * 0.2 + rng.standard_normal(400) * 0.1
    found = lower_bound(values, clusters)
    nothing, own = (MetricValues(one[None], trained=False) for one in (np.zeros(400), values))
    assert compare(nothing, [own], clusters).low[0] < found.low < found.value == pytest.approx(values.mean())


def test_the_bound_covers_a_planted_mean_as_often_as_promised() -> None:
    """95 % of the bounds lie below the truth, where searches of a searcher resemble each other."""
    rng, below = np.random.default_rng(1), 0
    for trial in range(300):
        sizes = rng.integers(1, 8, size=60)
        clusters = np.repeat(np.arange(60), sizes)
        values = rng.standard_normal(60)[clusters] * 0.3 + rng.standard_normal(len(clusters)) * 0.3
        below += lower_bound(values, clusters, 200, trial).low <= 0
    assert 0.915 * 300 <= below <= 0.98 * 300


def test_no_difference_has_a_bound_of_nothing_and_few_searchers_none() -> None:
    assert lower_bound(np.zeros(200), np.arange(200)).low == 0
    assert np.isnan(lower_bound(np.ones(FEW_CLUSTERS - 1), np.arange(FEW_CLUSTERS - 1)).low)
    assert np.isnan(lower_bound(np.empty(0), np.empty(0, np.int64)).low)
