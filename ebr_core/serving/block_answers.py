"""Answers to many queries at once: the documents that `answer` ranks first for each, computed on arrays."""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from ebr_core.arrays import Bool, Float32, Float64, Int32
from ebr_core.search.conditions import contains_nn, parse, reads_place
from ebr_core.search.modes import RERANKED
from ebr_core.search.weighted_fusion import cosines_of, pool_rows
from ebr_core.serving.list_steps import fuse_ranks, fuse_scores, nearest
from ebr_core.serving.logged_lists import listed_rows
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import condition_of, mode_of
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
    near, similarities = nearest(bundle, settings, mode, vectors, allowed)
    texts = [] if mode in ("ebr", RERANKED) else queries.table["query"].to_pylist()
    scores: npt.NDArray[np.floating]
    match mode:
        case "ebr":
            rows, scores = near, similarities
        case "boolean" | "bm25":
            rows, scores = rank_documents(bundle.terms, texts, k, mode == "boolean", allowed)
        case "logged":
            assert bundle.logged is not None, "a bundle without lists of the log has no such mode"
            rows = listed_rows(bundle.logged, texts, k, allowed)
            scores = np.where(rows >= 0, 1 / np.arange(1, k + 1), 0)
        case "hybrid":
            rows, scores = fuse_ranks(rank_documents(bundle.terms, texts, depth, False, allowed)[0], near, k)
        case "weighted":
            pooled = pool_rows([rank_documents(bundle.terms, texts, depth, False, allowed)[0], near])
            rows, scores = fuse_scores(bundle, texts, vectors, pooled, _bm25(bundle, texts, pooled), k)
        case "reranked":
            assert bundle.second is not None, "a bundle without a second stage has no such mode"
            rows, scores = reorder(bundle.second, bundle.terms, bundle.vectors, queries, vectors, near)
        case _:
            assert_never(mode)
    return rows[:, :k], scores[:, :k].astype(np.float64)


def _bm25(bundle: Bundle, texts: list[str], rows: Int32) -> Float32:
    """(B, J) the BM25 scores of documents (B, J); 0 for −1."""
    scores, (at, j) = np.zeros(rows.shape, np.float32), np.nonzero(rows >= 0)
    scores[at, j] = scores_of(bundle.terms, texts, at.astype(np.int32), rows[at, j])[0]
    return scores


def _kilometres(bundle: Bundle, queries: QueryBlock, rows: Int32) -> Float64:
    """(B, K) the distances of documents from the places of their searches; NaN for −1."""
    if bundle.own.places is None:
        return np.full(rows.shape, np.nan)
    documents = np.asarray(bundle.own.places)[rows]
    kilometres = distance_km(documents[..., 0], documents[..., 1], *queries.places.T[:, :, None])
    return np.where(rows >= 0, kilometres, np.nan)
