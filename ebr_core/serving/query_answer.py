"""Asking a bundle: from a query with its context to ranked documents, each with why it is there."""

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
from ebr_core.search.conditions import Mask, Near, holds_nn, meet, parse
from ebr_core.search.hybrid_search import RRF, reciprocal_rank_fusion, search_within, within
from ebr_core.serving.model_bundle import ASKED, CONTEXT, Bundle, embed_asked
from ebr_core.text.terms import match, words_held, words_of

Mode = Literal["hybrid", "ebr", "boolean"]
SHOWN = ["document_id", "title", "kind", "city", "country"]
DEEP = 100  # how far down either list is fused, at least


class SearchQuery(Frozen):
    """What is asked of a bundle."""

    query: str = Field(min_length=1, max_length=500, description="the text, as typed")
    searcher_id: str | None = Field(None, max_length=200, description="who asks, as the logs name them")
    city: str | None = Field(None, max_length=200)
    region: str | None = Field(None, max_length=200)
    country: str | None = Field(None, max_length=200)
    language: str | None = Field(None, max_length=200)
    k: int = Field(10, ge=1, le=1000, description="documents wanted; fewer by default where there are fewer")
    mode: Mode = Field(
        "hybrid",
        description="boolean: every word; ebr: near by the embedding; hybrid: both, reciprocal ranks summed",
    )
    radius: float | Literal["none", "model", "query"] = Field(
        "none", description="how far the embedding reaches: a cosine distance, as calibrated, or as far as K needs"
    )
    where: str | None = Field(None, max_length=2000, description="a condition on documents, as in docs/indexes.md")

    @field_validator("query")
    @classmethod
    def _some_text(cls, query: str) -> str:
        if not query.strip():
            raise ValueError("the query is empty")
        return query

    @field_validator("where")
    @classmethod
    def _makes_sense(cls, where: str | None) -> str | None:
        if where is not None and where.strip():
            parse(where)
            return where
        return None

    @field_validator("radius")
    @classmethod
    def _a_distance(cls, radius: float | str) -> float | str:
        if isinstance(radius, float | int) and not 0 <= radius <= 2:
            raise ValueError("a cosine distance lies between 0 and 2")
        return radius


class Hit(Frozen):
    """One document of an answer, and why it is there."""

    rank: int
    document_id: str
    title: str
    score: float = Field(description="what it is ranked by: cosine, BM25, or the sum of reciprocal ranks")
    cosine: float = Field(description="of query and document")
    near_rank: int | None = Field(description="its place by the embedding alone")
    terms_rank: int | None = Field(description="its place by terms alone")
    words: list[str] = Field(description="the query's words that it holds, as stems")
    kind: str | None
    city: str | None
    country: str | None


def as_table(questions: list[SearchQuery]) -> pa.Table:
    """The questions' texts and contexts as rows of ASKED."""
    rows = [{name: getattr(question, name) for name in ASKED.names} for question in questions]
    return pa.Table.from_pylist(rows, ASKED)


def filled_up(bundle: Bundle, question: SearchQuery) -> SearchQuery:
    """The question with what is known of its searcher where nothing else is said. Errors: a searcher nobody knows."""
    if question.searcher_id is None:
        return question
    at = pc.index(bundle.searchers["searcher_id"], question.searcher_id).as_py()
    if at < 0:
        raise InputError(f"no searcher {question.searcher_id!r} in the logs of this model; leave it out for a stranger")
    known = bundle.searchers.slice(at, 1).to_pylist()[0]
    if any(getattr(question, name) for name in CONTEXT[1:]):
        return question  # an own place: not to be mixed with another's
    return question.model_copy(update={name: known[name] for name in CONTEXT[1:]})


def answer(bundle: Bundle, question: SearchQuery) -> list[Hit]:
    """The K documents that the bundle ranks first, fewer where fewer meet the condition."""
    total = bundle.documents.num_rows
    if question.k > total and "k" in question.model_fields_set:
        raise InputError(f"k: got {question.k}; this model holds {total} documents")
    question = filled_up(bundle, question)
    vector = embed_asked(bundle.towers, as_table([question]))
    allowed = None if question.where is None else _allowed(bundle, question.where, vector)
    near, cosines = _near(bundle, question, vector, allowed)
    words = words_of(bundle.terms, question.query)
    by_terms, scores = _by_terms(bundle, question, words, allowed)
    places = {"near_rank": _places(near), "terms_rank": _places(by_terms)}
    if question.mode == "ebr":
        rows, score = near[: question.k], cosines[: question.k]
    elif question.mode == "boolean":
        rows, score = by_terms[: question.k], scores[: question.k]
    else:
        fused = reciprocal_rank_fusion([by_terms[None], near[None]], question.k)[0]
        rows = fused[fused >= 0]
        score = np.array([sum(1 / (RRF + its[row]) for its in places.values() if row in its) for row in rows.tolist()])
    return _hits(bundle, vector, rows, score, words, places)


def _places(rows: Int32) -> dict[int, int]:
    """Each row's place in a list, from 1."""
    return {row: place for place, row in enumerate(rows.tolist(), 1)}


def _allowed(bundle: Bundle, where: str, vector: Float32) -> Mask:
    """(N,): the documents that meet the condition, nn asked of the index."""

    def nearest(near: Near, among: Mask) -> Mask:
        depth = near.k or min(DEEP, bundle.documents.num_rows)
        while True:
            found = search_within(bundle.searched, bundle.vectors, vector, depth, among, bundle.typical)
            last = 1 - found.similarities[0, -1]
            if near.radius is None or not last <= near.radius or depth >= bundle.documents.num_rows:
                break
            depth = min(4 * depth, bundle.documents.num_rows)  # all that it found lie within: there may be more
        rows = found.rows if near.radius is None else within(found.rows, found.similarities, near.radius)
        held = np.zeros(len(among), bool)
        held[rows[rows >= 0]] = True
        return held & among

    condition = parse(where)
    if not holds_nn(condition):
        return meet(condition, bundle.documents, bundle.terms, _never)
    return meet(condition, bundle.documents, bundle.terms, nearest)


def _never(_near: Near, _among: Mask) -> Mask:
    raise AssertionError("no nn stands in this condition")


def _near(
    bundle: Bundle, question: SearchQuery, vector: Float32, allowed: npt.NDArray[np.bool_] | None
) -> tuple[Int32, Float32]:
    """(rows, cosines) of the nearest allowed documents within the radius, the nearest first."""
    if question.mode == "boolean":
        return np.empty(0, np.int32), np.empty(0, np.float32)
    depth = question.k if question.mode == "ebr" else max(question.k, min(DEEP, bundle.documents.num_rows))
    found = search_within(bundle.searched, bundle.vectors, vector, depth, allowed, bundle.typical)
    rows = found.rows
    if question.radius != "none":
        rows = within(rows, found.similarities, _radius(bundle, question.radius, found.similarities))
    there = rows[0] >= 0
    return rows[0, there], found.similarities[0, there]


def _radius(bundle: Bundle, asked: float | Literal["model", "query"], similarities: Float32) -> Float32 | float:
    if bundle.radius is not None:
        return bundle.radius.of(asked, similarities)
    if isinstance(asked, str):
        raise InputError(f"radius: {asked} was not calibrated for this model; give a number, or none")
    return asked


def _by_terms(
    bundle: Bundle, question: SearchQuery, words: dict[str, int | None], allowed: npt.NDArray[np.bool_] | None
) -> tuple[Int32, Float32]:
    if question.mode == "ebr":
        return np.empty(0, np.int32), np.empty(0, np.float32)
    rows, scores = match(bundle.terms, words, every=True)
    if allowed is not None:
        rows, scores = rows[allowed[rows]], scores[allowed[rows]]
    depth = max(question.k, DEEP)
    return rows[:depth], scores[:depth]


def _hits(
    bundle: Bundle,
    vector: Float32,
    rows: Int32,
    score: Any,
    words: dict[str, int | None],
    places: dict[str, dict[int, int]],
) -> list[Hit]:
    documents = bundle.documents.select(SHOWN).take(rows).to_pylist()
    cosines = (bundle.vectors[rows] @ vector.reshape(-1, vector.shape[-1]).T).max(1, initial=-1)
    held = words_held(bundle.terms, words, rows)
    return [
        Hit(
            rank=at + 1,
            score=float(score[at]),
            cosine=float(cosines[at]),
            words=held[at],
            **{name: its.get(row) for name, its in places.items()},
            **documents[at],
        )
        for at, row in enumerate(rows.tolist())
    ]
