"""The inputs of a ranker: tables read once for all pairs, then a row of features for each (search, document) pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Float32, Float64
from ebr_core.rerank.pair_features import PairInputs, days_since_1970, number_values
from ebr_core.rerank.ranker_features import OrdinaryInputs
from tasks.bm25_stages import distinct_queries, index_documents, read_documents
from tasks.eval_sets import SampledSearches, read_sample
from tasks.feature_stages import EXTRACTED_COLUMNS
from tasks.kinds import EvalSet, Log, Places, TunedBm25, Vectors
from tasks.own_column_stages import read_places


class RankerLists(NamedTuple):
    """Searches and candidates to rank, and all the data that a ranker may read of them."""

    sample: SampledSearches
    pairs: PairInputs
    missing: dict[str, str]  # feature → the reason why these logs lack it


def read_lists(log: Log, eval_set: EvalSet, bm25: TunedBm25, vectors: Vectors, places: Places | None) -> RankerLists:
    """All that a ranker reads of an evaluation set and the vectors of an arm."""
    documents: Float32 = np.load(vectors.folder / "documents.npy", mmap_mode="r")
    queries: Float32 = np.load(vectors.folder / "queries.npy")
    return lists_of(log, read_sample(eval_set), bm25, queries, documents, places)


def lists_of(
    log: Log,
    sample: SampledSearches,
    bm25: TunedBm25,
    queries: Float32,
    documents: Float32,
    places: Places | None,
) -> RankerLists:
    """All that a ranker reads of these searches, (S, D) or (h, S, D), and of the documents, (N, D)."""
    ordinary, missing = ordinary_inputs(log, sample, places)
    texts, query_of = distinct_queries(log, sample.searches["query_row"])
    terms = index_documents(read_documents(log, sample.candidates), bm25)
    if not len(terms.words):
        missing["bm25"] = "documents have no text"
    count = pq.read_metadata(log.folder / "documents.parquet").num_rows
    positions = np.full(count, -1, np.int32)
    positions[sample.candidates] = np.arange(len(sample.candidates), dtype=np.int32)
    pairs = PairInputs(queries, documents, ordinary, terms, texts, query_of.astype(np.int32), positions)
    return RankerLists(sample, pairs, missing)


def ordinary_inputs(log: Log, sample: SampledSearches, places: Places | None) -> tuple[OrdinaryInputs, dict[str, str]]:
    """(the features of searches and of all documents beside the embedding, feature → the reason why it is missing).

    places: of searches and documents, if these logs have distances.
    """
    missing: dict[str, str] = {}
    documents = pq.read_table(log.folder / "documents.parquet").drop_columns(["body", "document_id"])
    all_searches = pq.read_table(log.folder / "searches.parquet").drop_columns(["search_id"])
    searches = all_searches.take(sample.searches["search_row"])
    clicks = extracted_log.read_clicks(log.folder, documents.num_rows)
    if not clicks.any():
        missing["popularity"] = "no click in the training window"
    kinds = number_values(documents["kind"].combine_chunks(), documents["kind"].combine_chunks())
    if (kinds < 0).all():
        missing["kind"] = "documents have none"
    created = days_since_1970(documents["created_at"])
    if np.isnan(created).all():
        missing["age_days"] = "no document has a creation date"
    timed = not pc.all(pc.equal(all_searches["searched_at"], all_searches["searched_at"][0])).as_py()
    titles = pc.utf8_length(documents["title"]).to_numpy().astype(np.float32)
    same_place = {}
    for name in (column for column in EXTRACTED_COLUMNS["searches"] if column in EXTRACTED_COLUMNS["documents"]):
        search_values, document_values = (table[name].combine_chunks() for table in (all_searches, documents))
        if search_values.null_count == len(search_values) or document_values.null_count == len(document_values):
            missing[f"same_{name}"] = f"searches or documents have no {name}"
            continue
        same_place[name] = (
            number_values(searches[name].combine_chunks(), document_values),
            number_values(document_values, document_values),
        )
    queries = pq.read_table(log.folder / "queries.parquet")["query"].take(sample.searches["query_row"])
    return OrdinaryInputs(
        np.log1p(clicks).astype(np.float32) if clicks.any() else None,
        None if "kind" in missing else np.where(kinds < 0, np.nan, kinds).astype(np.float32),
        days_since_1970(searches["searched_at"]) if timed else None,
        None if "age_days" in missing else created,
        titles if titles.any() else None,
        pc.utf8_length(queries).to_numpy().astype(np.float32),
        same_place,
        _located(sample, places, missing),
    ), missing


def _located(sample: SampledSearches, places: Places | None, missing: dict[str, str]) -> tuple[Float64, Float64] | None:
    """The places of the searches and of all documents, or None and an entry in missing."""
    origins, of_documents = read_places(places, "searches"), read_places(places, "documents")
    if origins is None or of_documents is None:
        missing["distance_km"] = "searches or documents have no coordinates"
        return None
    return origins[sample.searches["search_row"]], of_documents
