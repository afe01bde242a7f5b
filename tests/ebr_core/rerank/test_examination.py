"""Planted examination by position is recovered within its standard error, and never rises with the position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.arrays import Float64
from ebr_core.rerank.examination import Examination, ShuffledCounts, fit_examination, inverse_propensities

LONGEST = 12


def _shuffled(examined: Float64, lists: int, seed: int) -> ShuffledCounts:
    """Lists of random lengths, each with one relevant document at a random position; short lists have more clicks."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, len(examined) + 1, lists)
    list_of_result = np.repeat(np.arange(lists), lengths)
    position = 1 + np.arange(len(list_of_result)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    is_relevant = position == 1 + np.floor(rng.random(lists) * lengths)[list_of_result]
    clicked = rng.random(len(list_of_result)) < examined[position - 1] * np.where(is_relevant, 0.9, 0.1)
    cells, inverse = np.unique(np.column_stack([position, lengths[list_of_result]]), axis=0, return_inverse=True)
    shown = np.bincount(inverse.ravel())
    return ShuffledCounts(cells[:, 0], cells[:, 1], shown, np.bincount(inverse.ravel(), clicked).astype(np.int64))


@pytest.mark.parametrize("seed", range(4))
def test_planted_examination_is_recovered_within_its_standard_error(seed: int) -> None:
    planted = np.arange(1, LONGEST + 1.0) ** -1
    estimated = fit_examination(_shuffled(planted, 40_000, seed))
    assert (np.abs(estimated.rates - planted) <= 4 * estimated.errors + 1e-12).all()
    assert estimated.errors[1] < 0.02  # small enough to fail the test if the estimate were biased


def test_the_ratio_of_raw_click_rates_is_biased() -> None:
    """Low positions exist in long lists only, where each document is clicked less."""
    planted = np.arange(1, LONGEST + 1.0) ** -1
    counts = _shuffled(planted, 40_000, 0)
    rates = np.bincount(counts.positions, counts.clicked)[1:] / np.bincount(counts.positions, counts.shown)[1:]
    estimated = fit_examination(counts)
    deviation = np.abs(rates / rates[0] - planted)
    assert (deviation[1:] > 4 * estimated.errors[1:]).sum() >= 6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(1, 9))
def test_rates_start_at_1_and_never_rise(clicks: list[int], shown: int) -> None:
    n = len(clicks)
    counts = ShuffledCounts(np.arange(1, n + 1), np.full(n, n), np.full(n, max(6, shown)), np.array(clicks))
    estimated = fit_examination(counts)
    if not any(clicks):
        assert len(estimated.rates) == 0
        return
    assert estimated.rates[0] == 1
    assert (np.diff(estimated.rates) <= 1e-12).all()
    assert (estimated.rates >= 0).all()
    assert estimated.clicks.tolist() == clicks


def test_lists_of_one_length_give_the_ratio_of_rates() -> None:
    counts = ShuffledCounts(np.array([1, 2, 3]), np.array([3, 3, 3]), np.array([50, 50, 50]), np.array([20, 10, 5]))
    assert fit_examination(counts).rates.tolist() == pytest.approx([1, 0.5, 0.25])


def test_inverse_propensities_are_clipped_and_constant_below_the_last_position() -> None:
    examination = Examination(np.array([1, 0.5, 0.01]), np.zeros(3), np.ones(3, np.int64))
    positions = np.array([1, 2, 3, 99, 0])
    assert inverse_propensities(positions, examination, 10).tolist() == [1, 2, 10, 10, 1]
    empty = fit_examination(ShuffledCounts(*(np.empty(0, np.int64) for _ in range(4))))
    assert inverse_propensities(positions, empty, 10).tolist() == [1] * 5
