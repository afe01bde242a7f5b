"""Candidates that a search must not retrieve: documents that its searcher already has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Bool, Float32, Int32, Int64

BLOCK = 1024  # lists compared at a time


class Exclusions(NamedTuple):
    """The documents that are no candidates of a search: those of search s are documents[offsets[s]:offsets[s + 1]]."""

    offsets: Int64  # (S + 1,)
    documents: Int32  # positions among the candidates, increasing within a search

    @property
    def counts(self) -> Int64:
        """(S,) the number of excluded documents of each search."""
        return np.diff(self.offsets)

    def take(self, searches: Int64) -> Exclusions:
        """The exclusions of the searches at these positions (M,), in their order."""
        counts = self.counts[searches]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[searches], counts)
        return Exclusions(offsets, self.documents[at])

    def depth(self, k: int, candidates: int) -> int:
        """The number of documents to retrieve, so that K allowed ones are among them for every search."""
        return max(k, min(k + int(self.counts.max(initial=0)), candidates))


def exclude_by_searcher(searchers: Int32, excluded_searchers: Int32, excluded_documents: Int32) -> Exclusions:
    """The exclusions of searches by searchers (S,), −1 for nobody, from pairs of a searcher and a document.

    >>> exclude_by_searcher(np.array([3, -1, 3]), np.array([3, 3, 5]), np.array([9, 8, 1]))
    Exclusions(offsets=array([0, 2, 2, 4]), documents=array([8, 9, 8, 9], dtype=int32))
    """
    order = np.lexsort((excluded_documents, excluded_searchers))
    owners, documents = excluded_searchers[order], excluded_documents[order].astype(np.int32)
    first, last = (np.searchsorted(owners, searchers, side) for side in ("left", "right"))
    offsets = np.concatenate([[0], np.cumsum(last - first)]).astype(np.int64)
    at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - first, last - first)
    return Exclusions(offsets, documents[at])


def is_excluded(rows: Int32, exclusions: Exclusions) -> Bool:
    """(S, J) True where a list holds an excluded document. rows (S, J) are positions among the candidates, or −1."""
    excluded = np.zeros(rows.shape, bool)
    for first in range(0, len(rows) if len(exclusions.documents) else 0, BLOCK):
        lists = rows[first : first + BLOCK]
        searches = np.arange(len(lists))
        part = exclusions.take(first + searches)
        keys = np.repeat(searches, part.counts) << 32 | part.documents
        excluded[first : first + BLOCK] = np.isin(searches[:, None] << 32 | np.maximum(lists, 0), keys) & (lists >= 0)
    return excluded


def first_allowed(rows: Int32, exclusions: Exclusions, k: int) -> Int32:
    """(S, K) the first K documents of each list (S, J) that are not excluded, in their order, −1 behind the last."""
    if not len(exclusions.documents):
        return rows[:, :k]
    allowed = np.where(is_excluded(rows, exclusions), np.int32(-1), rows)
    return np.take_along_axis(allowed, np.argsort(allowed < 0, axis=1, kind="stable")[:, :k], 1)


def first_allowed_results(rows: Int32, similarities: Float32, exclusions: Exclusions, k: int) -> tuple[Int32, Float32]:
    """(rows (S, K), similarities (S, K)), as first_allowed; −1 and −∞ behind the last."""
    if not len(exclusions.documents):
        return rows[:, :k], similarities[:, :k]
    is_left = (rows >= 0) & ~is_excluded(rows, exclusions)
    order = np.argsort(~is_left, axis=1, kind="stable")[:, :k]
    is_taken = np.take_along_axis(is_left, order, 1)
    documents = np.where(is_taken, np.take_along_axis(rows, order, 1), np.int32(-1))
    return documents, np.where(is_taken, np.take_along_axis(similarities, order, 1), np.float32(-np.inf))
