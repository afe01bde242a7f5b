"""Whether a challenger takes over from a champion, and whether a day looks like the days before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ebr_core.frozen import Frozen


class Band(Frozen):
    """Where a day's figure is expected, by the days before."""

    low: float
    high: float
    typical: float  # their median

    def holds(self, value: float) -> bool:
        """Whether a value lies inside, the ends included."""
        return self.low <= value <= self.high


class ChampionComparison(Frozen):
    """A challenger against one that answered before, on the same searches."""

    day: str  # of whom it was compared with
    recall: float  # of that one
    difference: float  # challenger − that one
    bound: float | None  # the one-sided 95 % lower bound of the difference; None: too few searchers for one


def band(before: Sequence[float], mads: float, floor: float, searches: float = np.inf) -> Band:
    """median ± max(mads · MAD, mads · s, floor), MAD the median distance from the median, s² = p (1 − p) / searches.

    The figure is a share. p: the median as a share of the day's searches, whose own chance is no news; floor: half the
    width at least, since a share that never moved has a MAD of 0.

    >>> band([0.25, 0.5, 0.5], mads=4, floor=0.25)
    Band(low=0.25, high=0.75, typical=0.5)
    """
    typical = float(np.median(before))
    chance = math.sqrt(max(typical * (1 - typical), 0) / searches)
    reach = max(mads * float(np.median(np.abs(np.asarray(before) - typical))), mads * chance, floor)
    return Band(low=typical - reach, high=typical + reach, typical=typical)


def around(before: Sequence[float], share: float) -> Band:
    """median · (1 ± share).

    >>> around([90, 100, 120], share=0.5)
    Band(low=50.0, high=150.0, typical=100.0)
    """
    typical = float(np.median(before))
    return Band(low=typical * (1 - share), high=typical * (1 + share), typical=typical)


def promote(
    champion: ChampionComparison | None, others: Sequence[ChampionComparison], tolerance: float
) -> tuple[bool, str]:
    """(whether the challenger takes over, why).

    It does where there is no champion; where the bound of its difference to the champion is above 0; and where it is
    above −tolerance against both the champion and the best of the others, those that were champions before: so equal
    and fresher is enough, but a row of champions, each a little worse than the one before, is not.
    """
    if champion is None:
        return True, "there was no champion"
    if champion.bound is None or math.isnan(champion.bound):
        return False, "too few searchers on the day for a bound"
    if champion.bound > 0:
        return True, f"better than the champion: {_points(champion.difference)}, at least {_points(champion.bound)}"
    best = max([champion, *others], key=lambda one: one.recall)
    if champion.bound <= -tolerance:
        told = f"{_points(champion.difference)} against the champion, at least {_points(champion.bound)}"
        return False, f"not shown to be better, nor equal within {100 * tolerance:g} point: {told}"
    if best.bound is None or math.isnan(best.bound) or best.bound <= -tolerance:
        low = "no bound" if best.bound is None else f"at least {_points(best.bound)}"
        told = f"{_points(best.difference)} against the champion of {best.day}, {low}"
        return False, f"equal to the champion, but not to the best of those before it: {told}"
    told = f"{_points(champion.difference)}, at least {_points(champion.bound)}"
    return (
        True,
        f"equal within {100 * tolerance:g} point to the champion and to the best before it, and fresher: {told}",
    )


def _points(share: float) -> str:
    return f"{100 * share:+.2f} points"
