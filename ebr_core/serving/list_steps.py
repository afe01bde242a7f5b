"""The steps to a list that one query and a block of queries share: the nearest documents, and the two ways to fuse."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Bool, Float32, Float64, Int32
from ebr_core.errors import InputError
from ebr_core.search.hybrid_search import RRF, reciprocal_rank_fusion, search_within, within_radius
from ebr_core.search.modes import RERANKED
from ebr_core.search.query_kinds import query_kinds
from ebr_core.search.weighted_fusion import CELLS, cosines_of, fuse_weighted, normalise
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.search_query import WITHOUT_EMBEDDING, AnswerMode, SearchQuery


def nearest(
    bundle: Bundle, query: SearchQuery, mode: AnswerMode, vectors: Float32, allowed: Bool | None
) -> tuple[Int32, Float32]:
    """(rows, cosines), both (Q, J): the nearest allowed documents within the radius, nearest first; −1 behind the last.

    The search is as deep as the run's was: an index that rescores finds others in a deeper one. Raises InputError if
    the radius was not calibrated. vectors are (Q, D) or (h, Q, D); of the query, k and radius are read.
    """
    if mode in WITHOUT_EMBEDDING:
        nothing = vectors.shape[-2], 0
        return np.empty(nothing, np.int32), np.empty(nothing, np.float32)
    depth = max(query.k, _run_depth(bundle, mode))
    rows, similarities, _ = search_within(bundle.built_index, bundle.vectors, vectors, depth, allowed, bundle.typical)
    if query.radius != "none":
        rows = within_radius(rows, similarities, _radius(bundle, query.radius, similarities))
    return rows, similarities


def _run_depth(bundle: Bundle, mode: AnswerMode) -> int:
    """The documents that the run retrieved by the embedding for each search."""
    if mode == RERANKED and bundle.second is not None:
        return min(max(bundle.k, bundle.second.settings.depth), len(bundle.vectors))
    return bundle.k if mode == "ebr" else bundle.depth


def _radius(bundle: Bundle, radius: float | Literal["model", "query"], similarities: Float32) -> Float32 | float:
    if bundle.radius is not None:
        return bundle.radius.radius_for(radius, similarities)
    if isinstance(radius, str):
        raise InputError(f"radius: {radius} was not calibrated for this model; give a number, or none")
    return radius


def fuse_ranks(by_terms: Int32, near: Int32, k: int) -> tuple[Int32, Float64]:
    """(rows, scores), both (Q, K): the first documents of both lists (Q, J) by summed reciprocal ranks."""
    rows = reciprocal_rank_fusion([by_terms, near], k)
    return rows, _reciprocal_ranks(rows, near) + _reciprocal_ranks(rows, by_terms)


def _reciprocal_ranks(rows: Int32, lists: Int32) -> Float64:
    """(Q, K) 1 / (RRF + rank) of each document (Q, K) in its list (Q, J); 0 if it is not there, and for −1."""
    shares, sums = 1 / (RRF + 1 + np.arange(lists.shape[1])), np.empty(rows.shape)
    step = max(1, CELLS // max(1, rows.shape[1] * lists.shape[1]))
    for first in range(0, len(rows), step):
        part = rows[first : first + step, :, None]
        is_there = (part == lists[first : first + step, None, :]) & (part >= 0)
        sums[first : first + step] = is_there @ shares
    return sums


def fuse_scores(
    bundle: Bundle, texts: list[str], vectors: Float32, pooled: Int32, bm25: Float32, k: int
) -> tuple[Int32, Float64]:
    """(rows, scores), both (Q, K): the first documents by the weighted sum of BM25 and cosine.

    pooled (Q, J): the documents of both lists, from pool_rows, with their BM25 scores bm25 (Q, J).
    """
    pool = normalise(pooled, bm25, cosines_of(pooled, bundle.vectors, vectors))
    kinds = query_kinds(pa.array(texts, pa.string()), bundle.known, bundle.terms)
    return fuse_weighted(pool, bundle.fusion.of(kinds), k)
