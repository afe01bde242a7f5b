"""Proves the coverage of the intervals on planted data sets with a known difference, clusters and training noise.

    python -m proofs.coverage [data sets]

Each data set has searchers with several searches, arms whose effect differs from searcher to searcher, seeds that move
an arm as a whole and on single searches, and hits that are 0 or 1. For each setting the table shows how often an
interval holds the planted difference, for single arms and for all arms at once, with `intervals.compare` and with
simpler intervals. The exit code is 1 if `compare` covers less than 93% or more than 97%, or if intervals that treat
searches as independent cover as well.
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
    """The properties of the planted data."""

    name: str
    searchers: int = 120
    training_noise: float = 0.0  # standard deviation of an arm's mean between seeds
    seeds: tuple[int, ...] = (1,) * (ARMS + 1)  # of the baseline, then of the arms
    is_screening: bool = False  # the baseline and the arm that is best on validation have three seeds, the others one
    untrained_baseline: bool = False


SETTINGS = (
    Setting("one seed, no training noise"),
    Setting("40 searchers, one seed, no training noise", searchers=40),
    Setting("three seeds", training_noise=0.015, seeds=(3,) * (ARMS + 1)),
    Setting("three seeds, weak noise", training_noise=0.004, seeds=(3,) * (ARMS + 1)),
    Setting(
        "three seeds of the baseline and of two arms, one of the others", training_noise=0.015, seeds=(3, 3, 3, 1, 1, 1)
    ),
    Setting(
        "screening: three seeds of the baseline and of the best on validation", training_noise=0.015, is_screening=True
    ),
    Setting(
        "two seeds against a baseline that is not trained",
        training_noise=0.015,
        seeds=(1, 2, 2, 2, 2, 2),
        untrained_baseline=True,
    ),
)


class Planted(NamedTuple):
    """One data set with its true differences."""

    baseline: MetricValues
    arms: list[MetricValues]
    clusters: Int64
    truth: Float64  # (A,) the planted differences


def plant(setting: Setting, rng: np.random.Generator) -> Planted:
    """A data set with P(hit) = level + searcher + arm + arm × searcher + arm × seed. Only level and arm have a mean."""
    sizes = 1 + rng.geometric(0.12, setting.searchers)
    clusters = np.repeat(np.arange(setting.searchers), sizes)
    effects = np.concatenate([[0], rng.uniform(-0.05, 0.05, ARMS)])
    searcher = rng.uniform(-0.15, 0.15, setting.searchers)
    arm_effects = rng.uniform(-0.2, 0.2, (ARMS + 1, setting.searchers))
    # uniform, with the standard deviation `training_noise`
    seed_effects = setting.training_noise * np.sqrt(3) * rng.uniform(-1, 1, (ARMS + 1, 3))
    if setting.untrained_baseline:
        seed_effects[0] = 0
    seeds = list(setting.seeds)
    if setting.is_screening:  # validation sees the first seed's luck, and adds little noise
        best = 1 + int(np.argmax(effects[1:] + seed_effects[1:, 0] + 0.005 * rng.standard_normal(ARMS)))
        seeds = [3 if arm in (0, best) else 1 for arm in range(ARMS + 1)]
    metric_values = []
    shared = rng.random(len(clusters))  # a search is easy or hard for all arms
    for arm, count in enumerate(seeds):
        level = 0.5 + searcher[clusters] + effects[arm] + arm_effects[arm][clusters]
        luck = np.where(rng.random((count, len(clusters))) < 0.8, shared, rng.random((count, len(clusters))))
        hit = luck < level + seed_effects[arm, :count, None]
        metric_values.append(
            MetricValues(hit.astype(np.float64), trained=not (arm == 0 and setting.untrained_baseline))
        )
    return Planted(metric_values[0], metric_values[1:], clusters, effects[1:])


class Coverage(NamedTuple):
    """Shares of the data sets, or of their arms, whose interval holds the true difference."""

    pointwise: float
    family: float
    pointwise_as_family: float  # the pointwise intervals of all arms at once
    by_search: float  # searches treated as independent
    family_by_search: float
    without_training_noise: float  # only the first seed, so that the noise cannot be estimated


def cover(setting: Setting, sets: int, resamples: int = 1000, seed: int = 0) -> Coverage:
    """The coverage over a number of planted data sets."""
    coverages = []
    for number in range(sets):
        rng = np.random.default_rng([seed, number])
        planted = plant(setting, rng)
        search_rows = np.arange(len(planted.clusters))
        first_seeds = [MetricValues(arm.values[:1], arm.trained) for arm in (planted.baseline, *planted.arms)]
        intervals = compare(planted.baseline, planted.arms, planted.clusters, resamples, number)
        by_search_intervals = compare(planted.baseline, planted.arms, search_rows, 200, number)
        one_seed_intervals = compare(first_seeds[0], first_seeds[1:], planted.clusters, 200, number)
        is_inside = (intervals.low <= planted.truth) & (planted.truth <= intervals.high)
        is_family_inside = (intervals.family_low <= planted.truth) & (planted.truth <= intervals.family_high)
        by_search = (by_search_intervals.low <= planted.truth) & (planted.truth <= by_search_intervals.high)
        family_by_search = (by_search_intervals.family_low <= planted.truth) & (
            planted.truth <= by_search_intervals.family_high
        )
        one_seed = (one_seed_intervals.low <= planted.truth) & (planted.truth <= one_seed_intervals.high)
        coverages.append(
            [
                is_inside.mean(),
                is_family_inside.all(),
                is_inside.all(),
                by_search.mean(),
                family_by_search.all(),
                one_seed.mean(),
            ]
        )
    return Coverage(*np.mean(coverages, axis=0).tolist())


def main() -> None:
    """Print a line for each setting; exit with code 1 if a setting fails."""
    sets = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print(f"{sets} data sets for each setting, {ARMS} arms and a baseline; coverage in %, promised: 95")
    print("pointwise  family | pointwise as family | by search  family | one seed, noise left out | setting")
    faults = []
    for setting in SETTINGS:
        coverage = cover(setting, sets)
        cells = [f"{100 * share:.1f}" for share in coverage]
        print("{:>9}  {:>6} | {:>19} | {:>9}  {:>6} | {:>24} | ".format(*cells) + setting.name, flush=True)
        low, high = ALLOWED
        if not (low <= coverage.pointwise <= high and low <= coverage.family <= high):
            faults.append(f"{setting.name}: the intervals do not cover 95%")
        if coverage.by_search >= low and not setting.training_noise:
            faults.append(
                f"{setting.name}: intervals over single searches cover as well, so this setting proves nothing"
            )
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
