"""Losses over cosine similarities, with their gradients in closed form.

Each takes the positive's similarity (B,), the negatives' similarities (B, M) and which of them count (B, M), and gives
the mean loss over the batch with its gradients by the two similarities. No autograd: at B × M these lines are the step.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ebr_core.training.loss_config import ThreePart


class LossAndGradient(NamedTuple):
    """A loss and where it leads."""

    loss: float  # mean over the batch
    active: float  # share of the counted negatives that push
    by_positive: Tensor  # (B,) ∂loss/∂(positive's similarity)
    by_negative: Tensor  # (B, M) ∂loss/∂(negative's similarity)


class Correction(NamedTuple):
    """What is added to logits for how often each document is drawn."""

    positive: Tensor  # (B,)
    negative: Tensor  # (B, M), or (1, M) where it is the same for all


def triplet(positive: Tensor, negative: Tensor, counts: Tensor, margin: float) -> LossAndGradient:
    """Σ max(0, D(q, d⁺) − D(q, d⁻) + margin), D = 1 − cosine, over the negatives, meaned over the batch. [EBR §2.2]"""
    violation = negative - positive[:, None]  # (B, M)
    violation += margin
    active = (violation > 0).logical_and_(counts)
    loss = violation.mul_(active).sum() / len(positive)
    by_negative = active.to(positive.dtype) / len(positive)
    share = active.count_nonzero() / counts.count_nonzero().clamp(min=1)
    return LossAndGradient(float(loss), float(share), -by_negative.sum(1), by_negative)


def softmax(
    positive: Tensor, negative: Tensor, counts: Tensor, temperature: float, correction: Correction | None = None
) -> LossAndGradient:
    """−log softmax of the positive among itself and its negatives, logits cosine / temperature, meaned over the batch.

    A negative is active where it takes more than a hundredth of the probability.
    """
    logits = negative / temperature
    own = positive / temperature
    if correction is not None:
        logits += correction.negative
        own = own + correction.positive
    logits.masked_fill_(~counts, -torch.inf)
    top = torch.maximum(own, logits.amax(1)) if logits.shape[1] else own
    exponents = logits.sub_(top[:, None]).exp_()
    total = exponents.sum(1) + (own - top).exp()
    loss = (total.log() + top - own).mean()
    probability = exponents.div_(total[:, None])
    share = (probability > 0.01).count_nonzero() / counts.count_nonzero().clamp(min=1)
    by_negative = probability.div_(temperature * len(positive))
    return LossAndGradient(float(loss), float(share), -by_negative.sum(1), by_negative)


def logq_correction(positive: Tensor, negative: Tensor, counts: Tensor, strength: float, refined: bool) -> Correction:
    """−α log q of every logit. [Yi et al. 2019]

    positive (B,) and negative (B or 1, M) are log q of the documents, counts (B, M) which negatives count. Refined
    [arXiv 2507.09331], the positive, which is always there and not drawn, is left as it is, and the negatives stand for
    the rest of the corpus: their q is that among documents other than the positive, and their sum is a mean of n draws.
    """
    if not refined:
        return Correction(-strength * positive, -strength * negative)
    others = torch.log1p(-positive.exp().clamp(max=1 - 1e-6))  # log(1 − q(d⁺))
    drawn = counts.sum(1).clamp(min=1).log()
    return Correction(torch.zeros_like(positive), -strength * negative + (strength * others - drawn)[:, None])


def three_part(positive: Tensor, negative: Tensor, counts: Tensor, middle: slice, bounds: ThreePart) -> LossAndGradient:
    """Squared hinges: max(0, ε₊ − s⁺)² + mean max(0, s⁰ − ε₀)² + mean max(0, s⁻ − ε₋)², meaned over the batch.

    middle are the columns of not-clicked impressions, s⁰; all others are s⁻. [Amazon semantic product search 2019]
    """
    bound = torch.full((1, negative.shape[1]), bounds.negative, dtype=negative.dtype, device=negative.device)
    bound[:, middle] = bounds.impression
    over = (negative - bound).clamp_(min=0).mul_(counts)  # (B, M)
    shown = torch.zeros_like(bound, dtype=torch.bool)
    shown[:, middle] = True
    of_shown = (counts & shown).sum(1, keepdim=True).clamp(min=1).to(positive.dtype)
    of_others = (counts & ~shown).sum(1, keepdim=True).clamp(min=1).to(positive.dtype)
    weight = torch.where(shown, 1 / of_shown, 1 / of_others)  # (B, M)
    under = (bounds.positive - positive).clamp(min=0)
    loss = (under.square() + (over.square() * weight).sum(1)).mean()
    share = (over > 0).count_nonzero() / counts.count_nonzero().clamp(min=1)
    by_negative = over.mul_(weight).mul_(2 / len(positive))
    return LossAndGradient(float(loss), float(share), under.mul(-2 / len(positive)), by_negative)
