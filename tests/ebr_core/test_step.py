"""A whole training step: its gradient against autograd over loops, and which documents of the batch it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebr_core.bags import Float32
from ebr_core.batches import Batch
from ebr_core.config import Arm, NegativeMix, Softmax, Triplet
from ebr_core.towers import through_norm
from ebr_core.train import _choose_in_batch, _similarity_step

MIXES = [
    NegativeMix(random=4),
    NegativeMix(random=0, in_batch=2),
    NegativeMix(random=0, in_batch="all"),
    NegativeMix(random=0, in_batch_hard=2),
    NegativeMix(random=0, impressions=3),
    NegativeMix(random=3, impressions=2, in_batch=1, in_batch_hard=1),
    NegativeMix(random=3, impressions=1, in_batch="all", in_batch_hard=2),
]
LOSSES: list[Triplet | Softmax] = [Triplet(margin=0.3), Softmax(temperature=0.2)]


def batch_of(mix: NegativeMix, b: int, rng: np.random.Generator, allowed_share: float) -> Batch:
    h, r = mix.impressions, mix.random
    allowed = rng.random((b, b + r)) < allowed_share
    np.fill_diagonal(allowed[:, :b], False)
    return Batch(
        np.arange(b, dtype=np.int32), np.arange(b, dtype=np.int32), np.arange(r, dtype=np.int32),
        np.zeros((b, h), np.int32), rng.random((b, h)) < 0.7, allowed,
    )  # fmt: skip


def taken(similarity: list[float], allowed: list[bool], i: int, mix: NegativeMix) -> set[int]:
    """The documents of the batch that serve pair i as negatives."""
    b = len(similarity)
    ring = [(i + step) % b for step in range(1, b)]
    if mix.in_batch != "all":
        ring = ring[: mix.in_batch]
    nearest = sorted((j for j in range(b) if allowed[j]), key=lambda j: -similarity[j])[: mix.in_batch_hard]
    return {j for j in [*ring, *nearest] if allowed[j]}


def negatives_of(units: Float32, batch: Batch, arm: Arm, i: int) -> list[int]:
    """The rows of units that serve pair i as negatives."""
    b, r, h = len(batch.search_rows), len(batch.pool), batch.own.shape[1]
    with_batch = [float(units[i] @ units[b + j]) for j in range(b)]
    rows = [b + j for j in taken(with_batch, batch.allowed[i, :b].tolist(), i, arm.negatives)]
    rows += [2 * b + j for j in range(r) if batch.allowed[i, b + j]]
    rows += [2 * b + r + i * h + j for j in range(h) if batch.own_counts[i, j]]
    return rows


def naive_loss(sums: Tensor, batch: Batch, arm: Arm) -> Tensor:
    """The loss of a batch from its bags' sums (B queries + B documents + R pool + B·H own, D), pair by pair."""
    b = len(batch.search_rows)
    units = [vector / vector.norm() for vector in sums]
    values = np.array([unit.detach().numpy() for unit in units], np.float32)
    queries, documents = units[:b], units[b : 2 * b]
    total = torch.zeros((), dtype=sums.dtype)
    for i in range(b):
        negatives = [units[row] for row in negatives_of(values, batch, arm, i)]
        near = queries[i] @ documents[i]
        if isinstance(arm.loss, Triplet):
            for negative in negatives:
                total = total + torch.relu(queries[i] @ negative - near + arm.loss.margin)
        else:
            logits = torch.stack([near, *(queries[i] @ negative for negative in negatives)]) / arm.loss.temperature
            total = total - torch.log_softmax(logits, 0)[0]
    return total / b


@pytest.mark.parametrize("loss", LOSSES, ids=["triplet", "softmax"])
@pytest.mark.parametrize("mix", MIXES, ids=str)
@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 6), seed=st.integers(0, 10_000), allowed_share=st.sampled_from([0.0, 0.6, 1.0]))
def test_the_gradient_of_a_step_is_that_of_autograd(
    mix: NegativeMix, loss: Triplet | Softmax, b: int, seed: int, allowed_share: float
) -> None:
    rng = np.random.default_rng(seed)
    batch, arm = batch_of(mix, b, rng, allowed_share), Arm(negatives=mix, loss=loss)
    sums = rng.standard_normal((2 * b + mix.random + b * mix.impressions, 8))
    leaf = torch.tensor(sums, requires_grad=True)
    wanted = naive_loss(leaf, batch, arm)
    torch.autograd.backward(wanted) if wanted.requires_grad else None
    by_sums = np.zeros_like(sums) if leaf.grad is None else leaf.grad.numpy()

    norms = np.linalg.norm(sums, axis=1).astype(np.float32)
    units = (sums / norms[:, None]).astype(np.float32)
    gradient, told = _similarity_step(torch.from_numpy(units), batch, arm, b, mix.random)
    back = gradient.numpy().copy()
    through_norm(back, units, norms)
    assert told.loss == pytest.approx(wanted.item(), rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(back, by_sums, atol=2e-4, rtol=1e-3)
    assert told.gradient_norm == pytest.approx(float(np.linalg.norm(gradient.numpy())), rel=1e-4, abs=1e-6)
    shown = [units[i] @ units[row] for i in range(b) for row in negatives_of(units, batch, arm, i)]
    assert told.negative_cosine == pytest.approx(np.mean(shown) if shown else 0, abs=1e-5)
    assert told.positive_cosine == pytest.approx(float((units[:b] * units[b : 2 * b]).sum(1).mean()), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.one_of(st.integers(0, 12), st.just("all")),
    st.integers(0, 12),
    st.floats(0, 1),
    st.integers(0, 10_000),
)
def test_in_batch_negatives_are_the_ring_and_the_nearest_and_never_a_masked_positive(
    b: int, in_batch: int | str, hard: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mix = NegativeMix.model_validate({"random": 1, "in_batch": in_batch, "in_batch_hard": hard})
    similarity = rng.standard_normal((b, b)).astype(np.float32)
    allowed = rng.random((b, b)) < share
    np.fill_diagonal(allowed, False)
    arm = Arm(negatives=mix)
    before = similarity.copy()
    chosen = _choose_in_batch(torch.from_numpy(similarity), torch.from_numpy(allowed), arm).numpy()
    assert np.array_equal(before, similarity)  # the loss still needs them
    assert not (chosen & ~allowed).any()
    for i in range(b):
        assert set(np.flatnonzero(chosen[i]).tolist()) == taken(similarity[i].tolist(), allowed[i].tolist(), i, mix)


@pytest.mark.parametrize(("in_batch", "wanted"), [(0, 0), (1, 1), (3, 3), (6, 6), (7, 6), ("all", 6)])
def test_the_ring_gives_every_pair_the_same_number_of_negatives(in_batch: int | str, wanted: int) -> None:
    mix = NegativeMix.model_validate({"random": 1, "in_batch": in_batch})
    allowed = ~torch.eye(7, dtype=torch.bool)
    chosen = _choose_in_batch(torch.zeros(7, 7), allowed, Arm(negatives=mix))
    assert chosen.sum(0).tolist() == chosen.sum(1).tolist() == [wanted] * 7
