"""Examination by position: how likely a result is looked at for where it stands, from lists shown in random order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from ebr_core.arrays import Float64, Int64

FEWEST_CLICKS = 100  # in shuffled lists; with fewer, a ratio of two rates says little
ROUNDS = 200


class Shuffled(NamedTuple):
    """Lists shown in random order, counted by (position, length of the list)."""

    positions: Int64  # (C,) from 1
    lengths: Int64  # (C,)
    shown: Int64  # (C,) results
    clicked: Int64  # (C,) of them


class Examination(NamedTuple):
    """Of each position, from the first: how likely it is examined, relative to the first, and what that rests on."""

    rates: Float64  # (P,) 1 at the first, never rising
    errors: Float64  # (P,) standard error of each ratio before smoothing; infinite without clicks
    clicks: Int64  # (P,)


def estimate(counts: Shuffled) -> Examination:
    """Maximum likelihood under clicks(p, l) ~ Poisson(shown · examined(p) · attraction(l)), examined never rising.

    In a shuffled list any document stands anywhere, so that only the position tells the click rates apart: the ratio
    of two rates is that of their examinations [Joachims, Swaminathan & Schnabel 2017]. Short lists are clicked more
    and have no low positions, hence an attraction for each length. Each step in turn has a closed form, examined(p)
    by isotonic regression of clicks per attraction shown. Empty where no list was shuffled.

    >>> twice = Shuffled(np.array([1, 2]), np.array([2, 2]), np.array([10, 10]), np.array([8, 4]))
    >>> estimate(twice).rates.tolist()
    [1.0, 0.5]
    """
    last = int(counts.positions.max(initial=0))
    clicks = np.bincount(counts.positions - 1, counts.clicked, last).astype(np.float64)
    if not clicks.any():
        return Examination(np.ones(0), np.ones(0), np.zeros(0, np.int64))
    shown = counts.shown.astype(np.float64)
    by_length = np.bincount(counts.lengths, counts.clicked)
    rates = np.ones(last)
    for _ in range(ROUNDS):
        before = rates
        seen = np.bincount(counts.lengths, shown * rates[counts.positions - 1])
        attraction = np.divide(by_length, seen, out=np.zeros_like(seen), where=seen > 0)
        exposed = np.bincount(counts.positions - 1, shown * attraction[counts.lengths], last).astype(np.float64)
        rates = _falling(clicks, exposed)
        if np.abs(rates - before).max() < 1e-9:
            break
    errors = np.full(last, np.inf)
    there = clicks > 0
    if there[0]:
        errors[there] = rates[there] * np.sqrt(
            1 / clicks[there] + np.where(np.arange(last) > 0, 1 / clicks[0], 0)[there]
        )
        errors[0] = 0
    return Examination(rates, errors, clicks.astype(np.int64))


def _falling(clicks: Float64, exposed: Float64) -> Float64:
    """(P,) clicks per exposure, never rising, 1 at the first: adjacent positions that would rise are pooled. A position
    with next to no exposure weighs next to nothing."""
    weights = np.maximum(exposed, 1e-12)
    fitted = isotonic_regression(clicks / weights, weights=weights, increasing=False).x
    rates: Float64 = fitted / fitted[0]
    return rates


def inverse_propensities(positions: Int64, examined: Examination, clip: float) -> Float64:
    """(n,) 1 / examined(position), at most clip; positions below the last known one count as that, unknown ones (0) as
    the first."""
    if not len(examined.rates):
        return np.ones(len(positions))
    at = np.clip(positions - 1, 0, len(examined.rates) - 1)
    inverse: Float64 = 1 / np.maximum(examined.rates[at], 1 / clip)
    return inverse
