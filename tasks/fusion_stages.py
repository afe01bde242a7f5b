"""An arm's list and BM25's, fused: BM25's lists once for all arms, the weights, the fused lists, the mode that wins."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Float32, Float64, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.measure.metrics import hits, recall_at_k
from ebr_core.parallel import use_threads
from ebr_core.search.exclusions import first_allowed
from ebr_core.search.hybrid_search import reciprocal_rank_fusion
from ebr_core.search.modes import FUSION_DEPTH, MODES, RERANKED, Mode
from ebr_core.search.nearest import search_cost, search_index
from ebr_core.search.query_kinds import KINDS, TrainingQueries, query_kinds, training_queries
from ebr_core.search.weighted_fusion import (
    FusionWeights,
    Pool,
    choose_fusion,
    cosines_of,
    fuse_weighted,
    normalise,
    pool_rows,
    recalls_by_weight,
)
from ebr_core.serving.model_bundle import FUSION, read_terms, write_terms
from ebr_core.text.bm25_config import Language
from ebr_core.text.terms import Terms, rank_documents, scores_of
from tasks.artifacts import stage
from tasks.bm25_stages import distinct_queries, index_documents, read_documents
from tasks.built_indexes import load_index
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import BuiltIndex, ChosenFusion, EvalSet, Log, RetrievedList, ServedMode, TermLists, TunedBm25, Vectors
from tasks.progress import show_progress
from tasks.retrieved import Retrieved, as_document_rows, count_returned, load_retrieved, save_retrieved


class _TermRanks(NamedTuple):
    """The content of TermLists: U distinct queries, S searches."""

    terms: Terms  # of the candidates
    queries: list[str]  # (U,)
    query_pos: Int32  # (S,) positions in queries
    rows: Int32  # (U, depth) positions among the candidates, −1 behind the last
    kinds: Int64  # (U,) positions in KINDS


def training_queries_of(log: Log, language: Language | None) -> TrainingQueries:
    """The queries of the training window and their words."""
    rows = extracted_log.row_numbers(extracted_log.read(log.folder, "training_queries"), "query_row")
    queries = pq.read_table(log.folder / "queries.parquet")["query"].take(rows).combine_chunks()
    return training_queries(queries, language)


@stage(TermLists)
def rank_terms(folder: Path, log: Log, eval_set: EvalSet, bm25: TunedBm25, depth: int) -> None:
    """Write the terms of the documents alive, BM25's first documents for each distinct query, and its kind."""
    use_threads(1)
    sample = read_sample(eval_set)
    queries, query_pos = distinct_queries(log, sample.searches["query_row"])
    with show_progress("bm25", 1):
        terms = index_documents(read_documents(log, sample.candidates), bm25)
        rows, _ = rank_documents(terms, queries, sample.depth(depth), all_words=False)
    write_terms(terms, folder)
    texts = pa.array(queries, pa.string())
    pq.write_table(pa.table({"query": texts}), folder / "queries.parquet")
    np.save(folder / "query_pos.npy", query_pos.astype(np.int32))
    np.save(folder / "rows.npy", rows)
    np.save(folder / "kinds.npy", query_kinds(texts, training_queries_of(log, terms.language), terms))


def _read_ranks(term_lists: TermLists, candidates: int) -> _TermRanks:
    folder = term_lists.folder
    rows, kinds, query_pos = (np.load(folder / f"{name}.npy") for name in ("rows", "kinds", "query_pos"))
    queries = pq.read_table(folder / "queries.parquet")["query"].to_pylist()
    return _TermRanks(read_terms(folder, candidates), queries, query_pos, rows, kinds)


@stage(ChosenFusion)
def choose_weights_of_fusion(
    folder: Path,
    eval_set: EvalSet,
    term_lists: TermLists,
    vectors: Vectors,
    index: BuiltIndex,
    k: int,
    threads: int,
    own: RetrievedList | None = None,
) -> None:
    """Write fusion.json: the weights of BM25 with the highest recall@K of clicks, and what was tried; and held_out.npy
    (S,), for each search the weight that was chosen without it and its like.

    eval_set: of the validation; own: as for retrieve_fused.
    """
    use_threads(threads)
    sample = read_sample(eval_set)
    if not len(sample.searches["search_row"]):
        raise InputError(
            "this log has no validation part, so neither a weight of BM25 nor a mode to serve can be chosen; all other "
            "rows are measured"
        )
    if "clicked" not in sample.names:
        raise InputError("no validation search has a clicked document, so terms and embedding cannot be weighed")
    searches, targets = sample.for_targets("clicked")
    ranks, at = _read_ranks(term_lists, len(sample.candidates)), searches["at"]
    with show_progress("weigh", 1):
        pool, _ = _pool(sample, ranks, vectors, index, own, at)
        recalls = recalls_by_weight(
            pool, k, lambda rows: recall_at_k(hits(as_document_rows(rows, sample.candidates), targets), targets, k)
        )
    chosen = choose_fusion(recalls, ranks.kinds[ranks.query_pos[at]], searches["query_row"], len(KINDS))
    held_out = chosen.weights.of(ranks.kinds[ranks.query_pos])
    held_out[at] = chosen.held_out
    np.save(folder / "held_out.npy", held_out)
    summary = {"kinds": KINDS, **chosen._asdict(), "weights": chosen.weights.model_dump()}
    summary.pop("held_out")
    (folder / FUSION).write_text(json.dumps(summary, indent=1))


def read_fusion(fusion: ChosenFusion) -> FusionWeights:
    """The weights that were chosen."""
    return FusionWeights.model_validate(json.loads((fusion.folder / FUSION).read_text())["weights"])


@stage(RetrievedList)
def retrieve_fused(
    folder: Path,
    eval_set: EvalSet,
    term_lists: TermLists,
    vectors: Vectors,
    index: BuiltIndex,
    k: int,
    threads: int,
    fusion: ChosenFusion | None = None,
    held_out: bool = False,
    own: RetrievedList | None = None,
) -> None:
    """Write a list: what the vectors retrieve through their index and BM25's list, fused by the weighted sum, or
    without weights by reciprocal ranks.

    held_out: for the validation that chose the weights, each search with the weight that was chosen without it. own:
    what the same vectors retrieve for these searches through the same index, which then is not searched again.
    """
    use_threads(threads)
    sample = read_sample(eval_set)
    ranks = _read_ranks(term_lists, len(sample.candidates))
    everything = np.arange(len(ranks.query_pos))
    started = time.perf_counter()
    with show_progress("fuse", 1):
        if fusion is None:
            both, compared = _both_lists(sample, ranks, vectors, index, own, everything)
            rows = reciprocal_rank_fusion(both, k)
        else:
            pool, compared = _pool(sample, ranks, vectors, index, own, everything)
            weights = read_fusion(fusion).of(ranks.kinds[ranks.query_pos])
            rows, _ = fuse_weighted(pool, np.load(fusion.folder / "held_out.npy") if held_out else weights, k)
    seconds = time.perf_counter() - started
    rows = as_document_rows(rows, sample.candidates)
    save_retrieved(Retrieved(rows, compared, count_returned(rows), seconds), folder)


def _both_lists(
    sample: SampledSearches,
    ranks: _TermRanks,
    vectors: Vectors,
    index: BuiltIndex,
    own: RetrievedList | None,
    at: Int64,
) -> tuple[list[Int32], Int64]:
    """([BM25's list, what the index retrieves], each (s, depth), (s,) documents scanned) for the searches at (s,),
    without excluded documents."""
    depth, excluded = ranks.rows.shape[1], sample.excluded.take(at)
    by_terms = first_allowed(ranks.rows[ranks.query_pos[at]], excluded, depth)
    outcome = None if own is None else load_retrieved(own)
    if isinstance(outcome, Retrieved) and outcome.rows.shape[1] == depth and outcome.scanned is not None:
        return [by_terms, _positions(outcome.rows[at], sample.candidates)], outcome.scanned[at]
    queries = np.load(vectors.folder / "queries.npy")[..., at, :]
    deduped_index = load_index(index.folder)
    near, _ = search_index(deduped_index, queries, depth)
    return [by_terms, first_allowed(near, excluded, depth)], search_cost(deduped_index, queries, depth)[0]


def _positions(rows: Int32, candidates: Int32) -> Int32:
    """(s, K) the positions among the candidates, which are in order, of document rows; −1 stays."""
    return np.where(rows >= 0, np.searchsorted(candidates, rows), -1).astype(np.int32)


def _pool(
    sample: SampledSearches,
    ranks: _TermRanks,
    vectors: Vectors,
    index: BuiltIndex,
    own: RetrievedList | None,
    at: Int64,
) -> tuple[Pool, Int64]:
    """(the documents of both lists with their scores, (s,) documents scanned) for the searches at (s,)."""
    both, compared = _both_lists(sample, ranks, vectors, index, own, at)
    query_pos, rows = ranks.query_pos[at], pool_rows(both)
    owner, pos = np.nonzero(rows >= 0)
    bm25 = np.zeros(rows.shape, np.float32)
    bm25[owner, pos], _ = scores_of(ranks.terms, ranks.queries, query_pos[owner], rows[owner, pos])
    documents: Float32 = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    queries: Float32 = np.load(vectors.folder / "queries.npy")[..., at, :]
    return normalise(rows, bm25, cosines_of(rows, documents, queries)), compared


@stage(ServedMode)
def choose_mode(folder: Path, eval_set: EvalSet, lists: dict[str, RetrievedList], k: int) -> None:
    """Write mode.json: the mode whose list has the highest recall@K on clicks, and the recall of each.

    eval_set: of the validation; lists: by mode, of an arm or, in mode reranked alone, of a cascade or ranker. Equal
    modes are taken in the order of MODES, the simplest first.
    """
    sample = read_sample(eval_set)
    searches, targets = sample.for_targets("clicked")
    recalls = {}
    for mode, retrieved in lists.items():
        outcome = load_retrieved(retrieved)
        assert not isinstance(outcome, str), "what is made of arms has a list"
        recall: Float64 = recall_at_k(hits(outcome.rows[searches["at"]], targets), targets, k)
        recalls[mode] = float(recall.mean())
    chosen = max((mode for mode in (*MODES, RERANKED) if mode in recalls), key=lambda mode: recalls[mode])
    (folder / "mode.json").write_text(json.dumps({"mode": chosen, "recalls": recalls}, indent=1))


def read_mode(served: ServedMode) -> tuple[Mode, float]:
    """(the chosen mode, its recall on the validation)."""
    content = json.loads((served.folder / "mode.json").read_text())
    return content["mode"], float(content["recalls"][content["mode"]])


def fusion_depth(ks: tuple[int, ...]) -> int:
    """The documents of each list that are fused."""
    return max(FUSION_DEPTH, *ks)
