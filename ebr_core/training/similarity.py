"""The middle of a training step: from embeddings to the loss and back, over all pairs of a batch at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

import numpy as np

from ebr_core.arrays import Float32
from ebr_core.lazy_torch import torch
from ebr_core.training.arm_config import Arm
from ebr_core.training.batches import Batch
from ebr_core.training.distillation import distillation_term
from ebr_core.training.kernels import FusedLoss, choose_in_batch, softmax_in_place, triplet_in_place
from ebr_core.training.loss_config import Distillation, Softmax, ThreePart, Triplet
from ebr_core.training.losses import Correction, LossAndGradient, logq_correction, softmax, three_part, triplet

if TYPE_CHECKING:
    from torch import Tensor


class StepStats(NamedTuple):
    """The figures that a step reports; an epoch takes their means."""

    loss: float
    active: float
    positive_cosine: float
    negative_cosine: float
    gradient_norm: float


class BatchEmbeddings(NamedTuple):
    """The embeddings of a batch by their role."""

    queries: Tensor  # (h, B, D)
    positives: Tensor  # (B, D)
    columns: Tensor  # (C, D) negatives shared by all pairs: in-batch documents (if any count), the pool, the memory
    pair_negatives: Tensor  # (B, H, D) negatives of one pair each


def nested_step(
    vectors: Tensor, memory_bank: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None
) -> tuple[Tensor, StepStats]:
    """similarity_step with the mean loss of the embeddings and their unit-length prefixes. [Kusupati et al. 2022]

    The figures reported are those of the whole embeddings.
    """
    gradient, stats = similarity_step(vectors, memory_bank, batch, arm, log_q)
    if not arm.towers.prefixes:
        return gradient, stats
    for prefix in arm.towers.prefixes:
        lengths = torch.linalg.vector_norm(vectors[:, :prefix], dim=1, keepdim=True)
        nonzero = lengths > 0
        units = vectors[:, :prefix] / lengths.where(nonzero, 1)
        memory_units = torch.nn.functional.normalize(memory_bank[:, :prefix], dim=1)
        by_units, _ = similarity_step(units, memory_units, batch, arm, log_q)
        by_units -= (by_units * units).sum(1, keepdim=True) * units
        gradient[:, :prefix] += torch.where(nonzero, by_units / lengths, 0)
    return gradient / (1 + len(arm.towers.prefixes)), stats


def similarity_step(
    vectors: Tensor, memory_bank: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None
) -> tuple[Tensor, StepStats]:
    """(∂loss/∂vectors, figures to report) for the vectors (h·B queries + B documents + R pool + B·H pair negatives, D).

    With batch.twice the B documents are followed by the same documents in full, the others' in-batch negatives.
    memory_bank (M, D): embeddings of earlier batches, which get no gradient. log_q (N,): see
    train_loop.log_sampling_probabilities.
    """
    b, r, views = len(batch.search_rows), len(batch.pool), arm.towers.query_vectors
    d = vectors.shape[1]
    pool = (views + 1 + batch.twice) * b
    first = pool - b if batch.mix.compares_batch else pool  # without in-batch negatives, the pool comes first
    last = pool + r
    parts = BatchEmbeddings(
        vectors[: views * b].view(views, b, d),
        vectors[views * b : (views + 1) * b],
        torch.cat([vectors[first:last], memory_bank]) if len(memory_bank) else vectors[first:last],
        vectors[last:].view(b, batch.pair_negatives.shape[1], d),
    )
    positive, positive_view = _nearest([(query * parts.positives).sum(1) for query in parts.queries])
    negative, negative_view = _nearest([_similarities(query, parts) for query in parts.queries])
    negative_mask = _negative_mask(negative, batch)
    taught = _taught(positive, negative, negative_mask, batch, arm, log_q)
    loss, negative_cosine = _loss_and_grad(positive, negative, negative_mask, batch, arm, log_q)
    loss = loss if taught is None else _sum(loss, taught)
    gradient = torch.zeros_like(vectors)
    for view, query in enumerate(parts.queries):
        by_positive, by_negative = loss.by_positive, loss.by_negative
        if views > 1:
            by_positive, by_negative = by_positive * (positive_view == view), by_negative * (negative_view == view)
        by_column, by_pair_negative = by_negative[:, : len(parts.columns)], by_negative[:, len(parts.columns) :]
        by_query = by_column @ parts.columns
        by_query += by_positive[:, None] * parts.positives
        by_query += torch.einsum("bh,bhd->bd", by_pair_negative, parts.pair_negatives)
        gradient[view * b : (view + 1) * b] = by_query
        gradient[first:last] += by_column[:, : last - first].T @ query
        gradient[views * b : (views + 1) * b] += by_positive[:, None] * query
        gradient[last:] += (by_pair_negative[:, :, None] * query[:, None, :]).reshape(-1, d)
    norm = float(torch.linalg.vector_norm(gradient))
    return gradient, StepStats(loss.loss, loss.active, float(positive.mean()), negative_cosine, norm)


def _nearest(by_view: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(the largest similarity over a query's vectors, the index of that vector). [DPSR 2020]"""
    if len(by_view) == 1:
        return by_view[0], torch.empty(0)
    best = torch.stack(by_view).max(0)
    return best.values, best.indices


def _similarities(query: Tensor, parts: BatchEmbeddings) -> Tensor:
    """(B, C + H) similarities of each query to the shared negatives, then to its pair's negatives."""
    shared = query @ parts.columns.T
    return (
        torch.cat([shared, torch.einsum("bd,bhd->bh", query, parts.pair_negatives)], 1)
        if parts.pair_negatives.shape[1]
        else shared
    )


def _negative_mask(negative: Tensor, batch: Batch) -> Tensor:
    """(B, C + H) True for the negatives that count."""
    b, mix, device = len(batch.search_rows), batch.mix, negative.device
    allowed = torch.from_numpy(batch.allowed).to(device)
    if not mix.compares_batch:
        return torch.cat([allowed[:, b:], torch.from_numpy(batch.pair_negative_mask).to(device)], 1)
    negative_mask = (
        torch.cat([allowed, torch.from_numpy(batch.pair_negative_mask).to(device)], 1)
        if mix.pair_negatives
        else allowed.clone()
    )
    ring = b - 1 if mix.in_batch == "all" else min(int(mix.in_batch), b - 1)
    if ring < b - 1:  # otherwise every allowed document of the batch is a negative
        in_batch_mask = np.empty((b, b), bool)
        similarities = negative[:, :b].to("cpu").numpy()
        choose_in_batch(similarities, batch.allowed[:, :b], ring, min(mix.in_batch_hard, b), in_batch_mask)
        negative_mask[:, :b] = torch.from_numpy(in_batch_mask).to(device)
    return negative_mask


def _loss_and_grad(
    positive: Tensor, negative: Tensor, negative_mask: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None
) -> tuple[LossAndGradient, float]:
    """(the arm's loss, the mean similarity of the negatives that count); `negative` may be overwritten.

    On a CPU a kernel does both in one pass, if the loss has one.
    """
    on_cpu, weights = negative.device.type == "cpu", batch.weights
    of_pairs = None if weights is None else torch.from_numpy(weights).to(negative.device)
    match arm.loss:
        case Triplet() as loss:
            if on_cpu:
                arrays = negative.numpy(), positive.numpy(), negative_mask.numpy()
                fused_loss = triplet_in_place(*arrays, loss.margin, weights)
                return _from_kernel(fused_loss, negative)
            mean = _mean_cosine(negative, negative_mask)
            return triplet(positive, negative, negative_mask, loss.margin, of_pairs), mean
        case Softmax() as loss:
            if on_cpu and (log_q is None or not batch.mix.pair_negatives):
                similarities, shifts = negative.numpy(), _logit_shifts(negative_mask, batch, loss, log_q)
                fused_loss = softmax_in_place(
                    similarities, positive.numpy(), negative_mask.numpy(), loss.temperature, *shifts, weights
                )
                return _from_kernel(fused_loss, negative)
            mean = _mean_cosine(negative, negative_mask)
            correction = None if log_q is None else _correction(negative_mask, batch, loss, log_q)
            return softmax(positive, negative, negative_mask, loss.temperature, correction, of_pairs), mean
        case ThreePart() as loss:
            mean, shared = _mean_cosine(negative, negative_mask), negative.shape[1] - batch.pair_negatives.shape[1]
            impressions = slice(shared, shared + batch.mix.impressions)
            return three_part(positive, negative, negative_mask, impressions, loss, of_pairs), mean
        case _:
            assert_never(arm.loss)


def _taught(
    positive: Tensor, negative: Tensor, negative_mask: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None
) -> LossAndGradient | None:
    """What an encoder's scores add to the arm's loss; None without them. Call it before the loss is computed."""
    match arm.loss:
        case Softmax(distillation=Distillation() as distillation) as loss if batch.teacher is not None:
            correction = None if log_q is None else _correction(negative_mask, batch, loss, log_q)
            weights = None if batch.weights is None else torch.from_numpy(batch.weights).to(negative.device)
            similarities = positive, negative, negative_mask, batch.teacher
            return distillation_term(*similarities, distillation, loss.temperature, correction, weights)
        case Triplet() | Softmax() | ThreePart():
            return None
        case _:
            assert_never(arm.loss)


def _sum(loss: LossAndGradient, more: LossAndGradient) -> LossAndGradient:
    """Both losses and their gradients; the active negatives are those of the first."""
    by_positive, by_negative = loss.by_positive + more.by_positive, loss.by_negative + more.by_negative
    return LossAndGradient(loss.loss + more.loss, loss.active, by_positive, by_negative)


def _from_kernel(fused_loss: FusedLoss, negative: Tensor) -> tuple[LossAndGradient, float]:
    """(the loss, the mean similarity of negatives) of a kernel that overwrote the similarities by their gradient."""
    gradient = LossAndGradient(fused_loss.loss, fused_loss.active, torch.from_numpy(fused_loss.by_positive), negative)
    return gradient, fused_loss.negative_cosine


def _mean_cosine(negative: Tensor, negative_mask: Tensor) -> float:
    """The mean similarity of the negatives that count; call it before a loss overwrites the similarities."""
    return float(negative.mul(negative_mask).sum() / negative_mask.count_nonzero().clamp(min=1))


def _column_log_q(batch: Batch, log_q: Float32) -> Float32:
    """(C,) log q of the shared negatives' documents."""
    return np.asarray(log_q[batch.shared_documents])


def _logit_shifts(negative_mask: Tensor, batch: Batch, loss: Softmax, log_q: Float32 | None) -> tuple[Float32, Float32]:
    """The terms added to the logits of the shared negatives (C,) and of the positives (B,).

    A term that the refined correction adds to all negatives of a row is subtracted from the positive instead, because
    only differences count.
    """
    if log_q is None:
        return np.zeros(negative_mask.shape[1], np.float32), np.zeros(len(negative_mask), np.float32)
    columns, positive_log_q = (
        torch.from_numpy(_column_log_q(batch, log_q)),
        torch.from_numpy(log_q[batch.document_rows]),
    )
    correction = logq_correction(positive_log_q, columns[None], negative_mask, loss.logq, loss.logq_form == "refined")
    shift = correction.negative + loss.logq * columns[None]  # (B or 1, C), the same along a row
    positive_shift = correction.positive - (shift[:, 0] if shift.shape[1] else 0)
    return (-loss.logq * columns).numpy(), positive_shift.to(torch.float32).numpy()


def _correction(negative_mask: Tensor, batch: Batch, loss: Softmax, log_q: Float32) -> Correction:
    """The correction of the batch's logits for the sampling probabilities of their documents."""
    columns = _column_log_q(batch, log_q)
    column_rows = np.broadcast_to(columns, (len(batch.search_rows), len(columns)))
    negative = torch.from_numpy(np.concatenate([column_rows, log_q[batch.pair_negatives]], 1)).to(negative_mask.device)
    positive = torch.from_numpy(log_q[batch.document_rows]).to(negative_mask.device)
    return logq_correction(positive, negative, negative_mask, loss.logq, loss.logq_form == "refined")
