"""How sure a mean is: bootstrap over clusters, because the searches of one searcher are not independent."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ebr_core.bags import Int64
from ebr_core.metrics import Float64

FEW_CLUSTERS = 30  # below it a bootstrap says nothing


class Interval(NamedTuple):
    """A mean with its 95 % interval; the ends are NaN below 30 clusters."""

    value: float
    low: float
    high: float


def bootstrap(values: Float64, clusters: Int64, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """A percentile interval for the mean of each column of values (S, C), resampling whole clusters (S,).

    Every resample draws as many clusters as there are, and takes the mean over their searches. All columns see the same
    resamples, so a difference of two measures is best given as a column of its own: the interval is then paired.
    """
    _, numbers = np.unique(clusters, return_inverse=True)
    count = int(numbers.max(initial=-1)) + 1
    means = values.mean(0) if len(values) else np.full(values.shape[1], np.nan)
    if count < FEW_CLUSTERS:
        return [Interval(float(mean), np.nan, np.nan) for mean in means]
    totals = np.zeros((count, values.shape[1] + 1))
    np.add.at(totals, numbers, np.column_stack([values, np.ones(len(values))]))
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, totals.shape[1]))
    for first in range(0, resamples, 100):
        picks = rng.integers(count, size=(min(100, resamples - first), count))
        times = np.apply_along_axis(np.bincount, 1, picks, minlength=count)
        drawn[first : first + 100] = times @ totals
    low, high = np.quantile(drawn[:, :-1] / drawn[:, -1:], [0.025, 0.975], axis=0)
    return [Interval(*map(float, triple)) for triple in zip(means, low, high, strict=True)]
