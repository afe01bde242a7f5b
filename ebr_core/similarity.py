"""The middle of a training step: from embeddings to the loss and back, over all pairs of a batch at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ebr_core.bags import Float32
from ebr_core.batches import Batch
from ebr_core.config import Arm, Softmax, ThreePart, Triplet
from ebr_core.losses import Correction, LossAndGradient, logq_correction, softmax, three_part, triplet


class Sums(NamedTuple):
    """What a step reports, to be meaned over the epoch."""

    loss: float
    active: float
    positive_cosine: float
    negative_cosine: float
    gradient_norm: float


class Parts(NamedTuple):
    """The embeddings of a batch by what they are for."""

    queries: Tensor  # (h, B, D)
    positives: Tensor  # (B, D)
    columns: Tensor  # (C, D) negatives of every pair: other pairs' documents (if any serve), the pool, the remembered
    own: Tensor  # (B, H, D) negatives of one pair each


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
    parts = Parts(
        vectors[: views * b].view(views, b, d),
        vectors[views * b : (views + 1) * b],
        torch.cat([vectors[first:last], memory]) if len(memory) else vectors[first:last],
        vectors[last:].view(b, batch.own.shape[1], d),
    )
    positive, of_positive = _nearest([(query * parts.positives).sum(1) for query in parts.queries])
    negative, of_negative = _nearest([_against(query, parts) for query in parts.queries])
    counts = _counted(negative, batch, arm)
    # negative[counts] would take ten times longer
    counted = negative.mul(counts).sum() / counts.count_nonzero().clamp(min=1)
    pushed = _loss(positive, negative, counts, batch, arm, log_q)
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
    return gradient, Sums(pushed.loss, pushed.active, float(positive.mean()), float(counted), norm)


def _nearest(by_view: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The largest similarity over a query's vectors, and which of them has it. [DPSR 2020]"""
    if len(by_view) == 1:
        return by_view[0], torch.empty(0)
    best = torch.stack(by_view).max(0)
    return best.values, best.indices


def _against(query: Tensor, parts: Parts) -> Tensor:
    """(B, C + H) similarities of each query to the shared negatives, then to its own."""
    shared = query @ parts.columns.T
    return torch.cat([shared, torch.einsum("bd,bhd->bh", query, parts.own)], 1) if parts.own.shape[1] else shared


def _counted(negative: Tensor, batch: Batch, arm: Arm) -> Tensor:
    """(B, C + H) which negatives count."""
    b, device = len(batch.search_rows), negative.device
    allowed = torch.from_numpy(batch.allowed).to(device)
    shared = allowed if batch.mix.compares_batch else allowed[:, b:]
    counts = torch.cat([shared, torch.from_numpy(batch.own_counts).to(device)], 1)
    if batch.mix.compares_batch:
        counts[:, :b] = choose_in_batch(negative[:, :b], allowed[:, :b], batch)
    return counts


def choose_in_batch(similarity: Tensor, allowed: Tensor, batch: Batch) -> Tensor:
    """(B, B): the next in_batch documents of the batch in a ring, and the in_batch_hard nearest; none that is masked.

    [EBR §6.1.1]
    """
    b, mix = len(similarity), batch.mix
    wanted = b - 1 if mix.in_batch == "all" else min(int(mix.in_batch), b - 1)
    every = torch.ones_like(allowed)
    chosen = (
        every.triu(1).tril_(wanted) | every.tril(wanted - b)
    ) & allowed  # ahead of the diagonal, and round the end
    if mix.in_batch_hard:
        nearest = similarity.masked_fill(~allowed, -torch.inf).topk(min(mix.in_batch_hard, b), dim=1).indices
        chosen |= torch.zeros_like(allowed).scatter_(1, nearest, True) & allowed
    return chosen


def _loss(
    positive: Tensor, negative: Tensor, counts: Tensor, batch: Batch, arm: Arm, log_q: Float32 | None
) -> LossAndGradient:
    """The loss that the arm names."""
    if isinstance(arm.loss, Triplet):
        return triplet(positive, negative, counts, arm.loss.margin)
    if isinstance(arm.loss, ThreePart):
        shared = negative.shape[1] - batch.own.shape[1]
        return three_part(positive, negative, counts, slice(shared, shared + batch.mix.impressions), arm.loss)
    correction = None if log_q is None else _correction(counts, batch, arm.loss, log_q)
    return softmax(positive, negative, counts, arm.loss.temperature, correction)


def _correction(counts: Tensor, batch: Batch, loss: Softmax, log_q: Float32) -> Correction:
    """What the logits of the batch are corrected by, for how often their documents are drawn."""
    in_batch = batch.document_rows if batch.mix.compares_batch else batch.document_rows[:0]
    columns = log_q[np.concatenate([in_batch, batch.pool, batch.remembered])]
    every = np.broadcast_to(columns, (len(batch.search_rows), len(columns)))
    negative = torch.from_numpy(np.concatenate([every, log_q[batch.own]], 1)).to(counts.device)
    positive = torch.from_numpy(log_q[batch.document_rows]).to(counts.device)
    return logq_correction(positive, negative, counts, loss.logq, loss.logq_form == "refined")
