"""Everything that retrieves: baselines, oracles, arms through indexes, and lists of other kinds made of arms.

To add a kind of list: its settings in the experiment file, a stage that writes `retrieved.npy`, and a case in
`_combined_list`.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never, get_args

from data.experiment.experiment_spec import BASELINES, ORACLES, Experiment, ListSpec
from data.experiment.log_config import Simulated
from data.world.world_config import Sees
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.training.rated_results import Filter
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, FeatureSets, Source
from flows.submit import submit
from flows.vectors import Embedded, Indexes, Radii, evaluated_runs, index_vectors, is_calibrated
from tasks.audit_stage import rank_targets
from tasks.ensemble_stages import retrieve_cascade
from tasks.feedback_stages import fit_filter, retrieve_filtered
from tasks.hybrid_stages import choose_documents, retrieve_hybrid
from tasks.kinds import EvalSet, ExaminationRates, FittedFilter, RetrievedList, TargetRanks, TrainedRanker
from tasks.ranker_stages import estimate_examination, retrieve_ranked, train_ranker
from tasks.retrieval_stages import retrieve, retrieve_baseline, retrieve_oracle

ListRun = tuple[str, int | None]  # a list and a seed; a retrieval without an arm has none


class Lists(NamedTuple):
    """What was retrieved for the searches of the test."""

    untrained: dict[str, RetrievedList]  # baselines and oracles
    indexed: dict[tuple[ArmRun, str], RetrievedList]  # arms and ensembles, each through every index
    combined: dict[ListRun, RetrievedList]  # retrievals, cascades, rankers, filters
    rankers: dict[ArmRun, TrainedRanker]  # as they were trained
    filters: dict[ArmRun, FittedFilter]  # as they were fitted
    target_ranks: dict[ArmRun, TargetRanks]  # where exact search ranks every target


class _ListInputs(NamedTuple):
    """What lists are made of."""

    spec: Experiment
    source: Source
    features: FeatureSets
    trained: TrainedArms
    vectors: Embedded
    indexes: Indexes
    searches: EvalSets
    radii: Radii
    narrowed: dict[str, EvalSet]  # the searches of retrievals that look at fewer documents
    examination: ExaminationRates | None  # how likely positions are examined; only rankers ask
    k: int


def retrieve_lists(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    trained: TrainedArms,
    vectors: Embedded,
    indexes: Indexes,
    radii: Radii,
    searches: EvalSets,
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
    narrowed = {
        name: submit(choose_documents, (name,), source.log, test, retrieval.documents)
        for name, retrieval in spec.retrievals.items()
        if retrieval.documents
    }
    examination = submit(estimate_examination, (), source.log) if spec.rankers else None
    inputs = _ListInputs(spec, source, features, trained, vectors, indexes, searches, radii, narrowed, examination, k)
    lists = Lists(_untrained(spec, source, test, k), indexed, {}, {}, {}, ranks)
    for name, settings in spec.lists.items():
        for seed in _seeds_of(inputs, settings):
            lists.combined[name, seed] = _combined_list(inputs, lists, name, settings, seed)
    return lists


def _untrained(spec: Experiment, source: Source, test: EvalSet, k: int) -> dict[str, RetrievedList]:
    """The baselines, and the oracles of a simulated world."""
    lists = {name: submit(retrieve_baseline, (name,), source.log, test, name, k) for name in BASELINES}
    if isinstance(spec.logs, Simulated) and source.world is not None:
        for name, sees in zip(ORACLES, get_args(Sees), strict=True):
            lists[name] = submit(retrieve_oracle, (name,), spec.logs.world, source.world, source.log, test, sees, k)
    return lists


def _seeds_of(inputs: _ListInputs, settings: ListSpec) -> list[int | None]:
    """The seeds that all arms of a list have; no seed where it searches no arm."""
    if not settings.searched:
        return [None]
    return [seed for seed in inputs.spec.seeds if all((arm, seed) in inputs.vectors.test for arm in settings.searched)]


def _combined_list(inputs: _ListInputs, lists: Lists, name: str, settings: ListSpec, seed: int | None) -> RetrievedList:
    """The list of that name and seed."""
    match settings:
        case Retrieval():
            return _retrieval(inputs, name, settings, seed)
        case Cascade():
            return _cascade(inputs, name, settings, seed or 0)
        case Ranker():
            return _ranked(inputs, lists, name, settings, seed or 0)
        case Filter():
            return _filtered(inputs, lists, name, settings, seed or 0)
        case _:
            assert_never(settings)


def _retrieval(inputs: _ListInputs, name: str, settings: Retrieval, seed: int | None) -> RetrievedList:
    """Terms, an arm's embedding or both, under conditions."""
    log, test = inputs.source.log, inputs.narrowed.get(name, inputs.searches.test)
    if settings.arm is None or seed is None:
        return submit(retrieve_hybrid, (name,), log, test, settings, inputs.k, 1)
    run, vectors = (settings.arm, seed), inputs.vectors
    index = inputs.indexes[run, settings.index]
    if settings.documents:
        index = index_vectors(run, settings.index, inputs.spec.all_indexes[settings.index], vectors.test, vectors, test)
    radius = inputs.radii[run] if is_calibrated(settings) else None
    threads, embedded = vectors.threads[run], vectors.test[run]
    return submit(retrieve_hybrid, (name, seed), log, test, settings, inputs.k, threads, embedded, index, radius)


def _cascade(inputs: _ListInputs, name: str, settings: Cascade, seed: int) -> RetrievedList:
    """The first documents of an arm in the order of another."""
    first, then = (settings.first, seed), (settings.then, seed)
    vectors, index = inputs.vectors, inputs.indexes[first, settings.index]
    threads = max(vectors.threads[first], vectors.threads[then])
    return submit(
        retrieve_cascade,
        (name, seed),
        inputs.searches.test,
        settings,
        inputs.k,
        threads,
        vectors.test[first],
        index,
        vectors.test[then],
    )


def _ranked(inputs: _ListInputs, lists: Lists, name: str, settings: Ranker, seed: int) -> RetrievedList:
    """An arm's documents in the order of a ranker, which learns from the clicks of the validation's later half."""
    run, vectors, log, ranking = (settings.of, seed), inputs.vectors, inputs.source.log, inputs.searches.ranking
    assert ranking is not None, "an experiment with rankers samples searches for them"
    assert inputs.examination is not None, "rankers read it"
    threads, spec = vectors.threads[run], inputs.spec.all_indexes[settings.index]
    index = index_vectors(run, settings.index, spec, vectors.ranking, vectors, ranking)
    ranker = submit(
        train_ranker,
        (name, seed),
        log,
        ranking,
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
        settings,
        inputs.k,
        threads,
        vectors.test[run],
        inputs.indexes[run, settings.index],
        ranker,
    )


def _filtered(inputs: _ListInputs, lists: Lists, name: str, settings: Filter, seed: int) -> RetrievedList:
    """An arm's documents without those that a model of the ratings takes for bad."""
    run, vectors, log = (settings.arm, seed), inputs.vectors, inputs.source.log
    arm = inputs.spec.arms[settings.arm]
    ratings = [inputs.trained.ratings[rated, seed] for rated in settings.of]
    features, towers = inputs.features[arm.features], inputs.trained.towers[run]
    fitted = submit(fit_filter, (name, seed), log, features, towers, arm, ratings, settings, seed)
    lists.filters[name, seed] = fitted
    embedded, index, threads = vectors.test[run], inputs.indexes[run, settings.index], vectors.threads[run]
    test = inputs.searches.test
    return submit(retrieve_filtered, (name, seed), log, test, embedded, index, fitted, inputs.k, threads)
