"""Retrieval by terms and embedding together: the documents chosen, the radius calibrated, the lists fused."""

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
from ebr_core.search import baselines
from ebr_core.search.conditions import ATTRIBUTES, meet, parse
from ebr_core.search.deduped_index import load
from ebr_core.search.hybrid_search import (
    DocumentFilter,
    Radius,
    Retrieval,
    Trigger,
    calibrate,
    fuse,
    search_within,
    within,
)
from ebr_core.search.nearest import scanned, search_exact
from ebr_core.text.terms import Terms, index_terms, ranked
from ebr_core.training.train_loop import use_threads
from tasks.artifacts import stage
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import BuiltIndex, CalibratedRadius, EvalSet, Log, RetrievedList, Vectors
from tasks.progress import showing
from tasks.retrieved import Retrieved, as_document_rows, count_returned, save_retrieved

CALIBRATED_AT = 100  # a target farther down than this is no case for a radius
SURE = 3  # clicks before a query counts as navigational


@stage(EvalSet)
def choose_documents(folder: Path, log: Log, evaluated: EvalSet, its: DocumentFilter) -> None:
    """The same evaluation over fewer documents: those that the filter lets into the index. [EBR §4.3]"""
    candidates = read_sample(evaluated).candidates
    documents = pq.read_table(log.folder / "documents.parquet", columns=["created_at"])
    kept = np.zeros(documents.num_rows, bool)
    if its.active:
        kept[extracted_log.read_shown(log.folder).document_rows] = True
    if its.popular is not None:
        clicks = extracted_log.read_clicks(log.folder, documents.num_rows)
        most = int(np.ceil(its.popular * (clicks > 0).sum()))
        kept[baselines.popularity(clicks, candidates, min(most, len(candidates)))] = True
    if its.recent_days is not None:
        period = pq.read_table(log.folder / "searches.parquet", columns=["searched_at", "split"])
        start = pc.min(period.filter(pc.equal(period["split"], "test"))["searched_at"]).as_py()
        since = pa.scalar(start - timedelta(days=its.recent_days), pa.timestamp("us"))
        kept |= pc.fill_null(pc.greater_equal(documents["created_at"], since), False).to_numpy()
    every = pq.read_table(evaluated.folder / "candidates.parquet")
    pq.write_table(every.filter(pa.array(kept[candidates])), folder / "candidates.parquet")
    for name in ("searches.parquet", "targets.parquet", "slices.parquet", "counts.json"):
        shutil.copy(evaluated.folder / name, folder / name)


@stage(CalibratedRadius)
def calibrate_radius(folder: Path, vectors: Vectors, validation: EvalSet, threads: int) -> None:
    """radius.json: how far the clicked documents of validation searches lie; none where exact search finds none."""
    use_threads(threads)
    sample = read_sample(validation)
    searches, targets = sample.for_targets("clicked")
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")
    queries = np.load(vectors.folder / "queries.npy")[..., searches["at"], :]
    rows, similarities = search_exact(documents[sample.candidates], queries, min(CALIBRATED_AT, len(sample.candidates)))
    found = np.where(rows >= 0, sample.candidates[rows], -1)
    asked = np.repeat(np.arange(len(queries)), targets.counts)
    hit = found[asked] == targets.documents[:, None]
    there = hit.any(1)
    if there.any():
        radius = calibrate(similarities[asked, hit.argmax(1)][there], similarities[asked, 0][there])
        (folder / "radius.json").write_text(radius.model_dump_json(indent=1))


@stage(RetrievedList)
def retrieve_hybrid(
    folder: Path,
    log: Log,
    evaluated: EvalSet,
    its: Retrieval,
    k: int,
    threads: int,
    vectors: Vectors | None = None,
    index: BuiltIndex | None = None,
    radius: CalibratedRadius | None = None,
) -> None:
    """A list by terms and embedding together.

    vectors, index and radius are those of its arm, over the documents of evaluated.
    """
    use_threads(threads)
    sample = read_sample(evaluated)
    table, terms, queries = _read(log, sample, its)
    allowed = None if its.where is None else meet(parse(its.where), table, terms, _nothing_near)
    asked, place = np.unique(sample.searches["query_row"], return_inverse=True)
    lists, looked_at = [], np.zeros(len(place), np.int64)
    started = time.perf_counter()
    with showing("hybrid", 1):
        if its.terms:
            by_terms, _ = ranked(terms, queries.take(asked).to_pylist(), k, its.terms == "every", allowed)
            lists.append(by_terms[place])
        if vectors is not None and index is not None:
            near, looked_at = _near(sample, its, vectors, index, radius, k, allowed)
            if its.trigger is not None:
                spared = _spared(log, sample, its.trigger)
                near[spared], looked_at[spared] = -1, 0
            lists.append(near)
        rows = fuse(lists[0], lists[1], its.fuse, k) if len(lists) == 2 else lists[0]
    seconds = time.perf_counter() - started
    rows = as_document_rows(rows, sample.candidates)
    if its.trigger is not None and its.trigger.instead == "memory":
        rows[spared] = _remembered(log, sample, k)[spared]
    save_retrieved(Retrieved(rows, looked_at, count_returned(rows), seconds), folder)


def _nothing_near(_near: Any, _among: Any) -> Any:
    raise AssertionError("an experiment's condition holds no nn")


def _read(log: Log, sample: SampledSearches, its: Retrieval) -> tuple[pa.Table, Terms, pa.ChunkedArray]:
    """The documents of the evaluation, their terms, and every query's text."""
    table = read_documents(log, sample.candidates)
    needs_terms = its.terms is not None or (its.where is not None and "term" in its.where)
    terms = index_terms(texts_of(table) if needs_terms else [])
    return table, terms, pq.read_table(log.folder / "queries.parquet")["query"]


def read_documents(log: Log, rows: Int32) -> pa.Table:
    """The documents at rows, with what a condition may ask of them."""
    columns = ["title", "body", *ATTRIBUTES]
    return pq.read_table(log.folder / "documents.parquet", columns=columns).take(rows).combine_chunks()


def texts_of(documents: pa.Table) -> list[str]:
    """What terms are looked for in: title and body."""
    body = pc.fill_null(documents["body"], "")
    return list(pc.binary_join_element_wise(documents["title"], body, " ").to_pylist())


def _near(
    sample: SampledSearches,
    its: Retrieval,
    vectors: Vectors,
    index: BuiltIndex,
    radius: CalibratedRadius | None,
    k: int,
    allowed: npt.NDArray[np.bool_] | None,
) -> tuple[Int32, Int64]:
    """((S, K) rows among the candidates, (S,) documents scanned) by the arm's embedding."""
    documents: Float32 = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    searched = load(index.folder)
    queries = np.load(vectors.folder / "queries.npy")
    looked_at, _ = scanned(searched, queries, k)
    found = search_within(searched, documents, queries, k, allowed, float(looked_at.mean()))
    if found.exactly and allowed is not None:
        looked_at[:] = allowed.sum()
    if its.near == "top":
        return found.rows, looked_at
    return within(found.rows, found.similarities, _radius(its, radius, found.similarities)), looked_at


def _radius(its: Retrieval, radius: CalibratedRadius | None, similarities: Float32) -> Float32 | float:
    """The number asked for, or what the calibration found."""
    if not isinstance(its.radius, str):
        return its.radius
    assert radius is not None, "a radius is calibrated before it is used"
    if not (radius.folder / "radius.json").exists():
        raise InputError("no validation target was found, so no radius can be calibrated; give radius: a number")
    calibrated = Radius.model_validate_json((radius.folder / "radius.json").read_text())
    return calibrated.of(its.radius, similarities)


def _spared(log: Log, sample: SampledSearches, trigger: Trigger) -> npt.NDArray[np.bool_]:
    """(S,) which searches the trigger spares, by the clicks of the training window."""
    shown = extracted_log.read_shown(log.folder)
    clicks = {key: getattr(shown, key)[shown.clicked] for key in ("query_rows", "searcher_rows", "document_rows")}
    asked, searchers = sample.searches["query_row"].astype(np.int64), sample.searches["searcher_row"].astype(np.int64)
    width = int(max(searchers.max(initial=0), clicks["searcher_rows"].max(initial=0))) + 1
    spared = np.zeros(len(asked), bool)
    if trigger.refinding:
        signed_in = clicks["searcher_rows"] >= 0
        before = clicks["query_rows"].astype(np.int64)[signed_in] * width + clicks["searcher_rows"][signed_in]
        spared |= np.isin(asked * width + searchers, before) & (searchers >= 0)
    if trigger.navigational is not None:
        total = np.bincount(clicks["query_rows"], minlength=int(asked.max(initial=0)) + 1)
        documents = int(clicks["document_rows"].max(initial=0)) + 1
        keys = clicks["query_rows"].astype(np.int64) * documents + clicks["document_rows"]
        pairs, times = np.unique(keys, return_counts=True)
        most = np.zeros(len(total), np.int64)
        np.maximum.at(most, pairs // documents, times)
        spared |= ((total >= SURE) & (most >= trigger.navigational * np.maximum(total, 1)))[asked]
    return spared


def _remembered(log: Log, sample: SampledSearches, k: int) -> Int32:
    """(S, K) what was clicked for this query before."""
    shown = extracted_log.read_shown(log.folder)
    clicks = extracted_log.read_clicks(log.folder, pq.read_metadata(log.folder / "documents.parquet").num_rows)
    queries, documents = shown.query_rows[shown.clicked], shown.document_rows[shown.clicked]
    return baselines.click_memory(sample.searches["query_row"], queries, documents, clicks, sample.candidates, k)
