"""The inputs of a ranker: tables read once for all pairs, then a row of features for each (search, document) pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Float32, Int32
from ebr_core.rerank.ranker_features import Embedding, OrdinaryInputs, embedding_features, ordinary_features
from ebr_core.text.terms import Terms, scores_of
from tasks.bm25_stages import distinct_queries, index_documents, read_documents
from tasks.eval_sets import SampledSearches, read_sample
from tasks.feature_stages import EXTRACTED_COLUMNS
from tasks.kinds import EvalSet, Log, TunedBm25, Vectors

DAY_US = 86_400_000_000
PAIRS = 65_536  # whose vectors are read at a time


class RankerLists(NamedTuple):
    """Searches and candidates to rank, and all the data that a ranker may read of them."""

    sample: SampledSearches
    queries: Float32  # (S, D) or (h, S, D)
    documents: Float32  # (N, D)
    ordinary: OrdinaryInputs
    terms: Terms  # over the candidates
    texts: list[str]  # of distinct queries
    query_pos: Int32  # (S,) positions in texts
    candidate_pos: Int32  # (N,) positions of documents among the candidates, −1 elsewhere
    missing: dict[str, str]  # feature → the reason why these logs lack it


def matrix(
    lists: RankerLists, embedding: Embedding, bias: str, searches: Int32, documents: Int32, positions: Int32
) -> tuple[list[str], Float32]:
    """(names, (P, F) features) of pairs: searches are positions in the sample, documents rows among the candidates."""
    names, columns = ordinary_features(lists.ordinary, searches, documents)
    if len(lists.terms.words):
        by_terms = scores_of(lists.terms, lists.texts, lists.query_pos[searches], lists.candidate_pos[documents])
        names, columns = ["bm25", "words_held", *names], [*by_terms, *columns]
    if bias == "position":
        names, columns = [*names, "position"], [*columns, np.where(positions > 0, positions, np.nan)]
    embedded_names, _ = embedding_features(embedding, lists.queries, lists.documents, searches[:0], documents[:0])
    rows = np.empty((len(searches), len(names) + len(embedded_names)), np.float32)
    for i, column in enumerate(columns):
        rows[:, i] = column
    for first in range(0, len(searches) if embedded_names else 0, PAIRS):
        part = slice(first, first + PAIRS)
        _, vectors = embedding_features(embedding, lists.queries, lists.documents, searches[part], documents[part])
        rows[part, len(names) :] = np.stack(vectors, 1)
    return [*names, *embedded_names], rows


def read_lists(log: Log, eval_set: EvalSet, bm25: TunedBm25, vectors: Vectors) -> RankerLists:
    """All that a ranker reads of an evaluation set and the vectors of an arm."""
    documents: Float32 = np.load(vectors.folder / "documents.npy", mmap_mode="r")
    queries: Float32 = np.load(vectors.folder / "queries.npy")
    return lists_of(log, read_sample(eval_set), bm25, queries, documents)


def lists_of(log: Log, sample: SampledSearches, bm25: TunedBm25, queries: Float32, documents: Float32) -> RankerLists:
    """All that a ranker reads of these searches, (S, D) or (h, S, D), and of the documents, (N, D)."""
    ordinary, missing = _ordinary(log, sample)
    texts, query_of = distinct_queries(log, sample.searches["query_row"])
    terms = index_documents(read_documents(log, sample.candidates), bm25)
    if not len(terms.words):
        missing["bm25"] = "documents have no text"
    count = pq.read_metadata(log.folder / "documents.parquet").num_rows
    positions = np.full(count, -1, np.int32)
    positions[sample.candidates] = np.arange(len(sample.candidates), dtype=np.int32)
    return RankerLists(
        sample, queries, documents, ordinary, terms, texts, query_of.astype(np.int32), positions, missing
    )


def _ordinary(log: Log, sample: SampledSearches) -> tuple[OrdinaryInputs, dict[str, str]]:
    """(the features beside the embedding, feature → the reason why it is missing)."""
    missing: dict[str, str] = {}
    documents = pq.read_table(log.folder / "documents.parquet").drop_columns(["body", "document_id"])
    all_searches = pq.read_table(log.folder / "searches.parquet").drop_columns(["search_id"])
    searches = all_searches.take(sample.searches["search_row"])
    clicks = extracted_log.read_clicks(log.folder, documents.num_rows)
    if not clicks.any():
        missing["popularity"] = "no click in the training window"
    kinds = _numbered(documents["kind"].combine_chunks(), documents["kind"].combine_chunks())
    if (kinds < 0).all():
        missing["kind"] = "documents have none"
    created = _days(documents["created_at"])
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
            _numbered(searches[name].combine_chunks(), document_values),
            _numbered(document_values, document_values),
        )
    queries = pq.read_table(log.folder / "queries.parquet")["query"].take(sample.searches["query_row"])
    return OrdinaryInputs(
        np.log1p(clicks).astype(np.float32) if clicks.any() else None,
        None if "kind" in missing else np.where(kinds < 0, np.nan, kinds).astype(np.float32),
        _days(searches["searched_at"]) if timed else None,
        None if "age_days" in missing else created,
        titles if titles.any() else None,
        pc.utf8_length(queries).to_numpy().astype(np.float32),
        same_place,
    ), missing


def _numbered(values: pa.Array, known: pa.Array) -> Int32:
    """(n,) the number of each value among the sorted known ones; −2 for a value that is not among them, −1 for null."""
    ordered = pc.unique(known.drop_null()).sort()
    numbers = pc.fill_null(pc.index_in(values, ordered), -2).to_numpy().astype(np.int32)
    return np.where(values.is_null().to_numpy(zero_copy_only=False), -1, numbers).astype(np.int32)


def _days(instants: pa.ChunkedArray) -> Float32:
    """(n,) days since 1970, NaN where null; within a minute."""
    micros = instants.cast(pa.int64())
    days = pc.fill_null(micros, 0).to_numpy().astype(np.float64) / DAY_US
    return np.where(micros.is_null().to_numpy(), np.nan, days).astype(np.float32)
