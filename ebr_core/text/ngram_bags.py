"""Bags of n-grams in CSR form: what training knows of them, how they weigh, how they are joined."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float32, Int32, Int64


class Bags(NamedTuple):
    """Bag b holds ids[offsets[b]:offsets[b + 1]] with their weights."""

    offsets: Int64  # (bags + 1,)
    ids: Int32  # (n-grams,)
    weights: Float32  # (n-grams,)

    def __len__(self) -> int:
        """The number of bags."""
        return len(self.offsets) - 1


def fit_vocabulary(bags: list[Bags], buckets: int) -> Int32:
    """(buckets,): the table row of every bucket that occurs in the bags, in order of bucket; −1 for the others."""
    seen = np.zeros(buckets, bool)
    for bag in bags:
        seen[bag.ids] = True
    vocabulary = np.full(buckets, -1, np.int32)
    vocabulary[seen] = np.arange(seen.sum(), dtype=np.int32)
    return vocabulary


def keep_known(bags: Bags, vocabulary: Int32) -> Bags:
    """The same bags with rows for buckets; n-grams that training never saw are left out, for they carry no meaning."""
    rows = vocabulary[bags.ids]
    known = rows >= 0
    before = np.concatenate([[0], np.cumsum(known)])
    offsets = before[bags.offsets]
    counts = np.diff(offsets)
    weights = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
    return Bags(offsets, rows[known], weights)


def take(bags: Bags, rows: Int32) -> Bags:
    """The bags of those rows, in their order."""
    counts = np.diff(bags.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    at = np.arange(offsets[-1]) + np.repeat(bags.offsets[rows] - offsets[:-1], counts)
    return Bags(offsets, bags.ids[at], bags.weights[at])


def concatenated(first: Bags, second: Bags) -> Bags:
    """The bags of both, one after the other."""
    offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
    return Bags(offsets, np.concatenate([first.ids, second.ids]), np.concatenate([first.weights, second.weights]))


def rarity_of(bags: Bags, known: int) -> Float32:
    """(known,): log((N + 1) / (n + ½)) for n of N bags that hold the row, at least 0.01: what is rare says more."""
    holders = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
    distinct = np.unique(holders * np.int64(known) + bags.ids)
    held = np.bincount(distinct % known, minlength=known)
    return np.maximum(np.log((len(bags) + 1) / (held + 0.5)), 0.01).astype(np.float32)


def apply_idf(bags: Bags, rarity: Float32) -> Bags:
    """The same bags, each n-gram with its rarity; a bag's weights sum to 1."""
    weights = rarity[bags.ids].astype(np.float64)
    before = np.concatenate([[0.0], np.cumsum(weights)])
    totals = before[bags.offsets[1:]] - before[bags.offsets[:-1]]
    weights /= np.repeat(totals, np.diff(bags.offsets))
    return Bags(bags.offsets, bags.ids, weights.astype(np.float32))


def with_queries(documents: Bags, queries: Bags, document_rows: Int32, query_rows: Int32) -> Bags:
    """The documents' bags, half their own and half that of the queries that led to them, all of these alike.

    document_rows, query_rows (pairs,): which query led to which document, each pair once. A document without queries,
    or without n-grams of its own, has the other half alone.
    """
    own_of = np.repeat(np.arange(len(documents)), np.diff(documents.offsets))
    told = take(queries, query_rows)
    sizes = np.diff(told.offsets)
    led = np.bincount(document_rows[sizes > 0], minlength=len(documents))
    own = np.diff(documents.offsets) > 0
    half = np.where(own & (led > 0), 0.5, 1.0)
    told_of = np.repeat(document_rows, sizes)
    weights = np.concatenate(
        [documents.weights * half[own_of], told.weights * (half / np.maximum(led, 1))[told_of]]
    ).astype(np.float32)
    of = np.concatenate([own_of, told_of])
    order = np.argsort(of, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(documents)))])
    return Bags(offsets, np.concatenate([documents.ids, told.ids])[order], weights[order])


def split_rows(bags: Bags, buckets_of: Int32, remainders: int) -> Bags:
    """Each id as two rows: its bucket modulo `remainders`, and behind those its quotient. [Shi et al. 2020]

    buckets_of (known rows,): the bucket of each row.
    """
    buckets = buckets_of[bags.ids]
    ids = np.stack([buckets % remainders, remainders + buckets // remainders], axis=1).ravel().astype(np.int32)
    return Bags(2 * bags.offsets, ids, np.repeat(bags.weights, 2))
