"""Projections of given vectors, such as a graph's: a linear map into the embedding space for each side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import prange

from ebr_core.arrays import Float32, Int32
from ebr_core.parallel import parallel
from ebr_core.towers.bag_tables import normalize_rows
from ebr_core.towers.tower_inputs import VectorGroup


class Projection(NamedTuple):
    """A linear map of given vectors into the embedding space for each side, and the state of its optimiser."""

    maps: Float32  # (2, D, D′)
    squares: Float32  # (2, D) sums of squared gradients


def new_projection(input_dimensions: int, dimensions: int, rng: np.random.Generator) -> Projection:
    """An untrained projection from D′ = input_dimensions.

    It is the same map on both sides and preserves angles, so searchers and documents of a graph stay in one space.
    """
    if input_dimensions == dimensions:
        start = np.eye(dimensions, dtype=np.float32)
    else:
        start = rng.standard_normal((dimensions, input_dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    return Projection(np.stack([start, start]), np.zeros((2, dimensions), np.float32))


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


def project(projection: Projection, vectors: Float32, side: Int32, units: Float32, norms: Float32) -> None:
    """Fill units (n, D) with the vectors (n, D′), each mapped by the map of its side (n,) and scaled to unit length.

    norms (n,) takes the lengths before that.
    """
    for s in (0, 1):
        rows = np.flatnonzero(side == s)
        if len(rows):
            units[rows] = (torch.from_numpy(vectors[rows]) @ torch.from_numpy(projection.maps[s]).T).numpy()
    normalize_rows(units, norms)


def step_projection(projection: Projection, vectors: Float32, side: Int32, gradient: Float32, rate: float) -> None:
    """Take one step of row-wise Adagrad on the map of each side; gradient (n, D) is ∂L/∂(the mapped vectors)."""
    for s in (0, 1):
        rows = np.flatnonzero(side == s)
        by_map = (torch.from_numpy(gradient[rows]).T @ torch.from_numpy(vectors[rows])).numpy()  # (D, D′)
        projection.squares[s] += (by_map**2).mean(1)
        step = np.float32(rate) / np.sqrt(np.maximum(projection.squares[s], 1e-30))
        projection.maps[s] -= step[:, None] * by_map
