"""Retrieve lists: baselines, oracles, arms with each index, and combinations of arms, for the searches of a part.

To add a kind of list: its settings in the experiment file, a stage that writes `retrieved.npy`, and a case in
`_combined_list`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never, get_args

from data.experiment.experiment_spec import BASELINES, BM25, ORACLES, Experiment, ListSpec
from data.experiment.log_config import Simulated
from data.world.world_config import Sees
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.search.index_specs import EXACT
from ebr_core.training.rated_results import Filter
from flows.arms import ArmRun
from flows.rerankers import Rerankers
from flows.sources import EvalSets, Source, retrieve_own
from flows.submit import submit
from flows.vectors import (
    ArmVectors,
    Indexes,
    Radii,
    VectorsByRun,
    evaluated_runs,
    index_vectors,
    is_calibrated,
)
from tasks.audit_stage import rank_targets
from tasks.bm25_stages import retrieve_bm25
from tasks.ensemble_stages import retrieve_cascade
from tasks.feedback_stages import retrieve_filtered
from tasks.hybrid_stages import choose_documents, retrieve_hybrid
from tasks.kinds import BuiltIndex, EvalSet, RankedList, RetrievedList, TargetRanks, TunedBm25
from tasks.ranker_stages import retrieve_ranked
from tasks.retrieval_stages import retrieve, retrieve_baseline, retrieve_oracle

ListRun = tuple[str, int | None]  # a list and a seed; None for a retrieval without an arm


class Lists(NamedTuple):
    """The lists retrieved for the searches of one part."""

    baselines: dict[str, RetrievedList]  # baselines, the user's own lists and, for the test, oracles
    indexed: dict[tuple[ArmRun, str], RetrievedList]  # arms and ensembles; for the test with each index
    combined: dict[ListRun, RetrievedList]  # retrievals, cascades, rankers, filters
    indexes: Indexes  # over the documents of the part
    exact: dict[ArmRun, RetrievedList]  # cascades and rankers by exact search, of the seed that is served


class _ListInputs(NamedTuple):
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


def retrieve_test(
    spec: Experiment,
    source: Source,
    vectors: ArmVectors,
    indexes: Indexes,
    radii: Radii,
    rerankers: Rerankers,
    searches: EvalSets,
    bm25: TunedBm25,
    own_lists: dict[str, RankedList],
) -> Lists:
    """Every list of the experiment for the searches of the test, as deep as the largest K."""
    k = max(spec.evaluation.ks)
    baselines = _baselines(spec, source, bm25, own_lists, searches.test, k, ())
    baselines |= _oracles(spec, source, searches.test, k)
    inputs = _ListInputs(
        *(spec, source, "test", searches.test, vectors.test, vectors, indexes, radii, rerankers, bm25, baselines), k
    )
    return Lists(baselines, _indexed(inputs, list(indexes)), _combined(inputs), indexes, {})


def retrieve_validation(
    spec: Experiment,
    source: Source,
    vectors: ArmVectors,
    radii: Radii,
    rerankers: Rerankers,
    searches: EvalSets,
    bm25: TunedBm25,
    own_lists: dict[str, RankedList],
) -> Lists:
    """Every list for the searches of the validation, as deep as the largest K: arms by exact search alone, because an
    index costs more to build than it tells; combined lists with their own index. Empty without a
    validation."""
    validation, k = searches.validation, max(spec.evaluation.ks)
    if validation is None:
        return Lists({}, {}, {}, {}, {})
    baselines = _baselines(spec, source, bm25, own_lists, validation, k, ("validation",))
    inputs = _ListInputs(
        *(spec, source, "validation", validation, vectors.validation, vectors, {}, radii, rerankers, bm25, baselines),
        k,
    )
    runs = [(run, EXACT) for run in evaluated_runs(spec, vectors)]
    indexed, combined = _indexed(inputs, runs), _combined(inputs)
    return Lists(baselines, indexed, combined, inputs.indexes, _exact(inputs, combined))


def rank_all_targets(spec: Experiment, vectors: ArmVectors, searches: EvalSets) -> dict[ArmRun, TargetRanks]:
    """The rank of every target of the test in exact search, of each arm and ensemble."""
    return {
        run: submit(rank_targets, run, vectors.test[run], searches.test, vectors.threads[run])
        for run in evaluated_runs(spec, vectors)
    }


def _baselines(
    spec: Experiment,
    source: Source,
    bm25: TunedBm25,
    own_lists: dict[str, RankedList],
    searches: EvalSet,
    k: int,
    part: tuple[str, ...],
) -> dict[str, RetrievedList]:
    """The baselines and the user's own lists. part: the end of the stages' labels."""
    lists = {BM25: submit(retrieve_bm25, part, source.log, searches, bm25, k)}
    for name in BASELINES:
        if name != BM25:
            lists[name] = submit(retrieve_baseline, (name, *part), source.log, searches, name, k)
    return lists | {name: retrieve_own(spec, source, name, ranked, searches) for name, ranked in own_lists.items()}


def _oracles(spec: Experiment, source: Source, test: EvalSet, k: int) -> dict[str, RetrievedList]:
    """The oracles of a simulated world."""
    lists = {}
    if isinstance(spec.logs, Simulated) and source.world is not None:
        for name, sees in zip(ORACLES, get_args(Sees), strict=True):
            lists[name] = submit(retrieve_oracle, (name,), spec.logs.world, source.world, source.log, test, sees, k)
    return lists


def _indexed(inputs: _ListInputs, runs: list[tuple[ArmRun, str]]) -> dict[tuple[ArmRun, str], RetrievedList]:
    """Arms and ensembles, each through an index."""
    return {
        (run, name): submit(
            retrieve,
            (*run, name, *_part(inputs)),
            inputs.documents[run],
            _index_of(inputs, run, name),
            inputs.searches,
            inputs.k,
            inputs.vectors.threads[run],
        )
        for run, name in runs
    }


def _combined(inputs: _ListInputs) -> dict[ListRun, RetrievedList]:
    """The lists made of arms."""
    return {
        (name, seed): _combined_list(inputs, name, settings, seed)
        for name, settings in inputs.spec.combined_lists.items()
        for seed in _seeds_of(inputs, settings)
    }


def _exact(inputs: _ListInputs, combined: dict[ListRun, RetrievedList]) -> dict[ArmRun, RetrievedList]:
    """The cascades and rankers of the seed that is served, by exact search: what is served is chosen by these."""
    lists, seed = {}, inputs.spec.seeds[0]
    reordered: dict[str, Cascade | Ranker] = {**inputs.spec.cascades, **inputs.spec.rankers}
    for name, settings in reordered.items():
        by_exact = settings.model_copy(update={"index": EXACT})
        is_exact = settings.index == EXACT
        lists[name, seed] = combined[name, seed] if is_exact else _combined_list(inputs, name, by_exact, seed)
    return lists


def _part(inputs: _ListInputs) -> tuple[str, ...]:
    """The end of a stage's label: the part, unless it is the test."""
    return () if inputs.split == "test" else (inputs.split,)


def _index_of(inputs: _ListInputs, run: ArmRun, name: str) -> BuiltIndex:
    """The index of an arm over the documents of the part, built if it is missing."""
    if (run, name) not in inputs.indexes:
        spec = inputs.spec.all_indexes[name]
        inputs.indexes[run, name] = index_vectors(
            run, name, spec, inputs.documents, inputs.vectors, inputs.searches, or_exact=True
        )
    return inputs.indexes[run, name]


def _seeds_of(inputs: _ListInputs, settings: ListSpec) -> list[int | None]:
    """The seeds that all arms of a list have; [None] for a list without arms."""
    if not settings.vector_sources:
        return [None]
    return [
        seed for seed in inputs.spec.seeds if all((arm, seed) in inputs.documents for arm in settings.vector_sources)
    ]


def _combined_list(inputs: _ListInputs, name: str, settings: ListSpec, seed: int | None) -> RetrievedList:
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


def _retrieval_list(inputs: _ListInputs, name: str, settings: Retrieval, seed: int | None) -> RetrievedList:
    """Terms, an arm's embedding, ranked lists or several of them, under conditions."""
    log, searches, part = inputs.source.log, inputs.searches, _part(inputs)
    fused = {other: inputs.baselines[other] for other in settings.lists}
    if settings.documents:
        searches = submit(choose_documents, (name, *part), log, searches, settings.documents, inputs.split)
    if settings.arm is None or seed is None:
        return submit(retrieve_hybrid, (name, *part), log, searches, inputs.bm25, settings, inputs.k, 1, fused=fused)
    run, spec, vectors = (settings.arm, seed), inputs.spec, inputs.vectors
    if settings.documents:
        index_spec, is_small = spec.all_indexes[settings.index], inputs.split == "validation"
        index = index_vectors(run, settings.index, index_spec, inputs.documents, vectors, searches, is_small)
    else:
        index = _index_of(inputs, run, settings.index)
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
    )


def _cascade_list(inputs: _ListInputs, name: str, settings: Cascade, seed: int) -> RetrievedList:
    """The top documents of an arm in the order of another."""
    first, second = (settings.first, seed), (settings.then, seed)
    threads = max(inputs.vectors.threads[first], inputs.vectors.threads[second])
    return submit(
        retrieve_cascade,
        (name, seed, *_part(inputs)),
        inputs.searches,
        settings,
        inputs.k,
        threads,
        inputs.documents[first],
        _index_of(inputs, first, settings.index),
        inputs.documents[second],
    )


def _ranked_list(inputs: _ListInputs, name: str, settings: Ranker, seed: int) -> RetrievedList:
    """An arm's documents in the order of a ranker."""
    run = settings.of, seed
    return submit(
        retrieve_ranked,
        (name, seed, *_part(inputs)),
        inputs.source.log,
        inputs.searches,
        inputs.bm25,
        settings,
        inputs.k,
        inputs.vectors.threads[run],
        inputs.documents[run],
        _index_of(inputs, run, settings.index),
        inputs.rerankers.rankers[name, seed],
    )


def _filtered_list(inputs: _ListInputs, name: str, settings: Filter, seed: int) -> RetrievedList:
    """An arm's documents without those that a model of the ratings classifies as bad."""
    run = settings.arm, seed
    return submit(
        retrieve_filtered,
        (name, seed, *_part(inputs)),
        inputs.source.log,
        inputs.searches,
        inputs.bm25,
        inputs.documents[run],
        _index_of(inputs, run, settings.index),
        inputs.rerankers.filters[name, seed],
        inputs.k,
        inputs.vectors.threads[run],
    )
