"""Offline hard negatives: for each query, documents from a window of ranks of an exact search. [EBR §6.1.2]

For each block of queries, the nearest documents are ranked and the window is cut out; known positives and filtered
documents are removed, and the negatives are drawn from the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch, use_torch_threads
from ebr_core.scratch import pieces
from ebr_core.text.ngram_hashing import _mix
from ebr_core.training.pair_config import Mining
from ebr_core.training.positives import KnownPositives
from ebr_core.training.rank_windows import block_size, nearest, prepare, unpack


class MiningQueries(NamedTuple):
    """The queries for which negatives are mined: Q queries, each with one positive."""

    vectors: Float32  # (Q, D) unit length; a zero vector finds nothing
    groups: Int32  # (Q,) the query's group in KnownPositives
    positives: Int32  # (Q,) the positive's document row


class MiningCorpus(NamedTuple):
    """The documents among which negatives are mined: those of the training window, and no others."""

    vectors: Float32  # (N, D) unit length
    rows: Int32  # (N,) their document rows, increasing


class MinedBlock(NamedTuple):
    """The negatives of queries first … first + q − 1, in the order drawn: the first h of a row are a fair draw of h.

    If fewer than `keep` were left, the other cells have row −1, rank 0 and similarity −∞.
    """

    first: int
    document_rows: Int32  # (q, keep)
    ranks: Int32  # (q, keep) from 1, in the corpus or the shard searched
    similarities: Float32  # (q, keep)


def rank_window(mining: Mining, documents: int) -> tuple[int, int]:
    """The first and last rank of the window over a corpus of that many documents.

    Shares [a, b] of N are ranks a·N + 1 … b·N. Raises InputError if there is no document, or if the window is beyond
    the corpus.

    >>> rank_window(Mining(window=(0.002, 0.01)), 50_000)
    (101, 500)
    """
    if not documents:
        raise InputError("nothing can be mined: no document existed in the training window; move the split")
    first, last = mining.window
    if isinstance(first, float):
        first, last = math.floor(first * documents + 1e-9) + 1, math.floor(last * documents + 1e-9)
        if last < first:
            raise InputError(
                f"mining.window: the shares {list(mining.window)} hold no whole rank of {documents} documents; "
                "widen the window, or give ranks"
            )
    if last > documents:
        raise InputError(
            f"mining.window: the last rank is {last}, but the training window has only {documents} documents; "
            "lower the window, or set it as shares of the corpus, such as [0.002, 0.01]"
        )
    return int(first), int(last)


def mine(
    queries: MiningQueries,
    corpus: MiningCorpus,
    known_positives: KnownPositives,
    mining: Mining,
    seed: int,
    threads: int,
) -> Iterator[MinedBlock]:
    """The negatives of each query, block by block in the order of the queries; the same for any number of threads.

    Documents are ranked by similarity, ties (less than TIED apart, as in search) by row. The candidates are ranks
    first … last without the known positives of the query's group, its own positive, and the documents that
    below_positive filters out; `keep` of them are drawn without replacement, with weights exp(−a (s − s⁺ − b)²). For a
    negative s⁺ the filter's bound p·s⁺ is s⁺ − (1 − p)|s⁺|, so that it stays on the same side. Raises InputError if
    there is no document, the window is beyond the corpus, a vector is not finite, or a positive whose similarity is
    needed is not among the documents.
    """
    first, last = rank_window(mining, len(corpus.rows))
    _check(queries, corpus)
    positive_similarities = _positive_similarities(queries, corpus, mining)
    if mining.shard < 1:
        corpus, first, last = _shard(corpus, first, last, mining.shard, seed)
    search = prepare(corpus.vectors, last)
    size = block_size(search)
    key = np.random.default_rng([seed, 3]).integers(0, 2**63, dtype=np.uint64)
    bound = np.inf if mining.below_positive is None else mining.below_positive

    def block(start: int) -> MinedBlock:
        part = slice(start, start + size)
        keys, counts = nearest(torch.from_numpy(np.ascontiguousarray(queries.vectors[part])), search)
        shape = (len(counts), mining.keep)
        rows, ranks, similarities = (
            np.full(shape, -1, np.int32), np.zeros(shape, np.int32), np.full(shape, -np.inf, np.float32),
        )  # fmt: skip
        per_query = (queries.groups[part], queries.positives[part], positive_similarities[part])
        window, weight = (first, last), (bound, mining.sharpness, mining.shift)
        _draw(
            keys, counts, window, corpus.rows, *per_query, *known_positives, weight, key, start, rows, ranks,
            similarities,
        )  # fmt: skip
        return MinedBlock(start, rows, ranks, similarities)

    previous_threads = torch.get_num_threads()
    try:  # one thread for a whole block: the last bits of a product depend on its shape and its threads
        with ThreadPoolExecutor(threads, initializer=use_torch_threads, initargs=(1,)) as pool:
            yield from pool.map(block, range(0, len(queries.vectors), size))
    finally:
        torch.set_num_threads(previous_threads)


def _check(queries: MiningQueries, corpus: MiningCorpus) -> None:
    if (np.diff(corpus.rows) <= 0).any():
        raise InputError("the documents to mine are not in increasing order of row: sort them and remove duplicates")
    for name, vectors in (("queries", queries.vectors), ("documents", corpus.vectors)):
        if not all(np.isfinite(part).all() for part in pieces(vectors)):
            raise InputError(
                f"the embeddings of the {name} hold values that are not numbers; train the arm in mine_from with a "
                "lower learning_rate"
            )


def _positive_similarities(queries: MiningQueries, corpus: MiningCorpus, mining: Mining) -> Float32:
    """(Q,) each query's similarity to its positive; 0 if no setting uses it."""
    if mining.sharpness == 0 and mining.below_positive is None:
        return np.zeros(len(queries.vectors), np.float32)
    positions = np.minimum(np.searchsorted(corpus.rows, queries.positives), len(corpus.rows) - 1)
    absent = corpus.rows[positions] != queries.positives
    if absent.any():
        raise InputError(
            f"{absent.sum()} of {len(absent)} positives are not among the documents of the training window, so their "
            "similarity is unknown: leave out mining.below_positive and mining.sharpness"
        )
    similarities: Float32 = _dots(queries.vectors, corpus.vectors, positions)
    return similarities


@njit(cache=True, nogil=True)
def _dots(queries, documents, positions):  # type: ignore[no-untyped-def]
    """(Q,) the inner product of each query with the document at its position."""
    products = np.zeros(len(queries), np.float32)
    for q in range(len(queries)):
        for d in range(queries.shape[1]):
            products[q] += queries[q, d] * documents[positions[q], d]
    return products


def _shard(corpus: MiningCorpus, first: int, last: int, share: float, seed: int) -> tuple[MiningCorpus, int, int]:
    """(a random shard, first rank, last rank): the window is scaled by the shard's share of the corpus."""
    documents = len(corpus.rows)
    size = max(1, round(share * documents))
    chosen = np.sort(np.random.default_rng([seed, 2]).choice(documents, size, replace=False))
    first = (first - 1) * size // documents + 1
    last = max(first, round(last * size / documents))
    return MiningCorpus(corpus.vectors[chosen], corpus.rows[chosen]), first, last


@njit(cache=True, nogil=True)
def _draw(  # type: ignore[no-untyped-def]
    keys, counts, window, document_rows, groups, positives, positive_similarities, offsets, documents, weight, key,
    start, rows, ranks, similarities,
):  # fmt: skip
    """Fill rows, ranks and similarities (q, keep) with candidates of the window.

    Weighted drawing without replacement: the greatest of log weight + Gumbel noise [Efraimidis & Spirakis 2006]. The
    noise is a hash of (key, query, document), so it does not depend on any order.
    """
    first, last = window
    share, sharpness, shift = weight
    keep = rows.shape[1]
    scores = np.empty(keep)
    for q in range(len(counts)):
        known_rows = documents[offsets[groups[q]] : offsets[groups[q] + 1]]
        bound = positive_similarities[q] - (1 - share) * abs(positive_similarities[q])
        scores[:] = -np.inf
        query_key = _mix(key + np.uint64(start + q))
        for rank in range(first, min(last, counts[q]) + 1):
            similarity, column = unpack(keys[q, rank - 1])
            row = document_rows[column]
            pos = np.searchsorted(known_rows, row)
            if row == positives[q] or similarity > bound or (pos < len(known_rows) and known_rows[pos] == row):
                continue
            uniform = (np.float64(_mix(query_key + np.uint64(row)) >> np.uint64(11)) + 0.5) * 2.0**-53
            score = uniform  # without a weight, in the same order as its Gumbel noise
            if sharpness > 0:
                score = -sharpness * (similarity - positive_similarities[q] - shift) ** 2 - np.log(-np.log(uniform))
            if score <= scores[keep - 1]:
                continue
            at = keep - 1
            while at > 0 and scores[at - 1] < score:
                scores[at], rows[q, at] = scores[at - 1], rows[q, at - 1]
                ranks[q, at], similarities[q, at] = ranks[q, at - 1], similarities[q, at - 1]
                at -= 1
            scores[at], rows[q, at], ranks[q, at], similarities[q, at] = score, row, rank, similarity
