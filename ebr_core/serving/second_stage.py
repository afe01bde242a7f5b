"""What reorders the first documents of an answer: the second towers of a cascade, or the trees of a ranker."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from ebr_core.serving.own_data import OwnData
from ebr_core.serving.query_towers import (
    EnsembleParts,
    check_canaries,
    embed_query_table,
    fields_of,
    load_query_towers,
    query_schema,
)
from ebr_core.serving.search_query import QueryBlock
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
    places: dict[str, tuple[pa.Array, Int32]]  # column → (its values, (N,) their numbers, by document)
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
    values = {name: documents[name].combine_chunks() for name in names}
    places = {name: (column.unique(), number_values(column, column)) for name, column in values.items()}
    positions = np.arange(documents.num_rows, dtype=np.int32)
    return RankerStage(Ranker.model_validate(content["settings"]), model, columns, places, positions, own)


def write_ranked_documents(ordinary: OrdinaryInputs, candidates: Int32, folder: Path) -> None:
    """Write what a ranker reads of the candidates (N,), beside their places, which the bundle's documents have."""
    columns = {name: getattr(ordinary, name) for name in ("clicks", "kinds", "created", "title")}
    table = {name: column[candidates] for name, column in columns.items() if column is not None}
    pq.write_table(pa.table(table), folder / RANKED_DOCUMENTS)


def unknown_features(features: list[str]) -> list[str]:
    """The features of a ranker that nobody can compute when a query comes; empty if it can be served."""
    return sorted({feature_group(feature) for feature in features} - KNOWN_FEATURES)


def reorder(
    second: SecondStage, terms: Terms, vectors: Float32, queries: QueryBlock, query_vectors: Float32, lists: Int32
) -> tuple[Int32, Float32]:
    """(rows, scores), both (B, K): the first documents of each list in the order of the second stage, the others as
    they are.

    lists (B, K) are what the first towers retrieve; vectors (N, D) and query_vectors (B, D) or (h, B, D) are theirs. A
    document that is reordered has the score that orders it, another one the cosine by which it was retrieved.
    """
    match second:
        case CascadeStage(settings, towers, second_vectors):
            own = embed_query_table(towers, queries.table.select(query_schema(fields_of(towers)).names))
            ordered = rerank(lists, second_vectors, own, settings.depth)
            head_scores = cosines_of(ordered[:, : settings.depth], second_vectors, own)
        case RankerStage(settings, model):
            pairs = _pairs(second, terms, vectors, queries, query_vectors)
            head, head_scores = rank_lists(model, settings.embedding, pairs, lists[:, : settings.depth], 1)
            ordered = np.concatenate([head, lists[:, settings.depth :]], axis=1)
        case _:
            assert_never(second)
    tail_scores = cosines_of(ordered[:, settings.depth :], vectors, query_vectors)
    return ordered, np.concatenate([head_scores, tail_scores], axis=1)


def _pairs(
    stage: RankerStage, terms: Terms, vectors: Float32, queries: QueryBlock, query_vectors: Float32
) -> PairInputs:
    """What the trees read of the queries and of all documents."""
    of_documents = {name: stage.documents.get(name) for name in ("clicks", "kinds", "created", "title")}
    searched_at = pa.chunked_array([queries.searched_at.cast(pa.timestamp("us"))])
    texts = queries.table["query"].combine_chunks().dictionary_encode()
    ordinary = OrdinaryInputs(
        **of_documents,
        searched=days_since_1970(searched_at) if "age_days" in stage.model.features else None,
        query=pc.utf8_length(queries.table["query"]).to_numpy().astype(np.float32),
        places={
            name: (number_values(queries.table[name].combine_chunks(), known), of_document)
            for name, (known, of_document) in stage.places.items()
        },
        located=(queries.places, _places_of(stage)) if "distance_km" in stage.model.features else None,
    )
    query_pos = texts.indices.to_numpy().astype(np.int32)
    distinct = texts.dictionary.to_pylist()
    return PairInputs(query_vectors, vectors, ordinary, terms, distinct, query_pos, stage.positions)


def _places_of(stage: RankerStage) -> Float64:
    """(N, 2) latitude and longitude of the documents, NaN: unknown."""
    places = stage.own.places
    return np.full((len(stage.positions), 2), np.nan) if places is None else np.asarray(places)
