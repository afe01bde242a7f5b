"""Projections of given vectors, such as a graph's: a linear map into the embedding space for each side."""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np
from numba import prange

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch
from ebr_core.parallel import parallel
from ebr_core.towers.bag_tables import normalize_rows
from ebr_core.towers.tower_inputs import VectorGroup
from ebr_core.towers.vector_config import LowRank

NO_CORRECTION = np.empty((0, 0, 0), np.float32)  # of a map that is learned whole
SAMPLE = 50_000  # vectors whose main axes are computed


class Projection(NamedTuple):
    """A linear map of given vectors into the embedding space for each side, and the state of its optimiser."""

    maps: Float32  # (2, D, D′)
    squares: Float32  # (2, D) sums of squared gradients, or (2, D + R) of a correction: of `up`, then of `down`
    up: Float32 = NO_CORRECTION  # (2, D, R): a map of low rank is its start and up @ down
    down: Float32 = NO_CORRECTION  # (2, R, D′)


def new_projection(group: VectorGroup, documents: slice, dimensions: int, rng: np.random.Generator) -> Projection:
    """An untrained projection of the group's vectors, the same map on both sides.

    If they have D = dimensions, it is the identity. If not, a graph's map preserves angles up to noise; other vectors
    keep their main axes, those of the documents (rows `documents`), or get zeros behind their own.
    """
    width = group.vectors.shape[1]
    if width == dimensions:
        start = np.eye(dimensions, dtype=np.float32)
    elif group.adapt is None:
        start = rng.standard_normal((dimensions, width), np.float32) / np.float32(np.sqrt(dimensions))
    else:
        start = _main_axes(group, documents, dimensions)
    maps, squares = np.stack([start, start]), np.zeros((2, dimensions), np.float32)
    match group.adapt:
        case LowRank(rank=rank):
            down = rng.standard_normal((2, rank, width), np.float32) / np.float32(np.sqrt(width))
            squares = np.zeros((2, dimensions + rank), np.float32)
            return Projection(maps, squares, np.zeros((2, dimensions, rank), np.float32), down)
        case None | "none" | "queries" | "both":
            return Projection(maps, squares)
        case _:
            assert_never(group.adapt)


def refuse_other_length(name: str, group: VectorGroup, dimensions: int) -> None:
    """Raise InputError if the vectors of a group that are to stay as they are do not have D = dimensions."""
    width, keeps = group.vectors.shape[1], group.adapt is not None and not (group.learns(0) and group.learns(1))
    if width != dimensions and (keeps or isinstance(group.adapt, LowRank)):
        raise InputError(
            f"groups.{name}: its vectors of {width} are to stay as they are, and towers.dimensions is {dimensions}: "
            f"set towers: {{dimensions: {width}}}, or adapt: both, which maps them into {dimensions}"
        )


def _main_axes(group: VectorGroup, documents: slice, dimensions: int) -> Float32:
    """(D, D′) the directions in which the documents' vectors are longest; zeros where the vectors have fewer."""
    at = group.at[documents]
    known = at[at >= 0]
    vectors = np.asarray(group.vectors[known[:: len(known) // SAMPLE + 1]], np.float64)
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    axes = np.asarray(axes.T[::-1][:dimensions], np.float32)  # the longest first
    axes *= np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None].astype(np.float32)
    return np.concatenate([axes, np.zeros((dimensions - len(axes), axes.shape[1]), np.float32)])


@parallel("at")
def _gather(vectors, at, out):  # type: ignore[no-untyped-def]
    for n in prange(len(at)):
        if at[n] < 0:
            out[n] = 0
        else:
            out[n] = vectors[at[n]]


def gather_vectors(group: VectorGroup, at: Int32) -> Float32:
    """(n, D′) the vectors at those rows, zero for −1."""
    out = np.empty((len(at), group.vectors.shape[1]), np.float32)
    _gather(group.vectors, at, out)
    return out


def project(
    projection: Projection, group: VectorGroup, vectors: Float32, side: Int32, units: Float32, norms: Float32
) -> None:
    """Fill units (n, D) with the vectors (n, D′), each mapped by the map of its side (n,) and scaled to unit length.

    vectors: of rows of the group. norms (n,) takes the lengths before that.
    """
    for s in (0, 1):
        rows = np.flatnonzero(side == s)
        if len(rows) and not group.learns(s) and vectors.shape[1] == units.shape[1]:
            units[rows] = vectors[rows]  # the map is the identity
        elif len(rows):
            units[rows] = (torch.from_numpy(vectors[rows]) @ torch.from_numpy(projection.maps[s]).T).numpy()
    normalize_rows(units, norms)


def step_projection(
    projection: Projection, group: VectorGroup, vectors: Float32, side: Int32, gradient: Float32, rate: float
) -> None:
    """Take one step of row-wise Adagrad on the map of each side that learns; gradient (n, D) is ∂L/∂(the mapped
    vectors (n, D′)), which are those of rows of the group."""
    for s in (0, 1):
        if not group.learns(s):
            continue
        rows = np.flatnonzero(side == s)
        by_map = (torch.from_numpy(gradient[rows]).T @ torch.from_numpy(vectors[rows])).numpy()  # (D, D′)
        if projection.up.size:
            _step_correction(projection, s, by_map, rate)
            continue
        projection.squares[s] += (by_map**2).mean(1)
        step = np.float32(rate) / np.sqrt(np.maximum(projection.squares[s], 1e-30))
        projection.maps[s] -= step[:, None] * by_map


def _step_correction(projection: Projection, s: int, by_map: Float32, rate: float) -> None:
    """Take the step on the two factors of the correction of side s, and change its map by what they change."""
    up, down = projection.up[s], projection.down[s]
    before = up @ down
    by_up, by_down = by_map @ down.T, up.T @ by_map
    projection.squares[s] += np.concatenate([(by_up**2).mean(1), (by_down**2).mean(1)])
    step = (np.float32(rate) / np.sqrt(np.maximum(projection.squares[s], 1e-30)))[:, None]
    up -= step[: len(up)] * by_up
    down -= step[len(up) :] * by_down
    projection.maps[s] += up @ down - before
