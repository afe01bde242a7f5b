"""Retrieval by terms and embedding together: choose documents, calibrate a radius, fuse lists."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

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
from ebr_core.search.condition_masks import Mask, SearchedDocuments, condition_mask
from ebr_core.search.conditions import parse, reads_place
from ebr_core.search.deduped_index import DedupedIndex
from ebr_core.search.exclusions import first_allowed, first_allowed_results
from ebr_core.search.hybrid_search import (
    DocumentFilter,
    Radius,
    Retrieval,
    calibrate,
    fuse,
    search_within,
    within_radius,
)
from ebr_core.search.nearest import search_cost, search_exact
from ebr_core.text.terms import Terms, rank_documents
from tasks.artifacts import stage
from tasks.bm25_stages import distinct_queries, index_documents, read_documents
from tasks.built_indexes import load_index
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import (
    BuiltIndex,
    CalibratedRadius,
    EvalSet,
    Log,
    OwnColumns,
    Places,
    RetrievedList,
    TunedBm25,
    Vectors,
)
from tasks.own_column_stages import add_own_columns, read_places
from tasks.progress import show_progress
from tasks.retrieved import (
    Retrieved,
    as_document_rows,
    count_returned,
    load_retrieved,
    save_retrieved,
    save_unavailable,
)
from tasks.trigger_lists import memory_list, spared_searches

CALIBRATION_DEPTH = 100  # documents in the list that calibrates; targets below it do not count


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


class _Sources(NamedTuple):
    """All that a retrieval fuses, for S searches."""

    retrieval: Retrieval
    sample: SampledSearches
    terms: Terms
    queries: list[str]  # distinct
    query_of: Int64  # (S,) positions in queries
    near: _Neighbours | None
    spared: npt.NDArray[np.bool_]  # (S,) True if the embedding is not used
    ranked: list[Int32]  # (S, K) document rows of each of its lists
    k: int


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
    own: OwnColumns | None = None,
    places: Places | None = None,
    own_names: dict[str, str] | None = None,
) -> None:
    """Write a list retrieved by terms, embedding and ranked lists together, or the reason why one of these is missing.

    vectors, index and radius are those of the retrieval's arm, over the documents of eval_set; fused are its lists by
    name, for the same searches; own and places are what its condition reads beside the layout's columns,
    which own_names gives by the user's names.
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
    searched = _searched_documents(log, sample, retrieval, bm25, own, places)._replace(own_names=own_names or {})
    near = None if vectors is None or index is None else _neighbours(sample, retrieval, vectors, index, radius, k)
    everything = np.arange(len(sample.searches["query_row"]))
    spared = np.zeros(len(everything), bool)
    if near is not None and retrieval.trigger is not None:
        spared = spared_searches(log, sample, retrieval.trigger)
    texts = distinct_queries(log, sample.searches["query_row"])
    sources = _Sources(retrieval, sample, searched.terms, *texts, near, spared, ranked, k)
    rows, compared = np.full((len(everything), k), -1, np.int32), np.zeros(len(everything), np.int64)
    started = time.perf_counter()
    with show_progress("hybrid", 1):
        for at, allowed in _allowed(sample, retrieval, searched, places):
            rows[at], compared[at] = _fuse(sources, at, allowed)
    seconds = time.perf_counter() - started
    rows = as_document_rows(rows, sample.candidates)
    if retrieval.trigger is not None and retrieval.trigger.instead == "memory":
        rows[spared] = memory_list(log, sample, k)[spared]
    save_retrieved(Retrieved(rows, compared, count_returned(rows), seconds), folder)


def _allowed(
    sample: SampledSearches, retrieval: Retrieval, searched: SearchedDocuments, places: Places | None
) -> Iterator[tuple[Int64, Mask | None]]:
    """(positions of searches, (N,) the documents that meet the condition for them; None without a condition): one pair
    for all searches, or for each place of searches if the condition depends on it."""
    everything = np.arange(len(sample.searches["search_row"]))
    condition = None if retrieval.where is None else parse(retrieval.where)
    if condition is None or not reads_place(condition):
        yield everything, None if condition is None else condition_mask(condition, searched, _refuse_nn)
        return
    located = read_places(places, "searches")
    assert located is not None, "a run is refused before if no search has a place"
    origins = located[sample.searches["search_row"]]
    is_known = np.isfinite(origins).all(1)
    if not is_known.all():
        yield everything[~is_known], condition_mask(condition, searched, _refuse_nn)
    distinct, group_of = np.unique(origins[is_known], axis=0, return_inverse=True)
    order = np.argsort(group_of.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(group_of.ravel(), minlength=len(distinct)))
    for (latitude, longitude), part in zip(distinct.tolist(), np.split(order, ends[:-1]), strict=True):
        yield everything[is_known][part], condition_mask(condition, searched, _refuse_nn, (latitude, longitude))


def _fuse(sources: _Sources, at: Int64, allowed: Mask | None) -> tuple[Int32, Int64]:
    """((s, K) rows among the candidates, (s,) documents scanned) for the searches at (s,)."""
    retrieval, sample, k = sources.retrieval, sources.sample, sources.k
    excluded, lists, compared = sample.excluded.take(at), [], np.zeros(len(at), np.int64)
    if retrieval.terms:
        used, query_of = np.unique(sources.query_of[at], return_inverse=True)
        queries = [sources.queries[query] for query in used.tolist()]
        by_terms, _ = rank_documents(sources.terms, queries, sample.depth(k), retrieval.terms == "every", allowed)
        lists.append(first_allowed(by_terms[query_of], excluded, k))
    if sources.near is not None:
        near, compared = _near(sources, sources.near, at, allowed)
        spared = sources.spared[at]
        near[spared], compared[spared] = -1, 0
        lists.append(near)
    lists += [_among(rows[at], sample.candidates, allowed) for rows in sources.ranked]
    return fuse(lists, retrieval.fuse, k), compared


def _among(rows: Int32, candidates: Int32, allowed: Mask | None) -> Int32:
    """(S, K) positions among the candidates of the documents in rows (S, K), without those that are no candidates or
    not allowed; the others move up."""
    positions = np.minimum(np.searchsorted(candidates, rows), len(candidates) - 1)
    kept = (candidates[positions] == rows) & (True if allowed is None else allowed[positions])
    return baselines.first_distinct(np.where(kept, positions, -1).astype(np.int32), rows.shape[1])


def _refuse_nn(_query: Any, _candidates: Any) -> Any:
    raise AssertionError("a condition in an experiment has no nn")


def _searched_documents(
    log: Log,
    sample: SampledSearches,
    retrieval: Retrieval,
    bm25: TunedBm25,
    own: OwnColumns | None,
    places: Places | None,
) -> SearchedDocuments:
    """The documents of the evaluation, with what a condition may read of them."""
    table = read_documents(log, sample.candidates)
    needs_terms = retrieval.terms is not None or (retrieval.where is not None and "term" in retrieval.where)
    terms = index_documents(table if needs_terms else table.slice(0, 0), bm25)
    located = read_places(places, "documents")
    return SearchedDocuments(
        add_own_columns(table, own, sample.candidates), terms, None if located is None else located[sample.candidates]
    )


class _Neighbours(NamedTuple):
    """What the embedding of an arm searches."""

    built: DedupedIndex
    documents: Float32  # (N, D) of the candidates
    queries: Float32  # (S, D) or (h, S, D)
    compared: Int64  # (S,) documents that a search for K scans
    radius: CalibratedRadius | None


def _neighbours(
    sample: SampledSearches,
    retrieval: Retrieval,
    vectors: Vectors,
    index: BuiltIndex,
    radius: CalibratedRadius | None,
    k: int,
) -> _Neighbours:
    documents: Float32 = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    deduped_index, queries = load_index(index.folder), np.load(vectors.folder / "queries.npy")
    return _Neighbours(deduped_index, documents, queries, search_cost(deduped_index, queries, k)[0], radius)


def _near(sources: _Sources, near: _Neighbours, at: Int64, allowed: Mask | None) -> tuple[Int32, Int64]:
    """((s, K) rows among the candidates, (s,) documents scanned) by the arm's embedding, for the searches at (s,)."""
    retrieval, sample, k, compared = sources.retrieval, sources.sample, sources.k, near.compared[at]
    nearest = search_within(
        near.built, near.documents, near.queries[..., at, :], sample.depth(k), allowed, float(near.compared.mean())
    )
    rows, similarities = first_allowed_results(nearest.rows, nearest.similarities, sample.excluded.take(at), k)
    if nearest.is_exact and allowed is not None:
        compared[:] = allowed.sum()
    if retrieval.near == "top":
        return rows, compared
    return within_radius(rows, similarities, _radius(retrieval, near.radius, similarities)), compared


def _radius(retrieval: Retrieval, radius: CalibratedRadius | None, similarities: Float32) -> Float32 | float:
    """The radius given as a number, or the calibrated one."""
    if not isinstance(retrieval.radius, str):
        return retrieval.radius
    assert radius is not None, "a radius is calibrated before it is used"
    if not (radius.folder / "radius.json").exists():
        raise InputError("no validation target was retrieved, so no radius can be calibrated; set radius to a number")
    calibrated = Radius.model_validate_json((radius.folder / "radius.json").read_text())
    return calibrated.radius_for(retrieval.radius, similarities)
