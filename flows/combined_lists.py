"""The lists that are made of arms: retrievals, cascades, rankers and filters.

To add a kind of list: its settings in the experiment file, a stage that writes `retrieved.npy`, and a case in
`_combined_list`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

from data.experiment.experiment_spec import Experiment, ListSpec
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.search.index_specs import EXACT
from ebr_core.training.rated_results import Filter
from flows.arms import ArmRun
from flows.rerankers import Rerankers
from flows.sources import Source
from flows.submit import submit
from flows.used_columns import UsedColumns
from flows.vectors import (
    ArmVectors,
    Indexes,
    Radii,
    VectorsByRun,
    index_vectors,
    is_calibrated,
)
from tasks.ensemble_stages import retrieve_cascade
from tasks.feedback_stages import retrieve_filtered
from tasks.hybrid_stages import choose_documents, retrieve_hybrid
from tasks.kinds import BuiltIndex, EvalSet, RetrievedList, TunedBm25
from tasks.ranker_stages import retrieve_ranked

ListRun = tuple[str, int | None]  # a list and a seed; None for a retrieval without an arm


class ListInputs(NamedTuple):
    """The inputs of all lists of a part."""

    spec: Experiment
    source: Source
    split: Literal["test", "validation"]
    searches: EvalSet
    documents: VectorsByRun  # the vectors of each arm, with the searches of the part
    vectors: ArmVectors
    indexes: Indexes  # over the documents of the part; those that are missing are built when a list needs them
    radii: Radii
    rerankers: Rerankers
    bm25: TunedBm25
    baselines: dict[str, RetrievedList]  # which retrievals may fuse with others
    k: int


def combined_lists(inputs: ListInputs) -> dict[ListRun, RetrievedList]:
    """The lists made of arms."""
    return {
        (name, seed): _combined_list(inputs, name, settings, seed)
        for name, settings in inputs.spec.combined_lists.items()
        for seed in _seeds_of(inputs, settings)
    }


def exact_lists(inputs: ListInputs, combined: dict[ListRun, RetrievedList]) -> dict[ArmRun, RetrievedList]:
    """The cascades and rankers of the seed that is served, by exact search: what is served is chosen by these."""
    lists, seed = {}, inputs.spec.seeds[0]
    reordered: dict[str, Cascade | Ranker] = {**inputs.spec.cascades, **inputs.spec.rankers}
    for name, settings in reordered.items():
        by_exact = settings.model_copy(update={"index": EXACT})
        known = combined.get((name, seed)) if settings.index == EXACT else None
        lists[name, seed] = known or _combined_list(inputs, name, by_exact, seed)
    return lists


def part_of(inputs: ListInputs) -> tuple[str, ...]:
    """The end of a stage's label: the part, unless it is the test."""
    return () if inputs.split == "test" else (inputs.split,)


def index_of(inputs: ListInputs, run: ArmRun, name: str) -> BuiltIndex:
    """The index of an arm over the documents of the part, built if it is missing."""
    if (run, name) not in inputs.indexes:
        spec = inputs.spec.all_indexes[name]
        inputs.indexes[run, name] = index_vectors(
            run, name, spec, inputs.documents, inputs.vectors, inputs.searches, or_exact=True
        )
    return inputs.indexes[run, name]


def _seeds_of(inputs: ListInputs, settings: ListSpec) -> list[int | None]:
    """The seeds that all arms of a list have; [None] for a list without arms."""
    if not settings.vector_sources:
        return [None]
    return [
        seed for seed in inputs.spec.seeds if all((arm, seed) in inputs.documents for arm in settings.vector_sources)
    ]


def _combined_list(inputs: ListInputs, name: str, settings: ListSpec, seed: int | None) -> RetrievedList:
    """The list of that name and seed."""
    if isinstance(settings, Retrieval):
        return _retrieval_list(inputs, name, settings, seed)
    assert seed is not None, "the list searches an arm"
    match settings:
        case Cascade():
            return _cascade_list(inputs, name, settings, seed)
        case Ranker():
            return _ranked_list(inputs, name, settings, seed)
        case Filter():
            return _filtered_list(inputs, name, settings, seed)
        case _:
            assert_never(settings)


def _retrieval_list(inputs: ListInputs, name: str, settings: Retrieval, seed: int | None) -> RetrievedList:
    """Terms, an arm's embedding, ranked lists or several of them, under conditions."""
    log, searches, part = inputs.source.log, inputs.searches, part_of(inputs)
    fused = {other: inputs.baselines[other] for other in settings.lists}
    used = inputs.source.own if settings.where else UsedColumns()
    if settings.documents:
        searches = submit(choose_documents, (name, *part), log, searches, settings.documents, inputs.split)
    if settings.arm is None or seed is None:
        return submit(
            retrieve_hybrid,
            (name, *part),
            log,
            searches,
            inputs.bm25,
            settings,
            inputs.k,
            1,
            fused=fused,
            own=used.documents,
            places=used.places,
            own_names=used.own_names["documents"],
        )
    run, spec, vectors = (settings.arm, seed), inputs.spec, inputs.vectors
    if settings.documents:
        index_spec, is_small = spec.all_indexes[settings.index], inputs.split == "validation"
        index = index_vectors(run, settings.index, index_spec, inputs.documents, vectors, searches, is_small)
    else:
        index = index_of(inputs, run, settings.index)
    radius = inputs.radii[run] if is_calibrated(settings) else None
    threads, arm_vectors = vectors.threads[run], inputs.documents[run]
    return submit(
        retrieve_hybrid,
        (name, seed, *part),
        log,
        searches,
        inputs.bm25,
        settings,
        inputs.k,
        threads,
        arm_vectors,
        index,
        radius,
        fused,
        used.documents,
        used.places,
        used.own_names["documents"],
    )


def _cascade_list(inputs: ListInputs, name: str, settings: Cascade, seed: int) -> RetrievedList:
    """The top documents of an arm in the order of another."""
    first, second = (settings.first, seed), (settings.then, seed)
    threads = max(inputs.vectors.threads[first], inputs.vectors.threads[second])
    return submit(
        retrieve_cascade,
        (name, seed, *part_of(inputs)),
        inputs.searches,
        settings,
        inputs.k,
        threads,
        inputs.documents[first],
        index_of(inputs, first, settings.index),
        inputs.documents[second],
    )


def _ranked_list(inputs: ListInputs, name: str, settings: Ranker, seed: int) -> RetrievedList:
    """An arm's documents in the order of a ranker."""
    run = settings.of, seed
    return submit(
        retrieve_ranked,
        (name, seed, *part_of(inputs)),
        inputs.source.log,
        inputs.searches,
        inputs.bm25,
        settings,
        inputs.k,
        inputs.vectors.threads[run],
        inputs.documents[run],
        index_of(inputs, run, settings.index),
        inputs.rerankers.rankers[name, seed],
        inputs.source.own.distances,
    )


def _filtered_list(inputs: ListInputs, name: str, settings: Filter, seed: int) -> RetrievedList:
    """An arm's documents without those that a model of the ratings classifies as bad."""
    run = settings.arm, seed
    return submit(
        retrieve_filtered,
        (name, seed, *part_of(inputs)),
        inputs.source.log,
        inputs.searches,
        inputs.bm25,
        inputs.documents[run],
        index_of(inputs, run, settings.index),
        inputs.rerankers.filters[name, seed],
        inputs.k,
        inputs.vectors.threads[run],
        inputs.source.own.distances,
    )
