"""The middle of a training step: from embeddings to the loss and back, over all pairs of a batch at once."""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np
import torch
from torch import Tensor

from ebr_core.arrays import Float32
from ebr_core.training.arm_config import Arm
from ebr_core.training.batches import Batch
from ebr_core.training.kernels import Pushed, choose_in_batch, softmax_in_place, triplet_in_place
from ebr_core.training.loss_config import Softmax, ThreePart, Triplet
from ebr_core.training.losses import Correction, LossAndGradient, logq_correction, softmax, three_part, triplet


class Sums(NamedTuple):
    """What a step reports, to be meaned over the epoch."""

    loss: float
    active: float
    positive_cosine: float
    negative_cosine: float
    gradient_norm: float


class BatchEmbeddings(NamedTuple):
    """The embeddings of a batch by what they are for."""

    queries: Tensor  # (h, B, D)
    positives: Tensor  # (B, D)
    columns: Tensor  # (C, D) negatives of every pair: other pairs' documents (if any serve), the pool, the remembered
    own: Tensor  # (B, H, D) negatives of one pair each


def nested_step(vectors: Tensor, memory: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None) -> tuple[Tensor, Sums]:
    """similarity_step, its loss meaned over the embeddings and their prefixes at unit length. [Kusupati et al. 2022]

    What is reported is of the whole embeddings.
    """
    gradient, sums = similarity_step(vectors, memory, batch, arm, log_q)
    if not arm.towers.prefixes:
        return gradient, sums
    for prefix in arm.towers.prefixes:
        lengths = torch.linalg.vector_norm(vectors[:, :prefix], dim=1, keepdim=True)
        there = lengths > 0
        units = vectors[:, :prefix] / lengths.where(there, 1)
        remembered = torch.nn.functional.normalize(memory[:, :prefix], dim=1)
        by_units, _ = similarity_step(units, remembered, batch, arm, log_q)
        by_units -= (by_units * units).sum(1, keepdim=True) * units
        gradient[:, :prefix] += torch.where(there, by_units / lengths, 0)
    return gradient / (1 + len(arm.towers.prefixes)), sums


def similarity_step(
    vectors: Tensor, memory: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None
) -> tuple[Tensor, Sums]:
    """(∂loss/∂vectors, what to report) for the vectors (h·B queries + B documents + R pool + B·H own, D).

    memory (M, D): the remembered embeddings, which are not changed. log_q (N,): see train.log_chances.
    """
    b, r, views = len(batch.search_rows), len(batch.pool), arm.towers.query_vectors
    d = vectors.shape[1]
    first = (views if batch.mix.compares_batch else views + 1) * b  # without in-batch negatives, the pool comes first
    last = (views + 1) * b + r
    parts = BatchEmbeddings(
        vectors[: views * b].view(views, b, d),
        vectors[views * b : (views + 1) * b],
        torch.cat([vectors[first:last], memory]) if len(memory) else vectors[first:last],
        vectors[last:].view(b, batch.own.shape[1], d),
    )
    positive, of_positive = _nearest([(query * parts.positives).sum(1) for query in parts.queries])
    negative, of_negative = _nearest([_against(query, parts) for query in parts.queries])
    pushed, counted = _loss_and_grad(positive, negative, _counted(negative, batch), batch, arm, log_q)
    gradient = torch.zeros_like(vectors)
    for view, query in enumerate(parts.queries):
        by_positive, by_negative = pushed.by_positive, pushed.by_negative
        if views > 1:
            by_positive, by_negative = by_positive * (of_positive == view), by_negative * (of_negative == view)
        by_column, by_own = by_negative[:, : len(parts.columns)], by_negative[:, len(parts.columns) :]
        by_query = by_column @ parts.columns
        by_query += by_positive[:, None] * parts.positives
        by_query += torch.einsum("bh,bhd->bd", by_own, parts.own)
        gradient[view * b : (view + 1) * b] = by_query
        gradient[first:last] += by_column[:, : last - first].T @ query
        gradient[views * b : (views + 1) * b] += by_positive[:, None] * query
        gradient[last:] += (by_own[:, :, None] * query[:, None, :]).reshape(-1, d)
    norm = float(torch.linalg.vector_norm(gradient))
    return gradient, Sums(pushed.loss, pushed.active, float(positive.mean()), counted, norm)


def _nearest(by_view: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The largest similarity over a query's vectors, and which of them has it. [DPSR 2020]"""
    if len(by_view) == 1:
        return by_view[0], torch.empty(0)
    best = torch.stack(by_view).max(0)
    return best.values, best.indices


def _against(query: Tensor, parts: BatchEmbeddings) -> Tensor:
    """(B, C + H) similarities of each query to the shared negatives, then to its own."""
    shared = query @ parts.columns.T
    return torch.cat([shared, torch.einsum("bd,bhd->bh", query, parts.own)], 1) if parts.own.shape[1] else shared


def _counted(negative: Tensor, batch: Batch) -> Tensor:
    """(B, C + H) which negatives count."""
    b, mix, device = len(batch.search_rows), batch.mix, negative.device
    allowed = torch.from_numpy(batch.allowed).to(device)
    if not mix.compares_batch:
        return torch.cat([allowed[:, b:], torch.from_numpy(batch.own_counts).to(device)], 1)
    counts = torch.cat([allowed, torch.from_numpy(batch.own_counts).to(device)], 1) if mix.own else allowed.clone()
    ring = b - 1 if mix.in_batch == "all" else min(int(mix.in_batch), b - 1)
    if ring < b - 1:  # else every document of the batch that is allowed serves
        chosen = np.empty((b, b), bool)
        near = negative[:, :b].to("cpu").numpy()
        choose_in_batch(near, batch.allowed[:, :b], ring, min(mix.in_batch_hard, b), chosen)
        counts[:, :b] = torch.from_numpy(chosen).to(device)
    return counts


def _loss_and_grad(
    positive: Tensor, negative: Tensor, counts: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None
) -> tuple[LossAndGradient, float]:
    """(the loss that the arm names, the mean similarity of the negatives that count); negative may be used up.

    On a CPU a kernel does it in one pass, where there is one.
    """
    on_cpu = negative.device.type == "cpu"
    match arm.loss:
        case Triplet() as loss:
            if on_cpu:
                told = triplet_in_place(negative.numpy(), positive.numpy(), counts.numpy(), loss.margin)
                return _in_place(told, negative)
            mean = _mean_counted(negative, counts)
            return triplet(positive, negative, counts, loss.margin), mean
        case Softmax() as loss:
            if on_cpu and (log_q is None or not batch.mix.own):
                near, offsets = negative.numpy(), _offsets(counts, batch, loss, log_q)
                told = softmax_in_place(near, positive.numpy(), counts.numpy(), loss.temperature, *offsets)
                return _in_place(told, negative)
            mean = _mean_counted(negative, counts)
            correction = None if log_q is None else _correction(counts, batch, loss, log_q)
            return softmax(positive, negative, counts, loss.temperature, correction), mean
        case ThreePart() as loss:
            mean, shared = _mean_counted(negative, counts), negative.shape[1] - batch.own.shape[1]
            middle = slice(shared, shared + batch.mix.impressions)
            return three_part(positive, negative, counts, middle, loss), mean
        case _:
            assert_never(arm.loss)


def _in_place(told: Pushed, negative: Tensor) -> tuple[LossAndGradient, float]:
    """What a kernel gave that left the gradient by the negatives' similarities in their place."""
    gradient = LossAndGradient(told.loss, told.active, torch.from_numpy(told.by_positive), negative)
    return gradient, told.negative_cosine


def _mean_counted(negative: Tensor, counts: Tensor) -> float:
    """The mean similarity of the negatives that count; to be taken before a loss uses the similarities up."""
    return float(negative.mul(counts).sum() / counts.count_nonzero().clamp(min=1))


def _columns(batch: Batch, log_q: Float32) -> Float32:
    """(C,) log q of the shared negatives' documents."""
    in_batch = batch.document_rows if batch.mix.compares_batch else batch.document_rows[:0]
    return np.asarray(log_q[np.concatenate([in_batch, batch.pool, batch.remembered])])


def _offsets(counts: Tensor, batch: Batch, loss: Softmax, log_q: Float32 | None) -> tuple[Float32, Float32]:
    """What is added to the logits of the shared negatives (C,) and of the positives (B,).

    What the refined correction adds to all negatives of a row is taken off the positive: only differences count.
    """
    if log_q is None:
        return np.zeros(counts.shape[1], np.float32), np.zeros(len(counts), np.float32)
    columns, own = torch.from_numpy(_columns(batch, log_q)), torch.from_numpy(log_q[batch.document_rows])
    correction = logq_correction(own, columns[None], counts, loss.logq, loss.logq_form == "refined")
    shift = correction.negative + loss.logq * columns[None]  # (B or 1, C), the same along a row
    added = correction.positive - (shift[:, 0] if shift.shape[1] else 0)
    return (-loss.logq * columns).numpy(), added.to(torch.float32).numpy()


def _correction(counts: Tensor, batch: Batch, loss: Softmax, log_q: Float32) -> Correction:
    """What the logits of the batch are corrected by, for how often their documents are drawn."""
    columns = _columns(batch, log_q)
    every = np.broadcast_to(columns, (len(batch.search_rows), len(columns)))
    negative = torch.from_numpy(np.concatenate([every, log_q[batch.own]], 1)).to(counts.device)
    positive = torch.from_numpy(log_q[batch.document_rows]).to(counts.device)
    return logq_correction(positive, negative, counts, loss.logq, loss.logq_form == "refined")
