"""The tower for given settings: the only module that knows all kinds of towers."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ebr_core.scratch import Array
from ebr_core.towers.ngram_tower import new_ngram_tower, restore_ngram_tower
from ebr_core.towers.tower import Tower
from ebr_core.towers.tower_config import NgramTowerConfig, TowerConfig
from ebr_core.towers.tower_inputs import Inputs
from ebr_core.training.arm_config import Arm


def new_tower(arm: Arm, inputs: Inputs, rng: np.random.Generator) -> Tower:
    """The untrained tower of an arm, over these inputs."""
    match arm.towers:
        case NgramTowerConfig():
            return new_ngram_tower(inputs, arm.towers, arm.text.weighting == "learned", rng)
        case _:
            assert_never(arm.towers)


def restore_tower(config: TowerConfig, state: dict[str, Array], groups: list[str]) -> Tower:
    """The tower of that state, over no rows yet, from which training can go on; groups: their names in order."""
    match config:
        case NgramTowerConfig():
            return restore_ngram_tower(config, state, groups)
        case _:
            assert_never(config)
