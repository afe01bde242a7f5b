"""Bags of n-grams in CSR form: the vocabulary of the training window, weights, and ways to join bags."""

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
    occurs = np.zeros(buckets, bool)
    for bag in bags:
        occurs[bag.ids] = True
    vocabulary = np.full(buckets, -1, np.int32)
    vocabulary[occurs] = np.arange(occurs.sum(), dtype=np.int32)
    return vocabulary


def keep_known(bags: Bags, vocabulary: Int32) -> Bags:
    """The same bags with table rows in place of buckets; n-grams that training never saw carry no meaning: dropped."""
    rows = vocabulary[bags.ids]
    in_vocabulary = rows >= 0
    before = np.concatenate([[0], np.cumsum(in_vocabulary)])
    offsets = before[bags.offsets]
    counts = np.diff(offsets)
    weights = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
    return Bags(offsets, rows[in_vocabulary], weights)


def take(bags: Bags, rows: Int32) -> Bags:
    """The bags of those rows, in their order."""
    counts = np.diff(bags.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    at = np.arange(offsets[-1]) + np.repeat(bags.offsets[rows] - offsets[:-1], counts)
    return Bags(offsets, bags.ids[at], bags.weights[at])


def concatenate(first: Bags, second: Bags) -> Bags:
    """The bags of the first, then those of the second."""
    offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
    return Bags(offsets, np.concatenate([first.ids, second.ids]), np.concatenate([first.weights, second.weights]))


def rarity_of(bags: Bags, rows: int) -> Float32:
    """(rows,): log((N + 1) / (n + ½)) where n of N bags hold the row, at least 0.01: rare n-grams are more telling."""
    holders = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
    distinct = np.unique(holders * np.int64(rows) + bags.ids)
    document_counts = np.bincount(distinct % rows, minlength=rows)
    return np.maximum(np.log((len(bags) + 1) / (document_counts + 0.5)), 0.01).astype(np.float32)


def apply_idf(bags: Bags, rarity: Float32) -> Bags:
    """The same bags, each n-gram weighted by its rarity; the weights of a bag sum to 1."""
    weights = rarity[bags.ids].astype(np.float64)
    before = np.concatenate([[0.0], np.cumsum(weights)])
    totals = before[bags.offsets[1:]] - before[bags.offsets[:-1]]
    weights /= np.repeat(totals, np.diff(bags.offsets))
    return Bags(bags.offsets, bags.ids, weights.astype(np.float32))


def with_queries(documents: Bags, queries: Bags, document_rows: Int32, query_rows: Int32) -> Bags:
    """The documents' bags: half of the weight is their own, half is shared equally by the queries that led to them.

    document_rows, query_rows (pairs,): query query_rows[i] led to document document_rows[i]; each pair once. A document
    without queries, or without n-grams of its own, gives all its weight to the other half.
    """
    owners = np.repeat(np.arange(len(documents)), np.diff(documents.offsets))
    query_bags = take(queries, query_rows)
    sizes = np.diff(query_bags.offsets)
    query_counts = np.bincount(document_rows[sizes > 0], minlength=len(documents))
    has_ngrams = np.diff(documents.offsets) > 0
    half = np.where(has_ngrams & (query_counts > 0), 0.5, 1.0)
    query_owners = np.repeat(document_rows, sizes)
    weights = np.concatenate(
        [documents.weights * half[owners], query_bags.weights * (half / np.maximum(query_counts, 1))[query_owners]]
    ).astype(np.float32)
    bag_rows = np.concatenate([owners, query_owners])
    order = np.argsort(bag_rows, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(bag_rows, minlength=len(documents)))])
    return Bags(offsets, np.concatenate([documents.ids, query_bags.ids])[order], weights[order])


def split_rows(bags: Bags, buckets_of: Int32, remainders: int) -> Bags:
    """The bags with two rows for each id: its bucket modulo `remainders`, then its quotient. [Shi et al. 2020]

    buckets_of (rows,): the bucket of each row. Rows of quotients follow the `remainders` rows of remainders.
    """
    buckets = buckets_of[bags.ids]
    ids = np.stack([buckets % remainders, remainders + buckets // remainders], axis=1).ravel().astype(np.int32)
    return Bags(2 * bags.offsets, ids, np.repeat(bags.weights, 2))
