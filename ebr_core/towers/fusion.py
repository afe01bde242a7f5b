"""From the unit vectors of the feature groups to one embedding, and the way back.

Additive: e = x / ‖x‖ with x = Σ_g w_g û_g, so that the cosine of a query and a document is a sum over pairs of
groups. Each side has weights of its own, w = exp(θ), which start at 1. Or one network over all groups side by side.
[EBR §2.3]
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np
import torch
from numba import prange
from torch import Tensor

from ebr_core.arrays import Float32, Int32
from ebr_core.parallel import parallel
from ebr_core.towers.bag_tables import normalize_backward, to_units


class Additive(NamedTuple):
    """Weights of the groups on each side, as logarithms, and what the optimiser keeps."""

    logs: Float32  # (2, G) queries, documents
    squares: Float32  # (2, G)

    @property
    def weights(self) -> Float32:
        """(2, G) above 0."""
        return np.exp(self.logs)


class Network(NamedTuple):
    """One hidden layer over the groups of a row; one for both sides, or one each."""

    layers: tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]  # (H, G · D), (H,), (D, H), (D,) of each network
    optimiser: torch.optim.Optimizer


class Fused(NamedTuple):
    """The embeddings of some rows, and what the way back needs."""

    vectors: Float32  # (n, D) of unit length
    norms: Float32  # (n,) before they were scaled; empty where the network scales
    through: tuple[Tensor, Tensor] | None  # the network's input and output


@parallel("side")
def _add(units, weights, side, vectors):  # type: ignore[no-untyped-def]
    for at in prange(len(side)):
        vectors[at] = 0
        for g in range(len(units)):
            weight = weights[side[at], g]
            for d in range(vectors.shape[1]):
                vectors[at, d] += weight * units[g, at, d]


@parallel("side")
def _part(gradient, units, weights, side, by_units, by_weights):  # type: ignore[no-untyped-def]
    """by_units (G, n, D) and by_weights (n, G) from gradient (n, D) = ∂L/∂x."""
    for at in prange(len(side)):
        for g in range(len(units)):
            weight, along = weights[side[at], g], np.float32(0)
            for d in range(gradient.shape[1]):
                along += gradient[at, d] * units[g, at, d]
                by_units[g, at, d] = weight * gradient[at, d]
            by_weights[at, g] = along


def new_additive(groups: int) -> Additive:
    """Weights of 1."""
    return Additive(np.zeros((2, groups), np.float32), np.zeros((2, groups), np.float32))


def new_network(
    groups: int, dimensions: int, hidden: int, sides: int, rate: float, rng: np.random.Generator
) -> Network:
    """Random layers that keep the length of what goes through them, the same on both sides. [He et al. 2015]

    sides: 1 network for both, or 2. rate: the learning rate of its Adam.
    """
    first = rng.standard_normal((hidden, groups * dimensions), np.float32) * np.float32(
        np.sqrt(2 / groups / dimensions)
    )
    second = rng.standard_normal((dimensions, hidden), np.float32) * np.float32(np.sqrt(1 / hidden))
    one = (first, np.zeros(hidden, np.float32), second, np.zeros(dimensions, np.float32))
    return network_of([one] * sides, rate)


def network_of(layers: list[tuple[Float32, ...]], rate: float) -> Network:
    """A network of those layers, a copy of their numbers; its optimiser, Adam at that rate, begins anew."""
    tensors = tuple(tuple(torch.tensor(part, requires_grad=True) for part in one) for one in layers)
    flat = [part for one in tensors for part in one]
    return Network(tensors, torch.optim.Adam(flat, rate))  # type: ignore[arg-type]


def fuse(fusion: Additive | Network, units: Float32, norms: Float32, side: Int32) -> Fused:
    """The embeddings from units (G, n, D) with norms (G, n) before they were scaled.

    side (n,): 0 for queries, 1 for documents. A missing group is a zero vector: it adds nothing.
    """
    match fusion:
        case Network():
            return _through_network(fusion, units, side)
        case Additive():
            return _weighted_sum(fusion, units, norms, side)
        case _:
            assert_never(fusion)


def _weighted_sum(fusion: Additive, units: Float32, norms: Float32, side: Int32) -> Fused:
    if len(units) == 1:
        return Fused(units[0], norms[0], None)
    vectors, lengths = np.empty(units.shape[1:], np.float32), np.empty(len(side), np.float32)
    _add(units, fusion.weights, side, vectors)
    to_units(vectors, lengths)
    return Fused(vectors, lengths, None)


def _through_network(network: Network, units: Float32, side: Int32) -> Fused:
    rows = torch.from_numpy(np.concatenate(list(units), axis=1))  # (n, G · D)
    rows.requires_grad_()
    outs = [torch.relu(rows @ w.T + b) @ v.T + c for w, b, v, c in network.layers]
    out = outs[0]
    if len(outs) == 2:
        out = torch.where(torch.from_numpy(side == 1)[:, None], outs[1], out)
    there = (rows.detach() != 0).any(1) & (out.detach() != 0).any(1)  # of nothing, nothing comes
    out = torch.nn.functional.normalize(out * there[:, None], dim=1)
    return Fused(out.detach().numpy(), np.empty(0, np.float32), (rows, out))


def fusion_backward(
    fusion: Additive | Network, fused: Fused, units: Float32, side: Int32, gradient: Float32, rate: float
) -> Float32:
    """∂L/∂units (G, n, D) from gradient (n, D) = ∂L/∂(the embeddings), which is used up; the fusion takes its own step.

    rate: of the weights of an additive fusion; a network has its own. Where there is one group alone, the gradient
    passes as it is.
    """
    match fusion:
        case Network():
            return _back_through_network(fusion, fused, len(units), gradient)
        case Additive():
            return _back_through_sum(fusion, fused, units, side, gradient, rate)
        case _:
            assert_never(fusion)


def _back_through_sum(
    fusion: Additive, fused: Fused, units: Float32, side: Int32, gradient: Float32, rate: float
) -> Float32:
    if len(units) == 1:
        return gradient[None]
    normalize_backward(gradient, fused.vectors, fused.norms)
    by_units, by_rows = np.empty_like(units), np.empty((len(side), len(units)), np.float32)
    _part(gradient, units, fusion.weights, side, by_units, by_rows)
    by_weights = np.stack([by_rows[side == one].sum(0) for one in (0, 1)])
    by_logs = by_weights * fusion.weights
    fusion.squares[:] += by_logs**2
    fusion.logs[:] -= rate * by_logs / np.sqrt(np.maximum(fusion.squares, 1e-30))
    return by_units


def _back_through_network(network: Network, fused: Fused, groups: int, gradient: Float32) -> Float32:
    assert fused.through is not None
    rows, out = fused.through
    network.optimiser.zero_grad()
    torch.autograd.backward(out, torch.from_numpy(gradient))
    network.optimiser.step()
    assert rows.grad is not None
    return np.ascontiguousarray(rows.grad.numpy().reshape(len(gradient), groups, -1).transpose(1, 0, 2))
