"""Answers to many queries at once: the documents that `answer` ranks first for each, computed on arrays."""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ebr_core.arrays import Bool, Float32, Float64, Int32
from ebr_core.search.conditions import contains_nn, parse, reads_place
from ebr_core.search.hybrid_search import RRF, reciprocal_rank_fusion, search_within
from ebr_core.search.query_kinds import query_kinds
from ebr_core.search.weighted_fusion import CELLS, cosines_of, fuse_weighted, normalise, pool_rows
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import condition_of, cut_at_radius, mode_of, run_depth
from ebr_core.serving.query_towers import embed_query_table
from ebr_core.serving.search_query import AnswerMode, QueryBlock, SearchQuery
from ebr_core.serving.second_stage import reorder
from ebr_core.text.terms import rank_documents, scores_of
from ebr_core.towers.location_cells import distance_km


class BlockAnswers(NamedTuple):
    """The first K documents of B queries; −1 behind the last document of a query."""

    rows: Int32  # (B, K)
    scores: Float64  # (B, K) what ranks a document, as in Hit
    cosines: Float32  # (B, K)
    kilometres: Float64  # (B, K) from the place of the search, NaN where one of the two is unknown


def answer_block(bundle: Bundle, queries: QueryBlock, settings: SearchQuery) -> BlockAnswers:
    """The answers to B queries, those that `answer` gives to each.

    settings: k, mode, radius and where of all queries; its text is not read. Raises InputError as `answer` does.
    """
    mode, vectors = mode_of(bundle, settings), embed_query_table(bundle.towers, queries.table)
    if settings.where is not None and _differs_by_query(settings.where):
        lists = [_lists_of_one(bundle, queries, settings, mode, vectors, row) for row in range(len(queries.places))]
        rows, scores = (np.concatenate(parts) for parts in zip(*lists, strict=True))
    else:
        allowed = None if settings.where is None else condition_of(bundle, settings.where, vectors[..., :1, :], None)
        rows, scores = _lists(bundle, queries, settings, mode, vectors, allowed)
    return BlockAnswers(rows, scores, cosines_of(rows, bundle.vectors, vectors), _kilometres(bundle, queries, rows))


def _differs_by_query(where: str) -> bool:
    """True if a condition allows other documents for another query: those near it, or near its place."""
    condition = parse(where)
    return contains_nn(condition) or reads_place(condition)


def _lists_of_one(
    bundle: Bundle, queries: QueryBlock, settings: SearchQuery, mode: AnswerMode, vectors: Float32, row: int
) -> tuple[Int32, Float64]:
    """(rows, scores), both (1, K), of one query of the block, with a condition of its own."""
    place = queries.places[row]
    origin = None if np.isnan(place).any() else (float(place[0]), float(place[1]))
    one = QueryBlock(queries.table.slice(row, 1), queries.searched_at.slice(row, 1), queries.places[row : row + 1])
    vector = vectors[..., row : row + 1, :]
    assert settings.where is not None, "only a condition can differ by query"
    return _lists(bundle, one, settings, mode, vector, condition_of(bundle, settings.where, vector, origin))


def _lists(
    bundle: Bundle,
    queries: QueryBlock,
    settings: SearchQuery,
    mode: AnswerMode,
    vectors: Float32,
    allowed: Bool | None,
) -> tuple[Int32, Float64]:
    """(rows, scores), both (B, K): the first documents of each query."""
    k, depth = settings.k, max(settings.k, bundle.depth)
    near, similarities = _nearest(bundle, settings, mode, vectors, allowed)
    texts = queries.table["query"].to_pylist() if mode in ("boolean", "hybrid", "weighted") else []
    scores: npt.NDArray[np.floating]
    match mode:
        case "ebr":
            rows, scores = near, similarities
        case "boolean":
            rows, scores = rank_documents(bundle.terms, texts, k, True, allowed)
        case "hybrid":
            by_terms, _ = rank_documents(bundle.terms, texts, depth, False, allowed)
            rows = reciprocal_rank_fusion([by_terms, near], k)
            scores = _reciprocal_ranks(rows, by_terms) + _reciprocal_ranks(rows, near)
        case "weighted":
            rows, scores = _fuse_scores(bundle, texts, vectors, near, allowed, k)
        case "reranked":
            assert bundle.second is not None, "a bundle without a second stage has no such mode"
            rows, scores = reorder(bundle.second, bundle.terms, bundle.vectors, queries, vectors, near)
        case _:
            assert_never(mode)
    return rows[:, :k], scores[:, :k].astype(np.float64)


def _nearest(
    bundle: Bundle, settings: SearchQuery, mode: AnswerMode, vectors: Float32, allowed: Bool | None
) -> tuple[Int32, Float32]:
    """(rows, cosines) of the nearest allowed documents within the radius, as deep as the run searched."""
    if mode == "boolean":
        nothing = vectors.shape[-2], 0
        return np.empty(nothing, np.int32), np.empty(nothing, np.float32)
    depth = max(settings.k, run_depth(bundle, mode))
    rows, similarities, _ = search_within(bundle.built_index, bundle.vectors, vectors, depth, allowed, bundle.typical)
    return cut_at_radius(bundle, settings, rows, similarities), similarities


def _reciprocal_ranks(rows: Int32, lists: Int32) -> Float64:
    """(B, K) 1 / (RRF + rank) of each document (B, K) in its list (B, J); 0 if it is not there, and for −1."""
    shares, sums = 1 / (RRF + 1 + np.arange(lists.shape[1])), np.empty(rows.shape)
    step = max(1, CELLS // max(1, rows.shape[1] * lists.shape[1]))
    for first in range(0, len(rows), step):
        part = rows[first : first + step, :, None]
        is_there = (part == lists[first : first + step, None, :]) & (part >= 0)
        sums[first : first + step] = is_there @ shares
    return sums


def _fuse_scores(
    bundle: Bundle, texts: list[str], vectors: Float32, near: Int32, allowed: Bool | None, k: int
) -> tuple[Int32, Float64]:
    """(rows, scores), both (B, K), by the weighted sum of BM25 and cosine."""
    by_terms, _ = rank_documents(bundle.terms, texts, max(k, bundle.depth), False, allowed)
    rows = pool_rows([by_terms, near])
    at, j = np.nonzero(rows >= 0)
    bm25 = np.zeros(rows.shape, np.float32)
    bm25[at, j] = scores_of(bundle.terms, texts, at.astype(np.int32), rows[at, j])[0]
    pool = normalise(rows, bm25, cosines_of(rows, bundle.vectors, vectors))
    kinds = query_kinds(pa.array(texts, pa.string()), bundle.known, bundle.terms)
    return fuse_weighted(pool, bundle.fusion.of(kinds), k)


def _kilometres(bundle: Bundle, queries: QueryBlock, rows: Int32) -> Float64:
    """(B, K) the distances of documents from the places of their searches; NaN for −1."""
    if bundle.own.places is None:
        return np.full(rows.shape, np.nan)
    documents = np.asarray(bundle.own.places)[rows]
    kilometres = distance_km(documents[..., 0], documents[..., 1], *queries.places.T[:, :, None])
    return np.where(rows >= 0, kilometres, np.nan)
