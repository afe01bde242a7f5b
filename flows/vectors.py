"""From towers to vectors and indexes; an ensemble has vectors of its own, and from there on it is an arm."""

from __future__ import annotations

from typing import NamedTuple

from data.experiment.experiment_spec import Experiment
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.search.index_specs import AnyIndex, is_tuned
from ebr_core.serving.model_bundle import CONTEXT
from ebr_core.training.arm_config import Arm
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, FeatureSets
from flows.submit import submit
from tasks.ensemble_stages import choose_weights, concat_vectors
from tasks.feature_stages import wanted_columns
from tasks.hybrid_stages import calibrate_radius
from tasks.kinds import BuiltIndex, CalibratedRadius, EnsembleWeights, EvalSet, Vectors
from tasks.retrieval_stages import build_index, embed_texts

VectorsByRun = dict[ArmRun, Vectors]
Indexes = dict[tuple[ArmRun, str], BuiltIndex]
Radii = dict[ArmRun, CalibratedRadius]


class Embedded(NamedTuple):
    """The vectors of every document and of the sampled searches of each part, by arm and seed."""

    test: VectorsByRun
    validation: VectorsByRun  # these choose weights, tune indexes and calibrate radii
    ranking: VectorsByRun  # of the arms whose lists rankers order
    weights: dict[ArmRun, EnsembleWeights]  # of the ensembles
    threads: dict[ArmRun, int]


def embed_arms(spec: Experiment, features: FeatureSets, trained: TrainedArms, searches: EvalSets) -> Embedded:
    """The vectors of every arm that was trained."""
    threads = {run: spec.arms[run[0]].training.threads for run in trained.towers}
    ranked = _ranked_arms(spec)

    def embed(part: EvalSet | None, runs: list[ArmRun]) -> VectorsByRun:
        assert part is not None, "a part with vectors has searches"
        return {
            run: submit(embed_texts, run, features[spec.arms[run[0]].features], trained.towers[run], part, threads[run])
            for run in runs
        }

    runs = list(trained.towers)
    test = embed(searches.test, runs)
    validation = embed(searches.validation, runs) if runs else {}
    ranking = embed(searches.ranking, [run for run in runs if run in ranked]) if ranked else {}
    return Embedded(test, validation, ranking, {}, threads)


def _ranked_arms(spec: Experiment) -> set[ArmRun]:
    """The arms and seeds whose vectors rankers read: of what they order, and of the arm that lends an index its
    setting; of ensembles the parts."""
    names = {ranker.of for ranker in spec.rankers.values()}
    names |= {lender for ranker in spec.rankers.values() if (lender := lender_of(spec.all_indexes[ranker.index]))}
    runs = {(name, seed) for name in names for seed in spec.seeds}
    parts = {
        part for name, seed in runs if name in spec.ensembles for part in spec.ensembles[name].runs(seed, spec.seeds)
    }
    return runs | parts


def join_ensembles(spec: Experiment, trained: TrainedArms, vectors: Embedded, searches: EvalSets) -> Embedded:
    """The vectors of arms and ensembles, and the ensembles' weights."""
    joined = Embedded(*(dict(part) for part in vectors))  # type: ignore[arg-type]
    for name, ensemble in spec.ensembles.items():
        for seed in spec.seeds:
            run, parts = (name, seed), ensemble.runs(seed, spec.seeds)
            assert searches.validation is not None, "an ensemble has arms"
            threads = joined.threads[run] = max(vectors.threads[part] for part in parts)
            validation = [vectors.validation[part] for part in parts]
            towers = [trained.towers[part] for part in parts]
            joined.weights[run] = submit(
                choose_weights, run, towers, validation, searches.validation, ensemble.weights, threads
            )
            joined.validation[run] = submit(concat_vectors, run, validation, joined.weights[run])
            test = [vectors.test[part] for part in parts]
            joined.test[run] = submit(concat_vectors, run, test, joined.weights[run])
            if run in _ranked_arms(spec):
                ranking = [vectors.ranking[part] for part in parts]
                joined.ranking[run] = submit(concat_vectors, run, ranking, joined.weights[run])
    return joined


def evaluated_runs(spec: Experiment, vectors: Embedded) -> list[ArmRun]:
    """The arms and ensembles with the experiment's seeds; another seed is a part of an ensemble, no more."""
    return [run for run in vectors.test if run[1] in spec.seeds]


def build_indexes(spec: Experiment, vectors: Embedded, searches: EvalSets) -> Indexes:
    """Every index of every arm over the documents alive in the test."""
    return {
        (run, name): index_vectors(run, name, index, vectors.test, vectors, searches.test)
        for run in evaluated_runs(spec, vectors)
        for name, index in spec.all_indexes.items()
    }


def index_vectors(
    run: ArmRun, name: str, index: AnyIndex, documents: VectorsByRun, vectors: Embedded, searches: EvalSet
) -> BuiltIndex:
    """The index of an arm over the documents of some searches; where it takes over the setting tuned for another arm,
    that one's index is built first."""
    lender = lender_of(index)
    setting = None
    if lender:
        borrowed, own = (lender, run[1]), index.model_copy(update={"parameters_of": None})
        setting = index_vectors(borrowed, name, own, documents, vectors, searches)
    tuning = vectors.validation[run] if is_tuned(index) else None
    return submit(build_index, (*run, name), documents[run], searches, index, vectors.threads[run], tuning, setting)


def lender_of(index: AnyIndex) -> str | None:
    """The arm whose tuned setting an index takes over, None where it takes over none."""
    lender: str | None = getattr(index, "parameters_of", None)
    return lender


def calibrate_radii(spec: Experiment, vectors: Embedded, searches: EvalSets) -> Radii:
    """How far the clicked documents of validation searches lie, for the arms whose retrievals or bundles ask."""
    runs = [(arm, spec.seeds[0]) for arm in (*spec.arms, *spec.ensembles) if is_servable(spec, arm)]
    runs += [
        (retrieval.arm, seed)
        for retrieval in spec.retrievals.values()
        if retrieval.arm is not None and is_calibrated(retrieval)
        for seed in spec.seeds
    ]
    return {
        run: submit(calibrate_radius, run, vectors.validation[run], searches.validation, vectors.threads[run])
        for run in dict.fromkeys(runs)
        if run in vectors.validation and searches.validation is not None
    }


def is_calibrated(retrieval: Retrieval) -> bool:
    """Whether its radius comes from the validation."""
    return retrieval.arm is not None and retrieval.near == "radius" and isinstance(retrieval.radius, str)


def is_servable(spec: Experiment, name: str) -> bool:
    """Whether a query can bring all that the arm, or each part of the ensemble, reads."""
    return all(answers_queries(spec.arms[part]) for part in spec.made_of(name))


def answers_queries(arm: Arm) -> bool:
    """Whether its query tower reads nothing of a search but the text, the searcher, the place and the language, and
    gives it one vector."""
    return set(wanted_columns(arm.features, "searches")) <= set(CONTEXT) and arm.towers.query_vectors == 1


def served_index(spec: Experiment) -> str:
    """The index that answers: the first of the tuned ones, exact search where none is."""
    return next((name for name, index in spec.indexes.items() if is_tuned(index)), "exact")
