"""Verdicts on claims made before the run, from confidence intervals."""

from __future__ import annotations

import math
from typing import Literal

Claim = Literal["gain", "equal", "worse"]
Verdict = Literal["holds", "contradicted", "undecided", "too few"]
Finding = Literal["better", "worse", "equal", "unclear", "too few"]


def verdict(claim: Claim, low: float, high: float, margin: float) -> Verdict:
    """The verdict on a claim, given the simultaneous interval [low, high] of the difference to the baseline.

    A gain holds if the interval lies above 0, and is contradicted if it lies below 0 or if the two are equal: if it
    contains 0 and lies inside ± margin. Worse is the reverse. Equal holds if the interval lies inside ± margin and is
    contradicted if all of it lies outside. In all other cases the claim is undecided.

    >>> verdict("gain", 0.01, 0.03, 0.01), verdict("gain", -0.01, 0.03, 0.01), verdict("equal", 0.02, 0.03, 0.01)
    ('holds', 'undecided', 'contradicted')
    >>> verdict("gain", -0.002, 0.004, 0.01), verdict("gain", 0.001, 0.004, 0.01)
    ('contradicted', 'holds')
    """
    if math.isnan(low) or math.isnan(high):
        return "too few"
    above, below, inside, outside = _positions(low, high, margin)
    tie = inside and not above and not below
    holds = {"gain": above, "equal": inside, "worse": below}[claim]
    opposite = {"gain": below or tie, "equal": outside, "worse": above or tie}[claim]
    return "holds" if holds else "contradicted" if opposite else "undecided"


def classify_difference(low: float, high: float, margin: float) -> Finding:
    """The finding from the interval, independent of any claim.

    It is better or worse if the interval excludes 0, else equal if it lies inside ± margin, else unclear.

    >>> [classify_difference(low, 0.004, 0.01) for low in (0.001, -0.001, -0.02)]
    ['better', 'equal', 'unclear']
    """
    if math.isnan(low) or math.isnan(high):
        return "too few"
    above, below, inside, _ = _positions(low, high, margin)
    return "better" if above else "worse" if below else "equal" if inside else "unclear"


def _positions(low: float, high: float, margin: float) -> tuple[bool, bool, bool, bool]:
    """Flags: the interval lies above 0, below 0, inside ± margin, outside ± margin."""
    return low > 0, high < 0, -margin < low and high < margin, low > margin or high < -margin
