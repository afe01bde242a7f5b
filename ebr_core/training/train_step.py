"""One step of training: a batch through the towers, its loss, and the gradient back into them."""

from __future__ import annotations

import numpy as np

from ebr_core.arrays import Bool, Float32, Int32
from ebr_core.lazy_torch import torch
from ebr_core.towers.tower import Tower
from ebr_core.training.arm_config import Arm
from ebr_core.training.batch_inputs import BatchRows, forward_batch
from ebr_core.training.batches import Batch
from ebr_core.training.distillation import teacher_scores
from ebr_core.training.own_pairs import OwnPairs
from ebr_core.training.similarity import StepStats, nested_step
from ebr_core.training.title_pairs import title_queries
from ebr_core.training.training_corpus import Corpus, MisspeltCopies


def train_step(
    corpus: Corpus,
    batch: Batch,
    arm: Arm,
    tower: Tower,
    log_q: Float32 | None,
    memory_bank: Float32,
    rng: np.random.Generator,
    device: str,
) -> tuple[StepStats, Float32]:
    """Train the tower on one batch, in place, the weights of its groups only if the pairs are new. (The figures to
    report, the memory bank for the next batch.)"""
    b = len(batch.search_rows)
    inputs, searches = corpus.inputs, batch.search_rows
    misspelt = np.zeros(b, bool)
    if corpus.copies is not None:
        searches, misspelt = _with_typos(batch.search_rows, corpus.copies, arm.typos.share, rng)
    # What a pair knows of itself is left out of its own vectors, not of those that are negatives of the others.
    batch = batch._replace(twice=_differs(corpus.own) and bool(batch.mix.compares_batch or batch.mix.memory))
    if corpus.teacher is not None and arm.distillation is not None:
        candidates = batch.document_rows, batch.shared_documents, batch.pair_negatives
        batch = batch._replace(teacher=teacher_scores(corpus.teacher, batch.search_rows, *candidates))
    documents = [batch.document_rows] * (1 + batch.twice) + [batch.pool, batch.pair_negatives.ravel()]
    rows = BatchRows(batch.search_rows, inputs.queries_of(searches), np.concatenate(documents))
    titles = None if corpus.titles is None else title_queries(corpus.titles, batch.search_rows, rng)
    learner, forward = forward_batch(tower, inputs, rows, corpus.own, titles)
    vectors = torch.from_numpy(forward.vectors).to(device)
    memory = torch.from_numpy(memory_bank[: len(batch.memory_rows)]).to(device)
    gradient, stats = nested_step(vectors, memory, batch, arm, log_q)
    by_vectors = gradient.to("cpu").numpy()
    if arm.typos.teaching and misspelt.any():
        clean = _clean(tower, corpus, batch.search_rows[misspelt], batch.document_rows[misspelt])
        taught = np.float32(arm.typos.teaching / b) * clean
        by_vectors[:b][misspelt] -= taught if batch.weights is None else batch.weights[misspelt, None] * taught
    if batch.mix.memory:
        first = (len(inputs.views) + batch.twice) * b
        memory_bank = np.concatenate([memory_bank, forward.vectors[first : first + b]])[-batch.mix.memory :]
    by_weights = by_vectors.copy() if batch.is_new and learner.weighs_groups else None
    learner.step(forward, by_vectors, arm.training.learning_rate)
    if by_weights is not None:
        learner.step_weights(forward, by_weights)
    return stats, memory_bank


def _differs(own: OwnPairs | None) -> bool:
    """True if a document has another vector in its own pairs."""
    return own is not None and own.change_documents


def _clean(tower: Tower, corpus: Corpus, searches: Int32, documents: Int32) -> Float32:
    """(n, D) the vectors of the searches of pairs, as they were typed."""
    if corpus.own is None:
        return tower.encode(searches)
    rows = BatchRows(searches, searches, documents)
    _, forward = forward_batch(tower, corpus.inputs, rows, corpus.own, None)
    return forward.vectors[: len(searches)]


def _with_typos(searches: Int32, copies: MisspeltCopies, share: float, rng: np.random.Generator) -> tuple[Int32, Bool]:
    """((B,) the rows of the searches, a share of them replaced by misspelt copies, (B,) True for the copies)."""
    is_copy = (rng.random(len(searches)) < share) & (searches >= 0)  # no copies of titles
    copy = rng.integers(copies.per_search, size=len(searches))
    copy_rows = copies.first + copy * len(copies.searches) + np.searchsorted(copies.searches, searches)
    return np.where(is_copy, copy_rows, searches).astype(np.int32), is_copy
