"""From pairs to batches: who is in, which negatives go with them, and which of those count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ebr_core.arrays import Bool, Float64, Int32, Int64
from ebr_core.parallel import parallel
from ebr_core.scratch import counted
from ebr_core.training.pair_config import NegativeMix
from ebr_core.training.positives import KnownPositives, Pairs

BLOCK = 4096  # neighbouring pairs that a window keeps together


class NegativeSource(NamedTuple):
    """From what a batch draws its negatives."""

    documents: Int32  # (n,) rows of the documents of the training window
    clicks: Int64  # (N,) clicks of each document in the training window
    offline: Int32  # (P, keep) mined documents of each pair, −1 behind the last; (P, 0) where nothing was mined


class Batch(NamedTuple):
    """B pairs with R random negatives and M remembered documents for all of them, H negatives of each pair's own."""

    search_rows: Int32  # (B,)
    document_rows: Int32  # (B,)
    pool: Int32  # (R,) document rows
    remembered: Int32  # (M,) document rows: positives of the batches before, the oldest first
    own: Int32  # (B, H) document rows: not-clicked impressions, then mined ones
    own_counts: Bool  # (B, H) False where a pair has fewer
    allowed: Bool  # (B, B + R + M) columns: the batch's documents, the pool, the remembered; False: a known positive
    mix: NegativeMix


@parallel("groups")
def _mask_known(allowed, columns, groups, offsets, documents, head):  # type: ignore[no-untyped-def]
    """Sets allowed[b, c] to False where column c shows a known positive of group b.

    head (documents,) is scratch, all −1.
    """
    following = np.empty(len(columns), np.int32)
    for column in range(len(columns)):  # for each document, a chain of the columns that show it
        following[column] = head[columns[column]]
        head[columns[column]] = column
    for b in prange(len(groups)):
        for at in range(offsets[groups[b]], offsets[groups[b] + 1]):
            column = head[documents[at]]
            while column >= 0:
                allowed[b, column] = False
                column = following[column]
    for column in range(len(columns)):
        head[columns[column]] = -1


@njit(cache=True, nogil=True)
def _draw_own(draws, there_from, there_to, there, own, counts):  # type: ignore[no-untyped-def]
    """H different ones of there[there_from[b] : there_to[b]] for each pair b, uniform; none that is −1.

    A partial shuffle, driven by draws (B, H) in [0, 1).
    """
    for b in range(own.shape[0]):
        some = there[there_from[b] : there_to[b]].copy()
        n = 0
        while n < len(some) and some[n] >= 0:
            n += 1
        for h in range(min(own.shape[1], n)):
            other = h + int(draws[b, h] * (n - h))
            some[h], some[other] = some[other], some[h]
            own[b, h], counts[b, h] = some[h], True


def next_epoch(
    rest: Int32, pairs: int, wanted: int, rng: np.random.Generator, window: int | None = None
) -> tuple[Int32, Int32]:
    """(the next wanted pairs, what is left of their round): rounds of all pairs, each in a new random order.

    window: pairs that are shuffled together; see `shuffled`.

    >>> deal(np.array([1, 0]), 2, 2, np.random.default_rng(0))[0]
    array([1, 0])
    """
    while len(rest) < wanted:
        more = shuffled(pairs, window, rng)
        rest = np.concatenate([rest, more]) if len(rest) else more
    return rest[:wanted], rest[wanted:]


def shuffled(pairs: int, window: int | None, rng: np.random.Generator) -> Int32:
    """(P,) all pairs in random order: without a window in any; with one, blocks of neighbours come in any order, and of
    as many blocks as the window holds the pairs do."""
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
    known: KnownPositives,
    drawn: NegativeSource,
    mix: NegativeMix,
    mask: str,
    batch_size: int,
    order: Int32,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """The pairs of order, batch by batch, with their negatives."""
    head = np.full(len(drawn.clicks), -1, np.int32)
    chances = _chances(drawn, mix.popularity) if mix.random else None
    remembered = np.zeros(0, np.int32)
    for first in range(0, len(order), batch_size):
        at = order[first : first + batch_size].astype(np.int64)
        pool = _draw_pool(drawn, mix.random, chances, rng)
        columns = np.concatenate([pairs.document_rows[at], pool, remembered])
        allowed = np.ones((len(at), len(columns)), bool)
        if mask != "none":
            _mask_known(allowed, columns, pairs.groups[at], known.offsets, known.documents, head)
        np.fill_diagonal(allowed[:, : len(at)], False)
        own, counts = _own_negatives(pairs, drawn, at, mix, rng)
        yield Batch(
            pairs.search_rows[at], pairs.document_rows[at], pool, remembered, own, counts, allowed, mix
        )  # fmt: skip
        remembered = np.concatenate([remembered, pairs.document_rows[at]])[-mix.memory :] if mix.memory else remembered


def _chances(drawn: NegativeSource, exponent: float) -> Float64 | None:
    """(n,) the chance that a draw lies at or before each document, by (1 + clicks)^exponent; None: all alike."""
    if not exponent:
        return None
    weights = (1.0 + drawn.clicks[drawn.documents]) ** exponent
    return np.asarray(np.cumsum(weights) / weights.sum())


def _draw_pool(drawn: NegativeSource, count: int, chances: Float64 | None, rng: np.random.Generator) -> Int32:
    if chances is None:
        return rng.choice(drawn.documents, count).astype(np.int32)
    at = np.searchsorted(chances, rng.random(count), side="right")
    return drawn.documents[np.minimum(at, len(chances) - 1)]


def _own_negatives(
    pairs: Pairs, drawn: NegativeSource, at: Int64, mix: NegativeMix, rng: np.random.Generator
) -> tuple[Int32, Bool]:
    own = np.zeros((len(at), mix.own), np.int32)
    counts = np.zeros((len(at), mix.own), bool)
    shown, mined = slice(0, mix.impressions), slice(mix.impressions, mix.own)
    if mix.impressions:
        draws = rng.random((len(at), mix.impressions))
        there = pairs.shown_from[at], pairs.shown_to[at], pairs.not_clicked
        _draw_own(draws, *there, own[:, shown], counts[:, shown])
    if mix.offline_hard:
        draws, keep = rng.random((len(at), mix.offline_hard)), drawn.offline.shape[1]
        _draw_own(draws, at * keep, (at + 1) * keep, drawn.offline.ravel(), own[:, mined], counts[:, mined])
    return own, counts


def sampling_probabilities(drawn: NegativeSource, pairs: Pairs, mix: NegativeMix, batch_size: int) -> Float64:
    """(N,) q, the chance that a negative of the batch is that document: the mixture of the other pairs' positives and
    of the random pool, in the numbers in which they stand in a batch. [Yi et al. 2019; Yang et al. 2020]

    A document that neither draws has the smallest chance of any other, so that its logarithm exists.
    """
    n = len(drawn.clicks)
    in_batch = batch_size - 1 if mix.in_batch == "all" else int(mix.in_batch)
    in_batch += mix.in_batch_hard + mix.memory
    q = in_batch * counted(pairs.document_rows, n) / max(len(pairs.document_rows), 1)
    weights = (1.0 + drawn.clicks[drawn.documents]) ** mix.popularity
    q[drawn.documents] += mix.random * weights / weights.sum()
    least = q[q > 0].min() if q.any() else 1.0
    return np.asarray(np.maximum(q, least) / max(in_batch + mix.random, 1))
