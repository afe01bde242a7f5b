"""What a document and a searcher know from the session of a training pair itself, left out while the pair is learnt.

A click of the test is not in the bag of its document or in the graph, so in training it must not be there either.
Clicks of other sessions stay, because those of the training window are known in the test, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from ebr_core.arrays import Float32, Float64, Int32, Int64
from ebr_core.text.ngram_bags import Bags


class OwnQueries(NamedTuple):
    """The queries that led to a document in one session alone."""

    keys: Int64  # (E,) session · N + document, in order
    queries: Int32  # (E,) in order where the keys are equal
    offsets: Int64  # (N + 1,) all queries that led to document d are clicked[offsets[d]:offsets[d + 1]]
    clicked: Int32  # in order for each document, as `with_queries` joined them


class OwnEdges(NamedTuple):
    """The clicks of each session among the edges of a graph, and what its `neighbours` embedding is made of."""

    keys: Int64  # (C,) session · N + document, in order
    searchers: Int32  # (C,)
    clicks: Float32  # (C,) of the session, the part of the edge's weight to leave out
    weights: Float32  # (C,) of the whole edge
    degrees: Int32  # (nodes,) neighbours of each node
    random: Float32  # (nodes, D′) R, the random vectors
    sums: Float32  # (nodes, D′) A R
    steps: Float32  # (nodes, D′) A M, M the rows of A R at unit length


class OwnPairs(NamedTuple):
    """All that is left out of the pairs of a log."""

    session_of: Int32  # (S,)
    searcher_of: Int32  # (S,) −1 if not signed in
    documents: int  # N
    queries: OwnQueries | None  # None if documents know no queries
    edges: dict[str, OwnEdges]  # of each group that is a graph with clicks
    listed: tuple[str, ...] = ()  # the groups whose searches list documents, among them perhaps the pair's own

    @property
    def change_documents(self) -> bool:
        """True if a document has other vectors in its own pairs than as a negative of others."""
        return self.queries is not None or bool(self.edges)

    def keys_of(self, searches: Int32, documents: Int32) -> Int64:
        """(n,) session · N + document of each pair; −1 for a title in place of a search, which has no session."""
        return np.where(searches >= 0, self.session_of[searches] * np.int64(self.documents) + documents, -1)


def leave_out_queries(bags: Bags, own: OwnQueries, query_offsets: Int64, keys: Int64, documents: Int32) -> None:
    """Change the weights of the bags (n,) in place to those of `with_queries` without the queries of the pairs' own
    sessions; n-grams that are left out weigh 0.

    query_offsets: of the bags of all queries. keys, documents (n,): of the pairs.
    """
    _leave_out(bags.offsets, bags.weights, *own, query_offsets, keys, documents)


@njit(cache=True, nogil=True)
def _leave_out(bag_offsets, weights, own_keys, own_queries, offsets, clicked, query_offsets, keys, documents):  # type: ignore[no-untyped-def]
    for i in range(len(keys)):
        first = np.searchsorted(own_keys, keys[i])
        last, removed = first, 0
        while last < len(own_keys) and own_keys[last] == keys[i]:
            removed += query_offsets[own_queries[last] + 1] > query_offsets[own_queries[last]]
            last += 1
        if removed == 0:
            continue
        count, own_ngrams = 0, bag_offsets[i + 1] - bag_offsets[i]
        for at in range(offsets[documents[i]], offsets[documents[i] + 1]):
            size = query_offsets[clicked[at] + 1] - query_offsets[clicked[at]]
            count += size > 0
            own_ngrams -= size
        before = 0.5 if own_ngrams > 0 else 1.0
        after = 0.5 if own_ngrams > 0 and count > removed else 1.0
        entry = bag_offsets[i]
        for _ in range(own_ngrams):
            weights[entry] *= after / before
            entry += 1
        scale = 0.0 if count == removed else after / (count - removed) / (before / count)
        for at in range(offsets[documents[i]], offsets[documents[i] + 1]):
            while first < last and own_queries[first] < clicked[at]:
                first += 1
            is_own = first < last and own_queries[first] == clicked[at]
            for _ in range(query_offsets[clicked[at]], query_offsets[clicked[at] + 1]):
                weights[entry] *= 0.0 if is_own else scale
                entry += 1


def own_edges_of(own: OwnEdges, keys: Int64, searchers: Int32) -> tuple[Int64, Int64]:
    """(the pairs that have an edge of their own, the row of each in `own`). keys, searchers (n,): of the pairs."""
    first = np.searchsorted(own.keys, keys)
    count = np.searchsorted(own.keys, keys, side="right") - first
    pair = np.repeat(np.arange(len(keys)), count)
    row = np.arange(len(pair)) + np.repeat(first - np.cumsum(count) + count, count)
    same = own.searchers[row] == searchers[pair]  # a session may have several searchers
    return pair[same], row[same]


def vectors_without_edges(own: OwnEdges, rows: Int64, documents: Int32) -> tuple[Float32, Float32]:
    """((m, D′) of the searchers, (m, D′) of the documents): their vectors without the clicks at rows (m,) of `own`.

    They are those of `embed_by_neighbours` on the graph without these clicks. Only the rows u and d of A R change, and
    so one term of each of both rows of A M:

        (A M)′[u] = (A M)[u] − A[u, d] M[d] + (A[u, d] − w) M′[d],  M′[u] = (A R)[u] − w R[d] at unit length

    and the same with u and d exchanged. A node without another edge gives zeros. documents (m,): their nodes.
    """
    u, d, w, a = own.searchers[rows], documents, own.clicks[rows, None], own.weights[rows, None]
    left = np.maximum(a.astype(np.float64) - w, 0)
    known = [own.degrees[node] - (left[:, 0] == 0) > 0 for node in (u, d)]
    means = [
        _units(own.sums[node] - w.astype(np.float64) * own.random[other]) * is_known[:, None]
        for node, other, is_known in ((u, d, known[0]), (d, u, known[1]))
    ]
    vectors = []
    for node, other, mean, other_mean, is_known in ((u, d, *means, known[0]), (d, u, *means[::-1], known[1])):
        steps = own.steps[node] - a.astype(np.float64) * _units(own.sums[other]) + left * other_mean
        vectors.append((_units(mean + _units(steps)) * is_known[:, None]).astype(np.float32))
    return vectors[0], vectors[1]


def _units(vectors: Float32 | Float64) -> Float64:
    lengths = np.linalg.norm(np.asarray(vectors, np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float64)
