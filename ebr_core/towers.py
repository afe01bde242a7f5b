"""The two towers f(Q) and g(D): each feature group gives a unit vector, the fusion makes one embedding of them.

[EBR §2.3] Both towers read one table a group. Where they are separate, a document's ids are moved behind the query's,
so that every kernel sees one table and one set of bags.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import prange

from ebr_core.bags import Float32, Int32
from ebr_core.features import Towers
from ebr_core.fusion import Additive, Fused, Network, fuse, network_of, new_additive, new_network, through_fusion
from ebr_core.inputs import Bagged, Dense, Inputs
from ebr_core.parallel import parallel
from ebr_core.tables import UNSCALED, embed_bags, learn, through_norm, to_units

PROJECTION_RATE = 0.01  # of the row-wise Adagrad over the projections
BLOCK = 16_384  # rows embedded at a time


class Table(NamedTuple):
    """The vectors of a group's ids, and what the optimiser keeps."""

    table: Float32  # (rows, D)
    scales: Float32  # (rows,) learnt weights of the ids; empty where they are not learnt
    squares: Float32  # (rows,) of row-wise Adagrad
    scale_squares: Float32  # (rows,) or empty
    slot: Int32  # (rows,) scratch, all −1


class Projection(NamedTuple):
    """A linear map of given vectors into the embedding space for each side, and what the optimiser keeps."""

    maps: Float32  # (2, D, D′)
    squares: Float32  # (2, D)


class Encoder(NamedTuple):
    """Both towers, while they learn and after."""

    groups: dict[str, Table | Projection]  # the text first
    fusion: Additive | Network

    @property
    def table(self) -> Float32:
        """(rows, D) the vectors of the n-grams."""
        text = self.groups["text"]
        assert isinstance(text, Table)
        return text.table

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.table.shape[1])


class Encoded(NamedTuple):
    """The embeddings of some rows, and what the way back needs."""

    vectors: Float32  # (n, D) of unit length
    fused: Fused
    units: Float32  # (G, n, D)
    norms: Float32  # (G, n) before they were scaled
    at: tuple[Int32, ...]  # for each group (n,) its bags or vectors
    side: Int32  # (n,) 1 for documents


def new_encoder(inputs: Inputs, towers: Towers, learnt_weights: bool, rng: np.random.Generator) -> Encoder:
    """Towers that have learnt nothing: rows of standard normal numbers over √D, about of unit length.

    Independent random rows are nearly orthogonal, so at the start a group matches itself across the sides and no other.
    learnt_weights: whether the n-grams' weights in their bags are learnt too.
    """
    groups: dict[str, Table | Projection] = {}
    for name, group in inputs.groups.items():
        if isinstance(group, Dense):
            groups[name] = _new_projection(group.vectors.shape[1], towers.dimensions, rng)
        else:
            groups[name] = _new_table(group.table_rows, towers.dimensions, name == "text" and learnt_weights, rng)
    if towers.fusion == "additive":
        return Encoder(groups, new_additive(len(groups)))
    sides = 1 if towers.shared else 2
    return Encoder(groups, new_network(len(groups), towers.dimensions, towers.hidden, sides, rng))


def _new_table(rows: int, dimensions: int, learnt: bool, rng: np.random.Generator) -> Table:
    table = rng.standard_normal((rows, dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    scales = np.ones(rows if learnt else 0, np.float32)
    return Table(table, scales, np.zeros(rows, np.float32), np.zeros_like(scales), np.full(rows, -1, np.int32))


def _new_projection(given: int, dimensions: int, rng: np.random.Generator) -> Projection:
    """Searchers and documents of the graph stay in one space: the same map on both sides, which keeps angles."""
    if given == dimensions:
        start = np.eye(dimensions, dtype=np.float32)
    else:
        start = rng.standard_normal((dimensions, given), np.float32) / np.float32(np.sqrt(dimensions))
    return Projection(np.stack([start, start]), np.zeros((2, dimensions), np.float32))


def encode(encoder: Encoder, inputs: Inputs, rows: Int32) -> Encoded:
    """The embeddings of the searches or documents at rows (n,), each through its own tower."""
    rows, side = np.asarray(rows, np.int32), inputs.side_of(rows)
    units = np.empty((len(inputs.groups), len(rows), encoder.dimensions), np.float32)
    norms, at = np.empty(units.shape[:2], np.float32), []
    for g, (name, group) in enumerate(inputs.groups.items()):
        learnt = encoder.groups[name]
        at.append(group.at[rows])
        if isinstance(group, Bagged) and isinstance(learnt, Table):
            bags = group.bags
            embed_bags(learnt.table, learnt.scales, bags.offsets, bags.ids, bags.weights, at[g], units[g], norms[g])
        elif isinstance(group, Dense) and isinstance(learnt, Projection):
            _project(learnt, _given(group, at[g]), side, units[g], norms[g])
    fused = fuse(encoder.fusion, units, norms, side)
    return Encoded(fused.vectors, fused, units, norms, tuple(at), side)


def improve(encoder: Encoder, inputs: Inputs, encoded: Encoded, gradient: Float32, rate: float) -> None:
    """One step of the optimiser, in place; gradient (n, D) is ∂L/∂(unit vectors) and is used up."""
    by_units = through_fusion(encoder.fusion, encoded.fused, encoded.units, encoded.side, gradient)
    for g, (name, group) in enumerate(inputs.groups.items()):
        learnt, by_sums = encoder.groups[name], by_units[g]
        through_norm(by_sums, encoded.units[g], encoded.norms[g])
        if isinstance(group, Bagged) and isinstance(learnt, Table):
            learn(
                learnt.table, learnt.squares, learnt.slot, group.bags, encoded.at[g], by_sums, rate,
                learnt.scales, learnt.scale_squares,
            )  # fmt: skip
        elif isinstance(group, Dense) and isinstance(learnt, Projection):
            _turn(learnt, _given(group, encoded.at[g]), encoded.side, by_sums)


def query_vectors(encoder: Encoder, inputs: Inputs, searches: Int32) -> Float32:
    """(n, D) the embeddings of those searches, or (h, n, D) where each has several."""
    vectors = vectors_of(encoder, inputs, inputs.queries_of(searches))
    return vectors if len(inputs.views) == 1 else vectors.reshape(len(inputs.views), len(searches), -1)


def vectors_of(encoder: Encoder, inputs: Inputs, rows: Int32) -> Float32:
    """(n, D) the embeddings alone, of any number of rows."""
    vectors = np.empty((len(rows), encoder.dimensions), np.float32)
    for first in range(0, len(rows), BLOCK):
        vectors[first : first + BLOCK] = encode(encoder, inputs, rows[first : first + BLOCK]).vectors
    return vectors


@parallel("at")
def _gather(vectors, at, out):  # type: ignore[no-untyped-def]
    for n in prange(len(at)):
        if at[n] < 0:
            out[n] = 0
        else:
            out[n] = vectors[at[n]]


def _given(group: Dense, at: Int32) -> Float32:
    """(n, D′) the vectors at those places, zero for −1."""
    out = np.empty((len(at), group.vectors.shape[1]), np.float32)
    _gather(group.vectors, at, out)
    return out


def _project(learnt: Projection, given: Float32, side: Int32, units: Float32, norms: Float32) -> None:
    """Fills units (n, D) with the given vectors (n, D′), each through its side's map, at unit length."""
    for one in (0, 1):
        here = np.flatnonzero(side == one)
        if len(here):
            units[here] = (torch.from_numpy(given[here]) @ torch.from_numpy(learnt.maps[one]).T).numpy()
    to_units(units, norms)


def _turn(learnt: Projection, given: Float32, side: Int32, gradient: Float32) -> None:
    """A step of row-wise Adagrad on the map of each side; gradient (n, D) by what it gave."""
    for one in (0, 1):
        here = np.flatnonzero(side == one)
        by_map = (torch.from_numpy(gradient[here]).T @ torch.from_numpy(given[here])).numpy()  # (D, D′)
        learnt.squares[one] += (by_map**2).mean(1)
        step = np.float32(PROJECTION_RATE) / np.sqrt(np.maximum(learnt.squares[one], 1e-30))
        learnt.maps[one] -= step[:, None] * by_map


def parameters(encoder: Encoder) -> dict[str, Float32]:
    """Everything that was learnt, and what the optimiser kept of it, by name. The arrays are the encoder's own."""
    named: dict[str, Float32] = {}
    for name, learnt in encoder.groups.items():
        kept = {part: array for part, array in learnt._asdict().items() if part != "slot" and len(array)}
        named |= {f"{name}.{part}": array for part, array in kept.items()}
    if isinstance(encoder.fusion, Additive):
        return named | {f"fusion.{part}": array for part, array in encoder.fusion._asdict().items()}
    for side, layers in enumerate(encoder.fusion.layers):
        named |= {f"fusion.{side}.{part}": tensor.detach().numpy() for part, tensor in zip("wbvc", layers, strict=True)}
    return named


def snapshot(encoder: Encoder) -> dict[str, Float32]:
    """A copy of everything that was learnt, by name."""
    return {name: array.copy() for name, array in parameters(encoder).items()}


def encoder_of(learnt: dict[str, Float32], names: list[str]) -> Encoder:
    """The towers of those parameters, ready to learn on from where they were; names: the groups in their order."""
    groups: dict[str, Table | Projection] = {}
    for name in names:
        if f"{name}.maps" in learnt:
            groups[name] = Projection(learnt[f"{name}.maps"], learnt[f"{name}.squares"])
            continue
        table, squares = learnt[f"{name}.table"], learnt[f"{name}.squares"]
        scales, scale_squares = (learnt.get(f"{name}.{part}", UNSCALED) for part in ("scales", "scale_squares"))
        groups[name] = Table(table, scales, squares, scale_squares, np.full(len(table), -1, np.int32))
    if "fusion.logs" in learnt:
        return Encoder(groups, Additive(learnt["fusion.logs"], learnt["fusion.squares"]))
    sides = [side for side in (0, 1) if f"fusion.{side}.w" in learnt]
    layers = [tuple(learnt[f"fusion.{side}.{part}"] for part in "wbvc") for side in sides]
    return Encoder(groups, network_of(layers))  # type: ignore[arg-type]


def group_weights(encoder: Encoder) -> dict[str, float]:
    """What each side leans on: `query.place` and so on, each side's weights summing to 1; empty for a network."""
    if not isinstance(encoder.fusion, Additive):
        return {}
    shares = encoder.fusion.weights / encoder.fusion.weights.sum(1, keepdims=True)
    return {
        f"{side}.{name}": float(shares[s, g])
        for s, side in enumerate(("query", "document"))
        for g, name in enumerate(encoder.groups)
    }
