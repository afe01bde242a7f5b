"""Promotion of challengers, and expected ranges for the figures of a day."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ebr_core.frozen import Frozen


class Band(Frozen):
    """The expected range of a day's figure, from the days before it."""

    low: float
    high: float
    typical: float  # median of the days before

    def holds(self, value: float) -> bool:
        """True if the value lies in the band, the ends included."""
        return self.low <= value <= self.high


class ChampionComparison(Frozen):
    """A challenger compared with a current or former champion on the same searches."""

    day: str  # of the champion
    recall: float  # of the champion
    difference: float  # challenger − champion
    bound: float | None  # one-sided 95% lower bound of the difference; None: too few searchers


def band(figures: Sequence[float], mads: float, floor: float, searches: float = np.inf) -> Band:
    """median ± max(mads · MAD, mads · s, floor), MAD the median distance from the median, s² = p (1 − p) / searches.

    The figure is a share of the day's searches, and p is its median: s is the standard error due to chance alone. floor
    is the smallest half-width, since a share that never changed has a MAD of 0.

    >>> band([0.25, 0.5, 0.5], mads=4, floor=0.25)
    Band(low=0.25, high=0.75, typical=0.5)
    """
    typical = float(np.median(figures))
    chance = math.sqrt(max(typical * (1 - typical), 0) / searches)
    reach = max(mads * float(np.median(np.abs(np.asarray(figures) - typical))), mads * chance, floor)
    return Band(low=typical - reach, high=typical + reach, typical=typical)


def share_band(figures: Sequence[float], share: float) -> Band:
    """The band median · (1 ± share).

    >>> share_band([90, 100, 120], share=0.5)
    Band(low=50.0, high=150.0, typical=100.0)
    """
    typical = float(np.median(figures))
    return Band(low=typical * (1 - share), high=typical * (1 + share), typical=typical)


def promote(
    champion: ChampionComparison | None, others: Sequence[ChampionComparison], tolerance: float
) -> tuple[bool, str]:
    """(is_promoted, reason) of the challenger.

    It is promoted if there is no champion, if the bound of its difference to the champion is above 0, or if the bound
    is above −tolerance against both the champion and the best of the others, the former champions. So an equal and
    fresher challenger is promoted, but a series of champions that each are slightly worse is stopped.
    """
    if champion is None:
        return True, "there was no champion"
    if champion.bound is None or math.isnan(champion.bound):
        return False, "too few searchers on the day for a bound"
    if champion.bound > 0:
        return True, f"better than the champion: {_points(champion.difference)}, at least {_points(champion.bound)}"
    best = max([champion, *others], key=lambda comparison: comparison.recall)
    if champion.bound <= -tolerance:
        numbers = f"{_points(champion.difference)} against the champion, at least {_points(champion.bound)}"
        return False, f"not shown to be better, nor equal within {100 * tolerance:g} point: {numbers}"
    if best.bound is None or math.isnan(best.bound) or best.bound <= -tolerance:
        low = "no bound" if best.bound is None else f"at least {_points(best.bound)}"
        numbers = f"{_points(best.difference)} against the champion of {best.day}, {low}"
        return False, f"equal to the champion, but not to the best of those before it: {numbers}"
    numbers = f"{_points(champion.difference)}, at least {_points(champion.bound)}"
    return (
        True,
        f"equal within {100 * tolerance:g} point to the champion and to the best before it, and fresher: {numbers}",
    )


def _points(share: float) -> str:
    return f"{100 * share:+.2f} points"
