"""LambdaMART trees of a ranker, trained on groups of pairs. [Burges 2010]"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ebr_core.arrays import Float32, Float64
from ebr_core.rerank.ranker_features import Examples, Ranker

if TYPE_CHECKING:
    import lightgbm  # takes a second: loaded where a ranker is read or trained

NDCG_K = 10  # K of the nDCG for early stopping


class Trees(NamedTuple):
    """A trained ranker, in LightGBM's text format."""

    text: str
    trees: int
    held_out: list[float]  # nDCG@10 after each tree
    gains: Float64  # (F,) gain of each feature


def grow(
    rows: Float32, examples: Examples, held_rows: Float32, held_examples: Examples, names: list[str], ranker: Ranker,
    seed: int, threads: int,
) -> Trees:  # fmt: skip
    """Train LambdaMART on rows (P, F) and keep the trees up to the best weighted nDCG@10 on held_rows.

    All trees are kept if held_rows is empty. The same input, seed and threads give the same bytes.
    """
    import lightgbm

    settings: dict[str, Any] = {
        "objective": "lambdarank", "metric": "ndcg", "eval_at": [NDCG_K], "num_leaves": ranker.leaves,
        "min_data_in_leaf": ranker.leaf_rows, "learning_rate": ranker.learning_rate, "seed": seed,
        "num_threads": threads, "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
    categorical = ["kind"] if "kind" in names else []

    def dataset(features: Float32, groups: Examples, reference: lightgbm.Dataset | None = None) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            features, groups.clicked.astype(np.int32), reference=reference, weight=groups.weights,
            group=groups.sizes, feature_name=names, categorical_feature=categorical, params=settings,
        )  # fmt: skip

    train_set = dataset(rows, examples)
    valid_sets: list[lightgbm.Dataset] = []
    evaluations: dict[str, dict[str, list[float]]] = {}
    callbacks: list[Callable[..., Any]] = []
    if len(held_examples.sizes):
        valid_sets = [dataset(held_rows, held_examples, train_set)]
        callbacks = [lightgbm.early_stopping(ranker.patience, first_metric_only=True, verbose=False)]
    callbacks.append(lightgbm.record_evaluation(evaluations))
    booster = lightgbm.train(settings, train_set, ranker.trees, valid_sets=valid_sets,
                             valid_names=["held out"][: len(valid_sets)], callbacks=callbacks)  # fmt: skip
    best = booster.best_iteration or booster.current_iteration()
    curve = next(iter(evaluations["held out"].values())) if evaluations else []
    gains = booster.feature_importance("gain", iteration=best).astype(np.float64)
    return Trees(booster.model_to_string(num_iteration=best), best, [float(value) for value in curve], gains)
