"""From the unit vectors of the feature groups to one embedding, and the gradient in the other direction.

Additive: e = x / ‖x‖ with x = Σ_g w_g û_g, so that the cosine of a query and a document is a sum over pairs of
groups. Each side has weights of its own, w = exp(θ). The alternative is one network over the concatenated groups.
[EBR §2.3]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

import numpy as np
from numba import prange

from ebr_core.arrays import Float32, Int32
from ebr_core.lazy_torch import torch
from ebr_core.parallel import parallel
from ebr_core.towers.bag_tables import normalize_backward, normalize_rows

if TYPE_CHECKING:
    from torch import Tensor


class Additive(NamedTuple):
    """The weights of the groups on each side, as logarithms, and the state of their optimiser."""

    logs: Float32  # (2, G) queries, documents
    squares: Float32  # (2, G) sums of Adagrad

    @property
    def weights(self) -> Float32:
        """(2, G) the weights, above 0."""
        return np.exp(self.logs)


class Network(NamedTuple):
    """A network with one hidden layer over the groups of a row: one for both sides, or one for each."""

    layers: tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]  # (H, G · D), (H,), (D, H), (D,) of each network
    optimiser: torch.optim.Optimizer


class FusionForward(NamedTuple):
    """The embeddings of some rows, and the intermediate results that the backward pass needs."""

    vectors: Float32  # (n, D) of unit length
    norms: Float32  # (n,) before normalisation; empty if a network normalises
    network_io: tuple[Tensor, Tensor] | None  # the network's input and output


@parallel("side")
def _weighted_add(units, weights, side, vectors):  # type: ignore[no-untyped-def]
    for at in prange(len(side)):
        vectors[at] = 0
        for g in range(len(units)):
            weight = weights[side[at], g]
            for d in range(vectors.shape[1]):
                vectors[at, d] += weight * units[g, at, d]


@parallel("side")
def _scale_gradient(gradient, weights, side, by_units):  # type: ignore[no-untyped-def]
    """Fill by_units (G, n, D) from gradient (n, D) = ∂L/∂x."""
    for at in prange(len(side)):
        for g in range(len(by_units)):
            weight = weights[side[at], g]
            for d in range(gradient.shape[1]):
                by_units[g, at, d] = weight * gradient[at, d]


@parallel("by_weights")
def _weight_gradient(gradient, units, by_weights):  # type: ignore[no-untyped-def]
    """Fill by_weights (n, G) from gradient (n, D) = ∂L/∂x."""
    for at in prange(len(by_weights)):
        for g in range(len(units)):
            along = np.float32(0)
            for d in range(gradient.shape[1]):
                along += gradient[at, d] * units[g, at, d]
            by_weights[at, g] = along


def new_additive(groups: int, start_weight: float) -> Additive:
    """An untrained additive fusion: the text, which is the first group, weighs 1, every other group start_weight."""
    logs = np.zeros((2, groups), np.float32)
    logs[:, 1:] = np.log(start_weight)
    return Additive(logs, np.zeros((2, groups), np.float32))


def new_network(
    groups: int, dimensions: int, hidden: int, sides: int, rate: float, rng: np.random.Generator
) -> Network:
    """A network of random layers that preserve the length of their inputs, the same on both sides. [He et al. 2015]

    sides: 1 for one network for both sides, or 2. rate: the learning rate of its Adam.
    """
    first = rng.standard_normal((hidden, groups * dimensions), np.float32) * np.float32(
        np.sqrt(2 / groups / dimensions)
    )
    second = rng.standard_normal((dimensions, hidden), np.float32) * np.float32(np.sqrt(1 / hidden))
    layers = (first, np.zeros(hidden, np.float32), second, np.zeros(dimensions, np.float32))
    return restore_network([layers] * sides, rate)


def restore_network(layers: list[tuple[Float32, ...]], rate: float) -> Network:
    """A network with a copy of these layers; its optimiser, Adam at that rate, starts from its initial state."""
    tensors = tuple(tuple(torch.tensor(part, requires_grad=True) for part in parts) for parts in layers)
    flat = [part for parts in tensors for part in parts]
    return Network(tensors, torch.optim.Adam(flat, rate))  # type: ignore[arg-type]


def fuse(fusion: Additive | Network, units: Float32, norms: Float32, side: Int32) -> FusionForward:
    """The embeddings from units (G, n, D), whose norms before normalisation are norms (G, n).

    side (n,): 0 for queries, 1 for documents. A missing group is a zero vector and adds nothing.
    """
    match fusion:
        case Network():
            return _network_forward(fusion, units, side)
        case Additive():
            return _sum_forward(fusion, units, norms, side)
        case _:
            assert_never(fusion)


def _sum_forward(fusion: Additive, units: Float32, norms: Float32, side: Int32) -> FusionForward:
    if len(units) == 1:
        return FusionForward(units[0], norms[0], None)
    vectors, lengths = np.empty(units.shape[1:], np.float32), np.empty(len(side), np.float32)
    _weighted_add(units, fusion.weights, side, vectors)
    normalize_rows(vectors, lengths)
    return FusionForward(vectors, lengths, None)


def _network_forward(network: Network, units: Float32, side: Int32) -> FusionForward:
    rows = torch.from_numpy(np.concatenate(list(units), axis=1))  # (n, G · D)
    rows.requires_grad_()
    outs = [torch.relu(rows @ w.T + b) @ v.T + c for w, b, v, c in network.layers]
    out = outs[0]
    if len(outs) == 2:
        out = torch.where(torch.from_numpy(side == 1)[:, None], outs[1], out)
    nonzero = (rows.detach() != 0).any(1) & (out.detach() != 0).any(1)  # a row without any group stays the zero vector
    out = torch.nn.functional.normalize(out * nonzero[:, None], dim=1)
    return FusionForward(out.detach().numpy(), np.empty(0, np.float32), (rows, out))


def fusion_backward(
    fusion: Additive | Network, fused: FusionForward, units: Float32, side: Int32, gradient: Float32
) -> Float32:
    """∂L/∂units (G, n, D) from gradient (n, D) = ∂L/∂(the embeddings), which is overwritten; a network takes its step.

    The weights of an additive fusion stay as they are: see `step_weights`. With a single group, the gradient is
    returned unchanged.
    """
    match fusion:
        case Network():
            return _network_backward(fusion, fused, len(units), gradient)
        case Additive():
            if len(units) == 1:
                return gradient[None]
            normalize_backward(gradient, fused.vectors, fused.norms)
            by_units = np.empty_like(units)
            _scale_gradient(gradient, fusion.weights, side, by_units)
            return by_units
        case _:
            assert_never(fusion)


def step_weights(
    fusion: Additive, fused: FusionForward, units: Float32, side: Int32, gradient: Float32, rate: float
) -> None:
    """Take one step of Adagrad on the logarithms of the weights; gradient (n, D) = ∂L/∂(the embeddings) is
    overwritten."""
    normalize_backward(gradient, fused.vectors, fused.norms)
    by_rows = np.empty((len(side), len(units)), np.float32)
    _weight_gradient(gradient, units, by_rows)
    by_weights = np.stack([by_rows[side == s].sum(0) for s in (0, 1)])
    by_logs = by_weights * fusion.weights
    fusion.squares[:] += by_logs**2
    fusion.logs[:] -= rate * by_logs / np.sqrt(np.maximum(fusion.squares, 1e-30))


def named_weights(fusion: Additive, groups: list[str]) -> dict[str, float]:
    """The weight of each group on each side, such as `query.place`; a side's sum to 1."""
    shares = fusion.weights / fusion.weights.sum(1, keepdims=True)
    return {
        f"{side}.{name}": float(shares[s, g])
        for s, side in enumerate(("query", "document"))
        for g, name in enumerate(groups)
    }


def _network_backward(network: Network, fused: FusionForward, groups: int, gradient: Float32) -> Float32:
    assert fused.network_io is not None
    rows, out = fused.network_io
    network.optimiser.zero_grad()
    torch.autograd.backward(out, torch.from_numpy(gradient))
    network.optimiser.step()
    assert rows.grad is not None
    return np.ascontiguousarray(rows.grad.numpy().reshape(len(gradient), groups, -1).transpose(1, 0, 2))
