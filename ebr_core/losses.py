"""Losses over cosine similarities, with their gradients in closed form.

Each takes the positive's similarity (B,), the negatives' similarities (B, M) and which of them count (B, M), and gives
the mean loss over the batch with its gradients by the two similarities. No autograd: at B × M these lines are the step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebr_core.config import Softmax, Triplet


class LossAndGradient(NamedTuple):
    """A loss and where it leads."""

    loss: float  # mean over the batch
    active: float  # share of the counted negatives that push
    by_positive: Tensor  # (B,) ∂loss/∂(positive's similarity)
    by_negative: Tensor  # (B, M) ∂loss/∂(negative's similarity)


def triplet(positive: Tensor, negative: Tensor, counts: Tensor, margin: float) -> LossAndGradient:
    """Σ max(0, D(q, d⁺) − D(q, d⁻) + margin), D = 1 − cosine, over the negatives, meaned over the batch. [EBR §2.2]"""
    violation = negative - positive[:, None]  # (B, M)
    violation += margin
    active = (violation > 0).logical_and_(counts)
    loss = violation.mul_(active).sum() / len(positive)
    by_negative = active.to(positive.dtype) / len(positive)
    share = active.count_nonzero() / counts.count_nonzero().clamp(min=1)
    return LossAndGradient(float(loss), float(share), -by_negative.sum(1), by_negative)


def softmax(positive: Tensor, negative: Tensor, counts: Tensor, temperature: float) -> LossAndGradient:
    """−log softmax of the positive among itself and its negatives, logits cosine / temperature, meaned over the batch.

    A negative is active where it takes more than a hundredth of the probability.
    """
    logits = negative / temperature
    logits.masked_fill_(~counts, -torch.inf)
    own = positive / temperature
    top = torch.maximum(own, logits.amax(1)) if logits.shape[1] else own
    exponents = logits.sub_(top[:, None]).exp_()
    total = exponents.sum(1) + (own - top).exp()
    loss = (total.log() + top - own).mean()
    probability = exponents.div_(total[:, None])
    share = (probability > 0.01).count_nonzero() / counts.count_nonzero().clamp(min=1)
    by_negative = probability.div_(temperature * len(positive))
    return LossAndGradient(float(loss), float(share), -by_negative.sum(1), by_negative)


def loss_and_gradient(loss: Triplet | Softmax, positive: Tensor, negative: Tensor, counts: Tensor) -> LossAndGradient:
    """The loss that the arm names."""
    if isinstance(loss, Triplet):
        return triplet(positive, negative, counts, loss.margin)
    return softmax(positive, negative, counts, loss.temperature)
