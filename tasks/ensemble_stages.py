"""Ensembles and cascades: from the vectors of arms to vectors and lists that are treated as an arm's."""

from __future__ import annotations

import json
import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.measure.metrics import Targets
from ebr_core.rerank.cascade import Cascade, rerank
from ebr_core.search.deduped_index import load
from ebr_core.search.ensemble_vectors import concat_documents, concat_queries
from ebr_core.search.ensemble_weights import Contest, choose, contest, described
from ebr_core.search.nearest import scanned, search_index
from ebr_core.training.train_loop import use_threads
from tasks.artifacts import stage
from tasks.eval_sets import read_sample
from tasks.kinds import BuiltIndex, EnsembleWeights, EvalSet, RetrievedList, TrainedTowers, Vectors
from tasks.progress import showing
from tasks.retrieved import Retrieved, as_document_rows, count_returned, save_retrieved
from tasks.training_stages import VALIDATION_K

BLOCK = 65_536  # documents joined at a time


class EnsembleRun(Frozen):
    """An ensemble with one seed, and its weights."""

    arm: str
    seed: int
    weights: EnsembleWeights


@stage(EnsembleWeights)
def choose_weights(
    folder: Path,
    towers: list[TrainedTowers],
    parts: list[Vectors],
    validation: EvalSet,
    given: tuple[float, ...] | None,
    threads: int,
) -> None:
    """ensemble.json: the weights, given or chosen by recall@10 of validation searches (what was clicked), their recall,
    that of equal weights and of each part alone, and recall along each weight. costs.json: what all parts cost.

    parts: embed_texts of the validation, one for each of the towers.
    """
    use_threads(threads)
    started = time.perf_counter()
    with showing("choose weights", 1):
        of = _contest(parts, validation)
        chosen = choose(of) if given is None else described(of, given)
    seconds = time.perf_counter() - started
    told = {"chosen": given is None, "k": VALIDATION_K, **chosen._asdict()}
    (folder / "ensemble.json").write_text(json.dumps(told, indent=1))
    spent = [json.loads((each.folder / "costs.json").read_text()) for each in towers]
    names = [name for name in dict.fromkeys(chain(*spent)) if not name.endswith("_per_s")]  # rates do not add up
    costs = {name: sum(cost.get(name, 0) for cost in spent) for name in names}
    (folder / "costs.json").write_text(json.dumps(costs | {"weigh_s": seconds}, indent=1))


def _contest(parts: list[Vectors], validation: EvalSet) -> Contest:
    """What the validation recall hangs on. Errors: parts of different corpora, nothing clicked to choose by."""
    sample = read_sample(validation)
    if "clicked" not in sample.names:
        raise InputError("no validation search has a clicked document to weigh parts by; pin them with weights: [1, …]")
    searches, targets = sample.for_targets("clicked")
    every = [np.load(part.folder / "documents.npy", mmap_mode="r") for part in parts]
    if len({len(vectors) for vectors in every}) > 1:
        raise InputError(f"the parts have {', '.join(str(len(one)) for one in every)} documents: different corpora")
    place = np.full(int(sample.candidates.max(initial=0)) + 1, -1, np.int32)
    place[sample.candidates] = np.arange(len(sample.candidates), dtype=np.int32)
    documents = [vectors[sample.candidates] for vectors in every]
    queries = [np.load(part.folder / "queries.npy")[searches["at"]] for part in parts]
    return contest(documents, queries, Targets(targets.offsets, place[targets.documents]), VALIDATION_K)


def read_weights(weights: EnsembleWeights) -> dict[str, Any]:
    """What weigh told: weights, whether they were chosen, recall, equal, alone, lines."""
    told: dict[str, Any] = json.loads((weights.folder / "ensemble.json").read_text())
    return told


def weighted_recall(weights: EnsembleWeights) -> float:
    """The validation recall with the weights, as best_recall is an arm's."""
    return float(read_weights(weights)["recall"])


@stage(Vectors)
def concat_vectors(folder: Path, parts: list[Vectors], weights: EnsembleWeights) -> None:
    """documents.npy (N, ΣD) and queries.npy (S, ΣD) of an ensemble, as embed_texts makes an arm's. [EBR §6.2]"""
    started = time.perf_counter()
    documents = [np.load(part.folder / "documents.npy", mmap_mode="r") for part in parts]
    shape = len(documents[0]), sum(part.shape[1] for part in documents)
    joined: Float32 = np.lib.format.open_memmap(folder / "documents.npy", "w+", np.float32, shape)
    for first in range(0, len(joined), BLOCK):
        joined[first : first + BLOCK] = concat_documents([part[first : first + BLOCK] for part in documents])
    queries = [np.load(part.folder / "queries.npy") for part in parts]
    np.save(folder / "queries.npy", concat_queries(queries, read_weights(weights)["weights"]))
    costs = {"join_s": time.perf_counter() - started}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


@stage(RetrievedList)
def retrieve_cascade(
    folder: Path,
    evaluated: EvalSet,
    its: Cascade,
    k: int,
    threads: int,
    first: Vectors,
    index: BuiltIndex,
    then: Vectors,
) -> None:
    """A list: what the first vectors find through their index, the first `depth` of it in the order of the second's
    cosine. Scanned are the documents compared by either."""
    use_threads(threads)
    candidates = read_sample(evaluated).candidates
    queries, searched = np.load(first.folder / "queries.npy"), load(index.folder)
    documents: Float32 = np.load(then.folder / "documents.npy", mmap_mode="r")[candidates]
    asked = np.load(then.folder / "queries.npy")
    deep = min(max(its.depth, k), len(candidates))
    started = time.perf_counter()
    with showing("cascade", 1):
        found, _ = search_index(searched, queries, deep)
        rows = rerank(found, documents, asked, its.depth)[:, :k]
    seconds = time.perf_counter() - started
    ordered = (found[:, : its.depth] >= 0).sum(1)
    counted = scanned(searched, queries, deep)[0] + ordered
    save_retrieved(Retrieved(as_document_rows(rows, candidates), counted, count_returned(rows), seconds), folder)
