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

from ebr_core.arrays import Float32, Int64
from ebr_core.search.nearest import SLACK, TIED

_QUERIES, _DOCUMENTS = 256, 4096  # of a block and of a chunk: product and factors lie in the second-level cache
_SAMPLE = 2048  # documents from which a query's threshold is guessed
_CANDIDATE_BYTES = 2**26  # of candidates for a block of queries; deep windows get smaller blocks
_NONE = np.iinfo(np.int64).min  # a key behind all others


class Search(NamedTuple):
    """What is the same for every block of queries."""

    chunks: list[torch.Tensor]  # of documents, (≤ _DOCUMENTS, D)
    sample: torch.Tensor  # (S, D)
    sample_rank: int  # the place in the sample that becomes the threshold; 0: none
    enough: int  # candidates wanted of each query
    room: int  # candidates held for each query, eight of them for a last word of flags


def prepare(vectors: Float32, last: int) -> Search:
    """A search for the `last` nearest of vectors (N, D), and SLACK more, so that ties at the last place are broken."""
    documents = torch.from_numpy(np.ascontiguousarray(vectors))
    n = len(documents)
    chunks = [documents[first : first + _DOCUMENTS] for first in range(0, n, _DOCUMENTS)]
    enough = min(n, last + SLACK)
    expected = enough * _SAMPLE / n
    rank = math.ceil(expected + 4 * math.sqrt(expected)) + 1  # four deviations: hardly a query is searched twice
    if 2 * rank > _SAMPLE:
        return Search(chunks, documents[:0], 0, enough, min(n, 2 * enough) + 8)
    sample = documents[torch.arange(_SAMPLE) * n // _SAMPLE].contiguous()
    return Search(chunks, sample, rank, enough, min(n, 2 * enough + _SAMPLE) + 8)


def block_size(search: Search) -> int:
    """How many queries to give `nearest` at a time."""
    return max(1, min(_QUERIES, _CANDIDATE_BYTES // (8 * search.room)))


def nearest(queries: torch.Tensor, search: Search) -> tuple[Int64, Int64]:
    """(keys (q, M), counts (q,)): the `enough` most similar documents of each query, best first, ties by column.

    A key is a similarity and, below it, a column, packed so that a greater key is nearer, or equal and earlier.
    """
    thresholds = np.full(len(queries), -np.inf, np.float32)
    if search.sample_rank:
        place = len(search.sample) - search.sample_rank
        sampled = (queries @ search.sample.T).numpy()
        sampled.partition(place, axis=1)
        thresholds = sampled[:, place] - np.float32(TIED)  # the last bits of another product may differ
    keys, counts = _pass(queries, search, thresholds)
    short = np.flatnonzero(counts < search.enough)
    if len(short):
        again = _pass(queries[torch.from_numpy(short)], search, np.full(len(short), -np.inf, np.float32))
        keys[short], counts[short] = again
    keys = keys[:, : counts.max()]
    keys[np.arange(keys.shape[1]) >= counts[:, None]] = _NONE
    keys = np.sort(keys, axis=1)[:, ::-1][:, : search.enough].copy()
    _break_ties(keys)
    blank = ~queries.numpy().any(axis=1)  # no known n-gram: as near to all, so it finds nothing
    return keys, np.where(blank, 0, search.enough)


def _pass(queries: torch.Tensor, search: Search, thresholds: Float32) -> tuple[Int64, Int64]:
    """(keys (q, room), counts (q,)): all that reaches its query's threshold, or the best of it, in no order."""
    keys, counts = np.empty((len(queries), search.room), np.int64), np.zeros(len(queries), np.int64)
    product, column = torch.empty(len(queries) * _DOCUMENTS), 0
    for chunk in search.chunks:
        similarities = product[: len(queries) * len(chunk)].view(len(queries), len(chunk))
        torch.mm(queries, chunk.T, out=similarities)
        _collect(similarities.numpy(), column, thresholds, keys, counts, search.enough)
        column += len(chunk)
    return keys, counts


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
    """Adds to keys what reaches its row's threshold; a full row is cut to the best `enough`, and the threshold raised.

    Few similarities pass, and a branch on each would be mispredicted: all are flagged first, then flags are passed
    over eight at a time, and the eight of a word with a flag are written, each over the one before if that had none.
    """
    width, room = similarities.shape[1], keys.shape[1]
    flags = np.zeros((width + 7) // 8 * 8, np.uint8)
    words, flagged = flags.view(np.uint64), np.empty(len(flags) // 8 + 1, np.int64)
    padded = np.empty(len(flags), np.float32)
    for q in range(len(counts)):
        row, threshold, count, found = similarities[q], thresholds[q], counts[q], 0
        for at in range(width):
            flags[at] = row[at] >= threshold
        for word in range(len(words)):
            flagged[found] = word
            found += words[word] != 0
        if width < len(padded):
            padded[:width] = row
            row = padded
        for at in range(found):
            if count > room - 8:
                _cut(keys[q], count, enough)
                count, thresholds[q] = enough, max(threshold, unpack(keys[q, 0])[0])
            for place in range(8 * flagged[at], 8 * flagged[at] + 8):
                keys[q, count] = _pack(row[place], column + place)
                count += np.int64(flags[place])
        counts[q] = count


@njit(cache=True, nogil=True)
def _cut(keys, count, enough):  # type: ignore[no-untyped-def]
    """Moves the best `enough` of the first count keys to the front, the worst of them first."""
    keys[:enough] = np.partition(keys[:count], count - enough)[count - enough :]


@njit(cache=True, nogil=True)
def _break_ties(keys):  # type: ignore[no-untyped-def]
    """Orders runs of similarities that are less than TIED apart, each from the next, by column."""
    for row in keys:
        start = 0
        while start < len(row):
            end = start + 1
            while end < len(row) and unpack(row[end - 1])[0] <= unpack(row[end])[0] + np.float32(TIED):
                end += 1
            if end - start > 16:
                tied = row[start:end].copy()
                row[start:end] = tied[np.argsort(-(tied & np.int64(0xFFFFFFFF)))]
            else:
                for at in range(start + 1, end):
                    key, to = row[at], at
                    while to > start and unpack(row[to - 1])[1] > unpack(key)[1]:
                        row[to] = row[to - 1]
                        to -= 1
                    row[to] = key
            start = end
