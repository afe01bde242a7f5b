"""Verdicts on every position of an interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebr_core.measure.verdicts import classify_difference, verdict


@pytest.mark.parametrize(
    ("low", "high", "gain", "equal", "worse", "finding"),
    [
        (0.02, 0.03, "holds", "contradicted", "contradicted", "better"),
        (0.001, 0.005, "holds", "holds", "contradicted", "better"),
        (0.001, 0.03, "holds", "undecided", "contradicted", "better"),
        (-0.005, 0.005, "contradicted", "holds", "contradicted", "equal"),
        (-0.005, 0.03, "undecided", "undecided", "undecided", "unclear"),
        (-0.03, -0.001, "contradicted", "undecided", "holds", "worse"),
        (-0.03, -0.02, "contradicted", "contradicted", "holds", "worse"),
        (math.nan, math.nan, "too few", "too few", "too few", "too few"),
    ],
)
def test_each_position_of_an_interval(low: float, high: float, gain: str, equal: str, worse: str, finding: str) -> None:
    assert verdict("gain", low, high, 0.01) == gain
    assert verdict("equal", low, high, 0.01) == equal
    assert verdict("worse", low, high, 0.01) == worse
    assert classify_difference(low, high, 0.01) == finding


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0.001, 0.5))
def test_gain_and_worse_mirror_each_other(low: float, width: float, margin: float) -> None:
    high = low + width
    assert verdict("gain", low, high, margin) == verdict("worse", -high, -low, margin)
    assert verdict("equal", low, high, margin) == verdict("equal", -high, -low, margin)
