"""Ensembles and cascades: from the vectors of arms to vectors and lists that are treated like those of an arm."""

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
from ebr_core.parallel import use_threads
from ebr_core.rerank.cascade import Cascade, rerank
from ebr_core.search.ensemble_vectors import concat_documents, concat_queries
from ebr_core.search.ensemble_weights import Contest, build_contest, choose, describe_weights
from ebr_core.search.exclusions import first_allowed
from ebr_core.search.nearest import search_cost, search_index
from tasks.artifacts import link, stage
from tasks.built_indexes import load_index
from tasks.eval_sets import read_sample
from tasks.kinds import BuiltIndex, EnsembleWeights, EvalSet, RetrievedList, TrainedTowers, Vectors
from tasks.progress import show_progress
from tasks.retrieved import Retrieved, as_document_rows, count_returned, save_retrieved

BLOCK = 65_536  # documents concatenated at a time


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
    weights: tuple[float, ...] | None,
    threads: int,
    k: int = 10,
) -> None:
    """Write ensemble.json: the weights, their recall, that of equal weights and of each part alone, and the recall
    along each weight. costs.json: the cost of all parts.

    weights: those to take; without them, those with the highest recall@K of validation searches (on clicks) are
    chosen. parts: embed_texts of the validation, one for each of the towers.
    """
    use_threads(threads)
    started = time.perf_counter()
    with show_progress("choose weights", 1):
        problem = _contest(parts, validation, k)
        chosen = choose(problem) if weights is None else describe_weights(problem, weights)
    seconds = time.perf_counter() - started
    summary = {"chosen": weights is None, "k": k, **chosen._asdict()}
    (folder / "ensemble.json").write_text(json.dumps(summary, indent=1))
    part_costs = [json.loads((part.folder / "costs.json").read_text()) for part in towers]
    names = [name for name in dict.fromkeys(chain(*part_costs)) if not name.endswith("_per_s")]  # rates do not add up
    costs = {name: sum(cost.get(name, 0) for cost in part_costs) for name in names}
    (folder / "costs.json").write_text(json.dumps(costs | {"weigh_s": seconds}, indent=1))


def _contest(parts: list[Vectors], validation: EvalSet, k: int) -> Contest:
    """The arrays that the validation recall depends on.

    Raises InputError if the parts are of different corpora, or if no validation search has a clicked document.
    """
    sample = read_sample(validation)
    if "clicked" not in sample.names:
        raise InputError("no validation search has a clicked document to weigh parts by; pin them with weights: [1, …]")
    searches, targets = sample.for_targets("clicked")
    part_documents = [np.load(part.folder / "documents.npy", mmap_mode="r") for part in parts]
    if len({len(vectors) for vectors in part_documents}) > 1:
        raise InputError(
            f"the parts have {', '.join(str(len(vectors)) for vectors in part_documents)} documents: different corpora"
        )
    pos = np.full(int(sample.candidates.max(initial=0)) + 1, -1, np.int32)
    pos[sample.candidates] = np.arange(len(sample.candidates), dtype=np.int32)
    documents = [vectors[sample.candidates] for vectors in part_documents]
    queries = [np.load(part.folder / "queries.npy")[searches["at"]] for part in parts]
    target_pos = Targets(targets.offsets, pos[targets.documents])
    return build_contest(documents, queries, target_pos, k, sample.excluded.take(searches["at"]))


def read_weights(weights: EnsembleWeights) -> dict[str, Any]:
    """The content of ensemble.json: weights, chosen (true or false), recall, equal, alone, lines."""
    summary: dict[str, Any] = json.loads((weights.folder / "ensemble.json").read_text())
    return summary


@stage(Vectors)
def concat_vectors(folder: Path, parts: list[Vectors], weights: EnsembleWeights, joined: Vectors | None = None) -> None:
    """Write documents.npy (N, ΣD) and queries.npy (S, ΣD) of an ensemble, as embed_texts does for an arm. [EBR §6.2]

    joined: vectors of the same ensemble for other searches, whose documents are linked.
    """
    started = time.perf_counter()
    queries = [np.load(part.folder / "queries.npy") for part in parts]
    np.save(folder / "queries.npy", concat_queries(queries, read_weights(weights)["weights"]))
    if joined is not None:
        link(joined.folder / "documents.npy", folder / "documents.npy")
        return
    documents = [np.load(part.folder / "documents.npy", mmap_mode="r") for part in parts]
    shape = len(documents[0]), sum(part.shape[1] for part in documents)
    concatenated: Float32 = np.lib.format.open_memmap(folder / "documents.npy", "w+", np.float32, shape)
    for first in range(0, len(concatenated), BLOCK):
        concatenated[first : first + BLOCK] = concat_documents([part[first : first + BLOCK] for part in documents])
    costs = {"join_s": time.perf_counter() - started}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


@stage(RetrievedList)
def retrieve_cascade(
    folder: Path,
    eval_set: EvalSet,
    cascade: Cascade,
    k: int,
    threads: int,
    first_vectors: Vectors,
    index: BuiltIndex,
    second_vectors: Vectors,
) -> None:
    """Write a list: the documents that the first vectors retrieve through their index, the first `depth` of them
    reordered by the cosine of the second. Documents compared by either count as scanned."""
    use_threads(threads)
    sample = read_sample(eval_set)
    candidates = sample.candidates
    queries, searched = np.load(first_vectors.folder / "queries.npy"), load_index(index.folder)
    documents: Float32 = np.load(second_vectors.folder / "documents.npy", mmap_mode="r")[candidates]
    second_queries = np.load(second_vectors.folder / "queries.npy")
    depth = min(max(cascade.depth, k), len(candidates))
    started = time.perf_counter()
    with show_progress("cascade", 1):
        nearest, _ = search_index(searched, queries, sample.depth(depth))
        retrieved = first_allowed(nearest, sample.excluded, depth)
        rows = rerank(retrieved, documents, second_queries, cascade.depth)[:, :k]
    seconds = time.perf_counter() - started
    reranked = (retrieved[:, : cascade.depth] >= 0).sum(1)
    compared = search_cost(searched, queries, depth)[0] + reranked
    save_retrieved(Retrieved(as_document_rows(rows, candidates), compared, count_returned(rows), seconds), folder)
