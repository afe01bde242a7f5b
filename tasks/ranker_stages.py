"""Rankers: trained on clicks of the later half of the validation, they reorder the results of an arm."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data import extracted_log
from ebr_core.arrays import Bool, Float32, Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.parallel import use_threads
from ebr_core.rerank.examination import FEWEST_CLICKS, Examination, fit_examination, inverse_propensities
from ebr_core.rerank.pair_features import feature_matrix, rank_lists, read_ranker
from ebr_core.rerank.ranker_features import (
    Examples,
    Ranker,
    SearchResults,
    click_groups,
    concat_results,
    feature_group,
    sample_unshown,
    select_results,
)
from ebr_core.rerank.trees import NDCG_K, grow
from ebr_core.search.deduped_index import DedupedIndex
from ebr_core.search.exclusions import first_allowed, is_excluded
from ebr_core.search.nearest import search_cost, search_index
from tasks.artifacts import stage
from tasks.built_indexes import load_index
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import (
    BuiltIndex,
    EvalSet,
    ExaminationRates,
    Log,
    Places,
    RetrievedList,
    TrainedRanker,
    TunedBm25,
    Vectors,
)
from tasks.progress import show_progress
from tasks.ranker_inputs import RankerLists, read_lists
from tasks.retrieved import Retrieved, as_document_rows, count_returned, save_retrieved

BIAS = {
    "propensities": "clicks are weighted by inverse propensities from shuffled lists",
    "position": "the position is a feature, fixed at 1 when scoring: some position bias remains",
    "none": "nothing is done about position bias: it remains",
}


class RankerRun(Frozen):
    """A ranker with one seed."""

    arm: str
    seed: int
    ranker: TrainedRanker


@stage(ExaminationRates)
def estimate_examination(folder: Path, log: Log) -> None:
    """Write examination.json: the probability that each position is examined, from lists shuffled before the test."""
    counts = extracted_log.read_shuffled(log.folder)
    examination = fit_examination(counts)
    content = {name: [float(value) for value in column] for name, column in examination._asdict().items()}
    lists = int(counts.shown[counts.positions == 1].sum())
    (folder / "examination.json").write_text(json.dumps(content | {"lists": lists}, indent=1))


def read_examination(examination: ExaminationRates) -> Examination:
    """The rates that estimate_examination wrote."""
    content = json.loads((examination.folder / "examination.json").read_text())
    return Examination(np.array(content["rates"]), np.array(content["errors"]), np.array(content["clicks"], np.int64))


def refuse_deep(eval_set: EvalSet, rankers: Mapping[str, Ranker]) -> None:
    """Raise InputError, before any training, if a ranker would order more documents than are alive."""
    alive = len(read_sample(eval_set).candidates)
    for name, ranker in rankers.items():
        if ranker.depth > alive:
            raise InputError(
                f"rankers.{name}.depth: got {ranker.depth}, but {alive} documents are alive in the test period: "
                f"lower it to {alive} or less"
            )


@stage(TrainedRanker)
def train_ranker(
    folder: Path,
    log: Log,
    ranking: EvalSet,
    bm25: TunedBm25,
    spec: Ranker,
    seed: int,
    threads: int,
    vectors: Vectors,
    index: BuiltIndex,
    examination: ExaminationRates,
    places: Places | None = None,
) -> None:
    """Write ranker.txt, trees in LightGBM's text format, and ranker.json: features, gains, the treatment of bias.

    ranking: the later half of the validation; vectors and index: of the arm, over its documents; places: of
    searches and documents, if these logs have distances. The newest searches of that half decide how many trees are
    kept.
    """
    use_threads(threads)
    lists, started = read_lists(log, ranking, bm25, vectors, places), time.perf_counter()
    examination_rates = read_examination(examination)
    with show_progress("train ranker", 1):
        retrieved = _retrieve(lists, load_index(index.folder), spec.depth)
        training, held_out, bias = _examples(log, lists, retrieved, spec, seed, examination_rates)
        pairs = training.searches, training.documents, training.positions
        names, rows = feature_matrix(lists.pairs, spec.embedding, bias, *pairs)
        held_pairs = held_out.searches, held_out.documents, np.ones_like(held_out.positions)
        _, held_rows = feature_matrix(lists.pairs, spec.embedding, bias, *held_pairs)
        trees = grow(rows, training, held_rows, held_out, names, spec, seed, threads)
    (folder / "ranker.txt").write_text(trees.text)
    gains: dict[str, float] = {}
    for name, gain in zip(names, trees.gains, strict=True):
        gains[feature_group(name)] = gains.get(feature_group(name), 0.0) + float(gain)
    summary = {
        "features": names, "missing": lists.missing, "bias": bias, "clicks": len(training.sizes),
        "pairs": len(training.searches), "held_out_clicks": len(held_out.sizes), "trees": trees.trees,
        "held_out": trees.held_out, "held_out_retrieved": _as_retrieved(held_out), "gains": gains,
        "examined": examination_rates.rates.tolist(), "shuffled_clicks": int(examination_rates.clicks.sum()),
    }  # fmt: skip
    (folder / "ranker.json").write_text(json.dumps(summary, indent=1))
    costs = {"train_s": time.perf_counter() - started, "pairs": len(training.searches)}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


def read_ranker_summary(ranker: TrainedRanker) -> dict[str, Any]:
    """The content of ranker.json: features, missing, bias, clicks, trees, held_out …, gains."""
    summary: dict[str, Any] = json.loads((ranker.folder / "ranker.json").read_text())
    return summary


@stage(RetrievedList)
def retrieve_ranked(
    folder: Path,
    log: Log,
    eval_set: EvalSet,
    bm25: TunedBm25,
    spec: Ranker,
    k: int,
    threads: int,
    vectors: Vectors,
    index: BuiltIndex,
    ranker: TrainedRanker,
    places: Places | None = None,
) -> None:
    """Write a list: the documents that the vectors retrieve through their index, the first `depth` of them ordered by
    the ranker. Documents compared or scored count as scanned."""
    use_threads(threads)
    lists, model, deduped_index = (
        read_lists(log, eval_set, bm25, vectors, places),
        read_ranker(ranker.folder),
        load_index(index.folder),
    )
    started = time.perf_counter()
    with show_progress("rank", 1):
        retrieved = _retrieve(lists, deduped_index, max(spec.depth, k))
        head = retrieved[:, : spec.depth]
        retrieved[:, : spec.depth] = rank_lists(model, spec.embedding, lists.pairs, head, threads)[0]
    seconds = time.perf_counter() - started
    compared = search_cost(deduped_index, lists.pairs.queries, retrieved.shape[1])[0] + (head >= 0).sum(1)
    save_retrieved(Retrieved(retrieved[:, :k], compared, count_returned(retrieved[:, :k]), seconds), folder)


def _retrieve(lists: RankerLists, deduped_index: DedupedIndex, depth: int) -> Int32:
    """(S, depth) document rows, fewer columns if fewer documents are candidates."""
    candidates = lists.sample.candidates
    depth = min(depth, len(candidates))
    rows, _ = search_index(deduped_index, lists.pairs.queries, lists.sample.depth(depth))
    return as_document_rows(first_allowed(rows, lists.sample.excluded, depth), candidates)


def _examples(
    log: Log, lists: RankerLists, retrieved: Int32, spec: Ranker, seed: int, examination: Examination
) -> tuple[Examples, Examples, str]:
    """(the training examples, the held-out examples, the treatment of bias)."""
    shown, clicked = _shown(log, lists)
    bias, n = _bias(spec, examination, shown.positions), len(lists.pairs.query_pos)
    if bias == "propensities":
        weights = inverse_propensities(shown.positions.astype(np.int64), examination, spec.clip)
        shown = shown._replace(weights=shown.weights * weights.astype(np.float32))
    clicks, not_clicked = select_results(shown, clicked), select_results(shown, ~clicked)
    is_newest = _newest(lists.sample, spec.held_out)
    searches, documents = sample_unshown(
        retrieved, shown.searches, shown.documents, spec.unshown, np.random.default_rng(seed)
    )
    ones = np.ones(len(searches))  # treated as examined and not clicked
    extra = SearchResults(searches, documents, ones.astype(np.int32), ones.astype(np.float32))
    training = click_groups(select_results(clicks, ~is_newest[clicks.searches]), concat_results(not_clicked, extra), n)
    if not len(training.sizes):
        raise InputError("no click of the later half of the validation is in a list with a result that was not clicked")
    return training, _held_out(select_results(clicks, is_newest[clicks.searches]), clicks, retrieved), bias


def _shown(log: Log, lists: RankerLists) -> tuple[SearchResults, Bool]:
    """(the results that sampled searches showed, if alive; True if clicked). Clicks have the weights of their actions,
    with mean 1. Raises InputError if none was clicked."""
    searches = lists.sample.searches["search_row"]
    table = extracted_log.read(log.folder, "lists", {"split": "ranking"}, halved=True)
    rows, documents = extracted_log.row_numbers(table, "search_row"), extracted_log.row_numbers(table, "document_row")
    is_candidate = np.isin(rows, searches) & (lists.pairs.candidate_pos[documents] >= 0)
    excluded = lists.sample.excluded.take(np.searchsorted(searches, rows[is_candidate]))
    is_candidate[is_candidate] = ~is_excluded(lists.pairs.candidate_pos[documents[is_candidate]][:, None], excluded)[
        :, 0
    ]
    clicked: Bool = table["clicked"].to_numpy()[is_candidate]
    if not clicked.any():
        raise InputError(
            "no result was clicked in the later half of the validation period, so a ranker has no training data; "
            "remove rankers, or increase split.validation"
        )
    search_pos = np.searchsorted(searches, rows[is_candidate]).astype(np.int32)
    positions = extracted_log.row_numbers(table, "position")[is_candidate]
    weights = click_weights(table["weight"].to_numpy()[is_candidate], clicked)
    return SearchResults(search_pos, documents[is_candidate], positions, weights), clicked


def click_weights(weights: Float32, clicked: Bool) -> Float32:
    """(R,) the weights of the clicks' actions with mean 1, and 1 for results that were not clicked.

    >>> click_weights(np.array([3, 0, 1], np.float32), np.array([True, False, True])).tolist()
    [1.5, 1.0, 0.5]
    """
    return np.where(clicked, weights / weights[clicked].mean(dtype=np.float64), 1).astype(np.float32)


def _bias(spec: Ranker, examination: Examination, positions: Int32) -> str:
    """The treatment of position bias that the log allows. Raises InputError if the one that is named is impossible."""
    enough, has_positions = examination.clicks.sum() >= FEWEST_CLICKS, bool((positions > 0).any())
    if spec.debias == "propensities" and not enough:
        raise InputError(
            f"debias: propensities needs {FEWEST_CLICKS} clicks in lists flagged as randomised before the test; there "
            f"are {examination.clicks.sum()}. Set debias: auto, or shuffle more lists"
        )
    if spec.debias == "position" and not has_positions:
        raise InputError("debias: position needs results.position; set debias: auto or none")
    if spec.debias != "auto":
        return spec.debias
    return "propensities" if enough and has_positions else "position" if has_positions else "none"


def _newest(sample: SampledSearches, share: float) -> Bool:
    """(S,) True for searches of the newest sessions, about that share of all."""
    session = sample.searches["session_row"]  # sessions are numbered by their first search
    first = np.sort(session)[min(len(session) - 1, int(np.ceil(len(session) * (1 - share))))]
    is_newest: Bool = session >= first
    return is_newest if not is_newest.all() else np.zeros(len(session), bool)


def _held_out(clicks: SearchResults, all_clicks: SearchResults, retrieved: Int32) -> Examples:
    """A group for each held-out click that was retrieved: the list as the test will order it, without the other clicks
    of the search. Pairs are in the order of the list."""
    searches, documents, positions, weights = clicks
    width = np.int64(max(retrieved.max(initial=0), all_clicks.documents.max(initial=0)) + 1)
    lists = retrieved[searches]
    is_click = lists == documents[:, None]
    is_any_click = np.isin(searches[:, None] * width + lists, all_clicks.searches * width + all_clicks.documents)
    is_kept = (lists >= 0) & (is_click | ~is_any_click) & is_click.any(1, keepdims=True)
    sizes = is_kept.sum(1)
    owner, pos = np.nonzero(is_kept)
    return Examples(
        searches[owner], lists[owner, pos], is_click[owner, pos], positions[owner], weights[owner], sizes[sizes > 0]
    )


def _as_retrieved(held_out: Examples) -> float | None:
    """The weighted nDCG@10 of the held-out lists in the order of the arm; None without such lists."""
    if not len(held_out.sizes):
        return None
    first = np.cumsum(held_out.sizes) - held_out.sizes
    rank = 1 + np.flatnonzero(held_out.clicked) - first
    gained = np.where(rank <= NDCG_K, 1 / np.log2(1 + rank), 0)
    return float(np.average(gained, weights=held_out.weights[first]))
