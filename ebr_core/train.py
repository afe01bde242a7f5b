"""Trains one arm: batches → towers → loss, every gradient in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import faiss
import numba
import numpy as np
import torch
from torch import Tensor

from ebr_core.bags import Int32
from ebr_core.batches import Batch, batches
from ebr_core.config import Arm, InputError
from ebr_core.losses import loss_and_gradient
from ebr_core.positives import Known, Pairs
from ebr_core.towers import Encoder, Inputs, encode, improve, new_encoder

COLLAPSED = 0.99  # length of the mean document embedding above which all embeddings point one way


class Corpus(NamedTuple):
    """What an arm reads."""

    inputs: Inputs
    documents: int  # N
    table_rows: int
    trainable: Int32  # document rows that existed in the training window


class Epoch(NamedTuple):
    """How an epoch went."""

    epoch: int  # from 1
    loss: float
    active: float  # share of the negatives that pushed
    positive_cosine: float
    negative_cosine: float
    gradient_norm: float
    spread: float  # 1 − the length of the mean document embedding; 0 is a collapse
    validation_recall: float


class Progress(NamedTuple):
    """Pairs seen so far, the epoch if one just ended, and whether its towers are the best so far."""

    pairs: int
    epoch: Epoch | None = None
    best: bool = False


class Sums(NamedTuple):
    """What a step reports, to be meaned over the epoch."""

    loss: float
    active: float
    positive_cosine: float
    negative_cosine: float
    gradient_norm: float


def use_threads(threads: int) -> None:
    """Fixes the threads of torch, numba and faiss for the calling thread, so that arms can run side by side."""
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # numba sets its config while importing
    if threads > most:
        raise InputError(f"threads: {threads}, but this machine has {most}")
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    faiss.cvar.distance_compute_blas_threshold = 20  # its default, 128,000, trains PQ 13 times slower (LOG.md)


def train(
    corpus: Corpus,
    pairs: Pairs,
    known: Known,
    arm: Arm,
    seed: int,
    recall: Callable[[Encoder], float],
    device: str = "cpu",
) -> Iterator[tuple[Progress, Encoder]]:
    """Progress with the live towers, until the epochs are over or validation recall stops rising.

    recall(encoder) measures validation recall after each epoch. Errors: NaN, collapse, an arm whose negatives do not
    exist.
    """
    if arm.negatives.impressions and not len(pairs.not_clicked):
        raise InputError(
            "negatives.impressions: no impression of the training window is left that was neither clicked nor is a "
            "positive of this arm; use negatives.random, or positives.source: clicks"
        )
    rng = np.random.default_rng([seed, 0])
    encoder = new_encoder(corpus.table_rows, arm.towers.dimensions, rng)
    best, since, seen = -1.0, 0, 0
    if not arm.training.epochs:
        untrained = Sums(0, 0, 0, 0, 0)
        yield Progress(0, Epoch(0, *untrained, _spread(corpus, encoder), recall(encoder)), True), encoder
    for number in range(1, arm.training.epochs + 1):
        sums = []
        for batch in batches(
            pairs, known, corpus.trainable, arm.negatives, arm.mask, arm.training.batch_size, corpus.documents, rng
        ):
            sums.append(_step(corpus, batch, arm, encoder, device))
            seen += len(batch.search_rows)
            yield Progress(seen), encoder
        epoch = _epoch(number, sums, _spread(corpus, encoder), recall(encoder))
        since = 0 if epoch.validation_recall > best else since + 1
        best = max(best, epoch.validation_recall)
        yield Progress(seen, epoch, since == 0), encoder
        if since >= arm.training.patience:
            return


def _epoch(number: int, sums: list[Sums], spread: float, recall: float) -> Epoch:
    means = Sums(*(float(np.mean(values)) for values in zip(*sums, strict=True)))
    if not np.isfinite(means).all():
        raise InputError(f"epoch {number}: the loss is not a number; lower training.learning_rate")
    if not math.isfinite(recall):
        raise InputError(
            f"epoch {number}: validation recall is not a number: got {recall}; without a validation search that has a "
            "target no epoch can be chosen: move the split, so that the validation period holds clicks"
        )
    if spread < 1 - COLLAPSED:
        raise InputError(
            f"epoch {number}: collapse, the embeddings of all documents point one way (spread {spread:.4f}); "
            "lower training.learning_rate, or the margin, or start with easier negatives"
        )
    return Epoch(number, *means, spread, recall)


def _spread(corpus: Corpus, encoder: Encoder, most: int = 10_000) -> float:
    documents = corpus.trainable[:: max(1, len(corpus.trainable) // most)]
    vectors = encode(encoder, corpus.inputs, corpus.inputs.rows_of(documents)).vectors
    return 1 - float(np.linalg.norm(vectors.mean(0)))


def _step(corpus: Corpus, batch: Batch, arm: Arm, encoder: Encoder, device: str) -> Sums:
    """One batch forward, back and into the towers, which are changed in place."""
    b, r = len(batch.search_rows), len(batch.pool)
    documents = np.concatenate([batch.document_rows, batch.pool, batch.own.ravel()])
    rows = np.concatenate([batch.search_rows, corpus.inputs.rows_of(documents)]).astype(np.int32)
    encoded = encode(encoder, corpus.inputs, rows)
    gradient, sums = _similarity_step(torch.from_numpy(encoded.vectors).to(device), batch, arm, b, r)
    improve(encoder, corpus.inputs, encoded, gradient.to("cpu").numpy(), arm.training.learning_rate)
    return sums


def _similarity_step(everything: Tensor, batch: Batch, arm: Arm, b: int, r: int) -> tuple[Tensor, Sums]:
    """(∂loss/∂vectors, what to report) for the vectors (B queries + B documents + R pool + B·H own, D)."""
    device, (h, d) = everything.device, (batch.own.shape[1], everything.shape[1])
    queries, positives = everything[:b], everything[b : 2 * b]
    allowed = torch.from_numpy(batch.allowed).to(device)
    in_batch = bool(arm.negatives.in_batch or arm.negatives.in_batch_hard)
    first = 0 if in_batch else b  # without in-batch negatives, only the pool's columns are computed
    columns = everything[b + first : 2 * b + r]  # (C, D)
    own = everything[2 * b + r :].view(b, h, d)
    positive = (queries * positives).sum(1)  # (B,)
    negative = torch.cat([queries @ columns.T, torch.einsum("bd,bhd->bh", queries, own)], 1)  # (B, C + H)
    counts = torch.cat([allowed[:, first:], torch.from_numpy(batch.own_counts).to(device)], 1)
    if in_batch:
        counts[:, :b] = _choose_in_batch(negative[:, :b], allowed[:, :b], arm)
    counted = negative.mul(counts).sum() / counts.count_nonzero().clamp(
        min=1
    )  # negative[counts] takes ten times longer
    pushed = loss_and_gradient(arm.loss, positive, negative, counts)
    by_column, by_own = pushed.by_negative[:, : len(columns)], pushed.by_negative[:, len(columns) :]
    gradient = torch.zeros_like(everything)
    gradient[:b] = by_column @ columns
    gradient[:b] += pushed.by_positive[:, None] * positives
    gradient[:b] += torch.einsum("bh,bhd->bd", by_own, own)
    gradient[b + first : 2 * b + r] = by_column.T @ queries
    gradient[b : 2 * b] += pushed.by_positive[:, None] * queries
    gradient[2 * b + r :] = (by_own[:, :, None] * queries[:, None, :]).reshape(-1, d)
    norm = float(torch.linalg.vector_norm(gradient))
    return gradient, Sums(pushed.loss, pushed.active, float(positive.mean()), float(counted), norm)


def _choose_in_batch(similarity: Tensor, allowed: Tensor, arm: Arm) -> Tensor:
    """(B, B): the next in_batch documents of the batch in a ring, and the in_batch_hard nearest; none that is masked.

    [EBR §6.1.1]
    """
    b = len(similarity)
    wanted = b - 1 if arm.negatives.in_batch == "all" else min(int(arm.negatives.in_batch), b - 1)
    every = torch.ones_like(allowed)
    chosen = (
        every.triu(1).tril_(wanted) | every.tril(wanted - b)
    ) & allowed  # ahead of the diagonal, and round the end
    if arm.negatives.in_batch_hard:
        nearest = similarity.masked_fill(~allowed, -torch.inf).topk(min(arm.negatives.in_batch_hard, b), dim=1).indices
        chosen |= torch.zeros_like(allowed).scatter_(1, nearest, True) & allowed
    return chosen
