"""The parameters of one feature group: a table for bags, or a projection for given vectors; both give unit vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import Array
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.bag_tables import UNWEIGHTED, Table, adagrad_step, embed_bags, make_table, new_table
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.projection import (
    NO_CORRECTION,
    Projection,
    gather_vectors,
    new_projection,
    project,
    refuse_other_length,
    step_projection,
)
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup
from ebr_core.towers.warm_start import copy_known, copy_projection, keeps_axes

Parameters = Table | Projection


def new_parameters(
    name: str, inputs: Inputs, dimensions: int, learn_weights: bool, rng: np.random.Generator
) -> Parameters:
    """The untrained parameters of a group; learn_weights: True if the weights of the ids in their bags are learned."""
    group = inputs.groups[name]
    match group:
        case VectorGroup():
            refuse_other_length(name, group, dimensions)
            return new_projection(group, inputs.document_rows, dimensions, rng)
        case BagGroup():
            return new_table(group.table_rows, dimensions, learn_weights, rng)
        case _:
            assert_never(group)


def embed_group(
    params: Parameters, group: BagGroup | VectorGroup, rows: Int32, side: Int32, units: Float32, norms: Float32
) -> None:
    """Fill units (n, D) with the unit vectors of the group, norms (n,) with their lengths before.

    rows (n,): the bags or vectors; side (n,): 1 for documents.
    """
    match params:
        case Table():
            bags = bags_of(group)
            embed_bags(params.table, params.scales, bags.offsets, bags.ids, bags.weights, rows, units, norms)
        case Projection():
            given = _dense_of(group)
            project(params, given, gather_vectors(given, rows), side, units, norms)
        case _:
            assert_never(params)


def step_group(
    params: Parameters,
    group: BagGroup | VectorGroup,
    rows: Int32,
    side: Int32,
    by_sums: Float32,
    rate: float,
    projection_rate: float,
) -> None:
    """Take one step of Adagrad on the parameters in place; by_sums (n, D) is ∂L/∂(the vectors before scaling)."""
    match params:
        case Table():
            adagrad_step(
                params.table, params.squares, params.scratch_slots, bags_of(group), rows, by_sums, rate,
                params.scales, params.scale_squares,
            )  # fmt: skip
        case Projection():
            given = _dense_of(group)
            step_projection(params, given, gather_vectors(given, rows), side, by_sums, projection_rate)
        case _:
            assert_never(params)


def parameter_state(name: str, params: Parameters) -> dict[str, Array]:
    """The arrays that are saved, the optimiser's state included, by name."""
    parts = {part: array for part, array in params._asdict().items() if part != "scratch_slots"}
    kept = {part: array for part, array in parts.items() if len(array) or part in ("table", "squares")}
    return {f"{name}.{part}": array for part, array in kept.items()}


def restore_parameters(name: str, state: Mapping[str, Array]) -> Parameters:
    """The parameters that `parameter_state` gave."""
    if f"{name}.maps" in state:
        correction = (state.get(f"{name}.{part}", NO_CORRECTION) for part in ("up", "down"))
        return Projection(state[f"{name}.maps"], state[f"{name}.squares"], *correction)
    scales, scale_squares = (state.get(f"{name}.{part}", UNWEIGHTED) for part in ("scales", "scale_squares"))
    return make_table(state[f"{name}.table"], scales, state[f"{name}.squares"], scale_squares)


def copy_learned(
    fresh: Mapping[str, Parameters], old: Mapping[str, Parameters], before: FittedFeatures, after: FittedFeatures
) -> None:
    """Copy, for each group, what was learned for features of both logs.

    Parameters of features that only the later log has are unchanged. So are projections of a graph, whose vectors have
    other axes each time the graph is embedded, and of an encoder with other weights.
    """
    for name, params in fresh.items():
        match params:
            case Table():
                copy_known(name, table_of(old[name]), params, before, after)
            case Projection():
                earlier = old[name]
                if keeps_axes(name, before, after) and isinstance(earlier, Projection):
                    copy_projection(earlier, params)
            case _:
                assert_never(params)


def bags_of(group: BagGroup | VectorGroup) -> Bags:
    """The bags of a group. Raises TypeError for given vectors."""
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


def table_of(params: Parameters) -> Table:
    """The table of a group of bags. Raises TypeError for a projection."""
    match params:
        case Table():
            return params
        case Projection():
            raise TypeError("got a projection, expected a table: the towers read other groups")
        case _:
            assert_never(params)
