"""Offline hard negatives: for each query, documents from a window of ranks of an exact search. [EBR §6.1.2]

The nearest documents of a block of queries are ranked, the window cut out, known positives and filtered documents are
removed, and the kept ones drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.scratch import pieces
from ebr_core.text.ngram_hashing import _mix
from ebr_core.training.pair_config import Mining
from ebr_core.training.positives import KnownPositives
from ebr_core.training.rank_windows import block_size, nearest, prepare, unpack

_QUERIES, _DOCUMENTS = (
    256,
    4096,
)  # of a block and of a chunk: their product and its factors lie in the second-level cache
_SAMPLE = 2048  # documents from which a query's threshold is guessed
_CANDIDATE_BYTES = 2**26  # of candidates for a block of queries; deep windows get smaller blocks


class MiningQueries(NamedTuple):
    """For what negatives are mined: Q queries, each with one positive."""

    vectors: Float32  # (Q, D) unit length; a zero vector finds nothing
    groups: Int32  # (Q,) the query's row in Known
    positives: Int32  # (Q,) the positive's document row


class Searched(NamedTuple):
    """Where they are mined: the documents of the training window, and no others."""

    vectors: Float32  # (N, D) unit length
    rows: Int32  # (N,) their document rows, increasing


class Mined(NamedTuple):
    """Negatives of queries first … first + q − 1, in the order drawn: the first h of a row are a fair draw of h.

    Where fewer than keep are left, row −1, rank 0, similarity −∞.
    """

    first: int
    document_rows: Int32  # (q, keep)
    ranks: Int32  # (q, keep) from 1, in the corpus or the shard searched
    similarities: Float32  # (q, keep)


def ranks_of(mining: Mining, documents: int) -> tuple[int, int]:
    """The first and last rank of the window over a corpus of that many documents.

    Shares [a, b] of N are ranks a·N + 1 … b·N. Errors: no document, or fewer than the window asks for.

    >>> ranks_of(Mining(window=(0.002, 0.01)), 50_000)
    (101, 500)
    """
    if not documents:
        raise InputError("there is nothing to mine: no document existed in the training window; move the split")
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
            f"mining.window: rank {last} is asked for, but the training window has {documents} documents; "
            "lower the window, or give it as shares of the corpus, such as [0.002, 0.01]"
        )
    return int(first), int(last)


def mine(
    asked: MiningQueries, searched: Searched, known: KnownPositives, mining: Mining, seed: int, threads: int
) -> Iterator[Mined]:
    """The negatives of each query, block by block in the order of the queries; the same for any number of threads.

    Documents are ranked by similarity, ties (less than TIED apart, as in search) by row. Ranks first … last are
    candidates, without the known positives of the query's group, its own positive, and what below_positive filters;
    keep of them are drawn without replacement, with weights exp(−a (s − s⁺ − b)²). For a negative s⁺ the filter's bound
    p·s⁺ is s⁺ − (1 − p)|s⁺|, so that it stays on the same side. Errors: no document, a window beyond the corpus,
    vectors that are not numbers, a positive that is not among the documents though its similarity is asked for.
    """
    first, last = ranks_of(mining, len(searched.rows))
    _check(asked, searched)
    positive = _positive_similarities(asked, searched, mining)
    if mining.shard < 1:
        searched, first, last = _shard(searched, first, last, mining.shard, seed)
    search = prepare(searched.vectors, last)
    size = block_size(search)
    key = np.random.default_rng([seed, 3]).integers(0, 2**63, dtype=np.uint64)
    bound = np.inf if mining.below_positive is None else mining.below_positive

    def block(start: int) -> Mined:
        part = slice(start, start + size)
        keys, counts = nearest(torch.from_numpy(np.ascontiguousarray(asked.vectors[part])), search)
        shape = (len(counts), mining.keep)
        rows, ranks, near = np.full(shape, -1, np.int32), np.zeros(shape, np.int32), np.full(shape, -np.inf, np.float32)
        each = (asked.groups[part], asked.positives[part], positive[part])
        window, weight = (first, last), (bound, mining.sharpness, mining.shift)
        _draw(keys, counts, window, searched.rows, *each, *known, weight, key, start, rows, ranks, near)
        return Mined(start, rows, ranks, near)

    before = torch.get_num_threads()
    try:  # a block is one thread's from end to end: a product's last bits depend on its shape and its threads
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(block, range(0, len(asked.vectors), size))
    finally:
        torch.set_num_threads(before)


def _check(asked: MiningQueries, searched: Searched) -> None:
    if (np.diff(searched.rows) <= 0).any():
        raise InputError("the documents to mine are not in increasing order of row: sort them, each once")
    for name, vectors in (("queries", asked.vectors), ("documents", searched.vectors)):
        if not all(np.isfinite(some).all() for some in pieces(vectors)):
            raise InputError(
                f"the embeddings of the {name} hold values that are not numbers; train the arm that mines again with a "
                "lower learning_rate"
            )


def _positive_similarities(asked: MiningQueries, searched: Searched, mining: Mining) -> Float32:
    """(Q,) each query's similarity to its positive; 0 where nobody asks for it."""
    if mining.sharpness == 0 and mining.below_positive is None:
        return np.zeros(len(asked.vectors), np.float32)
    places = np.minimum(np.searchsorted(searched.rows, asked.positives), len(searched.rows) - 1)
    absent = searched.rows[places] != asked.positives
    if absent.any():
        raise InputError(
            f"{absent.sum()} of {len(absent)} positives are not among the documents of the training window, so their "
            "similarity is not known: leave out mining.below_positive and mining.sharpness"
        )
    found: Float32 = _dots(asked.vectors, searched.vectors, places)
    return found


@njit(cache=True, nogil=True)
def _dots(queries, documents, places):  # type: ignore[no-untyped-def]
    """(Q,) the inner product of each query with the document at its place."""
    found = np.zeros(len(queries), np.float32)
    for q in range(len(queries)):
        for d in range(queries.shape[1]):
            found[q] += queries[q, d] * documents[places[q], d]
    return found


def _shard(searched: Searched, first: int, last: int, share: float, seed: int) -> tuple[Searched, int, int]:
    """A random shard, and the window in it: by expectation, as many of its documents lie above as in the corpus."""
    documents = len(searched.rows)
    size = max(1, round(share * documents))
    chosen = np.sort(np.random.default_rng([seed, 2]).choice(documents, size, replace=False))
    first = (first - 1) * size // documents + 1
    last = max(first, round(last * size / documents))
    return Searched(searched.vectors[chosen], searched.rows[chosen]), first, last


@njit(cache=True, nogil=True)
def _draw(  # type: ignore[no-untyped-def]
    keys, counts, window, document_rows, groups, positives, positive, offsets, documents, weight, key, start,
    rows, ranks, near,
):  # fmt: skip
    """Fills rows, ranks and near (q, keep) with candidates of the window.

    Weighted drawing without replacement: the greatest of log weight + Gumbel noise [Efraimidis & Spirakis 2006]. The
    noise is a hash of (key, query, document), so that it depends on no order.
    """
    first, last = window
    share, sharpness, shift = weight
    keep = rows.shape[1]
    scores = np.empty(keep)
    for q in range(len(counts)):
        known = documents[offsets[groups[q]] : offsets[groups[q] + 1]]
        bound = positive[q] - (1 - share) * abs(positive[q])
        scores[:] = -np.inf
        of_query = _mix(key + np.uint64(start + q))
        for rank in range(first, min(last, counts[q]) + 1):
            similarity, column = unpack(keys[q, rank - 1])
            row = document_rows[column]
            place = np.searchsorted(known, row)
            if row == positives[q] or similarity > bound or (place < len(known) and known[place] == row):
                continue
            uniform = (np.float64(_mix(of_query + np.uint64(row)) >> np.uint64(11)) + 0.5) * 2.0**-53
            score = uniform  # without a weight, in the same order as its Gumbel noise
            if sharpness > 0:
                score = -sharpness * (similarity - positive[q] - shift) ** 2 - np.log(-np.log(uniform))
            if score <= scores[keep - 1]:
                continue
            at = keep - 1
            while at > 0 and scores[at - 1] < score:
                scores[at], rows[q, at] = scores[at - 1], rows[q, at - 1]
                ranks[q, at], near[q, at] = ranks[q, at - 1], near[q, at - 1]
                at -= 1
            scores[at], rows[q, at], ranks[q, at], near[q, at] = score, row, rank, similarity
