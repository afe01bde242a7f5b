"""BM25: the choice of its parameters, the words of a log's documents, and the baseline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.arrays import Int32, Int64
from ebr_core.parallel import use_threads
from ebr_core.search.bm25_tuning import ChosenBm25, choose_bm25, untuned
from ebr_core.search.conditions import ATTRIBUTES
from ebr_core.search.exclusions import first_allowed
from ebr_core.text.bm25_config import Bm25
from ebr_core.text.terms import Terms, count_words, index_terms, rank_documents
from tasks.artifacts import stage
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import EvalSet, Log, RetrievedList, TunedBm25
from tasks.progress import show_progress
from tasks.retrieved import Retrieved, as_document_rows, save_retrieved


@stage(TunedBm25)
def tune_bm25(folder: Path, log: Log, validation: EvalSet | None, settings: Bm25, k: int) -> None:
    """Write bm25.json: k1 and b as set or, where null, with the highest recall@K of clicked targets in validation."""
    use_threads(1)
    if settings.is_fixed:
        chosen = untuned(settings, "as the experiment sets them")
    else:
        assert validation is not None, "what is tuned needs validation searches"
        chosen = _tune(log, read_sample(validation), settings, k)
    (folder / "bm25.json").write_text(chosen.model_dump_json(indent=1))


def _tune(log: Log, sample: SampledSearches, settings: Bm25, k: int) -> ChosenBm25:
    searches, targets = sample.for_targets("clicked")
    queries, query_of = distinct_queries(log, searches["query_row"])
    rows = np.searchsorted(sample.candidates, targets.documents).astype(np.int32)
    with show_progress("tune BM25", 1):
        postings = count_words(texts_of(read_documents(log, sample.candidates)), settings.language)
        return choose_bm25(settings, postings, queries, query_of, targets._replace(documents=rows), k)


def read_bm25(tuned: TunedBm25) -> ChosenBm25:
    """The content of bm25.json."""
    return ChosenBm25.model_validate_json((tuned.folder / "bm25.json").read_text())


@stage(RetrievedList)
def retrieve_bm25(folder: Path, log: Log, eval_set: EvalSet, bm25: TunedBm25, k: int) -> None:
    """Write the list of the baseline: the documents that share a word with the query, by BM25, ties by row."""
    use_threads(1)
    sample = read_sample(eval_set)
    with show_progress("bm25", 1):
        terms = index_documents(read_documents(log, sample.candidates), bm25)
        queries, query_of = distinct_queries(log, sample.searches["query_row"])
        rows, _ = rank_documents(terms, queries, sample.depth(k), all_words=False)
    rows = first_allowed(rows[query_of], sample.excluded, k)
    save_retrieved(Retrieved(as_document_rows(rows, sample.candidates)), folder)


def index_documents(documents: pa.Table, bm25: TunedBm25) -> Terms:
    """The words of documents, title and body, with BM25's weights, wherever BM25 is used."""
    chosen = read_bm25(bm25)
    return index_terms(texts_of(documents), chosen.language, chosen.k1, chosen.b)


def read_documents(log: Log, rows: Int32) -> pa.Table:
    """The documents at these rows: title, body and the attributes that conditions use."""
    columns = ["title", "body", *ATTRIBUTES]
    return pq.read_table(log.folder / "documents.parquet", columns=columns).take(rows).combine_chunks()


def texts_of(documents: pa.Table) -> pa.Array:
    """(N,) the texts in which terms are searched: title and body."""
    texts = pc.binary_join_element_wise(documents["title"], pc.fill_null(documents["body"], ""), " ")
    return texts.cast(pa.large_string()).combine_chunks()


def distinct_queries(log: Log, query_rows: Int32) -> tuple[list[str], Int64]:
    """(the distinct queries, (S,) the one of each search)."""
    distinct, query_of = np.unique(query_rows, return_inverse=True)
    return pq.read_table(log.folder / "queries.parquet")["query"].take(distinct).to_pylist(), query_of
