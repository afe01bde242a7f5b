"""Nearest neighbours by inner product over unit vectors: exact, and through a faiss index."""

from __future__ import annotations

import faiss
import numpy as np

from ebr_core.bags import Float32, Int32

TIED = 1e-6  # in cosine; float32 noise is a tenth of it
SLACK = 32


def exact(documents: Float32, queries: Float32, k: int, block: int = 1024) -> tuple[Int32, Float32]:
    """(rows (Q, K), similarities (Q, K)) of the K nearest documents, the most similar first, then by row.

    Where there are fewer than K documents, the rest is row −1, similarity −∞. Of equal documents faiss keeps arbitrary
    ones at the cut, and where it multiplies matrices it may tell them apart in the last bit.
    """
    index = faiss.IndexFlatIP(documents.shape[1])
    index.add(np.ascontiguousarray(documents))
    return through(index, queries, k, block)


def through(index: faiss.Index, queries: Float32, k: int, block: int = 1024) -> tuple[Int32, Float32]:
    """The same, through any faiss index over inner products. A zero query finds nothing. Where queries are (h, Q, D), a
    document counts as near as to the nearest of a query's h vectors: each is searched, and what they find is merged.

    Similarities less than TIED apart are ties, and go by row: the last bits of a float depend on a vector's place in a
    block and on the number of threads. SLACK more are looked at, so that ties at the K-th place are broken so too.
    """
    if queries.ndim == 3:
        return _over_views([through(index, view, k, block) for view in queries], k)
    rows, similarities = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
    depth = max(k, min(k + SLACK, index.ntotal))
    for first in range(0, len(queries), block):
        found, nearest = index.search(np.ascontiguousarray(queries[first : first + block]), depth)
        blank = ~queries[first : first + block].any(axis=1)  # no known n-gram: as near to all, so it finds nothing
        nearest[blank] = -1
        found[nearest < 0] = -np.inf
        nearest[nearest < 0] = np.iinfo(np.int32).max  # behind every document of equal similarity
        order = np.argsort(-found, axis=1, kind="stable")
        found, nearest = np.take_along_axis(found, order, 1), np.take_along_axis(nearest, order, 1)
        apart = found[:, :-1] > found[:, 1:] + TIED
        place = np.concatenate([np.zeros((len(found), 1), int), apart.cumsum(1)], axis=1)
        order = np.lexsort((nearest, place), axis=1)[:, :k]
        rows[first : first + block] = np.take_along_axis(nearest, order, 1)
        similarities[first : first + block] = np.take_along_axis(found, order, 1)
    rows[rows == np.iinfo(np.int32).max] = -1
    return rows, similarities


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
