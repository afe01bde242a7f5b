"""Nearest neighbours by inner product over unit vectors: exact, and through a faiss index."""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from numba import njit

from ebr_core.arrays import Float32, Int32, Int64
from ebr_core.search.deduped_index import DedupedIndex, of_vectors
from ebr_core.search.faiss_index import innermost

TIED = 1e-6  # in cosine; float32 noise is a tenth of it
_TIED = np.float32(TIED)
SLACK = 32
_ALL, _EVERY = np.empty(0, np.int64), np.empty(0, np.bool_)  # of Copies and conditions that there are not
_GRAPHS = threading.Lock()  # faiss counts the steps through all graphs of a process in one place


def search_exact(documents: Float32, queries: Float32, k: int, block: int = 1024) -> tuple[Int32, Float32]:
    """(rows (Q, K), similarities (Q, K)) of the K nearest documents, the most similar first, then by row.

    Where there are fewer than K documents, the rest is row −1, similarity −∞. Of equal documents faiss keeps arbitrary
    ones at the cut, and where it multiplies matrices it may tell them apart in the last bit.
    """
    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(np.ascontiguousarray(documents))
    return search_index(DedupedIndex(index), queries, k, block)


def search_index(
    searched: DedupedIndex,
    queries: Float32,
    k: int,
    block: int = 1024,
    allowed: npt.NDArray[np.bool_] | None = None,
    widen: float = 1,
    slack: int = SLACK,
) -> tuple[Int32, Float32]:
    """The same, through any faiss index over inner products. A zero query finds nothing. Where queries are (h, Q, D), a
    document counts as near as to the nearest of a query's h vectors: each is searched, and what they find is merged.

    Similarities less than TIED apart are ties, and go by row: the last bits of a float depend on a vector's place in a
    block and on the number of threads. slack more are looked at, so that ties at the K-th place are broken so too; with
    0 it costs what the index alone costs, and which of the equal ones at the K-th place are found is left to faiss.

    allowed (N,): the documents that may be found, which an index by codes alone (kind scan with pq) cannot honour.
    widen: so many times the index's own nprobe or ef, for a condition that leaves few of the documents looked at.
    """
    if queries.ndim == 3:
        return _over_views([search_index(searched, view, k, block, allowed, widen, slack) for view in queries], k)
    index, copies = searched
    rows, similarities = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
    depth = max(k, min(k + slack, index.ntotal))
    selected = allowed if allowed is None or copies is None else of_vectors(copies, allowed)
    selector = None if selected is None else faiss.IDSelectorBitmap(np.packbits(selected, bitorder="little"))
    starts, documents = copies or (_ALL, _ALL.astype(np.int32))
    meant = _EVERY if allowed is None or copies is None else allowed
    parameters = None if selector is None else _parameters(index, selector, widen)
    for first in range(0, len(queries), block):
        some = np.ascontiguousarray(queries[first : first + block])
        if isinstance(innermost(index), faiss.IndexHNSW):
            with _GRAPHS:
                found, nearest = index.search(some, depth, params=parameters)
        else:
            found, nearest = index.search(some, depth, params=parameters)
        nearest[~some.any(axis=1)] = -1  # no known n-gram: as near to all, so it finds nothing
        some_rows, some_similarities = rows[first : first + block], similarities[first : first + block]
        _settle(found, nearest, starts, documents, meant, some_rows, some_similarities)
    return rows, similarities


@njit(cache=True, nogil=True)
def _settle(found, nearest, starts, documents, meant, rows, similarities):  # type: ignore[no-untyped-def]
    """Fills rows and similarities (Q, K) with the documents of the best of found and nearest (Q, depth), both used up;
    ties by row. starts and documents are those of Copies, empty where each vector is one document's; meant (N,): the
    documents that may be found, empty for all."""
    for q in range(len(found)):
        n = 0
        for at in range(found.shape[1]):  # what is there, in order: as it mostly comes
            if nearest[q, at] < 0:
                continue
            similarity, row, place = found[q, at], nearest[q, at], n
            while place > 0 and found[q, place - 1] < similarity:
                found[q, place], nearest[q, place] = found[q, place - 1], nearest[q, place - 1]
                place -= 1
            found[q, place], nearest[q, place] = similarity, row
            n += 1
        first = placed = 0
        while first < n and placed < rows.shape[1]:
            last = first + 1
            while last < n and found[q, last - 1] <= found[q, last] + _TIED:
                last += 1
            if last - first > 1:
                tied = found[q, first:last], nearest[q, first:last]
                placed += _place(*tied, starts, documents, meant, rows[q, placed:], similarities[q, placed:])
            elif len(starts) == 0:
                rows[q, placed], similarities[q, placed] = nearest[q, first], found[q, first]
                placed += 1
            else:
                at, end = starts[nearest[q, first]], starts[nearest[q, first] + 1]
                while at < end and placed < rows.shape[1]:
                    if len(meant) == 0 or meant[documents[at]]:
                        rows[q, placed], similarities[q, placed] = documents[at], found[q, first]
                        placed += 1
                    at += 1
            first = last
        for at in range(placed, rows.shape[1]):
            rows[q, at], similarities[q, at] = -1, -np.inf


@njit(cache=True, nogil=True)
def _place(found, vectors, starts, documents, meant, rows, similarities):  # type: ignore[no-untyped-def]
    """How many of rows and similarities (K,) were filled with the documents of tied vectors (T,), by row."""
    k, room = len(rows), 0
    for vector in vectors:
        room += 1 if len(starts) == 0 else min(k, starts[vector + 1] - starts[vector])
    its_rows, its_similarities, n = np.empty(room, np.int64), np.empty(room, np.float32), 0
    for t, vector in enumerate(vectors):
        if len(starts) == 0:
            its_rows[n], its_similarities[n] = vector, found[t]
            n += 1
            continue
        taken, at = 0, starts[vector]
        while at < starts[vector + 1] and taken < k:
            if len(meant) == 0 or meant[documents[at]]:
                its_rows[n], its_similarities[n] = documents[at], found[t]
                taken, n = taken + 1, n + 1
            at += 1
    order = np.argsort(its_rows[:n])[:k]
    for place, at in enumerate(order):
        rows[place], similarities[place] = its_rows[at], its_similarities[at]
    return len(order)


def _over_views(found: list[tuple[Int32, Float32]], k: int) -> tuple[Int32, Float32]:
    """The K best of what several vectors of each query found, each document once. [DPSR 2020]"""
    rows, similarities = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    order = np.lexsort((-similarities, rows), axis=1)  # by document, its nearest first
    rows, similarities = np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1)
    again = np.zeros_like(rows, bool)
    again[:, 1:] = rows[:, 1:] == rows[:, :-1]
    similarities[again | (rows < 0)] = -np.inf
    rows[again] = -1
    order = np.lexsort((rows, -similarities), axis=1)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1)


def _parameters(index: faiss.Index, selector: Any, widen: float) -> Any:
    """faiss's search parameters for a selector, nested as the index is."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=_parameters(inner.index, selector, widen))
    if isinstance(inner, faiss.IndexRefine):
        base = _parameters(inner.base_index, selector, widen)
        return faiss.IndexRefineSearchParameters(k_factor=inner.k_factor, base_index_params=base)
    if isinstance(inner, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=min(inner.nlist, int(np.ceil(widen * inner.nprobe))))
    if isinstance(inner, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=selector, efSearch=int(np.ceil(widen * inner.hnsw.efSearch)))
    return faiss.SearchParameters(sel=selector)


def recall_up_to_ties(documents: Float32, queries: Float32, rows: Int32, nearest: Float32) -> npt.NDArray[np.float64]:
    """(Q,): recall of rows (Q, K) against exact search, whose similarities are nearest (Q, K): the share as near as its
    K-th. Equal documents stand for each other, since faiss does not say which of them it finds. −∞ is nobody's."""
    last, wanted = nearest.min(1, where=np.isfinite(nearest), initial=np.inf), np.isfinite(nearest).sum(1)
    views = queries if queries.ndim == 3 else queries[None]
    similarities = np.einsum("qkd,hqd->hqk", documents[rows], views).max(0)
    found = ((similarities >= last[:, None] - TIED) & (rows >= 0)).sum(1)
    recall: npt.NDArray[np.float64] = np.minimum(found, wanted) / np.maximum(wanted, 1)
    return recall


def scanned(searched: DedupedIndex, queries: Float32, k: int) -> tuple[Int64, Int64]:
    """(documents scanned (Q,), distances computed (Q,)) by a search for the K nearest: what it costs, on any machine.

    Documents with one vector are one comparison, and count once.

    Distances are those to scanned documents, to the centroids of cells (an IMI's halves count half) and of the second
    look. A graph is counted over all queries together, so each has the mean. Several vectors (h, Q, D) add up.
    """
    if queries.ndim == 3:
        documents, distances = np.stack([scanned(searched, view, k) for view in queries]).sum(0)
        return documents, distances
    index = searched.index
    inner, chain = innermost(index), _innermost_queries(index, queries)
    looked_at_again = k * int(index.k_factor) if isinstance(faiss.downcast_index(index), faiss.IndexRefine) else 0
    if isinstance(inner, faiss.IndexHNSW):
        with _GRAPHS:
            faiss.cvar.hnsw_stats.reset()
            inner.search(chain, max(k, looked_at_again))
            steps = round(faiss.cvar.hnsw_stats.ndis / max(1, len(queries)))
        documents = np.full(len(queries), steps, np.int64)
        return documents, documents + looked_at_again
    if not isinstance(inner, faiss.IndexIVF):
        documents = np.full(len(queries), index.ntotal, np.int64)
        return documents, documents + looked_at_again
    sizes = np.array([inner.get_list_size(cell) for cell in range(inner.nlist)], np.int64)
    _, cells = inner.quantizer.search(chain, inner.nprobe)
    documents = np.where(cells >= 0, sizes[cells], 0).sum(1)
    quantiser = faiss.downcast_index(inner.quantizer)
    halves = isinstance(quantiser, faiss.MultiIndexQuantizer)
    centroids = 1 << quantiser.pq.nbits if halves else inner.nlist
    return documents, documents + centroids + looked_at_again


def _innermost_queries(index: faiss.Index, queries: Float32) -> Float32:
    """The queries as they reach the innermost index, after rotations and projections."""
    inner, queries = faiss.downcast_index(index), np.ascontiguousarray(queries, np.float32)
    if isinstance(inner, faiss.IndexRefine):
        return _innermost_queries(inner.base_index, queries)
    if isinstance(inner, faiss.IndexPreTransform):
        for at in range(inner.chain.size()):
            queries = faiss.downcast_VectorTransform(inner.chain.at(at)).apply(queries)
        return _innermost_queries(inner.index, queries)
    return queries
