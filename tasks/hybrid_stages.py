"""Retrieval by terms and embedding together: choose documents, calibrate a radius, fuse lists."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Float32, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.search import baselines
from ebr_core.search.conditions import condition_mask, parse
from ebr_core.search.deduped_index import load
from ebr_core.search.exclusions import first_allowed, first_allowed_results
from ebr_core.search.hybrid_search import (
    DocumentFilter,
    Radius,
    Retrieval,
    Trigger,
    calibrate,
    fuse,
    search_within,
    within_radius,
)
from ebr_core.search.nearest import search_cost, search_exact
from ebr_core.text.terms import Terms, rank_documents
from tasks.artifacts import stage
from tasks.bm25_stages import distinct_queries, index_documents, read_documents
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import BuiltIndex, CalibratedRadius, EvalSet, Log, RetrievedList, TunedBm25, Vectors
from tasks.progress import show_progress
from tasks.retrieved import (
    Retrieved,
    as_document_rows,
    count_returned,
    load_retrieved,
    save_retrieved,
    save_unavailable,
)

CALIBRATION_DEPTH = 100  # documents in the list that calibrates; targets below it do not count
NAVIGATIONAL_CLICKS = 3  # clicks from which a query may count as navigational


@stage(EvalSet)
def choose_documents(
    folder: Path, log: Log, eval_set: EvalSet, document_filter: DocumentFilter, split: str = "test"
) -> None:
    """Write the same evaluation over fewer documents: those that the filter lets into the index. [EBR §4.3]

    split: the part of the log that the evaluation is of.
    """
    candidates = read_sample(eval_set).candidates
    documents = pq.read_table(log.folder / "documents.parquet", columns=["created_at"])
    chosen = np.zeros(documents.num_rows, bool)
    if document_filter.active:
        chosen[extracted_log.read_shown(log.folder).document_rows] = True
    if document_filter.popular is not None:
        clicks = extracted_log.read_clicks(log.folder, documents.num_rows)
        count = int(np.ceil(document_filter.popular * (clicks > 0).sum()))
        chosen[baselines.popularity(clicks, candidates, min(count, len(candidates)))] = True
    if document_filter.recent_days is not None:
        period = pq.read_table(log.folder / "searches.parquet", columns=["searched_at", "split"])
        start = pc.min(period.filter(pc.equal(period["split"], split))["searched_at"]).as_py()
        earliest = pa.scalar(start - timedelta(days=document_filter.recent_days), pa.timestamp("us"))
        chosen |= pc.fill_null(pc.greater_equal(documents["created_at"], earliest), False).to_numpy()
    all_candidates = pq.read_table(eval_set.folder / "candidates.parquet")
    pq.write_table(all_candidates.filter(pa.array(chosen[candidates])), folder / "candidates.parquet")
    for name in ("searches.parquet", "targets.parquet", "slices.parquet", "excluded.parquet", "counts.json"):
        if (eval_set.folder / name).exists():
            shutil.copy(eval_set.folder / name, folder / name)


@stage(CalibratedRadius)
def calibrate_radius(folder: Path, vectors: Vectors, validation: EvalSet, threads: int) -> None:
    """Write radius.json: the distances of clicked documents in validation searches; no file if no list has one."""
    use_threads(threads)
    sample = read_sample(validation)
    searches, targets = sample.for_targets("clicked")
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")
    queries = np.load(vectors.folder / "queries.npy")[..., searches["at"], :]
    excluded, depth = sample.excluded.take(searches["at"]), min(CALIBRATION_DEPTH, len(sample.candidates))
    results = search_exact(documents[sample.candidates], queries, sample.depth(depth))
    rows, similarities = first_allowed_results(*results, excluded, depth)
    retrieved = np.where(rows >= 0, sample.candidates[rows], -1)
    owners = np.repeat(np.arange(len(targets.counts)), targets.counts)
    is_target = retrieved[owners] == targets.documents[:, None]
    has_target = is_target.any(1)
    if has_target.any():
        radius = calibrate(similarities[owners, is_target.argmax(1)][has_target], similarities[owners, 0][has_target])
        (folder / "radius.json").write_text(radius.model_dump_json(indent=1))


@stage(RetrievedList)
def retrieve_hybrid(
    folder: Path,
    log: Log,
    eval_set: EvalSet,
    bm25: TunedBm25,
    retrieval: Retrieval,
    k: int,
    threads: int,
    vectors: Vectors | None = None,
    index: BuiltIndex | None = None,
    radius: CalibratedRadius | None = None,
    fused: dict[str, RetrievedList] | None = None,
) -> None:
    """Write a list retrieved by terms, embedding and ranked lists together, or the reason why one of these is missing.

    vectors, index and radius are those of the retrieval's arm, over the documents of eval_set; fused are its lists by
    name, for the same searches.
    """
    use_threads(threads)
    ranked = []
    for name in retrieval.lists:
        outcome = load_retrieved((fused or {})[name])
        if isinstance(outcome, str):
            save_unavailable(f"it needs {name}, and {outcome}", folder)
            return
        ranked.append(outcome.rows)
    sample = read_sample(eval_set)
    table, terms = _read(log, sample, retrieval, bm25)
    queries, query_of = distinct_queries(log, sample.searches["query_row"])
    allowed = None if retrieval.where is None else condition_mask(parse(retrieval.where), table, terms, _refuse_nn)
    lists, compared = [], np.zeros(len(query_of), np.int64)
    started = time.perf_counter()
    with show_progress("hybrid", 1):
        if retrieval.terms:
            by_terms, _ = rank_documents(terms, queries, sample.depth(k), retrieval.terms == "every", allowed)
            lists.append(first_allowed(by_terms[query_of], sample.excluded, k))
        if vectors is not None and index is not None:
            near, compared = _near(sample, retrieval, vectors, index, radius, k, allowed)
            if retrieval.trigger is not None:
                spared = _spared(log, sample, retrieval.trigger)
                near[spared], compared[spared] = -1, 0
            lists.append(near)
        lists += [_among(rows, sample.candidates, allowed) for rows in ranked]
        rows = fuse(lists, retrieval.fuse, k)
    seconds = time.perf_counter() - started
    rows = as_document_rows(rows, sample.candidates)
    if retrieval.trigger is not None and retrieval.trigger.instead == "memory":
        rows[spared] = _memory_list(log, sample, k)[spared]
    save_retrieved(Retrieved(rows, compared, count_returned(rows), seconds), folder)


def _among(rows: Int32, candidates: Int32, allowed: npt.NDArray[np.bool_] | None) -> Int32:
    """(S, K) positions among the candidates of the documents in rows (S, K), without those that are no candidates or
    not allowed; the others move up."""
    positions = np.minimum(np.searchsorted(candidates, rows), len(candidates) - 1)
    kept = (candidates[positions] == rows) & (True if allowed is None else allowed[positions])
    return baselines.first_distinct(np.where(kept, positions, -1).astype(np.int32), rows.shape[1])


def _refuse_nn(_query: Any, _candidates: Any) -> Any:
    raise AssertionError("a condition in an experiment has no nn")


def _read(log: Log, sample: SampledSearches, retrieval: Retrieval, bm25: TunedBm25) -> tuple[pa.Table, Terms]:
    """(the documents of the evaluation, their terms)."""
    table = read_documents(log, sample.candidates)
    needs_terms = retrieval.terms is not None or (retrieval.where is not None and "term" in retrieval.where)
    return table, index_documents(table if needs_terms else table.slice(0, 0), bm25)


def _near(
    sample: SampledSearches,
    retrieval: Retrieval,
    vectors: Vectors,
    index: BuiltIndex,
    radius: CalibratedRadius | None,
    k: int,
    allowed: npt.NDArray[np.bool_] | None,
) -> tuple[Int32, Int64]:
    """((S, K) rows among the candidates, (S,) documents scanned) by the arm's embedding."""
    documents: Float32 = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    deduped_index = load(index.folder)
    queries = np.load(vectors.folder / "queries.npy")
    compared, _ = search_cost(deduped_index, queries, k)
    nearest = search_within(deduped_index, documents, queries, sample.depth(k), allowed, float(compared.mean()))
    rows, similarities = first_allowed_results(nearest.rows, nearest.similarities, sample.excluded, k)
    if nearest.is_exact and allowed is not None:
        compared[:] = allowed.sum()
    if retrieval.near == "top":
        return rows, compared
    return within_radius(rows, similarities, _radius(retrieval, radius, similarities)), compared


def _radius(retrieval: Retrieval, radius: CalibratedRadius | None, similarities: Float32) -> Float32 | float:
    """The radius given as a number, or the calibrated one."""
    if not isinstance(retrieval.radius, str):
        return retrieval.radius
    assert radius is not None, "a radius is calibrated before it is used"
    if not (radius.folder / "radius.json").exists():
        raise InputError("no validation target was retrieved, so no radius can be calibrated; set radius to a number")
    calibrated = Radius.model_validate_json((radius.folder / "radius.json").read_text())
    return calibrated.radius_for(retrieval.radius, similarities)


def _spared(log: Log, sample: SampledSearches, trigger: Trigger) -> npt.NDArray[np.bool_]:
    """(S,) True for searches that the trigger spares, by the clicks of the training window."""
    shown = extracted_log.read_shown(log.folder)
    clicks = {key: getattr(shown, key)[shown.clicked] for key in ("query_rows", "searcher_rows", "document_rows")}
    queries, searchers = sample.searches["query_row"].astype(np.int64), sample.searches["searcher_row"].astype(np.int64)
    width = int(max(searchers.max(initial=0), clicks["searcher_rows"].max(initial=0))) + 1
    spared = np.zeros(len(queries), bool)
    if trigger.refinding:
        signed_in = clicks["searcher_rows"] >= 0
        clicked_pairs = clicks["query_rows"].astype(np.int64)[signed_in] * width + clicks["searcher_rows"][signed_in]
        spared |= np.isin(queries * width + searchers, clicked_pairs) & (searchers >= 0)
    if trigger.navigational is not None:
        total = np.bincount(clicks["query_rows"], minlength=int(queries.max(initial=0)) + 1)
        documents = int(clicks["document_rows"].max(initial=0)) + 1
        keys = clicks["query_rows"].astype(np.int64) * documents + clicks["document_rows"]
        pairs, times = np.unique(keys, return_counts=True)
        most_clicks = np.zeros(len(total), np.int64)
        np.maximum.at(most_clicks, pairs // documents, times)
        spared |= ((total >= NAVIGATIONAL_CLICKS) & (most_clicks >= trigger.navigational * np.maximum(total, 1)))[
            queries
        ]
    return spared


def _memory_list(log: Log, sample: SampledSearches, k: int) -> Int32:
    """(S, K) rows of the documents clicked for the same query in the training window."""
    shown = extracted_log.read_shown(log.folder)
    clicks = extracted_log.read_clicks(log.folder, pq.read_metadata(log.folder / "documents.parquet").num_rows)
    queries, documents = shown.query_rows[shown.clicked], shown.document_rows[shown.clicked]
    depth = sample.depth(k)
    rows = baselines.click_memory(sample.searches["query_row"], queries, documents, clicks, sample.candidates, depth)
    return first_allowed(rows, sample.excluded_rows, k)
