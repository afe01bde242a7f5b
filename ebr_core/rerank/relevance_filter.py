"""Relevance filters: a classifier of rated results, and the threshold below which a result is removed. [EBR §5.2]"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ebr_core.arrays import Bool, Float32, Float64, Int32
from ebr_core.errors import InputError
from ebr_core.training.rated_results import uniform

if TYPE_CHECKING:
    import lightgbm

HELD_OUT = 4  # one of this many searches is held out
ROUNDS = 100  # trees


class RelevanceFilter(NamedTuple):
    """A fitted filter."""

    model: lightgbm.Booster
    threshold: float  # on the probability of being good
    held_out: dict[str, float]  # measures of the threshold on the held-out ratings that chose it


def held_out_mask(search_rows: Int32) -> Bool:
    """(n,) True for pairs whose search, by a hash, is in the held-out quarter, which chooses the threshold."""
    draws: Bool = uniform(search_rows.astype(np.int64), np.uint64(7)) * HELD_OUT < 1
    return draws


def fit(
    names: list[str], features: Float32, good: Bool, is_held_out: Bool, recall_weight: float, threads: int, seed: int
) -> RelevanceFilter:
    """A gradient-boosted classifier of good (n,) from named features (n, F), and the threshold with the best F measure.

    F = (1 + β²) P R / (β² P + R) is measured on the held-out pairs, with β the recall weight. Raises InputError if the
    pairs held out, or the others, are all good or all bad.
    """
    import lightgbm

    for side, name in ((~is_held_out, "to learn from"), (is_held_out, "held out to choose the threshold")):
        if len(np.unique(good[side])) < 2:
            raise InputError(
                f"of the {side.sum()} ratings {name}, {good[side].sum()} are good: a relevance filter needs good and "
                "bad ones; rate more results (feedback.searches)"
            )
    settings: dict[str, Any] = {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.05,
        "min_data_in_leaf": 20,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "seed": seed,
        "verbosity": -1,
    }
    kinds = [name for name in names if name == "kind"]
    data = lightgbm.Dataset(
        features[~is_held_out],
        good[~is_held_out].astype(np.int8),
        feature_name=names,
        categorical_feature=kinds,
        params=settings,
    )
    model = lightgbm.train(settings, data, num_boost_round=ROUNDS)
    scores = probabilities(model, features[is_held_out], threads)
    threshold, measures = best_threshold(scores, good[is_held_out], recall_weight)
    return RelevanceFilter(model, threshold, measures)


def probabilities(model: lightgbm.Booster, features: Float32, threads: int) -> Float64:
    """(n,) the probability that each pair is good."""
    return np.asarray(model.predict(features, num_threads=threads), np.float64)


def best_threshold(scores: Float64, good: Bool, recall_weight: float) -> tuple[float, dict[str, float]]:
    """(threshold, measures): the lowest score with the highest F measure of the pairs at or above it.

    >>> best_threshold(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True]), 2)[0]
    0.4
    """
    order = np.argsort(-scores, kind="stable")
    good_count, kept_count = np.cumsum(good[order]), np.arange(1, len(order) + 1)
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are kept or removed together
    precision, recall, weight = good_count / kept_count, good_count / good.sum(), recall_weight**2
    f = np.where(last, (1 + weight) * precision * recall / np.maximum(weight * precision + recall, 1e-12), -1)
    i = int(np.flatnonzero(f >= f.max() - 1e-12)[-1])  # ties up to rounding
    measures = {"precision": precision[i], "recall": recall[i], "kept": kept_count[i] / len(order), "good": good.mean()}
    return float(scores[order][i]), {name: float(value) for name, value in measures.items()}
