"""Answers of a bundle: ranked documents for a query with its context, each with the reasons for its rank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.search.condition_masks import Mask, Place, SearchedDocuments, condition_mask, unknown_values
from ebr_core.search.conditions import Near, contains_nn, parse, reads_place
from ebr_core.search.hybrid_search import search_within, within_radius
from ebr_core.search.modes import RERANKED
from ebr_core.search.weighted_fusion import pool_rows
from ebr_core.serving.hits import Hit, hits_of
from ebr_core.serving.list_steps import fuse_ranks, fuse_scores, nearest
from ebr_core.serving.logged_lists import listed_rows, shown_at
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.own_data import as_json, distances_of, place_of_query, shown_columns, with_standard_names
from ebr_core.serving.query_towers import CONTEXT, embed_query_table
from ebr_core.serving.search_query import AnswerMode, SearchQuery, block_of, queries_as_table
from ebr_core.serving.second_stage import reorder
from ebr_core.text.terms import QueryWord, match_query, words_of

NN_DEPTH = 100  # documents that nn in a condition retrieves, unless it says how many


def add_searcher_context(bundle: Bundle, query: SearchQuery) -> SearchQuery:
    """The query with the searcher's place and language, unless it has its own.

    Raises InputError if the searcher is not in the logs.
    """
    if query.searcher_id is None:
        return query
    row = bundle.searcher_rows.row_of(query.searcher_id)
    if row < 0:
        raise InputError(
            f"no searcher {query.searcher_id!r} in the logs of this model; leave it out for an unknown searcher"
        )
    context = bundle.searchers.slice(row, 1).to_pylist()[0]
    if any(getattr(query, name) for name in CONTEXT[1:]):
        return query  # a place of its own is not mixed with the searcher's
    return query.model_copy(update={name: context[name] for name in CONTEXT[1:]})


def with_standard_fields(bundle: Bundle, query: SearchQuery) -> SearchQuery:
    """The query, whose fields may have the user's names of columns, with the layout's.

    Raises InputError for a column that is given twice.
    """
    if not query.fields or not bundle.own.settings.search_names:
        return query
    context = {name: value for name in CONTEXT if (value := getattr(query, name)) is not None}
    values = with_standard_names(bundle.own, {**context, **query.fields})
    moved = {name: values.pop(name) for name in CONTEXT if name in values and name not in query.fields}
    try:
        return type(query).model_validate({**query.model_dump(exclude_unset=True), **moved, "fields": values})
    except ValidationError as error:
        fault = error.errors()[0]
        raise InputError(f"fields: {fault['loc'][0]}: {fault['msg']}") from error


def prepare(bundle: Bundle, query: SearchQuery) -> SearchQuery:
    """The query as the towers and the index read it: with the layout's names of fields and the searcher's context.

    Raises InputError for a mode, a searcher or a field that the bundle does not know.
    """
    query = with_standard_fields(bundle, query)
    refuse_unknown_fields(bundle, query.fields)
    query = add_searcher_context(bundle, query)
    mode_of(bundle, query)
    return query


def embed_prepared(bundle: Bundle, queries: list[SearchQuery]) -> Float32:
    """(Q, D) the vectors of prepared queries, or (h, Q, D) if the bundle gives a query several."""
    return embed_query_table(bundle.towers, queries_as_table(queries, bundle.fields))


def answer(bundle: Bundle, query: SearchQuery) -> list[Hit]:
    """The K documents that the bundle ranks first, or fewer if fewer meet the condition.

    In the mode of the bundle they are the first K of the list that the run evaluated for such a search, up to its
    depth. Raises InputError if K is more than the number of documents, or if the searcher, the radius or a field is
    unknown.
    """
    use_threads(1)  # a query is one row: to wake another thread takes longer than to do its work
    query = prepare(bundle, query)
    return answer_prepared(bundle, query, embed_prepared(bundle, [query]))


def answer_prepared(bundle: Bundle, query: SearchQuery, vector: Float32) -> list[Hit]:
    """The documents that `answer` gives. query: a prepared one; vector (1, D) or (h, 1, D): its own, of
    embed_prepared."""
    mode = mode_of(bundle, query)
    origin = place_of_query(bundle.own, query)
    shown = shown_columns(bundle.own, bundle.documents, query.show)
    allowed = None if query.where is None else condition_of(bundle, query.where, vector, origin)
    near, cosines = _kept(*nearest(bundle, query, mode, vector, allowed))
    words = words_of(bundle.terms, query.query)
    by_terms, scores = _search_terms(bundle, mode, words, allowed)
    depth = max(query.k, bundle.depth)
    ranks = _ranks(near), _ranks(by_terms[:depth])
    match mode:
        case "ebr":
            rows, score = near[: query.k], cosines[: query.k]
        case "boolean" | "bm25":
            rows, score = by_terms[: query.k], scores[: query.k]
        case "logged":
            assert bundle.logged is not None, "a bundle without lists of the log has no such mode"
            listed = listed_rows(bundle.logged, [query.query], query.k, allowed)
            rows, score = _kept(listed, 1 / np.arange(1, query.k + 1)[None])
        case "hybrid":
            rows, score = _kept(*fuse_ranks(by_terms[None, :depth], near[None], query.k))
        case "weighted":
            pooled = pool_rows([by_terms[None, :depth], near[None]])
            bm25 = _scores_at(pooled, by_terms, scores)
            rows, score = _kept(*fuse_scores(bundle, [query.query], vector, pooled, bm25, query.k))
        case "reranked":
            assert bundle.second is not None, "a bundle without a second stage has no such mode"
            block = block_of(query, bundle.fields, origin)
            lists, list_scores = reorder(bundle.second, bundle.terms, bundle.vectors, block, vector, near[None])
            rows, score = lists[0, : query.k], list_scores[0, : query.k]
        case _:
            assert_never(mode)
    hits = hits_of(bundle, mode, vector, rows, score, words, ranks)
    return _with_own(bundle, hits, rows, origin, shown)


def mode_of(bundle: Bundle, query: SearchQuery) -> AnswerMode:
    """The mode in which the bundle answers a query. Raises InputError for one that it has not, and if K is more than
    the number of documents."""
    total, mode = bundle.documents.num_rows, query.mode or bundle.mode
    if query.k > total and "k" in query.model_fields_set:
        raise InputError(f"k: got {query.k}; this model holds {total} documents")
    if mode not in bundle.modes:
        raise InputError(f"mode: {bundle.name} has no {mode}; its modes are {', '.join(bundle.modes)}")
    return mode


def refuse_unknown_fields(bundle: Bundle, names: Iterable[str]) -> None:
    """Raises InputError for a field that the model does not read."""
    if unknown := sorted(set(names) - set(bundle.fields)):
        allowed = f"the fields are {', '.join(bundle.fields)}" if bundle.fields else "it reads no field of its own"
        if bundle.own.fields:
            allowed += f"; {' and '.join(bundle.own.fields)} are the place of the search"
        raise InputError(f"fields: {bundle.name} reads no {', '.join(unknown)}; {allowed}")


def _with_own(bundle: Bundle, hits: list[Hit], rows: Int32, origin: Place | None, shown: dict[str, str]) -> list[Hit]:
    """The hits with the distances of their documents, and with the columns that are shown under their headings."""
    if not hits or (not shown and (bundle.own.places is None or origin is None)):
        return hits
    rows_shown = bundle.documents.select(list(shown.values())).take(rows).rename_columns(list(shown))
    columns = rows_shown.to_pylist() if shown else [{}] * len(hits)
    return [
        hit.model_copy(update={"distance_km": km, "shown": {name: as_json(value) for name, value in row.items()}})
        for hit, km, row in zip(hits, distances_of(bundle.own, origin, rows), columns, strict=True)
    ]


def _ranks(rows: Int32) -> dict[int, int]:
    """The rank of each row in a list, from 1."""
    return {row: rank for rank, row in enumerate(rows.tolist(), 1)}


def searched_documents(bundle: Bundle) -> SearchedDocuments:
    """What conditions read of the documents of a bundle."""
    settings = bundle.own.settings
    return SearchedDocuments(
        bundle.documents, bundle.terms, bundle.own.places, settings.left_out, settings.document_names
    )


def logged_remark(bundle: Bundle, query: SearchQuery) -> list[str]:
    """When the engine of the log showed the list of an answer in mode logged, or that nobody asked for this query."""
    if query.mode != "logged" or bundle.logged is None:
        return []
    when = shown_at(bundle.logged, query.query)
    if when is None:
        return ["nobody asked for this query in the log, so its engine has no list to compare with"]
    return [f"as the engine of the log showed it on {when:%Y-%m-%d}; documents that are gone are left out"]


def unknown_in_condition(bundle: Bundle, query: SearchQuery) -> list[str]:
    """A sentence for each value of the query's condition that no document has."""
    return [] if query.where is None else unknown_values(parse(query.where), searched_documents(bundle))


def condition_of(bundle: Bundle, where: str, vector: Float32, origin: Place | None) -> Mask:
    """(N,): True for the documents that meet the condition. nn is evaluated by the index. Raises InputError if it
    depends on the place of the search, and the search has none."""

    def near_documents(near: Near, among: Mask) -> Mask:
        depth = near.k or min(NN_DEPTH, bundle.documents.num_rows)
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
    if origin is None and bundle.own.places is not None and reads_place(condition):
        first, second = bundle.own.settings.place
        raise InputError(
            f"where: within needs the place of the search. Give its fields {first} and {second}, its city, or a place: "
            "within 25 km of Lyon"
        )
    return condition_mask(
        condition, searched_documents(bundle), near_documents if contains_nn(condition) else _refuse_nn, origin
    )


def _refuse_nn(_near: Near, _among: Mask) -> Mask:
    raise AssertionError("this condition contains no nn")


def _scores_at(rows: Int32, documents: Int32, scores: Float32) -> Float32:
    """(1, J) the scores of documents (1, J); 0 for those that have none. documents, scores: all that have one."""
    if not len(documents):
        return np.zeros(rows.shape, np.float32)
    order = np.argsort(documents)
    at = np.minimum(np.searchsorted(documents[order], rows), len(documents) - 1)
    return np.where(documents[order][at] == rows, scores[order][at], 0).astype(np.float32)


def _kept(rows: Int32, scores: Any) -> tuple[Int32, Any]:
    """(rows, scores) of the one query of a list (1, J), without what follows its last document."""
    valid = rows[0] >= 0
    return rows[0, valid], scores[0, valid]


def _search_terms(
    bundle: Bundle, mode: AnswerMode, words: dict[str, QueryWord], allowed: npt.NDArray[np.bool_] | None
) -> tuple[Int32, Float32]:
    """(rows, scores) of all allowed documents with a word of the query, in mode boolean with every word, by BM25."""
    if mode in ("ebr", "logged", RERANKED):
        return np.empty(0, np.int32), np.empty(0, np.float32)
    rows, scores = match_query(bundle.terms, words, all_words=mode == "boolean")
    return (rows, scores) if allowed is None else (rows[allowed[rows]], scores[allowed[rows]])
