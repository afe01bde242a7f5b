"""The nearest documents of each query, as many as a deep window of ranks needs, by exact search.

The matrix of similarities is never held as a whole. A block of queries is multiplied with the corpus chunk by chunk,
each product small enough to stay in cache. A threshold, guessed from a sample of the documents and raised as candidates
accumulate, passes little more than the last rank needs, and these candidates are sorted.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from ebr_core.arrays import Float32, Int64
from ebr_core.lazy_torch import torch
from ebr_core.search.nearest import SLACK, TIE_TOLERANCE

_QUERIES, _DOCUMENTS = 256, 4096  # of a block and of a chunk: product and factors fit into the second-level cache
_SAMPLE = 2048  # documents from which a query's threshold is guessed
_CANDIDATE_BYTES = 2**26  # of candidates for a block of queries; deep windows get smaller blocks
_NONE = np.iinfo(np.int64).min  # a key behind all others


class Search(NamedTuple):
    """The state that is shared by all blocks of queries."""

    chunks: list[torch.Tensor]  # of documents, (≤ _DOCUMENTS, D)
    sample: torch.Tensor  # (S, D)
    sample_rank: int  # the rank in the sample whose similarity becomes the threshold; 0: no threshold
    candidates: int  # the number that each query needs
    capacity: int  # of a query's buffer, with eight entries for the last word of flags


def prepare(vectors: Float32, last: int) -> Search:
    """A search for the `last` nearest of vectors (N, D), and SLACK more, so that ties at the last rank are broken."""
    documents = torch.from_numpy(np.ascontiguousarray(vectors))
    n = len(documents)
    chunks = [documents[first : first + _DOCUMENTS] for first in range(0, n, _DOCUMENTS)]
    candidates = min(n, last + SLACK)
    expected = candidates * _SAMPLE / n
    rank = math.ceil(expected + 4 * math.sqrt(expected)) + 1  # four deviations, so that few queries are searched twice
    if 2 * rank > _SAMPLE:
        return Search(chunks, documents[:0], 0, candidates, min(n, 2 * candidates) + 8)
    sample = documents[torch.arange(_SAMPLE) * n // _SAMPLE].contiguous()
    return Search(chunks, sample, rank, candidates, min(n, 2 * candidates + _SAMPLE) + 8)


def block_size(search: Search) -> int:
    """The number of queries to pass to `nearest` at a time."""
    return max(1, min(_QUERIES, _CANDIDATE_BYTES // (8 * search.capacity)))


def nearest(queries: torch.Tensor, search: Search) -> tuple[Int64, Int64]:
    """(keys (q, M), counts (q,)): the search.candidates most similar documents of each query, best first, ties by
    column.

    A key packs a similarity and, in the lower bits, a column, so that a greater key is nearer, or equal and earlier.
    """
    thresholds = np.full(len(queries), -np.inf, np.float32)
    if search.sample_rank:
        pos = len(search.sample) - search.sample_rank
        sampled = (queries @ search.sample.T).numpy()
        sampled.partition(pos, axis=1)
        thresholds = sampled[:, pos] - np.float32(TIE_TOLERANCE)  # another product may differ in the last bits
    keys, counts = _pass(queries, search, thresholds)
    short = np.flatnonzero(counts < search.candidates)
    if len(short):
        second_pass = _pass(queries[torch.from_numpy(short)], search, np.full(len(short), -np.inf, np.float32))
        keys[short], counts[short] = second_pass
    keys = keys[:, : counts.max()]
    keys[np.arange(keys.shape[1]) >= counts[:, None]] = _NONE
    keys = np.sort(keys, axis=1)[:, ::-1][:, : search.candidates].copy()
    _break_ties(keys)
    blank = ~queries.numpy().any(axis=1)  # without known n-grams, all documents are equally near: it finds nothing
    return keys, np.where(blank, 0, search.candidates)


def _pass(queries: torch.Tensor, search: Search, thresholds: Float32) -> tuple[Int64, Int64]:
    """(keys (q, capacity), counts (q,)): the documents that reach their query's threshold, or the best of them, in no
    order."""
    keys, counts = np.empty((len(queries), search.capacity), np.int64), np.zeros(len(queries), np.int64)
    product, column = torch.empty(len(queries) * _DOCUMENTS), 0
    for chunk in search.chunks:
        similarities = product[: len(queries) * len(chunk)].view(len(queries), len(chunk))
        torch.mm(queries, chunk.T, out=similarities)
        _collect(similarities.numpy(), column, thresholds, keys, counts, search.candidates)
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
def _collect(similarities, column, thresholds, keys, counts, candidates):  # type: ignore[no-untyped-def]
    """Add to keys the similarities that reach their row's threshold; cut a full row to the best `candidates`, and raise
    its threshold.

    Few similarities pass, so a branch on each would be mispredicted. Instead all are flagged first. Then the flags are
    read eight at a time, and all eight similarities of a word with a flag are written, each overwriting the one before
    if that had no flag.
    """
    width, capacity = similarities.shape[1], keys.shape[1]
    flags = np.zeros((width + 7) // 8 * 8, np.uint8)
    words, flagged = flags.view(np.uint64), np.empty(len(flags) // 8 + 1, np.int64)
    padded = np.empty(len(flags), np.float32)
    for q in range(len(counts)):
        row, threshold, count, flagged_count = similarities[q], thresholds[q], counts[q], 0
        for word_index in range(width):
            flags[word_index] = row[word_index] >= threshold
        for word in range(len(words)):
            flagged[flagged_count] = word
            flagged_count += words[word] != 0
        if width < len(padded):
            padded[:width] = row
            row = padded
        for word_index in range(flagged_count):
            if count > capacity - 8:
                _cut(keys[q], count, candidates)
                count, thresholds[q] = candidates, max(threshold, unpack(keys[q, 0])[0])
            for pos in range(8 * flagged[word_index], 8 * flagged[word_index] + 8):
                keys[q, count] = _pack(row[pos], column + pos)
                count += np.int64(flags[pos])
        counts[q] = count


@njit(cache=True, nogil=True)
def _cut(keys, count, candidates):  # type: ignore[no-untyped-def]
    """Move the best `candidates` of the first count keys to the front, the worst of them first."""
    keys[:candidates] = np.partition(keys[:count], count - candidates)[count - candidates :]


@njit(cache=True, nogil=True)
def _break_ties(keys):  # type: ignore[no-untyped-def]
    """Order runs of similarities, of which each is less than TIED from the next, by column."""
    for row in keys:
        start = 0
        while start < len(row):
            end = start + 1
            while end < len(row) and unpack(row[end - 1])[0] <= unpack(row[end])[0] + np.float32(TIE_TOLERANCE):
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
