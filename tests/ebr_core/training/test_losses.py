"""Losses and their closed-form gradients, compared with autograd over loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebr_core.training.loss_config import Loss, Softmax, ThreePart, Triplet
from ebr_core.training.losses import Correction, LossAndGradient, logq_correction, softmax, three_part, triplet

MIDDLE = slice(1, 3)  # the columns that are impressions, in these tests


def loss_and_gradient(
    loss: Loss,
    positive: Tensor,
    negative: Tensor,
    negative_mask: Tensor,
    corr: Correction | None = None,
    weights: Tensor | None = None,
) -> LossAndGradient:
    if isinstance(loss, Triplet):
        return triplet(positive, negative, negative_mask, loss.margin, weights)
    if isinstance(loss, ThreePart):
        return three_part(positive, negative, negative_mask, MIDDLE, loss, weights)
    return softmax(positive, negative, negative_mask, loss.temperature, corr, weights)


def naive(
    loss: Loss,
    positive: Tensor,
    negative: Tensor,
    negative_mask: Tensor,
    corr: Correction | None,
    weights: Tensor | None,
) -> tuple[Tensor, float]:
    """(loss, active share), pair by pair and negative by negative."""
    total, active, negative_count = torch.zeros((), dtype=positive.dtype), 0, 0
    for b in range(len(positive)):
        before = total
        negatives = [m for m in range(negative.shape[1]) if negative_mask[b, m]]
        negative_count += len(negatives)
        if isinstance(loss, Triplet):
            for m in negatives:
                hinge = (1 - positive[b]) - (1 - negative[b, m]) + loss.margin
                if hinge > 0:
                    total = total + hinge
                    active += 1
        elif isinstance(loss, Softmax):
            shift = torch.zeros_like(negative) if corr is None else corr.negative.expand_as(negative)
            positive_logit = positive[b] / loss.temperature + (0 if corr is None else corr.positive[b])
            logits = torch.stack(
                [positive_logit, *(negative[b, m] / loss.temperature + shift[b, m] for m in negatives)]
            )
            total = total - torch.log_softmax(logits, 0)[0]
            active += int((torch.softmax(logits, 0)[1:] > 0.01).sum())
        else:
            total = total + torch.relu(loss.positive - positive[b]) ** 2
            for bound, columns in (
                (loss.impression, [m for m in negatives if m in (1, 2)]),
                (loss.negative, [m for m in negatives if m not in (1, 2)]),
            ):
                for m in columns:
                    total = total + torch.relu(negative[b, m] - bound) ** 2 / len(columns)
                    active += int(negative[b, m] > bound)
        if weights is not None:
            total = before + weights[b] * (total - before)
    return total / len(positive), active / max(1, negative_count)


losses = st.one_of(
    st.floats(0.01, 2).map(lambda margin: Triplet(margin=margin)),
    st.floats(0.02, 2).map(lambda temperature: Softmax(temperature=temperature)),
    st.floats(-0.5, 0.5).map(lambda bound: ThreePart(positive=0.9, impression=bound, negative=bound - 0.3)),
)


@settings(max_examples=100, deadline=None)
@given(losses, st.integers(1, 5), st.integers(0, 6), st.floats(0, 1), st.integers(0, 10_000), *[st.booleans()] * 2)
def test_value_and_gradients_are_those_of_autograd(
    loss: Loss, b: int, m: int, density: float, seed: int, corrected: bool, weighted: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    positive = (torch.rand(b, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    negative = (torch.rand(b, m, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    negative_mask = torch.rand(b, m, generator=generator) < density
    corr = None
    if corrected:
        shifts = torch.randn(b, 1 + m, generator=generator, dtype=torch.float64)
        corr = Correction(shifts[:, 0], shifts[:, 1:])
    weights = 5 * torch.rand(b, generator=generator, dtype=torch.float64) if weighted else None
    expected, active = naive(loss, positive, negative, negative_mask, corr, weights)
    expected.backward() if expected.requires_grad else None
    before = negative.detach().clone(), negative_mask.clone()
    result = loss_and_gradient(loss, positive.detach(), negative.detach(), negative_mask, corr, weights)
    assert result.loss == pytest.approx(expected.item(), abs=1e-12)
    assert result.active == pytest.approx(active, abs=1e-6)
    for gradient, leaf in ((result.by_positive, positive), (result.by_negative, negative)):
        expected_gradient = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
        assert gradient.shape == leaf.shape
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-12, rtol=1e-9)
    assert torch.equal(before[0], negative.detach())  # the caller still needs the similarities
    assert torch.equal(before[1], negative_mask)


def test_a_rare_document_gets_the_larger_corrected_logit() -> None:
    """The sign, which is easy to get wrong: log q is subtracted, so frequently drawn documents are not punished."""
    log_q = torch.tensor([[0.5, 0.01]]).log()
    for refined in (False, True):
        corr = logq_correction(torch.tensor([0.1]).log(), log_q, torch.ones(1, 2, dtype=torch.bool), 1.0, refined)
        assert corr.negative[0, 1] > corr.negative[0, 0]


def test_the_refined_correction_estimates_the_full_softmax_without_bias() -> None:
    """Over all documents except the positive, drawn by q, the mean of the corrected sum is the full sum."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, generator=generator, dtype=torch.float64)
    q = torch.rand(50, generator=generator, dtype=torch.float64)
    q /= q.sum()
    q_of_negatives = q.clone()
    q_of_negatives[0] = 0  # the positive is never its own negative
    draws = torch.multinomial(q_of_negatives, 200_000, replacement=True, generator=generator)[None]
    negative_mask = torch.ones_like(draws, dtype=torch.bool)
    corr = logq_correction(q[:1].log(), q[draws].log(), negative_mask, 1.0, True)
    estimate = (logits[draws] + corr.negative).exp().sum()
    assert estimate == pytest.approx(float(logits[1:].exp().sum()), rel=0.02)
    assert corr.positive.tolist() == [0.0]


@pytest.mark.parametrize("loss", [Triplet(), Softmax()], ids=["triplet", "softmax"])
@pytest.mark.parametrize("m", [0, 3])
def test_a_pair_without_a_counted_negative_has_no_loss_and_no_gradient(loss: Loss, m: int) -> None:
    positive, negative = torch.tensor([0.5, -0.5]), torch.full((2, m), 0.9)
    result = loss_and_gradient(loss, positive, negative, torch.zeros(2, m, dtype=torch.bool))
    assert result.loss == 0
    assert result.active == 0
    assert not result.by_positive.any()
    assert not result.by_negative.any()


def test_an_extreme_temperature_overflows_nothing() -> None:
    result = loss_and_gradient(
        Softmax(temperature=1e-3), torch.tensor([-1.0]), torch.tensor([[1.0, 0.9]]), torch.ones(1, 2, dtype=torch.bool)
    )
    assert result.loss == pytest.approx(2000)
    assert result.by_negative.tolist() == [[pytest.approx(1000), pytest.approx(0)]]
    assert result.by_positive.tolist() == [pytest.approx(-1000)]


def test_a_triplet_exactly_at_the_margin_is_not_active() -> None:
    result = loss_and_gradient(
        Triplet(margin=0.5), torch.tensor([0.75]), torch.tensor([[0.25, 0.5]]), torch.ones(1, 2, dtype=torch.bool)
    )
    assert result.loss == 0.25
    assert result.by_negative.tolist() == [[0.0, 1.0]]
    assert result.active == 0.5
