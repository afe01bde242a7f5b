"""Losses and their closed gradients, against autograd over loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebr_core.training.loss_config import Loss, Softmax, ThreePart, Triplet
from ebr_core.training.losses import Correction, LossAndGradient, logq_correction, softmax, three_part, triplet

MIDDLE = slice(1, 3)  # the columns that are impressions, in these tests


def of(
    loss: Loss, positive: Tensor, negative: Tensor, counts: Tensor, corr: Correction | None = None
) -> LossAndGradient:
    if isinstance(loss, Triplet):
        return triplet(positive, negative, counts, loss.margin)
    if isinstance(loss, ThreePart):
        return three_part(positive, negative, counts, MIDDLE, loss)
    return softmax(positive, negative, counts, loss.temperature, corr)


def naive(
    loss: Loss, positive: Tensor, negative: Tensor, counts: Tensor, corr: Correction | None
) -> tuple[Tensor, float]:
    """(loss, active share), pair by pair and negative by negative."""
    total, active, counted = torch.zeros((), dtype=positive.dtype), 0, 0
    for b in range(len(positive)):
        kept = [m for m in range(negative.shape[1]) if counts[b, m]]
        counted += len(kept)
        if isinstance(loss, Triplet):
            for m in kept:
                hinge = (1 - positive[b]) - (1 - negative[b, m]) + loss.margin
                if hinge > 0:
                    total = total + hinge
                    active += 1
        elif isinstance(loss, Softmax):
            added = torch.zeros_like(negative) if corr is None else corr.negative.expand_as(negative)
            own = positive[b] / loss.temperature + (0 if corr is None else corr.positive[b])
            logits = torch.stack([own, *(negative[b, m] / loss.temperature + added[b, m] for m in kept)])
            total = total - torch.log_softmax(logits, 0)[0]
            active += int((torch.softmax(logits, 0)[1:] > 0.01).sum())
        else:
            total = total + torch.relu(loss.positive - positive[b]) ** 2
            for bound, some in (
                (loss.impression, [m for m in kept if m in (1, 2)]),
                (loss.negative, [m for m in kept if m not in (1, 2)]),
            ):
                for m in some:
                    total = total + torch.relu(negative[b, m] - bound) ** 2 / len(some)
                    active += int(negative[b, m] > bound)
    return total / len(positive), active / max(1, counted)


losses = st.one_of(
    st.floats(0.01, 2).map(lambda margin: Triplet(margin=margin)),
    st.floats(0.02, 2).map(lambda temperature: Softmax(temperature=temperature)),
    st.floats(-0.5, 0.5).map(lambda bound: ThreePart(positive=0.9, impression=bound, negative=bound - 0.3)),
)


@settings(max_examples=100, deadline=None)
@given(losses, st.integers(1, 5), st.integers(0, 6), st.floats(0, 1), st.integers(0, 10_000), st.booleans())
def test_value_and_gradients_are_those_of_autograd(
    loss: Loss, b: int, m: int, density: float, seed: int, corrected: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    positive = (torch.rand(b, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    negative = (torch.rand(b, m, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    counts = torch.rand(b, m, generator=generator) < density
    corr = None
    if corrected:
        added = torch.randn(b, 1 + m, generator=generator, dtype=torch.float64)
        corr = Correction(added[:, 0], added[:, 1:])
    wanted, active = naive(loss, positive, negative, counts, corr)
    wanted.backward() if wanted.requires_grad else None
    before = negative.detach().clone(), counts.clone()
    got = of(loss, positive.detach(), negative.detach(), counts, corr)
    assert got.loss == pytest.approx(wanted.item(), abs=1e-12)
    assert got.active == pytest.approx(active, abs=1e-6)
    for found, leaf in ((got.by_positive, positive), (got.by_negative, negative)):
        gradient = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
        assert found.shape == leaf.shape
        torch.testing.assert_close(found, gradient, atol=1e-12, rtol=1e-9)
    assert torch.equal(before[0], negative.detach())  # the caller still needs the similarities
    assert torch.equal(before[1], counts)


def test_a_rare_document_gets_the_larger_corrected_logit() -> None:
    """The sign that others got wrong: log q is taken off, so that what is drawn often is not punished for it."""
    log_q = torch.tensor([[0.5, 0.01]]).log()
    for refined in (False, True):
        corr = logq_correction(torch.tensor([0.1]).log(), log_q, torch.ones(1, 2, dtype=torch.bool), 1.0, refined)
        assert corr.negative[0, 1] > corr.negative[0, 0]


def test_the_refined_correction_estimates_the_full_softmax_without_bias() -> None:
    """Over every document but the positive, drawn by q, the corrected sum has the full sum as its mean."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, generator=generator, dtype=torch.float64)
    q = torch.rand(50, generator=generator, dtype=torch.float64)
    q /= q.sum()
    others = q.clone()
    others[0] = 0  # the positive is never its own negative
    draws = torch.multinomial(others, 200_000, replacement=True, generator=generator)[None]
    counts = torch.ones_like(draws, dtype=torch.bool)
    corr = logq_correction(q[:1].log(), q[draws].log(), counts, 1.0, True)
    estimate = (logits[draws] + corr.negative).exp().sum()
    assert estimate == pytest.approx(float(logits[1:].exp().sum()), rel=0.02)
    assert corr.positive.tolist() == [0.0]


@pytest.mark.parametrize("loss", [Triplet(), Softmax()], ids=["triplet", "softmax"])
@pytest.mark.parametrize("m", [0, 3])
def test_a_pair_without_a_counted_negative_neither_costs_nor_pushes(loss: Loss, m: int) -> None:
    positive, negative = torch.tensor([0.5, -0.5]), torch.full((2, m), 0.9)
    got = of(loss, positive, negative, torch.zeros(2, m, dtype=torch.bool))
    assert got.loss == 0
    assert got.active == 0
    assert not got.by_positive.any()
    assert not got.by_negative.any()


def test_an_extreme_temperature_overflows_nothing() -> None:
    got = of(
        Softmax(temperature=1e-3), torch.tensor([-1.0]), torch.tensor([[1.0, 0.9]]), torch.ones(1, 2, dtype=torch.bool)
    )
    assert got.loss == pytest.approx(2000)
    assert got.by_negative.tolist() == [[pytest.approx(1000), pytest.approx(0)]]
    assert got.by_positive.tolist() == [pytest.approx(-1000)]


def test_a_triplet_exactly_at_the_margin_does_not_push() -> None:
    got = of(Triplet(margin=0.5), torch.tensor([0.75]), torch.tensor([[0.25, 0.5]]), torch.ones(1, 2, dtype=torch.bool))
    assert got.loss == 0.25
    assert got.by_negative.tolist() == [[0.0, 1.0]]
    assert got.active == 0.5
