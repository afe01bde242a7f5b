"""Retrieve lists: baselines, oracles, arms with each index, and combinations of arms.

To add a kind of list: its settings in the experiment file, a stage that writes `retrieved.npy`, and a case in
`_combined_list`.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never, get_args

from data.experiment.experiment_spec import BASELINES, BM25, ORACLES, Experiment, ListSpec
from data.experiment.log_config import Simulated
from data.world.world_config import Sees
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.training.rated_results import Filter
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, FeatureSets, Source, retrieve_own
from flows.submit import submit
from flows.vectors import ArmVectors, Indexes, Radii, evaluated_runs, index_vectors, is_calibrated
from tasks.audit_stage import rank_targets
from tasks.bm25_stages import retrieve_bm25
from tasks.ensemble_stages import retrieve_cascade
from tasks.feedback_stages import fit_filter, retrieve_filtered
from tasks.hybrid_stages import choose_documents, retrieve_hybrid
from tasks.kinds import (
    EvalSet,
    ExaminationRates,
    FittedFilter,
    RankedList,
    RetrievedList,
    TargetRanks,
    TrainedRanker,
    TunedBm25,
)
from tasks.ranker_stages import estimate_examination, retrieve_ranked, train_ranker
from tasks.retrieval_stages import retrieve, retrieve_baseline, retrieve_oracle

ListRun = tuple[str, int | None]  # a list and a seed; None for a retrieval without an arm


class Lists(NamedTuple):
    """The lists retrieved for the searches of the test."""

    baselines: dict[str, RetrievedList]  # baselines, the user's own lists, oracles
    indexed: dict[tuple[ArmRun, str], RetrievedList]  # arms and ensembles, with each index
    combined: dict[ListRun, RetrievedList]  # retrievals, cascades, rankers, filters
    rankers: dict[ArmRun, TrainedRanker]
    filters: dict[ArmRun, FittedFilter]
    target_ranks: dict[ArmRun, TargetRanks]  # the rank of every target in exact search


class _ListInputs(NamedTuple):
    """The inputs of all lists."""

    spec: Experiment
    source: Source
    features: FeatureSets
    arms: TrainedArms
    vectors: ArmVectors
    indexes: Indexes
    searches: EvalSets
    bm25: TunedBm25
    radii: Radii
    narrowed_tests: dict[str, EvalSet]  # the test of retrievals that search fewer documents
    baselines: dict[str, RetrievedList]  # which retrievals may fuse with others
    examination: ExaminationRates | None  # how likely each position is examined; only rankers read it
    k: int


def retrieve_lists(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    arms: TrainedArms,
    vectors: ArmVectors,
    indexes: Indexes,
    radii: Radii,
    searches: EvalSets,
    bm25: TunedBm25,
    own_lists: dict[str, RankedList],
) -> Lists:
    """Every list of the experiment, as deep as its largest K."""
    k = max(spec.evaluation.ks)
    test, threads = searches.test, vectors.threads
    indexed = {
        (run, name): submit(retrieve, (*run, name), vectors.test[run], index, test, k, threads[run])
        for (run, name), index in indexes.items()
    }
    runs = evaluated_runs(spec, vectors)
    ranks = {run: submit(rank_targets, run, vectors.test[run], test, threads[run]) for run in runs}
    narrowed_tests = {
        name: submit(choose_documents, (name,), source.log, test, retrieval.documents)
        for name, retrieval in spec.retrievals.items()
        if retrieval.documents
    }
    examination = submit(estimate_examination, (), source.log) if spec.rankers else None
    baselines = _baselines(spec, source, bm25, own_lists, test, k)
    inputs = _ListInputs(
        spec, source, features, arms, vectors, indexes, searches, bm25, radii, narrowed_tests, baselines, examination, k
    )
    lists = Lists(baselines, indexed, {}, {}, {}, ranks)
    for name, settings in spec.combined_lists.items():
        for seed in _seeds_of(inputs, settings):
            lists.combined[name, seed] = _combined_list(inputs, lists, name, settings, seed)
    return lists


def _baselines(
    spec: Experiment, source: Source, bm25: TunedBm25, own_lists: dict[str, RankedList], test: EvalSet, k: int
) -> dict[str, RetrievedList]:
    """The baselines, the user's own lists, and the oracles of a simulated world."""
    lists = {BM25: submit(retrieve_bm25, (), source.log, test, bm25, k)}
    for name in BASELINES:
        if name != BM25:
            lists[name] = submit(retrieve_baseline, (name,), source.log, test, name, k)
    lists |= {name: retrieve_own(spec, source, name, ranked, test) for name, ranked in own_lists.items()}
    if isinstance(spec.logs, Simulated) and source.world is not None:
        for name, sees in zip(ORACLES, get_args(Sees), strict=True):
            lists[name] = submit(retrieve_oracle, (name,), spec.logs.world, source.world, source.log, test, sees, k)
    return lists


def _seeds_of(inputs: _ListInputs, settings: ListSpec) -> list[int | None]:
    """The seeds that all arms of a list have; [None] for a list without arms."""
    if not settings.vector_sources:
        return [None]
    return [
        seed for seed in inputs.spec.seeds if all((arm, seed) in inputs.vectors.test for arm in settings.vector_sources)
    ]


def _combined_list(inputs: _ListInputs, lists: Lists, name: str, settings: ListSpec, seed: int | None) -> RetrievedList:
    """The list of that name and seed."""
    if isinstance(settings, Retrieval):
        return _retrieval_list(inputs, name, settings, seed)
    assert seed is not None, "the list searches an arm"
    match settings:
        case Cascade():
            return _cascade_list(inputs, name, settings, seed)
        case Ranker():
            return _ranked_list(inputs, lists, name, settings, seed)
        case Filter():
            return _filtered_list(inputs, lists, name, settings, seed)
        case _:
            assert_never(settings)


def _retrieval_list(inputs: _ListInputs, name: str, settings: Retrieval, seed: int | None) -> RetrievedList:
    """Terms, an arm's embedding, ranked lists or several of them, under conditions."""
    log, test = inputs.source.log, inputs.narrowed_tests.get(name, inputs.searches.test)
    fused = {other: inputs.baselines[other] for other in settings.lists}
    if settings.arm is None or seed is None:
        return submit(retrieve_hybrid, (name,), log, test, inputs.bm25, settings, inputs.k, 1, fused=fused)
    run, vectors = (settings.arm, seed), inputs.vectors
    index = inputs.indexes[run, settings.index]
    if settings.documents:
        index = index_vectors(run, settings.index, inputs.spec.all_indexes[settings.index], vectors.test, vectors, test)
    radius = inputs.radii[run] if is_calibrated(settings) else None
    threads, test_vectors = vectors.threads[run], vectors.test[run]
    return submit(
        retrieve_hybrid,
        (name, seed),
        log,
        test,
        inputs.bm25,
        settings,
        inputs.k,
        threads,
        test_vectors,
        index,
        radius,
        fused,
    )


def _cascade_list(inputs: _ListInputs, name: str, settings: Cascade, seed: int) -> RetrievedList:
    """The top documents of an arm in the order of another."""
    first, second = (settings.first, seed), (settings.then, seed)
    vectors, index = inputs.vectors, inputs.indexes[first, settings.index]
    threads = max(vectors.threads[first], vectors.threads[second])
    return submit(
        retrieve_cascade,
        (name, seed),
        inputs.searches.test,
        settings,
        inputs.k,
        threads,
        vectors.test[first],
        index,
        vectors.test[second],
    )


def _ranked_list(inputs: _ListInputs, lists: Lists, name: str, settings: Ranker, seed: int) -> RetrievedList:
    """An arm's documents in the order of a ranker that is trained on the clicks of the validation's later half."""
    run, vectors, log, ranking = (settings.of, seed), inputs.vectors, inputs.source.log, inputs.searches.ranking
    assert ranking is not None, "an experiment with rankers samples searches for them"
    assert inputs.examination is not None, "rankers read it"
    threads, index_spec = vectors.threads[run], inputs.spec.all_indexes[settings.index]
    index = index_vectors(run, settings.index, index_spec, vectors.ranking, vectors, ranking)
    ranker = submit(
        train_ranker,
        (name, seed),
        log,
        ranking,
        inputs.bm25,
        settings,
        seed,
        threads,
        vectors.ranking[run],
        index,
        inputs.examination,
    )
    lists.rankers[name, seed] = ranker
    return submit(
        retrieve_ranked,
        (name, seed),
        log,
        inputs.searches.test,
        inputs.bm25,
        settings,
        inputs.k,
        threads,
        vectors.test[run],
        inputs.indexes[run, settings.index],
        ranker,
    )


def _filtered_list(inputs: _ListInputs, lists: Lists, name: str, settings: Filter, seed: int) -> RetrievedList:
    """An arm's documents without those that a model of the ratings classifies as bad."""
    run, vectors, log = (settings.arm, seed), inputs.vectors, inputs.source.log
    arm = inputs.spec.arms[settings.arm]
    ratings = [inputs.arms.ratings[rated_arm, seed] for rated_arm in settings.of]
    features, towers = inputs.features[arm.features], inputs.arms.towers[run]
    fitted_filter = submit(fit_filter, (name, seed), log, inputs.bm25, features, towers, arm, ratings, settings, seed)
    lists.filters[name, seed] = fitted_filter
    test_vectors, index, threads = vectors.test[run], inputs.indexes[run, settings.index], vectors.threads[run]
    test, bm25 = inputs.searches.test, inputs.bm25
    return submit(
        retrieve_filtered, (name, seed), log, test, bm25, test_vectors, index, fitted_filter, inputs.k, threads
    )
