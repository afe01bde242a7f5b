"""What is kept of trained towers: all that embeds a search without the log, and the weights of their groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ebr_core.errors import InputError
from ebr_core.towers.checkpoint import Checkpoint
from ebr_core.towers.column_config import SIDES
from ebr_core.towers.tower import Tower
from ebr_core.towers.tower_config import TowerConfig, TransformerTowerConfig
from ebr_core.training.arm_config import Arm
from tasks.feature_stages import read_bags, read_fitted
from tasks.graph_stage import read_graphs
from tasks.histories import SEARCHERS
from tasks.kinds import FeatureSet, Log
from tasks.provenance.settings import plain
from tasks.text_vectors_of_log import read_known_queries


def checkpoint_of(tower: Tower, log: Log, features: FeatureSet, arm: Arm) -> Checkpoint:
    """The towers, with all that embeds a search without the log."""
    graphs = {name: np.asarray(vectors) for name, vectors in read_graphs(features, "searchers").items()}
    ids: list[str] = []
    clicks = [name for name, history in arm.features.histories.items() if history.column is None]
    histories = {name: read_bags(features, name, SEARCHERS) for name in clicks}
    if graphs or histories:
        ids = pq.read_table(log.folder / "searchers.parquet")["searcher_id"].to_pylist()
    encoded = np.array([searcher_id.encode() for searcher_id in ids], np.bytes_)
    known_queries = read_known_queries(log, features, arm.features)
    return Checkpoint(tower, read_fitted(features), arm.towers, graphs, encoded, histories, known_queries=known_queries)


def group_weights(tower: Tower, arm: Arm) -> dict[str, float]:
    """The weight of each group on each side, such as `query.place`, without texts and vectors that the side does not
    read; a side's sum to 1."""
    weights, read = tower.weights(), dict[str, float]()
    for prefix, side in zip(("query", "document"), SIDES, strict=True):
        unread = {"text", *arm.features.text_vectors} - set(arm.features.parts_of(side))
        of_side = {name: weight for name, weight in weights.items() if name.startswith(f"{prefix}.")}
        kept = {name: weight for name, weight in of_side.items() if name.removeprefix(f"{prefix}.") not in unread}
        if len(kept) < len(of_side):
            kept = {name: weight / sum(kept.values()) for name, weight in kept.items()}
        read |= kept
    return read


def epoch_weights(tower: Tower, arm: Arm) -> dict[str, float]:
    """The same, named as columns; empty if each side has one group, which has all the weight."""
    weights = {f"weight.{name}": weight for name, weight in group_weights(tower, arm).items()}
    return {} if set(weights.values()) == {1.0} else weights


def has_shape_of(model: Checkpoint, arm: Arm) -> bool:
    """True if the features and the shape of trained towers are the arm's. A pretrained model counts by its content, so
    a copy of its folder is the same; by its path if what the towers began with is no longer there."""
    if (model.fitted.features, model.config.shape()) == (arm.features, arm.towers.shape()):
        return True
    try:
        return plain(model.fitted.features) == plain(arm.features) and _shape(model.config) == _shape(arm.towers)
    except InputError:
        return False


def _shape(config: TowerConfig) -> dict[str, Any]:
    """The settings that determine the parameters, with the digest of a pretrained model in place of its path."""
    return config.shape() | (config.content_identity() if isinstance(config, TransformerTowerConfig) else {})
