"""Train what reorders or shortens lists: rankers on clicks, filters on ratings. Both lists of the validation and of the
test read them."""

from __future__ import annotations

from typing import NamedTuple

from data.experiment.experiment_spec import Experiment
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.training.rated_results import Filter
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, FeatureSets, Source
from flows.submit import submit
from flows.vectors import ArmVectors, index_vectors
from tasks.feedback_stages import fit_filter
from tasks.kinds import ExaminationRates, FittedFilter, TrainedRanker, TunedBm25
from tasks.ranker_stages import estimate_examination, train_ranker


class Rerankers(NamedTuple):
    """The trained models of rankers and filters, by name and seed."""

    rankers: dict[ArmRun, TrainedRanker]
    filters: dict[ArmRun, FittedFilter]


def train_rerankers(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    arms: TrainedArms,
    vectors: ArmVectors,
    searches: EvalSets,
    bm25: TunedBm25,
) -> Rerankers:
    """The ranker or filter of every seed that its arm has."""
    rerankers = Rerankers({}, {})
    examination = submit(estimate_examination, (), source.log) if spec.rankers else None
    for name, ranker in spec.rankers.items():
        for seed in (seed for seed in spec.seeds if (ranker.of, seed) in vectors.test):
            assert examination is not None, "rankers read it"
            rerankers.rankers[name, seed] = _train_ranker(
                spec, source, vectors, searches, (name, seed), ranker, examination, bm25
            )
    for name, settings in spec.filters.items():
        for seed in (seed for seed in spec.seeds if (settings.arm, seed) in vectors.test):
            rerankers.filters[name, seed] = _fit_filter(spec, source, features, arms, (name, seed), settings, bm25)
    return rerankers


def _train_ranker(
    spec: Experiment,
    source: Source,
    vectors: ArmVectors,
    searches: EvalSets,
    run: ArmRun,
    settings: Ranker,
    examination: ExaminationRates,
    bm25: TunedBm25,
) -> TrainedRanker:
    """A ranker, trained on the clicks of the validation's later half."""
    arm, ranking = (settings.of, run[1]), searches.ranking
    assert ranking is not None, "an experiment with rankers samples searches for them"
    index = index_vectors(arm, settings.index, spec.all_indexes[settings.index], vectors.ranking, vectors, ranking)
    threads, arm_vectors = vectors.threads[arm], vectors.ranking[arm]
    return submit(
        train_ranker,
        run,
        source.log,
        ranking,
        bm25,
        settings,
        run[1],
        threads,
        arm_vectors,
        index,
        examination,
        source.own.distances,
    )


def _fit_filter(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    arms: TrainedArms,
    run: ArmRun,
    settings: Filter,
    bm25: TunedBm25,
) -> FittedFilter:
    """A model of the ratings that classifies results as bad."""
    arm, seed = spec.arms[settings.arm], run[1]
    ratings = [arms.ratings[rated_arm, seed] for rated_arm in settings.of]
    towers = arms.towers[settings.arm, seed]
    inputs = source.log, bm25, features[arm.features], towers, arm, ratings, settings, seed
    return submit(fit_filter, run, *inputs, source.own.distances)
