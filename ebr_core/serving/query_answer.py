"""Answers of a bundle: ranked documents for a query with its context, each with the reasons for its rank."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.parallel import use_threads
from ebr_core.search.conditions import Mask, Near, condition_mask, contains_nn, parse
from ebr_core.search.hybrid_search import RRF, reciprocal_rank_fusion, search_within, within_radius
from ebr_core.serving.model_bundle import CONTEXT, QUERY_SCHEMA, Bundle, embed_query_table
from ebr_core.text.terms import QueryWord, match_query, words_in_documents, words_of

Mode = Literal["hybrid", "ebr", "boolean"]
HIT_COLUMNS = ["document_id", "title", "kind", "city", "country"]
MIN_DEPTH = 100  # smallest depth to which both lists are fused


class SearchQuery(Frozen):
    """A query to a bundle, with its searcher, context and mode."""

    query: str = Field(min_length=1, max_length=500, description="the text as typed")
    searcher_id: str | None = Field(None, max_length=200, description="the searcher's id in the logs")
    city: str | None = Field(None, max_length=200)
    region: str | None = Field(None, max_length=200)
    country: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=200)
    k: int = Field(10, ge=1, le=1000, description="number of documents; by default fewer if the model holds fewer")
    mode: Mode = Field(
        "hybrid",
        description="boolean: every word; ebr: nearest by the embedding; hybrid: both, by summed reciprocal ranks",
    )
    radius: float | Literal["none", "model", "query"] = Field(
        "none",
        description="cosine distance within which the embedding retrieves; model, query: as calibrated; none: no limit",
    )
    where: str | None = Field(None, max_length=2000, description="a condition on documents (see docs/indexes.md)")

    @field_validator("query")
    @classmethod
    def _check_query(cls, query: str) -> str:
        if not query.strip():
            raise ValueError("the query is empty")
        return query

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: str | None) -> str | None:
        if where is not None and where.strip():
            parse(where)
            return where
        return None

    @field_validator("radius")
    @classmethod
    def _check_radius(cls, radius: float | str) -> float | str:
        if isinstance(radius, float | int) and not 0 <= radius <= 2:
            raise ValueError("a cosine distance lies between 0 and 2")
        return radius


class Hit(Frozen):
    """A document of an answer, with the reasons for its rank."""

    rank: int
    document_id: str
    title: str
    score: float = Field(description="score that ranks it: cosine, BM25, or the sum of reciprocal ranks")
    cosine: float = Field(description="cosine of query and document")
    near_rank: int | None = Field(description="rank by the embedding only")
    terms_rank: int | None = Field(description="rank by terms only")
    words: list[str] = Field(description="stems of the query's words that the document contains")
    kind: str | None
    city: str | None
    country: str | None


def queries_as_table(queries: list[SearchQuery]) -> pa.Table:
    """A table with schema ASKED of the queries' texts and contexts."""
    rows = [{name: getattr(query, name) for name in QUERY_SCHEMA.names} for query in queries]
    return pa.Table.from_pylist(rows, QUERY_SCHEMA)


def add_searcher_context(bundle: Bundle, query: SearchQuery) -> SearchQuery:
    """The query with the searcher's place and language, unless it has its own.

    Raises InputError if the searcher is not in the logs.
    """
    if query.searcher_id is None:
        return query
    row = pc.index(bundle.searchers["searcher_id"], query.searcher_id).as_py()
    if row < 0:
        raise InputError(
            f"no searcher {query.searcher_id!r} in the logs of this model; leave it out for an unknown searcher"
        )
    context = bundle.searchers.slice(row, 1).to_pylist()[0]
    if any(getattr(query, name) for name in CONTEXT[1:]):
        return query  # a place of its own is not mixed with the searcher's
    return query.model_copy(update={name: context[name] for name in CONTEXT[1:]})


def answer(bundle: Bundle, query: SearchQuery) -> list[Hit]:
    """The K documents that the bundle ranks first, or fewer if fewer meet the condition.

    Raises InputError if K is more than the number of documents, or if the searcher or the radius is unknown.
    """
    use_threads(1)  # a query is one row: to wake another thread takes longer than to do its work
    total = bundle.documents.num_rows
    if query.k > total and "k" in query.model_fields_set:
        raise InputError(f"k: got {query.k}; this model holds {total} documents")
    query = add_searcher_context(bundle, query)
    vector = embed_query_table(bundle.towers, queries_as_table([query]))
    allowed = None if query.where is None else _allowed_documents(bundle, query.where, vector)
    near, cosines = _search_vectors(bundle, query, vector, allowed)
    words = words_of(bundle.terms, query.query)
    by_terms, scores = _search_terms(bundle, query, words, allowed)
    ranks = {"near_rank": _ranks(near), "terms_rank": _ranks(by_terms)}
    if query.mode == "ebr":
        rows, score = near[: query.k], cosines[: query.k]
    elif query.mode == "boolean":
        rows, score = by_terms[: query.k], scores[: query.k]
    else:
        fused = reciprocal_rank_fusion([by_terms[None], near[None]], query.k)[0]
        rows = fused[fused >= 0]
        score = np.array(
            [
                sum(1 / (RRF + list_ranks[row]) for list_ranks in ranks.values() if row in list_ranks)
                for row in rows.tolist()
            ]
        )
    return _hits(bundle, vector, rows, score, words, ranks)


def _ranks(rows: Int32) -> dict[int, int]:
    """The rank of each row in a list, from 1."""
    return {row: rank for rank, row in enumerate(rows.tolist(), 1)}


def _allowed_documents(bundle: Bundle, where: str, vector: Float32) -> Mask:
    """(N,): True for the documents that meet the condition. nn is evaluated by the index."""

    def nearest(near: Near, among: Mask) -> Mask:
        depth = near.k or min(MIN_DEPTH, bundle.documents.num_rows)
        while True:
            retrieved = search_within(bundle.built_index, bundle.vectors, vector, depth, among, bundle.typical)
            farthest = 1 - retrieved.similarities[0, -1]
            if near.radius is None or not farthest <= near.radius or depth >= bundle.documents.num_rows:
                break
            depth = min(4 * depth, bundle.documents.num_rows)  # all results lie within the radius: there may be more
        rows = (
            retrieved.rows
            if near.radius is None
            else within_radius(retrieved.rows, retrieved.similarities, near.radius)
        )
        is_near = np.zeros(len(among), bool)
        is_near[rows[rows >= 0]] = True
        return is_near & among

    condition = parse(where)
    if not contains_nn(condition):
        return condition_mask(condition, bundle.documents, bundle.terms, _refuse_nn)
    return condition_mask(condition, bundle.documents, bundle.terms, nearest)


def _refuse_nn(_near: Near, _among: Mask) -> Mask:
    raise AssertionError("this condition contains no nn")


def _search_vectors(
    bundle: Bundle, query: SearchQuery, vector: Float32, allowed: npt.NDArray[np.bool_] | None
) -> tuple[Int32, Float32]:
    """(rows, cosines) of the nearest allowed documents within the radius, nearest first."""
    if query.mode == "boolean":
        return np.empty(0, np.int32), np.empty(0, np.float32)
    depth = query.k if query.mode == "ebr" else max(query.k, min(MIN_DEPTH, bundle.documents.num_rows))
    retrieved = search_within(bundle.built_index, bundle.vectors, vector, depth, allowed, bundle.typical)
    rows = retrieved.rows
    if query.radius != "none":
        rows = within_radius(rows, retrieved.similarities, _radius(bundle, query.radius, retrieved.similarities))
    valid = rows[0] >= 0
    return rows[0, valid], retrieved.similarities[0, valid]


def _radius(bundle: Bundle, radius: float | Literal["model", "query"], similarities: Float32) -> Float32 | float:
    if bundle.radius is not None:
        return bundle.radius.radius_for(radius, similarities)
    if isinstance(radius, str):
        raise InputError(f"radius: {radius} was not calibrated for this model; give a number, or none")
    return radius


def _search_terms(
    bundle: Bundle, query: SearchQuery, words: dict[str, QueryWord], allowed: npt.NDArray[np.bool_] | None
) -> tuple[Int32, Float32]:
    if query.mode == "ebr":
        return np.empty(0, np.int32), np.empty(0, np.float32)
    rows, scores = match_query(bundle.terms, words, all_words=True)
    if allowed is not None:
        rows, scores = rows[allowed[rows]], scores[allowed[rows]]
    depth = max(query.k, MIN_DEPTH)
    return rows[:depth], scores[:depth]


def _hits(
    bundle: Bundle,
    vector: Float32,
    rows: Int32,
    score: Any,
    words: dict[str, QueryWord],
    ranks: dict[str, dict[int, int]],
) -> list[Hit]:
    documents = bundle.documents.select(HIT_COLUMNS).take(rows).to_pylist()
    cosines = (bundle.vectors[rows] @ vector.reshape(-1, vector.shape[-1]).T).max(1, initial=-1)
    matching_words = words_in_documents(bundle.terms, words, rows)
    return [
        Hit(
            rank=i + 1,
            score=float(score[i]),
            cosine=float(cosines[i]),
            words=matching_words[i],
            **{name: list_ranks.get(row) for name, list_ranks in ranks.items()},
            **documents[i],
        )
        for i, row in enumerate(rows.tolist())
    ]
