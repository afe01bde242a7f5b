"""The nearest documents of each query, as many as a deep window of ranks asks for, by exact search.

The similarities are never held as a whole. A block of queries meets the corpus chunk by chunk, each product small
enough to stay in cache; a threshold, guessed from a sample of the documents and raised as candidates pile up, lets
through little more than the last rank asks for, and what is left is sorted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from ebr_core.bags import Float32, Int64
from ebr_core.search import SLACK, TIED

_QUERIES, _DOCUMENTS = 256, 4096  # of a block and of a chunk: product and factors lie in the second-level cache
_SAMPLE = 2048  # documents from which a query's threshold is guessed
_CANDIDATE_BYTES = 2**26  # of candidates for a block of queries; deep windows get smaller blocks


class Search(NamedTuple):
    """What is the same for every block of queries."""

    chunks: list[torch.Tensor]  # of documents, (≤ _DOCUMENTS, D)
    sample: torch.Tensor  # (S, D)
    sample_rank: int  # the place in the sample that becomes the threshold; 0: none
    enough: int  # candidates wanted of each query
    room: int  # candidates held for each query


def prepare(vectors: Float32, last: int) -> Search:
    """A search for the `last` nearest of vectors (N, D), and SLACK more, so that ties at the last place are broken."""
    documents = torch.from_numpy(np.ascontiguousarray(vectors))
    n = len(documents)
    chunks = [documents[first : first + _DOCUMENTS] for first in range(0, n, _DOCUMENTS)]
    enough = min(n, last + SLACK)
    expected = enough * _SAMPLE / n
    rank = math.ceil(expected + 4 * math.sqrt(expected)) + 1  # four deviations: hardly a query is searched twice
    if 2 * rank > _SAMPLE:
        return Search(chunks, documents[:0], 0, enough, min(n, 2 * enough))
    sample = documents[torch.arange(_SAMPLE) * n // _SAMPLE].contiguous()
    return Search(chunks, sample, rank, enough, min(n, 2 * enough + _SAMPLE))


def block_size(search: Search) -> int:
    """How many queries to give `nearest` at a time."""
    return max(1, min(_QUERIES, _CANDIDATE_BYTES // (8 * search.room)))


def nearest(queries: torch.Tensor, search: Search) -> tuple[Int64, Int64]:
    """(keys (q, room), counts (q,)): the `enough` most similar documents of each query, best first.

    A key is a similarity and, below it, a column, packed so that a greater key is nearer, or equal and earlier.
    """
    thresholds = np.full(len(queries), -np.inf, np.float32)
    if search.sample_rank:
        _guess((queries @ search.sample.T).numpy(), search.sample_rank, thresholds)
    keys, counts = _pass(queries, search, thresholds)
    short = np.flatnonzero(counts < search.enough)
    if len(short):
        again = _pass(queries[torch.from_numpy(short)], search, np.full(len(short), -np.inf, np.float32))
        keys[short], counts[short] = again
    _sort(keys, counts, search.enough)
    blank = ~queries.numpy().any(axis=1)  # no known n-gram: as near to all, so it finds nothing
    counts[blank] = 0
    return keys, counts


def _pass(queries: torch.Tensor, search: Search, thresholds: Float32) -> tuple[Int64, Int64]:
    keys, counts = np.empty((len(queries), search.room), np.int64), np.zeros(len(queries), np.int64)
    product, column = torch.empty(len(queries) * _DOCUMENTS), 0
    for chunk in search.chunks:
        similarities = product[: len(queries) * len(chunk)].view(len(queries), len(chunk))
        torch.mm(queries, chunk.T, out=similarities)
        _collect(similarities.numpy(), column, thresholds, keys, counts, search.enough)
        column += len(chunk)
    return keys, counts


@njit(cache=True, nogil=True)
def _guess(similarities, rank, thresholds):  # type: ignore[no-untyped-def]
    """A little below the rank-th largest similarity of each row: the last bits of another product may differ."""
    for q in range(len(thresholds)):
        place = similarities.shape[1] - rank
        thresholds[q] = np.partition(similarities[q], place)[place] - TIED


@njit(cache=True, inline="always")
def _pack(similarity, column):  # type: ignore[no-untyped-def]
    """A key that orders by similarity, then by column from the last to the first."""
    bits = np.int64(np.float32(similarity + np.float32(0)).view(np.int32))  # −0 becomes 0
    ordered = bits if bits >= 0 else np.int64(-0x80000000) - bits
    return (ordered << np.int64(32)) | np.int64(0x7FFFFFFF - column)


@njit(cache=True, inline="always")
def unpack(key):  # type: ignore[no-untyped-def]
    """(similarity, column) of a key."""
    ordered = key >> np.int64(32)
    bits = ordered if ordered >= 0 else np.int64(-0x80000000) - ordered
    return np.int32(bits).view(np.float32), np.int64(0x7FFFFFFF) - (key & np.int64(0xFFFFFFFF))


@njit(cache=True, nogil=True)
def _collect(similarities, column, thresholds, keys, counts, enough):  # type: ignore[no-untyped-def]
    """Adds to keys what reaches its row's threshold; a full row is cut to the best `enough`, which is the threshold
    then."""
    width = similarities.shape[1]
    for q in range(len(counts)):
        row, threshold, count = similarities[q], thresholds[q], counts[q]
        for start in range(0, width, 16):
            end = min(start + 16, width)
            hits = np.int32(0)
            for at in range(start, end):
                hits += np.int32(row[at] >= threshold)
            if hits == 0:
                continue
            for at in range(start, end):
                if row[at] >= threshold:
                    if count == keys.shape[1]:
                        keys[q] = np.partition(keys[q], count - enough)[::-1]
                        count = enough
                        threshold = max(threshold, unpack(keys[q, enough - 1])[0])
                    keys[q, count] = _pack(row[at], column + at)
                    count += 1
        thresholds[q], counts[q] = threshold, count


@njit(cache=True, nogil=True)
def _sort(keys, counts, enough):  # type: ignore[no-untyped-def]
    """Sorts each row, the nearest first, cuts it to `enough`, and orders ties by column."""
    for q in range(len(counts)):
        best = np.sort(keys[q, : counts[q]])[::-1][:enough]
        counts[q] = len(best)
        start = 0
        while start < len(best):
            end = start + 1
            while end < len(best) and unpack(best[end - 1])[0] <= unpack(best[end])[0] + np.float32(TIED):
                end += 1
            tied = best[start:end]
            if end - start > 1:
                columns = np.argsort(-(tied & np.int64(0xFFFFFFFF)), kind="mergesort")
                best[start:end] = tied[columns]
            start = end
        keys[q, : len(best)] = best
