"""Nearest neighbours by inner product over unit vectors: by exact search, and through a faiss index."""

from __future__ import annotations

import threading
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
from numba import njit

from ebr_core.arrays import Float32, Int32, Int64
from ebr_core.search.deduped_index import DedupedIndex, vector_mask
from ebr_core.search.faiss_index import innermost

TIE_TOLERANCE = 1e-6  # cosine difference; float32 noise is a tenth of it
_TIE_TOLERANCE = np.float32(TIE_TOLERANCE)
SLACK = 32
_NO_ROWS, _NO_MASK = np.empty(0, np.int64), np.empty(0, np.bool_)  # for no duplicates, no condition
_GRAPH_LOCK = threading.Lock()  # faiss has one step counter for all graphs of a process


def search_exact(documents: Float32, queries: Float32, k: int, block: int = 1024) -> tuple[Int32, Float32]:
    """(rows (Q, K), similarities (Q, K)) of the K nearest documents, by falling similarity, then by row.

    If there are fewer than K documents, the rest has row −1 and similarity −∞. faiss keeps an arbitrary subset of equal
    documents at the cut, and its matrix products may give them similarities that differ in the last bit.
    """
    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(np.ascontiguousarray(documents))
    return search_index(DedupedIndex(index), queries, k, block)


def search_index(
    index: DedupedIndex,
    queries: Float32,
    k: int,
    block: int = 1024,
    allowed: npt.NDArray[np.bool_] | None = None,
    widen: float = 1,
    slack: int = SLACK,
) -> tuple[Int32, Float32]:
    """(rows (Q, K), similarities (Q, K)) as search_exact returns them, from any faiss index over inner products.

    A zero query retrieves nothing. With queries (h, Q, D), each of a query's h vectors is searched, and a document
    counts with its highest similarity to any of them.

    Similarities that differ by less than TIED are ties and are ordered by row: the last bits of a float depend on a
    vector's place in a block and on the number of threads. `slack` more documents are retrieved so that ties at the
    K-th place are broken in the same way. With slack=0 the search costs no more than that of the index, and faiss
    decides which of the equal documents at the K-th place are retrieved.

    allowed (N,) masks the documents that may be retrieved; an index by codes only (kind scan with pq) does not support
    it. widen multiplies the index's nprobe or ef, for a condition that allows few of the documents scanned.
    """
    if queries.ndim == 3:
        return _merge_views([search_index(index, view, k, block, allowed, widen, slack) for view in queries], k)
    faiss_index, duplicates = index
    rows, similarities = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
    depth = max(k, min(k + slack, faiss_index.ntotal))
    allowed_vectors = allowed if allowed is None or duplicates is None else vector_mask(duplicates, allowed)
    selector = (
        None if allowed_vectors is None else faiss.IDSelectorBitmap(np.packbits(allowed_vectors, bitorder="little"))
    )
    starts, documents = duplicates or (_NO_ROWS, _NO_ROWS.astype(np.int32))
    allowed_documents = _NO_MASK if allowed is None or duplicates is None else allowed
    parameters = None if selector is None else _search_parameters(faiss_index, selector, widen)
    for first in range(0, len(queries), block):
        block_queries = np.ascontiguousarray(queries[first : first + block])
        if isinstance(innermost(faiss_index), faiss.IndexHNSW):
            with _GRAPH_LOCK:
                scores, vectors = faiss_index.search(block_queries, depth, params=parameters)
        else:
            scores, vectors = faiss_index.search(block_queries, depth, params=parameters)
        vectors[~block_queries.any(axis=1)] = -1  # no known n-gram, nothing is near
        block_rows, block_similarities = rows[first : first + block], similarities[first : first + block]
        _rank_documents(scores, vectors, starts, documents, allowed_documents, block_rows, block_similarities)
    return rows, similarities


@njit(cache=True, nogil=True)
def _rank_documents(scores, vectors, starts, documents, allowed, rows, similarities):  # type: ignore[no-untyped-def]
    """Fill rows and similarities (Q, K) with the documents of the best vectors, ties by row.

    scores and vectors (Q, depth) are what faiss retrieved; both are overwritten. starts and documents are those of a
    DuplicateMap, empty if each vector belongs to one document. allowed (N,) masks the documents that may be retrieved;
    empty allows all.
    """
    for q in range(len(scores)):
        n = 0
        for i in range(scores.shape[1]):  # insertion sort of the valid entries, which are mostly in order
            if vectors[q, i] < 0:
                continue
            similarity, row, pos = scores[q, i], vectors[q, i], n
            while pos > 0 and scores[q, pos - 1] < similarity:
                scores[q, pos], vectors[q, pos] = scores[q, pos - 1], vectors[q, pos - 1]
                pos -= 1
            scores[q, pos], vectors[q, pos] = similarity, row
            n += 1
        first = filled = 0
        while first < n and filled < rows.shape[1]:
            last = first + 1
            while last < n and scores[q, last - 1] <= scores[q, last] + _TIE_TOLERANCE:
                last += 1
            if last - first > 1:
                tied = scores[q, first:last], vectors[q, first:last]
                filled += _fill_tied(*tied, starts, documents, allowed, rows[q, filled:], similarities[q, filled:])
            elif len(starts) == 0:
                rows[q, filled], similarities[q, filled] = vectors[q, first], scores[q, first]
                filled += 1
            else:
                i, end = starts[vectors[q, first]], starts[vectors[q, first] + 1]
                while i < end and filled < rows.shape[1]:
                    if len(allowed) == 0 or allowed[documents[i]]:
                        rows[q, filled], similarities[q, filled] = documents[i], scores[q, first]
                        filled += 1
                    i += 1
            first = last
        for i in range(filled, rows.shape[1]):
            rows[q, i], similarities[q, i] = -1, -np.inf


@njit(cache=True, nogil=True)
def _fill_tied(scores, vectors, starts, documents, allowed, rows, similarities):  # type: ignore[no-untyped-def]
    """Fill rows and similarities (K,) with the documents of tied vectors (T,), by row. Returns the number filled."""
    k, capacity = len(rows), 0
    for vector in vectors:
        capacity += 1 if len(starts) == 0 else min(k, starts[vector + 1] - starts[vector])
    tied_rows, tied_similarities, n = np.empty(capacity, np.int64), np.empty(capacity, np.float32), 0
    for t, vector in enumerate(vectors):
        if len(starts) == 0:
            tied_rows[n], tied_similarities[n] = vector, scores[t]
            n += 1
            continue
        count, i = 0, starts[vector]
        while i < starts[vector + 1] and count < k:
            if len(allowed) == 0 or allowed[documents[i]]:
                tied_rows[n], tied_similarities[n] = documents[i], scores[t]
                count, n = count + 1, n + 1
            i += 1
    order = np.argsort(tied_rows[:n])[:k]
    for pos, i in enumerate(order):
        rows[pos], similarities[pos] = tied_rows[i], tied_similarities[i]
    return len(order)


def _merge_views(results: list[tuple[Int32, Float32]], k: int) -> tuple[Int32, Float32]:
    """(rows (Q, K), similarities (Q, K)): the results of a query's vectors merged, each document once. [DPSR 2020]"""
    rows, similarities = (np.concatenate(parts, axis=1) for parts in zip(*results, strict=True))
    order = np.lexsort((-similarities, rows), axis=1)  # by document, its highest similarity first
    rows, similarities = np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1)
    is_repeated = np.zeros_like(rows, bool)
    is_repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
    similarities[is_repeated | (rows < 0)] = -np.inf
    rows[is_repeated] = -1
    order = np.lexsort((rows, -similarities), axis=1)[:, :k]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1)


def _search_parameters(index: faiss.Index, selector: Any, widen: float) -> Any:
    """faiss's search parameters with the selector, nested like the index."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=_search_parameters(inner.index, selector, widen))
    if isinstance(inner, faiss.IndexRefine):
        base = _search_parameters(inner.base_index, selector, widen)
        return faiss.IndexRefineSearchParameters(k_factor=inner.k_factor, base_index_params=base)
    if isinstance(inner, faiss.IndexIVF):
        return faiss.SearchParametersIVF(sel=selector, nprobe=min(inner.nlist, int(np.ceil(widen * inner.nprobe))))
    if isinstance(inner, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(sel=selector, efSearch=int(np.ceil(widen * inner.hnsw.efSearch)))
    return faiss.SearchParameters(sel=selector)


def recall_up_to_ties(documents: Float32, queries: Float32, rows: Int32, nearest: Float32) -> npt.NDArray[np.float64]:
    """(Q,): recall of rows (Q, K) against exact search with similarities `nearest` (Q, K).

    A row counts if it is as near as the K-th of exact search: equal documents are interchangeable, since faiss returns
    an arbitrary subset of them. A similarity of −∞ is no document.
    """
    kth, relevant = nearest.min(1, where=np.isfinite(nearest), initial=np.inf), np.isfinite(nearest).sum(1)
    views = queries if queries.ndim == 3 else queries[None]
    similarities = np.einsum("qkd,hqd->hqk", documents[rows], views).max(0)
    hits = ((similarities >= kth[:, None] - TIE_TOLERANCE) & (rows >= 0)).sum(1)
    recall: npt.NDArray[np.float64] = np.minimum(hits, relevant) / np.maximum(relevant, 1)
    return recall


def search_cost(index: DedupedIndex, queries: Float32, k: int) -> tuple[Int64, Int64]:
    """(documents scanned (Q,), distances computed (Q,)): the cost of a search for the K nearest, on any machine.

    Documents that share a vector take one comparison and count once. The distances are those to scanned documents, to
    the centroids of cells (in an IMI, a distance of a half counts half) and in refinement. The steps in a graph are
    counted over all queries together, so each query has the mean. Several vectors (h, Q, D) add up.
    """
    if queries.ndim == 3:
        documents, distances = np.stack([search_cost(index, view, k) for view in queries]).sum(0)
        return documents, distances
    faiss_index = index.index
    inner, inner_queries = innermost(faiss_index), _innermost_queries(faiss_index, queries)
    refined = k * int(faiss_index.k_factor) if isinstance(faiss.downcast_index(faiss_index), faiss.IndexRefine) else 0
    if isinstance(inner, faiss.IndexHNSW):
        with _GRAPH_LOCK:
            faiss.cvar.hnsw_stats.reset()
            inner.search(inner_queries, max(k, refined))
            steps = round(faiss.cvar.hnsw_stats.ndis / max(1, len(queries)))
        documents = np.full(len(queries), steps, np.int64)
        return documents, documents + refined
    if not isinstance(inner, faiss.IndexIVF):
        documents = np.full(len(queries), faiss_index.ntotal, np.int64)
        return documents, documents + refined
    sizes = np.array([inner.get_list_size(cell) for cell in range(inner.nlist)], np.int64)
    _, cells = inner.quantizer.search(inner_queries, inner.nprobe)
    documents = np.where(cells >= 0, sizes[cells], 0).sum(1)
    quantiser = faiss.downcast_index(inner.quantizer)
    halves = isinstance(quantiser, faiss.MultiIndexQuantizer)
    centroids = 1 << quantiser.pq.nbits if halves else inner.nlist
    return documents, documents + centroids + refined


def _innermost_queries(index: faiss.Index, queries: Float32) -> Float32:
    """The queries after the index's rotations and projections, as the innermost index gets them."""
    inner, queries = faiss.downcast_index(index), np.ascontiguousarray(queries, np.float32)
    if isinstance(inner, faiss.IndexRefine):
        return _innermost_queries(inner.base_index, queries)
    if isinstance(inner, faiss.IndexPreTransform):
        for i in range(inner.chain.size()):
            queries = faiss.downcast_VectorTransform(inner.chain.at(i)).apply(queries)
        return _innermost_queries(inner.index, queries)
    return queries
