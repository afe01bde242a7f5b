"""From pairs to batches: who is in, which negatives go with them, and which of those count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from ebr_core.bags import Int32, Int64
from ebr_core.config import NegativeMix
from ebr_core.positives import Known, Pairs

Bool = npt.NDArray[np.bool_]


class Batch(NamedTuple):
    """B pairs with a shared pool of R random negatives and H negatives of each pair's own."""

    search_rows: Int32  # (B,)
    document_rows: Int32  # (B,)
    pool: Int32  # (R,) document rows
    own: Int32  # (B, H) document rows
    own_counts: Bool  # (B, H) False where a pair has fewer than H
    allowed: Bool  # (B, B + R) columns: the batch's documents, then the pool; False for masked positives


@njit(cache=True, nogil=True, parallel=True)
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
def _draw_own(draws, shown_from, shown_to, not_clicked, own, counts):  # type: ignore[no-untyped-def]
    """H different not-clicked impressions of each pair's search, uniform.

    A partial shuffle, driven by draws (B, H) in [0, 1).
    """
    for b in range(own.shape[0]):
        there = not_clicked[shown_from[b] : shown_to[b]].copy()
        for h in range(min(own.shape[1], len(there))):
            other = h + int(draws[b, h] * (len(there) - h))
            there[h], there[other] = there[other], there[h]
            own[b, h], counts[b, h] = there[h], True


def batches(
    pairs: Pairs,
    known: Known,
    documents: Int32,
    mix: NegativeMix,
    mask: str,
    batch_size: int,
    document_count: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """One epoch of batches, in random order. documents: the rows that random negatives are drawn from."""
    head = np.full(document_count, -1, np.int32)
    order = rng.permutation(len(pairs.search_rows))
    for first in range(0, len(order), batch_size):
        at = order[first : first + batch_size]
        pool = rng.choice(documents, mix.random).astype(np.int32)
        allowed = np.ones((len(at), len(at) + mix.random), bool)
        if mask != "none":
            columns = np.concatenate([pairs.document_rows[at], pool])
            _mask_known(allowed, columns, pairs.groups[at], known.offsets, known.documents, head)
        np.fill_diagonal(allowed[:, : len(at)], False)
        own, own_counts = _own_negatives(pairs, at, mix.impressions, rng)
        yield Batch(pairs.search_rows[at], pairs.document_rows[at], pool, own, own_counts, allowed)


def _own_negatives(pairs: Pairs, at: Int64, count: int, rng: np.random.Generator) -> tuple[Int32, Bool]:
    own = np.zeros((len(at), count), np.int32)
    counts = np.zeros((len(at), count), bool)
    if count:
        draws = rng.random((len(at), count))
        _draw_own(draws, pairs.shown_from[at], pairs.shown_to[at], pairs.not_clicked, own, counts)
    return own, counts
