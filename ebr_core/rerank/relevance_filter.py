"""Relevance filters: a classifier of rated results, and the threshold below which a result is taken away. [EBR §5.2]"""

from __future__ import annotations

from typing import Any, NamedTuple

import lightgbm
import numpy as np

from ebr_core.arrays import Bool, Float32, Float64, Int32
from ebr_core.errors import InputError
from ebr_core.training.rated_results import uniform

HELD_OUT = 4  # of so many searches one is held out
ROUNDS = 100  # trees


class Judge(NamedTuple):
    """A fitted filter."""

    model: lightgbm.Booster
    threshold: float  # of the probability to be good
    held_out: dict[str, float]  # what the threshold does to the ratings that chose it


def held_out(search_rows: Int32) -> Bool:
    """(n,) whether a pair's search, by a hash, is among the quarter that chooses the threshold and trains nothing."""
    draws: Bool = uniform(search_rows.astype(np.int64), np.uint64(7)) * HELD_OUT < 1
    return draws


def fit(
    names: list[str], features: Float32, good: Bool, held: Bool, recall_weight: float, threads: int, seed: int
) -> Judge:
    """A gradient-boosted classifier of good (n,) by named features (n, F), and the threshold with the best F measure,

    F = (1 + β²) P R / (β² P + R), on the pairs held out. Errors: nothing good, or nothing bad, on either side.
    """
    for side, name in ((~held, "to learn from"), (held, "held out to choose the threshold by")):
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
        features[~held], good[~held].astype(np.int8), feature_name=names, categorical_feature=kinds, params=settings
    )
    model = lightgbm.train(settings, data, num_boost_round=ROUNDS)
    scores = probabilities(model, features[held], threads)
    threshold, told = best_threshold(scores, good[held], recall_weight)
    return Judge(model, threshold, told)


def probabilities(model: lightgbm.Booster, features: Float32, threads: int) -> Float64:
    """(n,) how probable it is that each pair is good."""
    return np.asarray(model.predict(features, num_threads=threads), np.float64)


def best_threshold(scores: Float64, good: Bool, recall_weight: float) -> tuple[float, dict[str, float]]:
    """(the score from which on the F measure of what is kept is highest, the lowest of equals; what it keeps).

    >>> best_threshold(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, True, False, True]), 2)[0]
    0.4
    """
    order = np.argsort(-scores, kind="stable")
    right, kept = np.cumsum(good[order]), np.arange(1, len(order) + 1)
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores are kept or dropped together
    precision, recall, weight = right / kept, right / good.sum(), recall_weight**2
    f = np.where(last, (1 + weight) * precision * recall / np.maximum(weight * precision + recall, 1e-12), -1)
    at = int(np.flatnonzero(f >= f.max() - 1e-12)[-1])  # equal but for rounding
    told = {"precision": precision[at], "recall": recall[at], "kept": kept[at] / len(order), "good": good.mean()}
    return float(scores[order][at]), {name: float(value) for name, value in told.items()}
