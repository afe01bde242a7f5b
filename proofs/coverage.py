"""Do the intervals cover what they promise? Planted data sets with a known difference, clusters and training noise.

    python -m proofs.coverage [data sets]

Each data set has searchers with some searches each, arms whose effect differs from searcher to searcher, seeds that
move an arm as a whole and on single searches, and hits that are 0 or 1. Printed for each setting: how often an interval
holds the planted difference, by itself and for all arms at once, for `intervals.compare` and for what it
replaces. Exit code 1 where the former is outside 93–97 %, or where taking searches for independent does no harm.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float64, Int64
from ebr_core.measure.intervals import MetricValues, compare

ALLOWED = (0.93, 0.97)
ARMS = 5


class Setting(NamedTuple):
    """How the planted data look."""

    name: str
    searchers: int = 120
    training_noise: float = 0.0  # standard deviation of an arm's mean between seeds
    seeds: tuple[int, ...] = (1,) * (ARMS + 1)  # of the baseline, then of the arms
    chosen: bool = False  # only the baseline and the arm that is best on validation have more than one seed
    untrained_baseline: bool = False


SETTINGS = (
    Setting("one seed, no training noise"),
    Setting("40 searchers, one seed, no training noise", searchers=40),
    Setting("three seeds", training_noise=0.015, seeds=(3,) * (ARMS + 1)),
    Setting("three seeds, weak noise", training_noise=0.004, seeds=(3,) * (ARMS + 1)),
    Setting(
        "three seeds of the baseline and of two arms, one of the others", training_noise=0.015, seeds=(3, 3, 3, 1, 1, 1)
    ),
    Setting("screening: three seeds of the baseline and of the best on validation", training_noise=0.015, chosen=True),
    Setting(
        "two seeds against a baseline that is not trained",
        training_noise=0.015,
        seeds=(1, 2, 2, 2, 2, 2),
        untrained_baseline=True,
    ),
)


class Planted(NamedTuple):
    """One data set with what is true of it."""

    baseline: MetricValues
    arms: list[MetricValues]
    clusters: Int64
    truth: Float64  # (A,) the planted differences


def plant(setting: Setting, rng: np.random.Generator) -> Planted:
    """Hits: P(hit) = level + searcher + arm + arm × searcher + arm × seed, all of mean 0 but level and arm."""
    sizes = 1 + rng.geometric(0.12, setting.searchers)
    clusters = np.repeat(np.arange(setting.searchers), sizes)
    effects = np.concatenate([[0], rng.uniform(-0.05, 0.05, ARMS)])
    searcher = rng.uniform(-0.15, 0.15, setting.searchers)
    own = rng.uniform(-0.2, 0.2, (ARMS + 1, setting.searchers))
    moved = setting.training_noise * np.sqrt(3) * rng.uniform(-1, 1, (ARMS + 1, 3))  # a standard deviation of that much
    if setting.untrained_baseline:
        moved[0] = 0
    seeds = list(setting.seeds)
    if setting.chosen:  # validation sees the first seed's luck, and little noise of its own
        best = 1 + int(np.argmax(effects[1:] + moved[1:, 0] + 0.005 * rng.standard_normal(ARMS)))
        seeds = [3 if arm in (0, best) else 1 for arm in range(ARMS + 1)]
    measured = []
    shared = rng.random(len(clusters))  # a search is easy or hard for all
    for arm, count in enumerate(seeds):
        level = 0.5 + searcher[clusters] + effects[arm] + own[arm][clusters]
        luck = np.where(rng.random((count, len(clusters))) < 0.8, shared, rng.random((count, len(clusters))))
        hit = luck < level + moved[arm, :count, None]
        measured.append(MetricValues(hit.astype(np.float64), trained=not (arm == 0 and setting.untrained_baseline)))
    return Planted(measured[0], measured[1:], clusters, effects[1:])


class Coverage(NamedTuple):
    """Shares of the data sets, or of their arms, whose interval holds the truth."""

    pointwise: float
    family: float
    pointwise_as_family: float  # all the arms' pointwise intervals at once
    by_search: float  # searches taken for independent
    family_by_search: float
    without_training_noise: float  # the first seed alone, so that it cannot be estimated


def cover(setting: Setting, sets: int, resamples: int = 1000, seed: int = 0) -> Coverage:
    """Coverage over so many planted data sets."""
    held = []
    for number in range(sets):
        rng = np.random.default_rng([seed, number])
        planted = plant(setting, rng)
        everyone = np.arange(len(planted.clusters))
        first = [MetricValues(arm.values[:1], arm.trained) for arm in (planted.baseline, *planted.arms)]
        right = compare(planted.baseline, planted.arms, planted.clusters, resamples, number)
        rows = compare(planted.baseline, planted.arms, everyone, 200, number)
        blind = compare(first[0], first[1:], planted.clusters, 200, number)
        inside = (right.low <= planted.truth) & (planted.truth <= right.high)
        together = (right.family_low <= planted.truth) & (planted.truth <= right.family_high)
        by_row = (rows.low <= planted.truth) & (planted.truth <= rows.high)
        family_by_row = (rows.family_low <= planted.truth) & (planted.truth <= rows.family_high)
        unseen = (blind.low <= planted.truth) & (planted.truth <= blind.high)
        held.append([inside.mean(), together.all(), inside.all(), by_row.mean(), family_by_row.all(), unseen.mean()])
    return Coverage(*np.mean(held, axis=0).tolist())


def main() -> None:
    """Prints a line a setting."""
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{sets} data sets a setting, {ARMS} arms and a baseline; coverage in %, promised: 95")
    print("pointwise  family | pointwise as family | by search  family | one seed, noise left out | setting")
    wrong = []
    for setting in SETTINGS:
        got = cover(setting, sets)
        shown = [f"{100 * share:.1f}" for share in got]
        print("{:>9}  {:>6} | {:>19} | {:>9}  {:>6} | {:>24} | ".format(*shown) + setting.name, flush=True)
        low, high = ALLOWED
        if not (low <= got.pointwise <= high and low <= got.family <= high):
            wrong.append(f"{setting.name}: the intervals do not cover as promised")
        if got.by_search >= low and not setting.training_noise:
            wrong.append(f"{setting.name}: intervals over single searches cover too, so this setting proves nothing")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
