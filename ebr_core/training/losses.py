"""Losses over cosine similarities, with their gradients in closed form.

Each takes the positive's similarity (B,), the negatives' similarities (B, M) and the mask of those that count (B, M),
and returns the mean loss over the batch with its gradients by both kinds of similarities. With weights (B,), each
pair's loss is multiplied by its weight before the mean is taken. No autograd, because at B × M similarities these lines
take most of the time of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ebr_core.lazy_torch import torch
from ebr_core.training.loss_config import ThreePart

if TYPE_CHECKING:
    from torch import Tensor


class LossAndGradient(NamedTuple):
    """A loss and its gradient."""

    loss: float  # mean over the batch, each pair's times its weight
    active: float  # share of the counted negatives that are active
    by_positive: Tensor  # (B,) ∂loss/∂(positive's similarity)
    by_negative: Tensor  # (B, M) ∂loss/∂(negative's similarity)


class Correction(NamedTuple):
    """The terms that correct logits for the sampling probabilities of their documents."""

    positive: Tensor  # (B,)
    negative: Tensor  # (B, M), or (1, M) if it is the same for all pairs


def triplet(
    positive: Tensor, negative: Tensor, negative_mask: Tensor, margin: float, weights: Tensor | None = None
) -> LossAndGradient:
    """Σ max(0, D(q, d⁺) − D(q, d⁻) + margin), D = 1 − cosine, over the negatives; mean over the batch. [EBR §2.2]"""
    violation = negative - positive[:, None]  # (B, M)
    violation += margin
    active = (violation > 0).logical_and_(negative_mask)
    loss = _weigh(violation.mul_(active), weights).sum() / len(positive)
    by_negative = _weigh(active.to(positive.dtype) / len(positive), weights)
    share = active.count_nonzero() / negative_mask.count_nonzero().clamp(min=1)
    return LossAndGradient(float(loss), float(share), -by_negative.sum(1), by_negative)


def softmax(
    positive: Tensor,
    negative: Tensor,
    negative_mask: Tensor,
    temperature: float,
    correction: Correction | None = None,
    weights: Tensor | None = None,
) -> LossAndGradient:
    """−log softmax of the positive among itself and its negatives, logits cosine / temperature; mean over the batch.

    A negative is active if its probability is more than 0.01.
    """
    logits = negative / temperature
    positive_logit = positive / temperature
    if correction is not None:
        logits += correction.negative
        positive_logit = positive_logit + correction.positive
    logits.masked_fill_(~negative_mask, -torch.inf)
    top = torch.maximum(positive_logit, logits.amax(1)) if logits.shape[1] else positive_logit
    exponents = logits.sub_(top[:, None]).exp_()
    total = exponents.sum(1) + (positive_logit - top).exp()
    loss = _weigh(total.log() + top - positive_logit, weights).mean()
    probability = exponents.div_(total[:, None])
    share = (probability > 0.01).count_nonzero() / negative_mask.count_nonzero().clamp(min=1)
    by_negative = _weigh(probability.div_(temperature * len(positive)), weights)
    return LossAndGradient(float(loss), float(share), -by_negative.sum(1), by_negative)


def logq_correction(
    positive: Tensor, negative: Tensor, negative_mask: Tensor, strength: float, refined: bool
) -> Correction:
    """The correction −α log q of every logit. [Yi et al. 2019]

    positive (B,) and negative (B or 1, M) are log q of the documents, negative_mask (B, M) is True for negatives that
    count. If refined [arXiv 2507.09331], the positive, which is always present and not drawn, is not corrected, and the
    negatives represent the rest of the corpus: their q is conditional on not being the positive, and their sum is a
    mean of n draws.
    """
    if not refined:
        return Correction(-strength * positive, -strength * negative)
    log_rest = torch.log1p(-positive.exp().clamp(max=1 - 1e-6))  # log(1 − q(d⁺))
    log_count = negative_mask.sum(1).clamp(min=1).log()
    return Correction(torch.zeros_like(positive), -strength * negative + (strength * log_rest - log_count)[:, None])


def three_part(
    positive: Tensor,
    negative: Tensor,
    negative_mask: Tensor,
    impressions: slice,
    bounds: ThreePart,
    weights: Tensor | None = None,
) -> LossAndGradient:
    """Squared hinges: max(0, ε₊ − s⁺)² + mean max(0, s⁰ − ε₀)² + mean max(0, s⁻ − ε₋)²; mean over the batch.

    impressions: the columns of not-clicked impressions, s⁰; all others are s⁻. [Amazon semantic product search 2019]
    """
    bound = torch.full((1, negative.shape[1]), bounds.negative, dtype=negative.dtype, device=negative.device)
    bound[:, impressions] = bounds.impression
    over = (negative - bound).clamp_(min=0).mul_(negative_mask)  # (B, M)
    is_impression = torch.zeros_like(bound, dtype=torch.bool)
    is_impression[:, impressions] = True
    impression_count = (negative_mask & is_impression).sum(1, keepdim=True).clamp(min=1).to(positive.dtype)
    other_count = (negative_mask & ~is_impression).sum(1, keepdim=True).clamp(min=1).to(positive.dtype)
    share_of_mean = torch.where(is_impression, 1 / impression_count, 1 / other_count)  # (B, M)
    under = (bounds.positive - positive).clamp(min=0)
    loss = _weigh(under.square() + (over.square() * share_of_mean).sum(1), weights).mean()
    share = (over > 0).count_nonzero() / negative_mask.count_nonzero().clamp(min=1)
    by_negative = _weigh(over.mul_(share_of_mean).mul_(2 / len(positive)), weights)
    by_positive = _weigh(under.mul(-2 / len(positive)), weights)
    return LossAndGradient(float(loss), float(share), by_positive, by_negative)


def _weigh(values: Tensor, weights: Tensor | None) -> Tensor:
    """The values (B,) or (B, M), in place, each row times the weight of its pair."""
    if weights is None:
        return values
    return values.mul_(weights if values.ndim == 1 else weights[:, None])
