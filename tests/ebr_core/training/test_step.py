"""A whole training step: its gradient compared with autograd over loops, and its choice of in-batch negatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebr_core.arrays import Float32
from ebr_core.towers.bag_tables import normalize_backward
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.training.arm_config import Arm
from ebr_core.training.batches import Batch
from ebr_core.training.kernels import choose_in_batch
from ebr_core.training.loss_config import Loss, Softmax, ThreePart, Triplet
from ebr_core.training.pair_config import NegativeMix
from ebr_core.training.similarity import nested_step, similarity_step

MIXES = [
    NegativeMix(random=4),
    NegativeMix(random=0, in_batch=2),
    NegativeMix(random=0, in_batch="all"),
    NegativeMix(random=0, in_batch_hard=2),
    NegativeMix(random=0, impressions=3),
    NegativeMix(random=0, memory=5, in_batch="all"),
    NegativeMix(random=3, memory=2, offline_hard=2, impressions=1),
    NegativeMix(random=3, impressions=1, in_batch="all", in_batch_hard=2, offline_hard=1, memory=3),
]
LOSSES: list[Loss] = [
    Triplet(margin=0.3),
    Softmax(temperature=0.2),
    Softmax(temperature=0.2, logq=0.7),
    Softmax(temperature=0.2, logq=1, logq_form="refined"),
    ThreePart(positive=0.8, impression=0.1, negative=-0.2),
]
DOCUMENTS = 9


def batch_of(mix: NegativeMix, b: int, rng: np.random.Generator, allowed_share: float, weighted: bool = False) -> Batch:
    h, r, m = mix.pair_negatives, mix.random, mix.memory
    allowed = rng.random((b, b + r + m)) < allowed_share
    np.fill_diagonal(allowed[:, :b], False)
    rows = [rng.integers(DOCUMENTS, size=size).astype(np.int32) for size in (b, r, m, (b, h))]
    return Batch(
        np.arange(b, dtype=np.int32), rows[0], rows[1], rows[2], rows[3], rng.random((b, h)) < 0.7, allowed, mix,
        weights=rng.uniform(0.2, 5, b).astype(np.float32) if weighted else None,
    )  # fmt: skip


def in_batch_negatives(similarity: list[float], allowed: list[bool], i: int, mix: NegativeMix) -> set[int]:
    """The documents of the batch that serve pair i as negatives."""
    b = len(similarity)
    ring = [(i + step) % b for step in range(1, b)]
    if mix.in_batch != "all":
        ring = ring[: mix.in_batch]
    nearest = sorted((j for j in range(b) if allowed[j]), key=lambda j: -similarity[j])[: mix.in_batch_hard]
    return {j for j in [*ring, *nearest] if allowed[j]}


def negatives_of(near: Float32, batch: Batch, i: int) -> tuple[list[int], list[int]]:
    """(the rows that are negatives of pair i, their documents); rows: B documents, R pool, B·H pair negatives, M
    memory. near (B,): the pair's similarities to the documents of the batch."""
    b, r, h, m = len(batch.search_rows), len(batch.pool), batch.pair_negatives.shape[1], len(batch.memory_rows)
    rows = sorted(in_batch_negatives(near.tolist(), batch.allowed[i, :b].tolist(), i, batch.mix))
    rows += [b + j for j in range(r) if batch.allowed[i, b + j]]
    rows += [b + r + i * h + j for j in range(h) if batch.pair_negative_mask[i, j]]
    rows += [b + r + b * h + j for j in range(m) if batch.allowed[i, b + r + j]]
    document = np.concatenate([batch.document_rows, batch.pool, batch.pair_negatives.ravel(), batch.memory_rows])
    return rows, document[rows].tolist()


def naive_loss(
    sums: Tensor, memory_bank: Tensor, batch: Batch, arm: Arm, log_q: Float32
) -> tuple[Tensor, list[float], list[float]]:
    """(the loss of a batch from its bags' sums (h·B queries + B documents + R pool + B·H pair negatives, D), pair by
    pair; the cosines of its negatives; those of its positives). With batch.twice the B documents come twice."""
    b, views = len(batch.search_rows), arm.towers.query_vectors
    units = [*(vector / vector.norm() for vector in sums), *memory_bank]
    own = units[views * b : (views + 1) * b]
    documents = units[(views + batch.twice) * b :]

    def nearest(i: int, document: Tensor) -> Tensor:
        return torch.stack([units[view * b + i] @ document for view in range(views)]).max()

    def near(i: int, row: int) -> Tensor:
        return nearest(i, documents[row])

    total, cosines = torch.zeros((), dtype=sums.dtype), []
    for i in range(b):
        in_batch = np.array([float(near(i, j).detach()) for j in range(b)], np.float32)
        rows, document_rows = negatives_of(in_batch, batch, i)
        similarities = [near(i, row) for row in rows]
        cosines += [float(similarity) for similarity in similarities]
        weight = 1.0 if batch.weights is None else float(batch.weights[i])
        of_pair = _naive_of_pair(nearest(i, own[i]), similarities, rows, document_rows, i, batch, arm, log_q)
        total = total + weight * of_pair
    return total / b, cosines, [float(nearest(i, own[i])) for i in range(b)]


def _naive_of_pair(
    positive: Tensor,
    similarities: list[Tensor],
    rows: list[int],
    document_rows: list[int],
    i: int,
    batch: Batch,
    arm: Arm,
    log_q: Float32,
) -> Tensor:
    loss, b, r, h = arm.loss, len(batch.search_rows), len(batch.pool), batch.pair_negatives.shape[1]
    if isinstance(loss, Triplet):
        return torch.stack(
            [torch.relu(similarity - positive + loss.margin) for similarity in similarities] + [positive * 0]
        ).sum()
    if isinstance(loss, ThreePart):
        total = torch.relu(loss.positive - positive) ** 2
        shown = [b + r + i * h <= row < b + r + i * h + batch.mix.impressions for row in rows]
        for bound, kind in ((loss.impression, True), (loss.negative, False)):
            kind_similarities = [
                similarity for similarity, is_shown in zip(similarities, shown, strict=True) if is_shown == kind
            ]
            for similarity in kind_similarities:
                total = total + torch.relu(similarity - bound) ** 2 / len(kind_similarities)
        return total
    positive_log_q = float(log_q[batch.document_rows[i]])
    if loss.logq_form == "refined":
        shifts = [
            loss.logq * (float(log_q[d]) - np.log1p(-np.exp(positive_log_q))) + np.log(len(similarities))
            for d in document_rows
        ]
        positive_logit = positive / loss.temperature
    else:
        shifts = [loss.logq * float(log_q[d]) for d in document_rows]
        positive_logit = positive / loss.temperature - loss.logq * positive_log_q
    logits = [
        positive_logit,
        *(similarity / loss.temperature - shift for similarity, shift in zip(similarities, shifts, strict=True)),
    ]
    return -torch.log_softmax(torch.stack(logits), 0)[0]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("mix", MIXES, ids=str)
@settings(max_examples=8, deadline=None)
@given(
    b=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    allowed_share=st.sampled_from([0.0, 0.6, 1.0]),
    views=st.sampled_from([1, 1, 3]),
    twice=st.booleans(),
    weighted=st.booleans(),
)
def test_the_gradient_of_a_step_is_that_of_autograd(
    mix: NegativeMix, loss: Loss, b: int, seed: int, allowed_share: float, views: int, twice: bool, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    batch = batch_of(mix, b, rng, allowed_share, weighted)._replace(twice=twice)
    arm = Arm.model_construct(negatives=mix, loss=loss, towers=NgramTowerConfig(query_vectors=views))
    log_q = np.log(rng.dirichlet(np.ones(DOCUMENTS))).clip(-6).astype(np.float32)
    memory_vectors = rng.standard_normal((mix.memory, 8))
    memory_vectors = (memory_vectors / np.linalg.norm(memory_vectors, axis=1, keepdims=True)).astype(np.float32)
    sums = rng.standard_normal(((views + 1 + twice) * b + mix.random + b * mix.pair_negatives, 8))
    leaf = torch.tensor(sums, requires_grad=True)
    expected, cosines, positives = naive_loss(leaf, torch.tensor(memory_vectors.astype(float)), batch, arm, log_q)
    torch.autograd.backward(expected) if expected.requires_grad else None
    by_sums = np.zeros_like(sums) if leaf.grad is None else leaf.grad.numpy()

    norms = np.linalg.norm(sums, axis=1).astype(np.float32)
    units = (sums / norms[:, None]).astype(np.float32)
    has_correction = isinstance(loss, Softmax) and loss.logq > 0
    memory_bank = torch.from_numpy(memory_vectors)
    gradient, stats = similarity_step(
        torch.from_numpy(units), memory_bank, batch, arm, log_q if has_correction else None
    )
    by_vectors = gradient.numpy().copy()
    normalize_backward(by_vectors, units, norms)
    assert stats.loss == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(by_vectors, by_sums, atol=3e-4, rtol=1e-3)
    assert stats.gradient_norm == pytest.approx(float(np.linalg.norm(gradient.numpy())), rel=1e-4, abs=1e-6)
    assert stats.negative_cosine == pytest.approx(np.mean(cosines) if cosines else 0, abs=1e-5)
    assert stats.positive_cosine == pytest.approx(np.mean(positives), abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@settings(max_examples=8, deadline=None)
@given(mix=st.sampled_from(MIXES), b=st.integers(2, 5), seed=st.integers(0, 10_000), weighted=st.booleans())
def test_prefixes_count_as_much_as_the_whole(loss: Loss, mix: NegativeMix, b: int, seed: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    batch = batch_of(mix, b, rng, 1.0, weighted)
    arm = Arm.model_construct(negatives=mix, loss=loss, towers=NgramTowerConfig(prefixes=(2, 5)))
    log_q = np.log(rng.dirichlet(np.ones(DOCUMENTS))).clip(-6).astype(np.float32)
    memory_bank = torch.from_numpy(rng.standard_normal((mix.memory, 8)))
    memory_bank = memory_bank / memory_bank.norm(dim=1, keepdim=True)
    sums = rng.standard_normal((2 * b + mix.random + b * mix.pair_negatives, 8))
    leaf = torch.tensor(sums, requires_grad=True)
    nested = [
        naive_loss(leaf[:, :d], memory_bank[:, :d] / memory_bank[:, :d].norm(dim=1, keepdim=True), batch, arm, log_q)
        for d in (8, 5, 2)
    ]
    torch.autograd.backward(torch.stack([loss for loss, *_ in nested]).mean())
    assert leaf.grad is not None

    norms = np.linalg.norm(sums, axis=1).astype(np.float32)
    units = (sums / norms[:, None]).astype(np.float32)
    has_correction = isinstance(loss, Softmax) and loss.logq > 0
    arguments = torch.from_numpy(units), memory_bank.float(), batch, arm, log_q if has_correction else None
    gradient, stats = nested_step(*arguments)
    by_vectors = gradient.numpy().copy()
    normalize_backward(by_vectors, units, norms)
    np.testing.assert_allclose(by_vectors, leaf.grad.numpy(), atol=1e-3, rtol=5e-3)
    assert stats.loss == pytest.approx(nested[0][0].item(), rel=1e-4, abs=1e-5)  # the figures of the whole embeddings


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@settings(max_examples=30, deadline=None)
@given(
    mix=st.sampled_from(MIXES),
    b=st.integers(1, 40),
    seed=st.integers(0, 10_000),
    prefixes=st.sampled_from([(), (2, 5)]),
)
def test_weights_of_1_change_no_byte(
    loss: Loss, mix: NegativeMix, b: int, seed: int, prefixes: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(seed)
    batch = batch_of(mix, b, rng, 0.8)
    arm = Arm.model_construct(negatives=mix, loss=loss, towers=NgramTowerConfig(prefixes=prefixes))
    log_q = np.log(rng.dirichlet(np.ones(DOCUMENTS))).clip(-6).astype(np.float32)
    memory = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((mix.memory, 8))).float(), dim=1)
    vectors = rng.standard_normal((2 * b + mix.random + b * mix.pair_negatives, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for weights in (None, np.ones(b, np.float32)):
        arguments = memory, batch._replace(weights=weights), arm, log_q if isinstance(loss, Softmax) else None
        gradient, stats = nested_step(torch.from_numpy(vectors), *arguments)
        found.append((gradient.numpy().tobytes(), stats))
    assert found[0] == found[1]


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
    original, mask = similarity.copy(), np.empty((b, b), bool)
    ring = b - 1 if in_batch == "all" else min(int(in_batch), b - 1)
    choose_in_batch(similarity, allowed, ring, min(hard, b), mask)
    assert np.array_equal(original, similarity)  # the loss still needs them
    assert not (mask & ~allowed).any()
    for i in range(b):
        assert set(np.flatnonzero(mask[i]).tolist()) == in_batch_negatives(
            similarity[i].tolist(), allowed[i].tolist(), i, mix
        )


@pytest.mark.parametrize(("in_batch", "count"), [(0, 0), (1, 1), (3, 3), (6, 6), (7, 6), ("all", 6)])
def test_the_ring_gives_every_pair_the_same_number_of_negatives(in_batch: int | str, count: int) -> None:
    mix = NegativeMix.model_validate({"random": 1, "in_batch": in_batch})
    allowed = ~torch.eye(7, dtype=torch.bool)
    mask = np.empty((7, 7), bool)
    ring = 6 if mix.in_batch == "all" else min(mix.in_batch, 6)
    choose_in_batch(np.zeros((7, 7), np.float32), allowed.numpy(), ring, 0, mask)
    assert mask.sum(0).tolist() == mask.sum(1).tolist() == [count] * 7
