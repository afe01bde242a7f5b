"""What reorders the first documents of an answer: the second towers of a cascade, or the trees of a ranker."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.arrays import Float32, Float64, Int32
from ebr_core.rerank.cascade import Cascade, rerank
from ebr_core.rerank.pair_features import (
    PairInputs,
    RankerModel,
    days_since_1970,
    number_values,
    rank_lists,
    read_ranker,
)
from ebr_core.rerank.ranker_features import OrdinaryInputs, Ranker, feature_group
from ebr_core.search.weighted_fusion import cosines_of
from ebr_core.serving.own_data import OwnData, place_of_query
from ebr_core.serving.query_towers import (
    EnsembleParts,
    check_canaries,
    embed_query_table,
    fields_of,
    load_query_towers,
)
from ebr_core.serving.search_query import SearchQuery, queries_as_table
from ebr_core.text.terms import Terms
from ebr_core.towers.checkpoint import Checkpoint

SECOND = "second"  # the folder of a bundle that holds the second stage
RANKED_DOCUMENTS = "ranked_documents.parquet"
# Features that an answer can compute: from the query with its context and time, the documents and the embedding.
KNOWN_FEATURES = {
    *("bm25", "words_held", "popularity", "kind", "title_length", "query_length", "age_days", "position"),
    *("same_city", "same_region", "same_country", "same_language", "distance_km"),
    *("cosine", "hadamard", "query vector", "document vector"),
}


class CascadeStage(NamedTuple):
    """The towers by whose cosine the first documents are ordered."""

    settings: Cascade
    towers: Checkpoint | EnsembleParts
    vectors: Float32  # (N, D′) memory-mapped


class RankerStage(NamedTuple):
    """The trees by whose score the first documents are ordered, and what they read of documents."""

    settings: Ranker
    model: RankerModel
    documents: dict[str, Float32]  # clicks, kinds, created, title → (N,), those that the log has
    places: dict[str, tuple[dict[str, int], Int32]]  # column → (value → code, (N,) the codes of the documents)
    positions: Int32  # (N,) 0 … N − 1
    own: OwnData  # where the documents are


SecondStage = CascadeStage | RankerStage


def second_stage_details(settings: Cascade | Ranker) -> dict[str, Any]:
    """The entry of a bundle's manifest that says how it reorders."""
    kind = "cascade" if isinstance(settings, Cascade) else "ranker"
    return {"second": {"kind": kind, "settings": settings.model_dump(mode="json")}}


def read_second_stage(folder: Path, manifest: dict[str, Any], documents: pa.Table, own: OwnData) -> SecondStage | None:
    """The second stage in a bundle's folder; None for a bundle without one. Raises InputError if canaries moved."""
    if "second" not in manifest:
        return None
    content, place = manifest["second"], folder / SECOND
    if content["kind"] == "cascade":
        towers = load_query_towers(place / "towers")
        check_canaries(place, towers)
        vectors = np.load(place / "vectors.npy", mmap_mode="r")
        return CascadeStage(Cascade.model_validate(content["settings"]), towers, vectors)
    table, model = pq.read_table(place / RANKED_DOCUMENTS), read_ranker(place)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    names = [feature.removeprefix("same_") for feature in model.features if feature.startswith("same_")]
    places = {name: _codes(documents[name].combine_chunks()) for name in names}
    positions = np.arange(documents.num_rows, dtype=np.int32)
    return RankerStage(Ranker.model_validate(content["settings"]), model, columns, places, positions, own)


def _codes(values: pa.Array) -> tuple[dict[str, int], Int32]:
    """(value → code, (N,) the code of each document, −1 without a value)."""
    codes = number_values(values, values)
    return {value: int(code) for value, code in zip(values.to_pylist(), codes, strict=True) if code >= 0}, codes


def write_ranked_documents(ordinary: OrdinaryInputs, candidates: Int32, folder: Path) -> None:
    """Write what a ranker reads of the candidates (N,), beside their places, which the bundle's documents have."""
    columns = {name: getattr(ordinary, name) for name in ("clicks", "kinds", "created", "title")}
    table = {name: column[candidates] for name, column in columns.items() if column is not None}
    pq.write_table(pa.table(table), folder / RANKED_DOCUMENTS)


def unknown_features(features: list[str]) -> list[str]:
    """The features of a ranker that nobody can compute when a query comes; empty if it can be served."""
    return sorted({feature_group(feature) for feature in features} - KNOWN_FEATURES)


def reorder(
    second: SecondStage, terms: Terms, vectors: Float32, query: SearchQuery, vector: Float32, rows: Int32
) -> tuple[Int32, Float32]:
    """(rows, scores), both (K,): the first documents in the order of the second stage, the others as they are.

    rows (K,) are what the first towers retrieve; vectors (N, D) and vector (1, D) or (h, 1, D) are theirs. A document
    that is reordered has the score that orders it, another one the cosine by which it was retrieved.
    """
    lists = rows[None]
    match second:
        case CascadeStage(settings, towers, second_vectors):
            own = embed_query_table(towers, queries_as_table([query], fields_of(towers)))
            ordered = rerank(lists, second_vectors, own, settings.depth)
            head_scores = cosines_of(ordered[:, : settings.depth], second_vectors, own)
        case RankerStage(settings, model):
            head, head_scores = rank_lists(
                model, settings.embedding, _pairs(second, terms, vectors, query, vector), lists[:, : settings.depth], 1
            )
            ordered = np.concatenate([head, lists[:, settings.depth :]], axis=1)
        case _:
            assert_never(second)
    tail_scores = cosines_of(ordered[:, settings.depth :], vectors, vector)
    return ordered[0], np.concatenate([head_scores[0], tail_scores[0]])


def _pairs(stage: RankerStage, terms: Terms, vectors: Float32, query: SearchQuery, vector: Float32) -> PairInputs:
    """What the trees read of one query, whose time is now unless it has one, and of all documents."""
    searched_at = query.searched_at or datetime.now(UTC)
    instant = pa.chunked_array([pa.array([searched_at.astimezone(UTC).replace(tzinfo=None)], pa.timestamp("us"))])
    of_documents = {name: stage.documents.get(name) for name in ("clicks", "kinds", "created", "title")}
    ordinary = OrdinaryInputs(
        **of_documents,
        searched=days_since_1970(instant) if "age_days" in stage.model.features else None,
        query=np.array([len(query.query)], np.float32),
        places={
            name: (np.array([_code(codes, getattr(query, name))], np.int32), of_document)
            for name, (codes, of_document) in stage.places.items()
        },
        located=_located(stage, query) if "distance_km" in stage.model.features else None,
    )
    return PairInputs(vector, vectors, ordinary, terms, [query.query], np.zeros(1, np.int32), stage.positions)


def _located(stage: RankerStage, query: SearchQuery) -> tuple[Float64, Float64]:
    """((1, 2), (N, 2)) latitude and longitude of the query and of the documents, NaN: unknown."""
    places = stage.own.places
    of_documents = np.full((len(stage.positions), 2), np.nan) if places is None else np.asarray(places)
    return np.array([place_of_query(stage.own, query) or (np.nan, np.nan)]), of_documents


def _code(codes: dict[str, int], value: str | None) -> int:
    """The code of a query's value: −1 without one, −2 for one that no document has."""
    return -1 if value is None else codes.get(value, -2)
