"""The tower for given settings: the only module that knows all kinds of towers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import assert_never

import numpy as np

from ebr_core.arrays import Float32
from ebr_core.encoders.model_folder import model_files, settings_files
from ebr_core.scratch import Array
from ebr_core.towers.ngram_tower import new_ngram_tower, restore_ngram_tower
from ebr_core.towers.tower import Tower
from ebr_core.towers.tower_config import NgramTowerConfig, TowerConfig, TransformerTowerConfig
from ebr_core.towers.tower_inputs import Inputs
from ebr_core.towers.transformer_tower import TransformerTower, new_transformer_tower, restore_transformer_tower
from ebr_core.towers.tuned_encoder import moments
from ebr_core.training.arm_config import Arm


def new_tower(
    arm: Arm, inputs: Inputs, rng: np.random.Generator, epoch_steps: int = 0, text_table: Float32 | None = None
) -> Tower:
    """The untrained tower of an arm, over these inputs.

    epoch_steps: the steps of an epoch; text_table (rows, D): the start of an n-gram table, None for a random one.
    """
    match arm.towers:
        case NgramTowerConfig():
            return new_ngram_tower(inputs, arm.towers, arm.text.weighting == "learned", rng, text_table)
        case TransformerTowerConfig():
            return new_transformer_tower(inputs, arm.towers, epoch_steps, rng)
        case _:
            assert_never(arm.towers)


def restore_tower(
    config: TowerConfig, state: dict[str, Array], groups: list[str], encoder: Path | None = None
) -> Tower:
    """The tower of that state, over no rows yet, from which training can go on.

    groups: their names in order. encoder: the folder that `save_encoder` wrote, None for the model of the config.
    """
    match config:
        case NgramTowerConfig():
            return restore_ngram_tower(config, state, groups)
        case TransformerTowerConfig():
            return restore_transformer_tower(config, state, groups, encoder)
        case _:
            assert_never(config)


def resumable_state(tower: Tower) -> dict[str, Array] | None:
    """The state of a tower and of all its optimisers, from which `restore_tower` goes on with the same bytes.

    None for a tower whose epochs are short: it begins again after a kill.
    """
    return tower.state() | moments(tower.text) if isinstance(tower, TransformerTower) else None


def save_encoder(tower: Tower, folder: Path, weights: bool = False) -> None:
    """Copy the settings and the tokenizer of a tower's encoder, if it has one, so that it can be opened elsewhere.

    weights: True for the weights that adapters need, too.
    """
    if isinstance(tower, TransformerTower):
        model = tower.text.sides[0].folder
        for path in model_files(model) if weights and tower.config.lora else settings_files(model):
            target = folder / path.relative_to(model.path)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
