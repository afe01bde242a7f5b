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
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.bag_tables import (
    UNWEIGHTED,
    Table,
    adagrad_step,
    embed_bags,
    make_table,
    new_table,
    normalize_backward,
)
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.fusion import (
    Additive,
    FusionForward,
    Network,
    fuse,
    fusion_backward,
    new_additive,
    new_network,
    restore_network,
    step_weights,
)
from ebr_core.towers.projection import (
    NO_CORRECTION,
    Projection,
    gather_vectors,
    new_projection,
    project,
    refuse_other_length,
    step_projection,
)
from ebr_core.towers.tower import encode_in_blocks
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup
from ebr_core.towers.warm_start import copy_known, copy_projection, keeps_axes

NO_ROWS = Inputs({}, 0, 0)


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

    groups: dict[str, Table | Projection]  # the text first
    fusion: Additive | Network
    config: NgramTowerConfig
    inputs: Inputs

    @property
    def text(self) -> Table:
        """The vectors of the n-grams."""
        return _table_of(self.groups["text"])

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
            params = self.groups[name]
            group_rows.append(group.at[rows])
            match params:
                case Table():
                    bags = _bags_of(group)
                    embed_bags(
                        params.table, params.scales, bags.offsets, bags.ids, bags.weights, group_rows[g],
                        units[g], norms[g],
                    )  # fmt: skip
                case Projection():
                    vectors = gather_vectors(_dense_of(group), group_rows[g])
                    project(params, _dense_of(group), vectors, side, units[g], norms[g])
                case _:
                    assert_never(params)
        fused = fuse(self.fusion, units, norms, side)
        return NgramForward(fused.vectors, fused, units, norms, tuple(group_rows), side, self.inputs)

    def step(self, forward: NgramForward, gradient: Float32, rate: float) -> None:
        """Take one step of the optimiser in place; gradient (n, D) is ∂L/∂(unit vectors) and is overwritten.

        rate: the learning rate of the tables; those of projections and of a network are settings of the tower.
        """
        by_units = fusion_backward(self.fusion, forward.fused, forward.units, forward.side, gradient)
        for g, (name, group) in enumerate(forward.inputs.groups.items()):
            params, by_sums = self.groups[name], by_units[g]
            normalize_backward(by_sums, forward.units[g], forward.norms[g])
            match params:
                case Table():
                    adagrad_step(
                        params.table, params.squares, params.scratch_slots, _bags_of(group), forward.group_rows[g],
                        by_sums, rate, params.scales, params.scale_squares,
                    )  # fmt: skip
                case Projection():
                    vectors = gather_vectors(_dense_of(group), forward.group_rows[g])
                    step_projection(
                        params, _dense_of(group), vectors, forward.side, by_sums, self.config.projection_rate
                    )
                case _:
                    assert_never(params)

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
            parts = {part: array for part, array in params._asdict().items() if part != "scratch_slots"}
            parts = {part: array for part, array in parts.items() if len(array) or part in ("table", "squares")}
            tensors |= {f"{name}.{part}": array for part, array in parts.items()}
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
            case Additive(weights=weights):
                shares = weights / weights.sum(1, keepdims=True)
            case _:
                assert_never(self.fusion)
        return {
            f"{side}.{name}": float(shares[s, g])
            for s, side in enumerate(("query", "document"))
            for g, name in enumerate(self.groups)
        }

    def warm_start(self, old: NgramTower, before: FittedFeatures, after: FittedFeatures) -> NgramTower:
        """This tower with the parameters that `old` learned for features of both logs, and the fusion of `old`.

        Parameters of features that only the later log has are unchanged. So are projections of a graph, whose vectors
        have other axes each time the graph is embedded, and of an encoder with other weights.
        """
        for name, params in self.groups.items():
            match params:
                case Table():
                    copy_known(name, _table_of(old.groups[name]), params, before, after)
                case Projection():
                    earlier = old.groups[name]
                    if keeps_axes(name, before, after) and isinstance(earlier, Projection):
                        copy_projection(earlier, params)
                case _:
                    assert_never(params)
        return self._replace(fusion=old.fusion)


def _bags_of(group: BagGroup | VectorGroup) -> Bags:
    match group:
        case BagGroup():
            return group.bags
        case VectorGroup():
            raise TypeError("got given vectors, expected bags: the inputs belong to another tower")
        case _:
            assert_never(group)


def _dense_of(group: BagGroup | VectorGroup) -> VectorGroup:
    match group:
        case VectorGroup():
            return group
        case BagGroup():
            raise TypeError("got bags, expected given vectors: the inputs belong to another tower")
        case _:
            assert_never(group)


def _table_of(params: Table | Projection) -> Table:
    match params:
        case Table():
            return params
        case Projection():
            raise TypeError("got a projection, expected a table: the towers read other groups")
        case _:
            assert_never(params)


def new_ngram_tower(
    inputs: Inputs, config: NgramTowerConfig, learn_weights: bool, rng: np.random.Generator
) -> NgramTower:
    """An untrained tower over the inputs.

    Independent random rows are nearly orthogonal, so at the start a group matches itself across the sides and no other.
    learn_weights: True if the n-grams' weights in their bags are learned too.
    """
    groups: dict[str, Table | Projection] = {}
    for name, group in inputs.groups.items():
        match group:
            case VectorGroup():
                refuse_other_length(name, group, config.dimensions)
                groups[name] = new_projection(group, inputs.document_rows, config.dimensions, rng)
            case BagGroup():
                groups[name] = new_table(group.table_rows, config.dimensions, name == "text" and learn_weights, rng)
            case _:
                assert_never(group)
    if config.fusion == "additive":
        return NgramTower(groups, new_additive(len(groups), config.start_weight), config, inputs)
    sides = 1 if config.shared else 2
    network = new_network(len(groups), config.dimensions, config.hidden, sides, config.network_rate, rng)
    return NgramTower(groups, network, config, inputs)


def restore_ngram_tower(config: NgramTowerConfig, state: dict[str, Array], names: list[str]) -> NgramTower:
    """The tower of that state, over no rows, from which training can go on; names: the groups in their order."""
    groups: dict[str, Table | Projection] = {}
    for name in names:
        if f"{name}.maps" in state:
            correction = (state.get(f"{name}.{part}", NO_CORRECTION) for part in ("up", "down"))
            groups[name] = Projection(state[f"{name}.maps"], state[f"{name}.squares"], *correction)
            continue
        scales, scale_squares = (state.get(f"{name}.{part}", UNWEIGHTED) for part in ("scales", "scale_squares"))
        groups[name] = make_table(state[f"{name}.table"], scales, state[f"{name}.squares"], scale_squares)
    if "fusion.logs" in state:
        return NgramTower(groups, Additive(state["fusion.logs"], state["fusion.squares"]), config, NO_ROWS)
    sides = [side for side in (0, 1) if f"fusion.{side}.w" in state]
    layers = [tuple(state[f"fusion.{side}.{part}"] for part in "wbvc") for side in sides]
    return NgramTower(groups, restore_network(layers, config.network_rate), config, NO_ROWS)
