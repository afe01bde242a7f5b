"""What an interval says about a claim that was made before the run."""

from __future__ import annotations

import math
from typing import Literal

Claim = Literal["gain", "equal", "worse"]
Verdict = Literal["holds", "contradicted", "undecided", "too few"]
Finding = Literal["better", "worse", "equal", "unclear", "too few"]


def verdict(claim: Claim, low: float, high: float, margin: float) -> Verdict:
    """Whether a claim holds, given the simultaneous interval [low, high] of the difference to the baseline.

    gain holds above 0 and is contradicted below it; worse the other way round; equal holds inside ± margin and is
    contradicted where the whole interval lies beyond it. Whatever is neither is undecided.

    >>> judge("gain", 0.01, 0.03, 0.01), judge("gain", -0.01, 0.03, 0.01), judge("equal", 0.02, 0.03, 0.01)
    ('holds', 'undecided', 'contradicted')
    """
    if math.isnan(low) or math.isnan(high):
        return "too few"
    above, below, inside, outside = _places(low, high, margin)
    holds = {"gain": above, "equal": inside, "worse": below}[claim]
    opposite = {"gain": below, "equal": outside, "worse": above}[claim]
    return "holds" if holds else "contradicted" if opposite else "undecided"


def find(low: float, high: float, margin: float) -> Finding:
    """What the interval shows by itself, whatever was claimed: better or worse (0 is outside), else equal (inside ±
    margin), else unclear.

    >>> find(0.001, 0.004, 0.01), find(-0.001, 0.004, 0.01), find(-0.02, 0.004, 0.01)
    ('better', 'equal', 'unclear')
    """
    if math.isnan(low) or math.isnan(high):
        return "too few"
    above, below, inside, _ = _places(low, high, margin)
    return "better" if above else "worse" if below else "equal" if inside else "unclear"


def _places(low: float, high: float, margin: float) -> tuple[bool, bool, bool, bool]:
    """Whether the interval lies above 0, below 0, inside ± margin, outside it."""
    return low > 0, high < 0, -margin < low and high < margin, low > margin or high < -margin
