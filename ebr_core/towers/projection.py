"""Given vectors, such as those of a graph: a linear map into the embedding space for each side, and its step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import prange

from ebr_core.arrays import Float32, Int32
from ebr_core.parallel import parallel
from ebr_core.towers.bag_tables import to_units
from ebr_core.towers.tower_inputs import Dense


class Projection(NamedTuple):
    """A linear map of given vectors into the embedding space for each side, and what the optimiser keeps."""

    maps: Float32  # (2, D, D′)
    squares: Float32  # (2, D) sums of squared gradients


def new_projection(given: int, dimensions: int, rng: np.random.Generator) -> Projection:
    """A projection that has learned nothing, from D′ = given dimensions.

    Searchers and documents of the graph stay in one space: the same map on both sides, which keeps angles.
    """
    if given == dimensions:
        start = np.eye(dimensions, dtype=np.float32)
    else:
        start = rng.standard_normal((dimensions, given), np.float32) / np.float32(np.sqrt(dimensions))
    return Projection(np.stack([start, start]), np.zeros((2, dimensions), np.float32))


@parallel("at")
def _gather(vectors, at, out):  # type: ignore[no-untyped-def]
    for n in prange(len(at)):
        if at[n] < 0:
            out[n] = 0
        else:
            out[n] = vectors[at[n]]


def given_vectors(group: Dense, at: Int32) -> Float32:
    """(n, D′) the vectors at those places, zero for −1."""
    out = np.empty((len(at), group.vectors.shape[1]), np.float32)
    _gather(group.vectors, at, out)
    return out


def project(projection: Projection, given: Float32, side: Int32, units: Float32, norms: Float32) -> None:
    """Fills units (n, D) with the given vectors (n, D′), each through the map of its side (n,), at unit length."""
    for one in (0, 1):
        here = np.flatnonzero(side == one)
        if len(here):
            units[here] = (torch.from_numpy(given[here]) @ torch.from_numpy(projection.maps[one]).T).numpy()
    to_units(units, norms)


def step_projection(projection: Projection, given: Float32, side: Int32, gradient: Float32, rate: float) -> None:
    """Takes a step of row-wise Adagrad on the map of each side; gradient (n, D) is by what the maps gave."""
    for one in (0, 1):
        here = np.flatnonzero(side == one)
        by_map = (torch.from_numpy(gradient[here]).T @ torch.from_numpy(given[here])).numpy()  # (D, D′)
        projection.squares[one] += (by_map**2).mean(1)
        step = np.float32(rate) / np.sqrt(np.maximum(projection.squares[one], 1e-30))
        projection.maps[one] -= step[:, None] * by_map
