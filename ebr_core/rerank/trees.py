"""The trees of a ranker: LambdaMART, grown on groups of pairs. [Burges 2010]"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import lightgbm
import numpy as np

from ebr_core.arrays import Float32, Float64
from ebr_core.rerank.ranker_features import Examples, Ranker

MEASURED_AT = 10  # K of the nDCG that stops the growing


class Trees(NamedTuple):
    """A trained ranker, in LightGBM's own text."""

    text: str
    trees: int
    held_out: list[float]  # nDCG@10 after each tree
    gains: Float64  # (F,) of each feature


def grow(
    rows: Float32, examples: Examples, held_rows: Float32, held: Examples, names: list[str], its: Ranker, seed: int,
    threads: int,
) -> Trees:  # fmt: skip
    """LambdaMART on rows (P, F): as many trees as have the best weighted nDCG@10 on held_rows; all where it is empty.

    The same bytes for the same input, seed and threads.
    """
    settings: dict[str, Any] = {
        "objective": "lambdarank", "metric": "ndcg", "eval_at": [MEASURED_AT], "num_leaves": its.leaves,
        "min_data_in_leaf": its.leaf_rows, "learning_rate": its.learning_rate, "seed": seed, "num_threads": threads,
        "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    categorical = ["kind"] if "kind" in names else []

    def dataset(of: Float32, its_examples: Examples, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            of, its_examples.clicked.astype(np.int32), reference=reference, weight=its_examples.weights,
            group=its_examples.sizes, feature_name=names, categorical_feature=categorical, params=settings,
        )  # fmt: skip

    learnt = dataset(rows, examples)
    watched: list[lightgbm.Dataset] = []
    told: dict[str, dict[str, list[float]]] = {}
    stopping: list[Callable[..., Any]] = []
    if len(held.sizes):
        watched = [dataset(held_rows, held, learnt)]
        stopping = [lightgbm.early_stopping(its.patience, first_metric_only=True, verbose=False)]
    stopping.append(lightgbm.record_evaluation(told))
    booster = lightgbm.train(settings, learnt, its.trees, valid_sets=watched, valid_names=["held out"][: len(watched)],
                             callbacks=stopping)  # fmt: skip
    kept = booster.best_iteration or booster.current_iteration()
    curve = next(iter(told["held out"].values())) if told else []
    gains = booster.feature_importance("gain", iteration=kept).astype(np.float64)
    return Trees(booster.model_to_string(num_iteration=kept), kept, [float(value) for value in curve], gains)
