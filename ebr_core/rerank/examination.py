"""Examination by position: the probability that a result is looked at because of its position, from shuffled lists."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float64, Int64

FEWEST_CLICKS = 100  # in shuffled lists; with fewer, the ratio of two rates is too uncertain
ROUNDS = 200


class ShuffledCounts(NamedTuple):
    """Counts over lists shown in random order, by (position, length of the list)."""

    positions: Int64  # (C,) from 1
    lengths: Int64  # (C,)
    shown: Int64  # (C,) results shown
    clicked: Int64  # (C,) results clicked


class Examination(NamedTuple):
    """The relative probability that each position is examined, from the first on, with its error and its clicks."""

    rates: Float64  # (P,) 1 at the first position, never rising
    errors: Float64  # (P,) standard error of each ratio before smoothing; infinite if there are no clicks
    clicks: Int64  # (P,)


def fit_examination(counts: ShuffledCounts) -> Examination:
    """Maximum likelihood under clicks(p, l) ~ Poisson(shown · examined(p) · attraction(l)), examined never rising.

    In a shuffled list a document is equally likely at any position, so click rates differ by position only: the ratio
    of two rates is that of their examinations [Joachims, Swaminathan & Schnabel 2017]. Short lists are clicked more
    and have no low positions, hence an attraction for each length. The two steps alternate and each has a closed form;
    that of examined(p) is the isotonic regression of clicks per attraction shown. Empty if no such list was clicked.

    >>> twice = ShuffledCounts(np.array([1, 2]), np.array([2, 2]), np.array([10, 10]), np.array([8, 4]))
    >>> fit_examination(twice).rates.tolist()
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
        previous = rates
        exposed_by_length = np.bincount(counts.lengths, shown * rates[counts.positions - 1])
        attraction = np.divide(
            by_length, exposed_by_length, out=np.zeros_like(exposed_by_length), where=exposed_by_length > 0
        )
        exposure = np.bincount(counts.positions - 1, shown * attraction[counts.lengths], last).astype(np.float64)
        rates = _fit_falling(clicks, exposure)
        if np.abs(rates - previous).max() < 1e-9:
            break
    errors = np.full(last, np.inf)
    has_clicks = clicks > 0
    if has_clicks[0]:
        errors[has_clicks] = rates[has_clicks] * np.sqrt(
            1 / clicks[has_clicks] + np.where(np.arange(last) > 0, 1 / clicks[0], 0)[has_clicks]
        )
        errors[0] = 0
    return Examination(rates, errors, clicks.astype(np.int64))


def _fit_falling(clicks: Float64, exposure: Float64) -> Float64:
    """(P,) clicks per exposure, never rising, 1 at the first position.

    Adjacent positions that would rise are pooled. A position with almost no exposure has almost no weight.
    """
    from scipy.optimize import isotonic_regression

    weights = np.maximum(exposure, 1e-12)
    smoothed = isotonic_regression(clicks / weights, weights=weights, increasing=False).x
    rates: Float64 = smoothed / smoothed[0]
    return rates


def inverse_propensities(positions: Int64, examination: Examination, clip: float) -> Float64:
    """(n,) 1 / examined(position), at most clip.

    Positions below the last known one have its rate. Unknown positions (0) have the rate of the first.
    """
    if not len(examination.rates):
        return np.ones(len(positions))
    i = np.clip(positions - 1, 0, len(examination.rates) - 1)
    inverse: Float64 = 1 / np.maximum(examination.rates[i], 1 / clip)
    return inverse
