"""The transformer tower: a pretrained encoder reads the text, all other groups are added as in the n-gram tower."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import Array
from ebr_core.towers.bag_tables import normalize_backward, normalize_rows
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.fusion import (
    Additive,
    FusionForward,
    fuse,
    fusion_backward,
    named_weights,
    new_additive,
    step_weights,
)
from ebr_core.towers.group_parameters import (
    Parameters,
    copy_learned,
    embed_group,
    new_parameters,
    parameter_state,
    restore_parameters,
    step_group,
)
from ebr_core.towers.tower import BLOCK
from ebr_core.towers.tower_config import TransformerTowerConfig
from ebr_core.towers.tower_inputs import NO_ROWS, Inputs
from ebr_core.towers.tuned_encoder import (
    TextForward,
    TunedEncoder,
    encode_texts_of,
    forward_texts,
    restore_tuning,
    start_tuning,
    step_texts,
    trained_weights,
)


class TransformerForward(NamedTuple):
    """The embeddings of some rows, and the intermediate results that `step` needs."""

    vectors: Float32  # (n, D) of unit length
    texts: TextForward
    fused: FusionForward
    units: Float32  # (G, n, D)
    norms: Float32  # (G, n) before normalisation
    group_rows: tuple[Int32, ...]  # (n,) of each group: its bags or its vectors
    side: Int32  # (n,) 1 for documents
    inputs: Inputs  # of which the rows are


class TransformerTower(NamedTuple):
    """Both towers over some inputs, during training and afterwards; `tower.Tower` documents the methods."""

    text: TunedEncoder
    groups: dict[str, Parameters]  # those besides the text
    fusion: Additive
    config: TransformerTowerConfig
    inputs: Inputs

    @property
    def dimensions(self) -> int:
        """D."""
        return self.text.sides[0].dimensions

    def over(self, inputs: Inputs) -> TransformerTower:
        """The same parameters over other inputs."""
        return self._replace(inputs=inputs)

    def encode(self, rows: Int32) -> Float32:
        """(n, D) the embeddings of any number of rows, in float32, without intermediate results."""
        rows, side = np.asarray(rows, np.int32), self.inputs.side_of(rows)
        text = self.inputs.text
        vectors = encode_texts_of(self.text, text.bags, text.at[rows], side)
        if self.groups:
            for first in range(0, len(rows), BLOCK):
                part = slice(first, first + BLOCK)
                vectors[part] = self._fused(rows[part], side[part], vectors[part])[0].vectors
        return vectors

    def forward(self, rows: Int32) -> TransformerForward:
        """The embeddings of the searches or documents at rows (n,), each by the tower of its side."""
        rows, side = np.asarray(rows, np.int32), self.inputs.side_of(rows)
        text = self.inputs.text
        texts = forward_texts(self.text, text.bags, text.at[rows], side, training=True)
        fused, units, norms, group_rows = self._fused(rows, side, texts.vectors)
        return TransformerForward(fused.vectors, texts, fused, units, norms, group_rows, side, self.inputs)

    def _fused(
        self, rows: Int32, side: Int32, texts: Float32
    ) -> tuple[FusionForward, Float32, Float32, tuple[Int32, ...]]:
        """(the embeddings, the groups' units and norms, their rows), from the vectors of the texts (n, D)."""
        units = np.empty((1 + len(self.groups), len(rows), self.dimensions), np.float32)
        norms, group_rows = np.empty(units.shape[:2], np.float32), []
        for g, (name, group) in enumerate(self.inputs.groups.items()):
            group_rows.append(group.at[rows])
            if name == "text":
                units[g] = texts
                normalize_rows(units[g], norms[g])
            else:
                embed_group(self.groups[name], group, group_rows[g], side, units[g], norms[g])
        return fuse(self.fusion, units, norms, side), units, norms, tuple(group_rows)

    def step(self, forward: TransformerForward, gradient: Float32, rate: float) -> None:
        """Take one step of the optimisers in place; gradient (n, D) is ∂L/∂(unit vectors) and is overwritten.

        rate: the learning rate of tables; that of the encoder, of projections and of weights are settings of the tower.
        """
        by_units = fusion_backward(self.fusion, forward.fused, forward.units, forward.side, gradient)
        for g, (name, group) in enumerate(forward.inputs.groups.items()):
            normalize_backward(by_units[g], forward.units[g], forward.norms[g])
            if name == "text":
                step_texts(self.text, forward.texts, by_units[g])
            else:
                step_group(
                    self.groups[name], group, forward.group_rows[g], forward.side, by_units[g], rate,
                    self.config.projection_rate,
                )  # fmt: skip

    @property
    def weighs_groups(self) -> bool:
        """True if a group is added to the text, or to another."""
        return bool(self.groups) and self.inputs.sums

    def step_weights(self, forward: TransformerForward, gradient: Float32) -> None:
        """Take one step on the groups' weights alone, in place; gradient (n, D) is overwritten."""
        step_weights(self.fusion, forward.fused, forward.units, forward.side, gradient, self.config.weight_rate)

    def state(self) -> dict[str, Array]:
        """All weights that training changes, by name; of optimisers, those of the groups besides the text."""
        tensors = trained_weights(self.text)
        for name, params in self.groups.items():
            tensors |= parameter_state(name, params)
        return tensors | {f"fusion.{part}": array for part, array in self.fusion._asdict().items()}

    def counts(self) -> dict[str, int]:
        """The size of the encoder: all its weights, and those that are trained."""
        parameters = [parameter for encoder in self.text.sides for parameter in encoder.module.parameters()]
        trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        return {"parameters": sum(parameter.numel() for parameter in parameters), "trained_parameters": trained}

    def weights(self) -> dict[str, float]:
        """The weight of each group on each side, such as `query.place`; a side's sum to 1."""
        return named_weights(self.fusion, ["text", *self.groups])

    def warm_start(self, old: TransformerTower, before: FittedFeatures, after: FittedFeatures) -> TransformerTower:
        """The encoder and the fusion of `old`, and what it learned for features of both logs."""
        copy_learned(self.groups, old.groups, before, after)
        return self._replace(text=old.text, fusion=old.fusion)


def new_transformer_tower(
    inputs: Inputs, config: TransformerTowerConfig, epoch_steps: int, rng: np.random.Generator
) -> TransformerTower:
    """The tower of a pretrained encoder and untrained other groups; epoch_steps: the steps of an epoch."""
    text = start_tuning(config, math.ceil(config.warm_up * epoch_steps), rng)
    groups = {
        name: new_parameters(name, inputs, text.sides[0].dimensions, False, rng)
        for name in inputs.groups
        if name != "text"
    }
    return TransformerTower(text, groups, new_additive(1 + len(groups), config.start_weight), config, inputs)


def restore_transformer_tower(
    config: TransformerTowerConfig, state: Mapping[str, Array], names: list[str], folder: Path | None
) -> TransformerTower:
    """The tower of that state, over no rows, from which training can go on.

    names: the groups in their order; folder: of the encoder's settings and tokenizer, None for that of the config.
    """
    groups = {name: restore_parameters(name, state) for name in names if name != "text"}
    fusion = Additive(state["fusion.logs"], state["fusion.squares"])
    return TransformerTower(restore_tuning(config, state, folder), groups, fusion, config, NO_ROWS)
