"""From pairs to batches: the pairs of each batch, their negatives, and the mask of those that count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ebr_core.arrays import Bool, Float32, Float64, Int32, Int64
from ebr_core.parallel import parallel
from ebr_core.scratch import count_values
from ebr_core.training.distillation import TeacherScores
from ebr_core.training.pair_config import NegativeMix
from ebr_core.training.positives import KnownPositives, Pairs

BLOCK = 4096  # neighbouring pairs that a window keeps together


class NegativeSource(NamedTuple):
    """The documents from which batches draw their negatives."""

    documents: Int32  # (n,) rows of the documents of the training window
    clicks: Int64  # (N,) clicks of each document in the training window
    mined: Int32  # (P, keep) mined documents of each pair, −1 after the last; (P, 0) if nothing was mined


class Batch(NamedTuple):
    """B pairs with R random negatives and M documents of the memory bank, shared by all, and H negatives per pair."""

    search_rows: Int32  # (B,)
    document_rows: Int32  # (B,)
    pool: Int32  # (R,) document rows
    memory_rows: Int32  # (M,) document rows: positives of earlier batches, the oldest first
    pair_negatives: Int32  # (B, H) document rows: not-clicked impressions, then mined ones
    pair_negative_mask: Bool  # (B, H) False where a pair has fewer than H
    allowed: Bool  # (B, B + R + M) columns: the batch's documents, the pool, the memory; False: a known positive
    mix: NegativeMix
    twice: bool = False  # True if the batch's documents are embedded a second time, in full, as negatives of the others
    weights: Float32 | None = None  # (B,) of the pairs; None: all 1
    is_new: bool = False  # True if no step has seen its pairs, so that the weights of the tower's groups learn from it
    teacher: TeacherScores | None = None  # an encoder's scores of the candidates, if they are a soft target

    @property
    def shared_documents(self) -> Int32:
        """(C,) the documents of the columns that all pairs share: the batch's, if any count, the pool, the memory."""
        in_batch = self.document_rows if self.mix.compares_batch else self.document_rows[:0]
        return np.concatenate([in_batch, self.pool, self.memory_rows])


@parallel("groups")
def _mask_known(allowed, columns, groups, offsets, documents, head):  # type: ignore[no-untyped-def]
    """Set allowed[b, c] to False where the document of column c is a known positive of pair b's group.

    head (documents,) is scratch, all −1.
    """
    following = np.empty(len(columns), np.int32)
    for column in range(len(columns)):  # for each document, a linked list of its columns
        following[column] = head[columns[column]]
        head[columns[column]] = column
    for b in prange(len(groups)):
        for pos in range(offsets[groups[b]], offsets[groups[b] + 1]):
            column = head[documents[pos]]
            while column >= 0:
                allowed[b, column] = False
                column = following[column]
    for column in range(len(columns)):
        head[columns[column]] = -1


@njit(cache=True, nogil=True)
def _draw_candidates(draws, starts, ends, candidates, chosen, mask):  # type: ignore[no-untyped-def]
    """Fill chosen (B, H) with distinct values of candidates[starts[b] : ends[b]] before the first −1, drawn uniformly.

    mask (B, H) marks the filled cells. A partial shuffle, driven by draws (B, H) in [0, 1).
    """
    for b in range(chosen.shape[0]):
        pool = candidates[starts[b] : ends[b]].copy()
        n = 0
        while n < len(pool) and pool[n] >= 0:
            n += 1
        for h in range(min(chosen.shape[1], n)):
            swap = h + int(draws[b, h] * (n - h))
            pool[h], pool[swap] = pool[swap], pool[h]
            chosen[b, h], mask[b, h] = pool[h], True


def next_epoch(
    remaining: Int32, pairs: int, count: int, rng: np.random.Generator, window: int | None = None
) -> tuple[Int32, Int32]:
    """(the next `count` pairs, the rest of their round): rounds of all pairs, each in a new random order.

    remaining: the rest of the round before. window: pairs that are shuffled together; see `shuffle_pairs`.

    >>> next_epoch(np.array([1, 0]), 2, 2, np.random.default_rng(0))[0]
    array([1, 0])
    """
    while len(remaining) < count:
        order = shuffle_pairs(pairs, window, rng)
        remaining = np.concatenate([remaining, order]) if len(remaining) else order
    return remaining[:count], remaining[count:]


def shuffle_pairs(pairs: int, window: int | None, rng: np.random.Generator) -> Int32:
    """(P,) all pairs in random order. With a window, blocks of neighbouring pairs are shuffled, then the pairs within
    each window of blocks."""
    order = np.arange(pairs, dtype=np.int32)
    if window is None:
        rng.shuffle(order)
        return order
    blocks = np.array_split(order, range(BLOCK, pairs, BLOCK))
    order = np.concatenate([blocks[block] for block in rng.permutation(len(blocks))])
    for first in range(0, pairs, window):
        rng.shuffle(order[first : first + window])
    return order


def batches(
    pairs: Pairs,
    known_positives: KnownPositives,
    source: NegativeSource,
    mix: NegativeMix,
    mask: str,
    batch_size: int,
    order: Int32,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """The batches of the pairs in `order`, with their negatives."""
    head = np.full(len(source.clicks), -1, np.int32)
    cumulative = _cumulative_weights(source, mix.popularity) if mix.random else None
    memory_rows = np.zeros(0, np.int32)
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size].astype(np.int64)
        pool = _draw_pool(source, mix.random, cumulative, rng)
        columns = np.concatenate([pairs.document_rows[rows], pool, memory_rows])
        allowed = np.ones((len(rows), len(columns)), bool)
        if mask != "none":
            _mask_known(allowed, columns, pairs.groups[rows], known_positives.offsets, known_positives.documents, head)
        np.fill_diagonal(allowed[:, : len(rows)], False)
        pair_negatives, pair_negative_mask = _draw_pair_negatives(pairs, source, rows, mix, rng)
        yield Batch(
            pairs.search_rows[rows], pairs.document_rows[rows], pool, memory_rows, pair_negatives, pair_negative_mask,
            allowed, mix, weights=None if pairs.weights is None else pairs.weights[rows],
        )  # fmt: skip
        memory_rows = (
            np.concatenate([memory_rows, pairs.document_rows[rows]])[-mix.memory :] if mix.memory else memory_rows
        )


def _cumulative_weights(source: NegativeSource, exponent: float) -> Float64 | None:
    """(n,) the probability that a draw lies at or before each document, by (1 + clicks)^exponent; None if uniform."""
    if not exponent:
        return None
    weights = (1.0 + source.clicks[source.documents]) ** exponent
    return np.asarray(np.cumsum(weights) / weights.sum())


def _draw_pool(source: NegativeSource, count: int, cumulative: Float64 | None, rng: np.random.Generator) -> Int32:
    if cumulative is None:
        return rng.choice(source.documents, count).astype(np.int32)
    positions = np.searchsorted(cumulative, rng.random(count), side="right")
    return source.documents[np.minimum(positions, len(cumulative) - 1)]


def _draw_pair_negatives(
    pairs: Pairs, source: NegativeSource, rows: Int64, mix: NegativeMix, rng: np.random.Generator
) -> tuple[Int32, Bool]:
    pair_negatives = np.zeros((len(rows), mix.pair_negatives), np.int32)
    mask = np.zeros((len(rows), mix.pair_negatives), bool)
    impression_columns, mined_columns = slice(0, mix.impressions), slice(mix.impressions, mix.pair_negatives)
    if mix.impressions:
        draws = rng.random((len(rows), mix.impressions))
        impressions = pairs.shown_from[rows], pairs.shown_to[rows], pairs.not_clicked
        _draw_candidates(draws, *impressions, pair_negatives[:, impression_columns], mask[:, impression_columns])
    if mix.offline_hard:
        draws, keep = rng.random((len(rows), mix.offline_hard)), source.mined.shape[1]
        _draw_candidates(
            draws,
            rows * keep,
            (rows + 1) * keep,
            source.mined.ravel(),
            pair_negatives[:, mined_columns],
            mask[:, mined_columns],
        )
    return pair_negatives, mask


def positive_frequencies(pairs: Pairs, documents: int) -> Float64:
    """(N,) the share of the pairs whose positive is each of N documents."""
    return np.asarray(count_values(pairs.document_rows, documents) / max(len(pairs.document_rows), 1))


def sampling_probabilities(source: NegativeSource, frequencies: Float64, mix: NegativeMix, batch_size: int) -> Float64:
    """(N,) q, the probability that a negative of a batch is that document: a mixture of the other pairs' positives and
    the random pool, in proportion to their numbers in a batch. [Yi et al. 2019; Yang et al. 2020]

    frequencies (N,): the share of the pairs whose positive is each document; see `positive_frequencies`. A document
    that neither draws gets the smallest probability of the others, so that its logarithm exists.
    """
    in_batch = batch_size - 1 if mix.in_batch == "all" else int(mix.in_batch)
    in_batch += mix.in_batch_hard + mix.memory
    q = in_batch * frequencies
    weights = (1.0 + source.clicks[source.documents]) ** mix.popularity
    q[source.documents] += mix.random * weights / weights.sum()
    least = q[q > 0].min() if q.any() else 1.0
    return np.asarray(np.maximum(q, least) / max(in_batch + mix.random, 1))
