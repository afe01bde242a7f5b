"""An encoder's scores as a soft target: the gradient by loops and autograd, and what a teacher teaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_step import DOCUMENTS, MIXES, batch_of, negatives_of
from test_train_loop import CLUSTERS, EACH, arm_of, planted, trained
from torch import Tensor

from ebr_core.arrays import Float32
from ebr_core.towers.bag_tables import normalize_backward
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.training.arm_config import Arm, arm_settings
from ebr_core.training.batches import Batch
from ebr_core.training.distillation import Teacher, teacher_scores
from ebr_core.training.loss_config import Distillation, Softmax
from ebr_core.training.pair_config import NegativeMix
from ebr_core.training.similarity import nested_step

WIDTH = 4  # of the teacher's vectors
LOGQ: list[dict[str, Any]] = [{}, {"logq": 0.7}, {"logq": 1, "logq_form": "refined"}]


def units(rng: np.random.Generator, *shape: int) -> Float32:
    vectors = rng.standard_normal(shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def soft_loss(
    sums: Tensor, memory: Tensor, batch: Batch, arm: Arm, log_q: Float32, teacher: Teacher, in_batch: Float32
) -> Tensor:
    """The loss of a batch, pair by pair: cross entropy with the mean of the click and the teacher's softmax."""
    loss, b = arm.loss, len(batch.search_rows)
    assert isinstance(loss, Softmax)
    assert loss.distillation is not None
    vectors = [*(vector / vector.norm() for vector in sums), *memory]
    documents, total = vectors[b:], torch.zeros((), dtype=sums.dtype)
    for i in range(b):
        rows, document_rows = negatives_of(in_batch[i], batch, i)
        candidates = [int(batch.document_rows[i]), *document_rows]
        shift = [loss.logq * float(log_q[d]) for d in candidates]
        if loss.logq_form == "refined":
            rest = loss.logq * np.log1p(-np.exp(float(log_q[candidates[0]])))
            shift = [0.0, *(one - rest + np.log(max(len(rows), 1)) for one in shift[1:])]
        of_query = teacher.queries[teacher.query_of[batch.search_rows[i]]]
        taught = [float(of_query @ teacher.documents[d]) / loss.distillation.temperature for d in candidates]
        soft = torch.softmax(torch.tensor(taught, dtype=torch.float64) - torch.tensor(shift, dtype=torch.float64), 0)
        known = bool(of_query.any() and teacher.documents[candidates[0]].any())
        share = loss.distillation.weight if known else 0.0
        target = share * soft
        target[0] += 1 - share
        cosines = torch.stack([vectors[i] @ documents[row] for row in (i, *rows)])
        log_p = torch.log_softmax(cosines / loss.temperature - torch.tensor(shift, dtype=torch.float64), 0)
        total = total - (1.0 if batch.weights is None else float(batch.weights[i])) * (target * log_p).sum()
    return total / b


@pytest.mark.parametrize("logq", LOGQ, ids=str)
@pytest.mark.parametrize("mix", MIXES, ids=str)
@settings(max_examples=8, deadline=None)
@given(
    b=st.integers(1, 5),
    seed=st.integers(0, 10_000),
    allowed_share=st.sampled_from([0.0, 0.6, 1.0]),
    weighted=st.booleans(),
    weight=st.sampled_from([0.3, 1.0]),
    prefixes=st.sampled_from([(), (5, 2)]),
)
def test_the_gradient_of_a_soft_target_is_that_of_autograd(
    mix: NegativeMix,
    logq: dict[str, Any],
    b: int,
    seed: int,
    allowed_share: float,
    weighted: bool,
    weight: float,
    prefixes: tuple[int, ...],
) -> None:
    rng = np.random.default_rng(seed)
    batch = batch_of(mix, b, rng, allowed_share, weighted)
    distillation = Distillation(encoder="e", weight=weight, temperature=0.3)
    loss = Softmax(temperature=0.2, distillation=distillation, **logq)
    arm = Arm.model_construct(negatives=mix, loss=loss, towers=NgramTowerConfig(prefixes=prefixes))
    teacher = Teacher(units(rng, b, WIDTH), units(rng, DOCUMENTS, WIDTH), np.arange(b, dtype=np.int32)[::-1].copy())
    teacher.documents[0] = 0  # a document without text
    log_q = np.log(rng.dirichlet(np.ones(DOCUMENTS))).clip(-6).astype(np.float32) if logq else None
    memory = units(rng, mix.memory, 8)
    sums = rng.standard_normal((2 * b + mix.random + b * mix.pair_negatives, 8))
    leaf, bank = torch.tensor(sums, requires_grad=True), torch.tensor(memory.astype(float))
    losses = []
    for d in (8, *prefixes):
        own = [vector / vector.norm() for vector in leaf[: 2 * b, :d].detach()]
        near = np.array([[float(own[i] @ own[b + j]) for j in range(b)] for i in range(b)], np.float32)
        cut = bank[:, :d] / bank[:, :d].norm(dim=1, keepdim=True)
        no_log_q = np.zeros(DOCUMENTS, np.float32)
        losses.append(soft_loss(leaf[:, :d], cut, batch, arm, no_log_q if log_q is None else log_q, teacher, near))
    torch.autograd.backward(torch.stack(losses).mean())
    assert leaf.grad is not None

    scores = teacher_scores(
        teacher, batch.search_rows, batch.document_rows, batch.shared_documents, batch.pair_negatives
    )
    norms = np.linalg.norm(sums, axis=1).astype(np.float32)
    vectors = (sums / norms[:, None]).astype(np.float32)
    taught = batch._replace(teacher=scores)
    gradient, stats = nested_step(torch.from_numpy(vectors), torch.from_numpy(memory), taught, arm, log_q)
    by_vectors = gradient.numpy().copy()
    normalize_backward(by_vectors, vectors, norms)
    assert stats.loss == pytest.approx(losses[0].item(), rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(by_vectors, leaf.grad.numpy(), atol=1e-3, rtol=5e-3)


def with_teacher(**settings: Any) -> tuple[Any, Arm]:
    """(planted clusters whose clicks say nothing, beside a teacher that knows the clusters; an arm)."""
    world, rng = planted(), np.random.default_rng(7)
    clusters = np.eye(CLUSTERS, dtype=np.float32)[np.arange(CLUSTERS * EACH) // EACH]
    teacher = Teacher(clusters, clusters, np.arange(CLUSTERS * EACH, dtype=np.int32))
    shown = world.shown._replace(document_rows=rng.permutation(world.shown.document_rows))
    loss = Softmax(distillation=Distillation(encoder="e", **settings))
    arm = arm_of(NegativeMix(random=20), epochs=12, patience=12).model_copy(update={"loss": loss})
    return world._replace(corpus=world.corpus._replace(teacher=teacher), shown=shown), arm


def test_towers_learn_from_the_teacher_what_no_click_says() -> None:
    best = {}
    for weight in (0.0, 1.0):
        epochs, *_ = trained(*with_teacher(weight=weight))
        best[weight] = max(epoch.validation_recall or 0 for epoch in epochs)
    assert best[1.0] > 0.8
    assert best[0.0] < 0.5


def test_a_weight_of_0_and_a_teacher_without_vectors_change_no_byte() -> None:
    world, arm = with_teacher(weight=0)
    plain = trained(world._replace(corpus=world.corpus._replace(teacher=None)), arm)
    unweighted = trained(world, arm)
    assert unweighted[0] == plain[0]
    np.testing.assert_equal(unweighted[1].state(), plain[1].state())
    world, arm = with_teacher(weight=0.5)
    teacher = world.corpus.teacher
    blank = teacher._replace(queries=np.zeros_like(teacher.queries))
    untaught = trained(world._replace(corpus=world.corpus._replace(teacher=blank)), arm)
    np.testing.assert_equal(untaught[1].state(), plain[1].state())
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(trained(world, arm)[1].state().values(), plain[1].state().values(), strict=True)
    )


def test_a_title_in_place_of_a_query_has_no_soft_target() -> None:
    teacher = Teacher(
        units(np.random.default_rng(0), 3, WIDTH),
        units(np.random.default_rng(1), 4, WIDTH),
        np.arange(3, dtype=np.int32),
    )
    rows = np.array([1, 2], np.int32)
    scores = teacher_scores(teacher, np.array([2, -1], np.int32), rows, rows, np.zeros((2, 0), np.int32))
    assert scores.known.tolist() == [True, False]
    assert not scores.negative[1].any()
    assert scores.positive[0] == pytest.approx(float(teacher.queries[2] @ teacher.documents[1]))


def test_what_has_no_softmax_has_no_soft_target() -> None:
    with pytest.raises(ValidationError, match="distillation"):
        Arm.model_validate({"loss": {"kind": "triplet", "distillation": {"encoder": "e"}}})
    soft = {"kind": "softmax", "distillation": {"encoder": "e", "weight": 0}}
    trials = [{"loss": {"distillation": {"weight": 0.3}}}, {"loss": {"kind": "triplet"}}]
    arm = Arm.model_validate({"loss": soft, "trials": trials})
    assert arm.distillation is None
    assert arm.teacher is not None
    assert [trial.distillation is not None for trial in arm.trial_arms] == [True, False]
    with pytest.raises(ValidationError, match=r"trials\.0\.loss\.distillation\.encoder: a trial cannot set it"):
        Arm.model_validate({"loss": soft, "trials": [{"loss": {"distillation": {"encoder": "f"}}}]})
    removed = Arm.model_validate(arm_settings({"loss": soft}, {"loss": {"distillation": None}}))
    assert removed.teacher is None
