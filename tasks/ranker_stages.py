"""Rankers: trained on clicks of the validation's later half; what an arm retrieves in the order that they learnt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from data import extracted_log
from ebr_core.arrays import Bool, Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.rerank.examination import FEWEST_CLICKS, Examination, estimate, inverse_propensities
from ebr_core.rerank.ranker_features import (
    Examples,
    Placed,
    Ranker,
    both,
    by_click,
    first_of,
    group_of,
    those,
    unshown,
)
from ebr_core.rerank.trees import MEASURED_AT, grow
from ebr_core.search.deduped_index import DedupedIndex, load
from ebr_core.search.nearest import scanned, search_index
from ebr_core.training.train_loop import use_threads
from tasks.artifacts import stage
from tasks.eval_sets import SampledSearches, read_sample
from tasks.kinds import BuiltIndex, EvalSet, ExaminationRates, Log, RetrievedList, TrainedRanker, Vectors
from tasks.progress import showing
from tasks.ranker_inputs import RankerLists, matrix, read_lists
from tasks.retrieved import Retrieved, as_document_rows, count_returned, save_retrieved

CELLS = 2**25  # numbers of features at a time
BIAS = {
    "propensities": "clicks are weighted by inverse propensities from shuffled lists",
    "position": "the position is a feature, held at 1 when scoring: some position bias remains",
    "none": "nothing is done about position bias: it remains",
}


class RankerTrained(Frozen):
    """A ranker with one seed."""

    arm: str
    seed: int
    ranker: TrainedRanker


@stage(ExaminationRates)
def estimate_examination(folder: Path, log: Log) -> None:
    """examination.json: how likely each position is examined, from the lists shuffled before the test."""
    counts = extracted_log.read_shuffled(log.folder)
    found = estimate(counts)
    told = {name: [float(value) for value in column] for name, column in found._asdict().items()}
    lists = int(counts.shown[counts.positions == 1].sum())
    (folder / "examination.json").write_text(json.dumps(told | {"lists": lists}, indent=1))


def read_examination(examination: ExaminationRates) -> Examination:
    """What estimate_examination found."""
    told = json.loads((examination.folder / "examination.json").read_text())
    return Examination(np.array(told["rates"]), np.array(told["errors"]), np.array(told["clicks"], np.int64))


def refuse_deep(evaluated: EvalSet, rankers: Mapping[str, Ranker]) -> None:
    """Tells before any training of rankers that would order more than there is."""
    alive = len(read_sample(evaluated).candidates)
    for name, its in rankers.items():
        if its.depth > alive:
            raise InputError(
                f"rankers.{name}.depth: got {its.depth}, but {alive} documents are alive in the test period: lower it "
                f"to {alive} or less"
            )


@stage(TrainedRanker)
def train_ranker(
    folder: Path,
    log: Log,
    ranking: EvalSet,
    its: Ranker,
    seed: int,
    threads: int,
    vectors: Vectors,
    index: BuiltIndex,
    examination: ExaminationRates,
) -> None:
    """ranker.txt: trees in LightGBM's own text; ranker.json: what they read, what it gained, how bias was treated.

    ranking: the sample of the validation's later half; vectors and index: of the arm, over its documents. The
    newest searches of that half decide how many trees are kept.
    """
    use_threads(threads)
    lists, started = read_lists(log, ranking, vectors), time.perf_counter()
    examined = read_examination(examination)
    with showing("train ranker", 1):
        found = _retrieve(lists, load(index.folder), its.depth)
        learnt, held, bias = _examples(log, lists, found, its, seed, examined)
        names, rows = matrix(lists, its.embedding, bias, learnt.searches, learnt.documents, learnt.positions)
        _, held_rows = matrix(lists, its.embedding, bias, held.searches, held.documents, np.ones_like(held.positions))
        trees = grow(rows, learnt, held_rows, held, names, its, seed, threads)
    (folder / "ranker.txt").write_text(trees.text)
    gains: dict[str, float] = {}
    for name, gain in zip(names, trees.gains, strict=True):
        gains[group_of(name)] = gains.get(group_of(name), 0.0) + float(gain)
    told = {
        "features": names, "missing": lists.missing, "bias": bias, "clicks": len(learnt.sizes),
        "pairs": len(learnt.searches), "held_out_clicks": len(held.sizes), "trees": trees.trees,
        "held_out": trees.held_out, "held_out_retrieved": _as_retrieved(held), "gains": gains,
        "examined": examined.rates.tolist(), "shuffled_clicks": int(examined.clicks.sum()),
    }  # fmt: skip
    (folder / "ranker.json").write_text(json.dumps(told, indent=1))
    costs = {"train_s": time.perf_counter() - started, "pairs": len(learnt.searches)}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


def trained_of(ranker: TrainedRanker) -> dict[str, Any]:
    """What train_ranker told: features, missing, bias, clicks, trees, held_out …, gains."""
    told: dict[str, Any] = json.loads((ranker.folder / "ranker.json").read_text())
    return told


@stage(RetrievedList)
def retrieve_ranked(
    folder: Path,
    log: Log,
    evaluated: EvalSet,
    its: Ranker,
    k: int,
    threads: int,
    vectors: Vectors,
    index: BuiltIndex,
    ranker: TrainedRanker,
) -> None:
    """A list: what the vectors find through their index, the first `depth` of it as the ranker orders. Scanned are the
    documents compared or scored."""
    use_threads(threads)
    lists, told, searched = read_lists(log, evaluated, vectors), trained_of(ranker), load(index.folder)
    booster = lightgbm.Booster(model_str=(ranker.folder / "ranker.txt").read_text())
    started = time.perf_counter()
    with showing("rank", 1):
        found = _retrieve(lists, searched, max(its.depth, k))
        head = found[:, : its.depth]
        for first, part in _blocks(head, len(told["features"])):
            at, place = np.nonzero(part >= 0)
            ones = np.ones(len(at), np.int32)
            names, rows = matrix(
                lists, its.embedding, told["bias"], (first + at).astype(np.int32), part[at, place], ones
            )
            assert names == told["features"], "a ranker reads what it was trained on"
            scores = np.full(part.shape, -np.inf, np.float32)
            scores[at, place] = booster.predict(rows, num_threads=threads)
            found[first : first + len(part), : its.depth] = first_of(scores, part)
    seconds = time.perf_counter() - started
    counted = scanned(searched, lists.queries, found.shape[1])[0] + (head >= 0).sum(1)
    save_retrieved(Retrieved(found[:, :k], counted, count_returned(found[:, :k]), seconds), folder)


def _blocks(lists: Int32, features: int) -> Iterator[tuple[int, Int32]]:
    """(first, some of the lists), so many that their features fit into CELLS."""
    step = max(1, CELLS // max(1, lists.shape[1] * features))
    for first in range(0, len(lists), step):
        yield first, lists[first : first + step].copy()


def _retrieve(lists: RankerLists, searched: DedupedIndex, depth: int) -> Int32:
    """(S, depth) document rows, or as many as there are."""
    candidates = lists.sample.candidates
    rows, _ = search_index(searched, lists.queries, min(depth, len(candidates)))
    return as_document_rows(rows, candidates)


def _examples(
    log: Log, lists: RankerLists, found: Int32, its: Ranker, seed: int, examined: Examination
) -> tuple[Examples, Examples, str]:
    """(what is learnt from, what is held out, how bias is treated)."""
    shown, clicked = _shown(log, lists)
    bias, n = _bias(its, examined, shown.positions), len(lists.asked)
    if bias == "propensities":
        weights = inverse_propensities(shown.positions.astype(np.int64), examined, its.clip)
        shown = shown._replace(weights=weights.astype(np.float32))
    clicks, refused = those(shown, clicked), those(shown, ~clicked)
    fresh = _newest(lists.sample, its.held_out)
    at, documents = unshown(found, shown.searches, shown.documents, its.unshown, np.random.default_rng(seed))
    ones = np.ones(len(at))  # as if they had been examined and refused
    extra = Placed(at, documents, ones.astype(np.int32), ones.astype(np.float32))
    learnt = by_click(those(clicks, ~fresh[clicks.searches]), both(refused, extra), n)
    if not len(learnt.sizes):
        raise InputError("no click of the later half of the validation stands beside anything that was not clicked")
    return learnt, _held_out(those(clicks, fresh[clicks.searches]), clicks, found), bias


def _shown(log: Log, lists: RankerLists) -> tuple[Placed, Bool]:
    """(what the sampled searches showed of the documents alive, whether it was clicked). Errors: nothing was."""
    searches = lists.sample.searches["search_row"]
    table = extracted_log.read(log.folder, "lists", {"split": "ranking"}, halved=True)
    rows, documents = extracted_log.rows(table, "search_row"), extracted_log.rows(table, "document_row")
    kept = np.isin(rows, searches) & (lists.place[documents] >= 0)
    clicked: Bool = table["clicked"].to_numpy()[kept]
    if not clicked.any():
        raise InputError(
            "no result was clicked in the later half of the validation period, so a ranker has nothing to learn from; "
            "take rankers out, or make split.validation larger"
        )
    at = np.searchsorted(searches, rows[kept]).astype(np.int32)
    positions = extracted_log.rows(table, "position")[kept]
    return Placed(at, documents[kept], positions, np.ones(len(at), np.float32)), clicked


def _bias(its: Ranker, examined: Examination, positions: Int32) -> str:
    """What is done about position bias, as far as the log allows. Errors: it was asked for by name and cannot be."""
    enough, known = examined.clicks.sum() >= FEWEST_CLICKS, bool((positions > 0).any())
    if its.debias == "propensities" and not enough:
        raise InputError(
            f"debias: propensities needs {FEWEST_CLICKS} clicks in lists flagged as randomised before the test; there "
            f"are {examined.clicks.sum()}. Say debias: auto, or shuffle more lists"
        )
    if its.debias == "position" and not known:
        raise InputError("debias: position needs results.position; say debias: auto or none")
    if its.debias != "auto":
        return its.debias
    return "propensities" if enough and known else "position" if known else "none"


def _newest(sample: SampledSearches, share: float) -> Bool:
    """(S,) the searches of the newest sessions that have about that share of them."""
    session = sample.searches["session_row"]  # sessions are numbered by their first search
    first = np.sort(session)[min(len(session) - 1, int(np.ceil(len(session) * (1 - share))))]
    fresh: Bool = session >= first
    return fresh if not fresh.all() else np.zeros(len(session), bool)


def _held_out(clicks: Placed, every: Placed, found: Int32) -> Examples:
    """A group for each held-out click that was retrieved: the list as the test will order it, without the search's
    other clicks. Pairs stand as they were retrieved."""
    searches, documents, positions, weights = clicks
    width = np.int64(max(found.max(initial=0), every.documents.max(initial=0)) + 1)
    part = found[searches]
    hit = part == documents[:, None]
    clicked = np.isin(searches[:, None] * width + part, every.searches * width + every.documents)
    kept = (part >= 0) & (hit | ~clicked) & hit.any(1, keepdims=True)
    sizes = kept.sum(1)
    owner, place = np.nonzero(kept)
    return Examples(
        searches[owner], part[owner, place], hit[owner, place], positions[owner], weights[owner], sizes[sizes > 0]
    )


def _as_retrieved(held: Examples) -> float | None:
    """The weighted nDCG@10 of the held-out lists as the arm retrieved them; None where there is none."""
    if not len(held.sizes):
        return None
    first = np.cumsum(held.sizes) - held.sizes
    rank = 1 + np.flatnonzero(held.clicked) - first
    gained = np.where(rank <= MEASURED_AT, 1 / np.log2(1 + rank), 0)
    return float(np.average(gained, weights=held.weights[first]))
