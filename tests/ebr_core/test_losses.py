"""Losses and their closed gradients, against autograd over loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebr_core.config import Softmax, Triplet
from ebr_core.losses import loss_and_gradient


def naive(loss: Triplet | Softmax, positive: Tensor, negative: Tensor, counts: Tensor) -> tuple[Tensor, float]:
    """(loss, active share), pair by pair and negative by negative."""
    total, active, counted = torch.zeros((), dtype=positive.dtype), 0, 0
    for b in range(len(positive)):
        kept = [negative[b, m] for m in range(negative.shape[1]) if counts[b, m]]
        counted += len(kept)
        if isinstance(loss, Triplet):
            for similarity in kept:
                hinge = (1 - positive[b]) - (1 - similarity) + loss.margin
                if hinge > 0:
                    total = total + hinge
                    active += 1
        else:
            logits = torch.stack([positive[b], *kept]) / loss.temperature
            probability = torch.softmax(logits, 0)
            total = total - torch.log_softmax(logits, 0)[0]
            active += int((probability[1:] > 0.01).sum())
    return total / len(positive), active / max(1, counted)


losses = st.one_of(
    st.floats(0.01, 2).map(lambda margin: Triplet(margin=margin)),
    st.floats(0.02, 2).map(lambda temperature: Softmax(temperature=temperature)),
)


@settings(max_examples=80, deadline=None)
@given(losses, st.integers(1, 5), st.integers(0, 6), st.floats(0, 1), st.integers(0, 10_000))
def test_value_and_gradients_are_those_of_autograd(
    loss: Triplet | Softmax, b: int, m: int, density: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    positive = (torch.rand(b, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    negative = (torch.rand(b, m, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    counts = torch.rand(b, m, generator=generator) < density
    wanted, active = naive(loss, positive, negative, counts)
    wanted.backward() if wanted.requires_grad else None
    before = negative.detach().clone(), counts.clone()
    got = loss_and_gradient(loss, positive.detach(), negative.detach(), counts)
    assert got.loss == pytest.approx(wanted.item(), abs=1e-12)
    assert got.active == pytest.approx(active, abs=1e-6)
    for found, leaf in ((got.by_positive, positive), (got.by_negative, negative)):
        gradient = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
        assert found.shape == leaf.shape
        torch.testing.assert_close(found, gradient, atol=1e-12, rtol=1e-9)
    assert torch.equal(before[0], negative.detach())  # the caller still needs the similarities
    assert torch.equal(before[1], counts)


@pytest.mark.parametrize("loss", [Triplet(), Softmax()])
@pytest.mark.parametrize("m", [0, 3])
def test_a_pair_without_a_counted_negative_neither_costs_nor_pushes(loss: Triplet | Softmax, m: int) -> None:
    positive, negative = torch.tensor([0.5, -0.5]), torch.full((2, m), 0.9)
    got = loss_and_gradient(loss, positive, negative, torch.zeros(2, m, dtype=torch.bool))
    assert got.loss == 0
    assert got.active == 0
    assert not got.by_positive.any()
    assert not got.by_negative.any()


def test_an_extreme_temperature_overflows_nothing() -> None:
    got = loss_and_gradient(
        Softmax(temperature=1e-3), torch.tensor([-1.0]), torch.tensor([[1.0, 0.9]]), torch.ones(1, 2, dtype=torch.bool)
    )
    assert got.loss == pytest.approx(2000)
    assert got.by_negative.tolist() == [[pytest.approx(1000), pytest.approx(0)]]
    assert got.by_positive.tolist() == [pytest.approx(-1000)]


def test_a_triplet_exactly_at_the_margin_does_not_push() -> None:
    got = loss_and_gradient(
        Triplet(margin=0.5), torch.tensor([0.75]), torch.tensor([[0.25, 0.5]]), torch.ones(1, 2, dtype=torch.bool)
    )
    assert got.loss == 0.25
    assert got.by_negative.tolist() == [[0.0, 1.0]]
    assert got.active == 0.5
