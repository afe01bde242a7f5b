"""The n-gram tower: each feature group gives a unit vector, and the fusion turns them into one embedding. [EBR §2.3]

A group's vector is the weighted sum of a table's rows, or the projection of a given vector. Both towers read one table
for each group. If they are separate, a document's ids are offset behind the query's, so that every kernel sees one
table and one set of bags.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import Array
from ebr_core.towers.bag_tables import Table, normalize_backward
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.fusion import (
    Additive,
    FusionForward,
    Network,
    fuse,
    fusion_backward,
    named_weights,
    new_additive,
    new_network,
    restore_network,
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
    table_of,
)
from ebr_core.towers.tower import encode_in_blocks
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import NO_ROWS, Inputs


class NgramForward(NamedTuple):
    """The embeddings of some rows, and the intermediate results that `step` needs."""

    vectors: Float32  # (n, D) of unit length
    fused: FusionForward
    units: Float32  # (G, n, D)
    norms: Float32  # (G, n) before normalisation
    group_rows: tuple[Int32, ...]  # (n,) of each group: its bags or its vectors
    side: Int32  # (n,) 1 for documents
    inputs: Inputs  # of which the rows are


class NgramTower(NamedTuple):
    """Both towers over some inputs, during training and afterwards; `tower.Tower` documents the methods."""

    groups: dict[str, Parameters]  # the text first
    fusion: Additive | Network
    config: NgramTowerConfig
    inputs: Inputs

    @property
    def text(self) -> Table:
        """The vectors of the n-grams."""
        return table_of(self.groups["text"])

    @property
    def table(self) -> Float32:
        """(rows, D) the vectors of the n-grams."""
        return self.text.table

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.table.shape[1])

    def over(self, inputs: Inputs) -> NgramTower:
        """The same parameters over other inputs."""
        return self._replace(inputs=inputs)

    def encode(self, rows: Int32) -> Float32:
        """(n, D) the embeddings of any number of rows, without intermediate results."""
        return encode_in_blocks(self.forward, rows, self.dimensions)

    def forward(self, rows: Int32) -> NgramForward:
        """The embeddings of the searches or documents at rows (n,), each by the tower of its side."""
        rows, side = np.asarray(rows, np.int32), self.inputs.side_of(rows)
        units = np.empty((len(self.inputs.groups), len(rows), self.dimensions), np.float32)
        norms, group_rows = np.empty(units.shape[:2], np.float32), []
        for g, (name, group) in enumerate(self.inputs.groups.items()):
            group_rows.append(group.at[rows])
            embed_group(self.groups[name], group, group_rows[g], side, units[g], norms[g])
        fused = fuse(self.fusion, units, norms, side)
        return NgramForward(fused.vectors, fused, units, norms, tuple(group_rows), side, self.inputs)

    def step(self, forward: NgramForward, gradient: Float32, rate: float) -> None:
        """Take one step of the optimiser in place; gradient (n, D) is ∂L/∂(unit vectors) and is overwritten.

        rate: the learning rate of the tables; those of projections and of a network are settings of the tower.
        """
        by_units = fusion_backward(self.fusion, forward.fused, forward.units, forward.side, gradient)
        for g, (name, group) in enumerate(forward.inputs.groups.items()):
            normalize_backward(by_units[g], forward.units[g], forward.norms[g])
            step_group(
                self.groups[name], group, forward.group_rows[g], forward.side, by_units[g], rate,
                self.config.projection_rate,
            )  # fmt: skip

    @property
    def weighs_groups(self) -> bool:
        """True if `step_weights` learns something: several groups, summed."""
        return isinstance(self.fusion, Additive) and len(self.groups) > 1 and self.inputs.sums

    def step_weights(self, forward: NgramForward, gradient: Float32) -> None:
        """Take one step on the groups' weights alone, in place; gradient (n, D) is overwritten."""
        match self.fusion:
            case Additive():
                step_weights(self.fusion, forward.fused, forward.units, forward.side, gradient, self.config.weight_rate)
            case Network():
                pass
            case _:
                assert_never(self.fusion)

    def state(self) -> dict[str, Array]:
        """All parameters and the optimiser's state, by name."""
        tensors: dict[str, Array] = {}
        for name, params in self.groups.items():
            tensors |= parameter_state(name, params)
        match self.fusion:
            case Additive():
                return tensors | {f"fusion.{part}": array for part, array in self.fusion._asdict().items()}
            case Network(layers=layers):
                for side, layer in enumerate(layers):
                    arrays = (tensor.detach().numpy() for tensor in layer)
                    tensors |= {f"fusion.{side}.{part}": array for part, array in zip("wbvc", arrays, strict=True)}
                return tensors
            case _:
                assert_never(self.fusion)

    def counts(self) -> dict[str, int]:
        """The size of the tower: table_rows, the rows of the n-gram table."""
        return {"table_rows": len(self.table)}

    def weights(self) -> dict[str, float]:
        """The weight of each group on each side, such as `query.place`; a side's sum to 1. Empty for a network."""
        match self.fusion:
            case Network():
                return {}
            case Additive() as fusion:
                return named_weights(fusion, list(self.groups))
            case _:
                assert_never(self.fusion)

    def warm_start(self, old: NgramTower, before: FittedFeatures, after: FittedFeatures) -> NgramTower:
        """This tower with the parameters that `old` learned for features of both logs, and the fusion of `old`."""
        copy_learned(self.groups, old.groups, before, after)
        return self._replace(fusion=old.fusion)


def new_ngram_tower(
    inputs: Inputs,
    config: NgramTowerConfig,
    learn_weights: bool,
    rng: np.random.Generator,
    text_table: Float32 | None = None,
) -> NgramTower:
    """An untrained tower over the inputs.

    Independent random rows are nearly orthogonal, so at the start a group matches itself across the sides and no other.
    learn_weights: True if the n-grams' weights in their bags are learned too. text_table (rows, D): the vectors at
    which the n-grams start, the same in each table of the texts; None for random ones.
    """
    groups = {
        name: new_parameters(name, inputs, config.dimensions, name == "text" and learn_weights, rng)
        for name in inputs.groups
    }
    if text_table is not None:
        table = table_of(groups["text"]).table
        table.reshape(-1, *text_table.shape)[:] = text_table
    if config.fusion == "additive":
        return NgramTower(groups, new_additive(len(groups), config.start_weight), config, inputs)
    sides = 1 if config.shared else 2
    network = new_network(len(groups), config.dimensions, config.hidden, sides, config.network_rate, rng)
    return NgramTower(groups, network, config, inputs)


def restore_ngram_tower(config: NgramTowerConfig, state: dict[str, Array], names: list[str]) -> NgramTower:
    """The tower of that state, over no rows, from which training can go on; names: the groups in their order."""
    groups = {name: restore_parameters(name, state) for name in names}
    if "fusion.logs" in state:
        return NgramTower(groups, Additive(state["fusion.logs"], state["fusion.squares"]), config, NO_ROWS)
    sides = [side for side in (0, 1) if f"fusion.{side}.w" in state]
    layers = [tuple(state[f"fusion.{side}.{part}"] for part in "wbvc") for side in sides]
    return NgramTower(groups, restore_network(layers, config.network_rate), config, NO_ROWS)
