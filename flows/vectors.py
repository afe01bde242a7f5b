"""Make vectors and indexes from towers. An ensemble has vectors of its own; from there on it is treated as an arm."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from data.experiment.experiment_spec import Experiment
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.search.index_specs import EXACT, AnyIndex, Exact, Hnsw, Imi, Ivf, Scan, is_tuned
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, FeatureSets
from flows.submit import submit
from tasks.ensemble_stages import choose_weights, concat_vectors
from tasks.hybrid_stages import calibrate_radius
from tasks.kinds import BuiltIndex, CalibratedRadius, EnsembleWeights, EvalSet, Vectors
from tasks.retrieval_stages import build_index, embed_texts

VectorsByRun = dict[ArmRun, Vectors]
Indexes = dict[tuple[ArmRun, str], BuiltIndex]
Radii = dict[ArmRun, CalibratedRadius]


class ArmVectors(NamedTuple):
    """The vectors of every document and of the sampled searches of each part, by arm and seed."""

    test: VectorsByRun
    validation: VectorsByRun  # to choose weights, tune indexes and calibrate radii
    ranking: VectorsByRun  # of the arms whose lists rankers order
    weights: dict[ArmRun, EnsembleWeights]  # of the ensembles
    threads: dict[ArmRun, int]


def embed_arms(spec: Experiment, features: FeatureSets, arms: TrainedArms, searches: EvalSets) -> ArmVectors:
    """The vectors of all trained arms."""
    threads = {run: spec.arms[run[0]].training.threads for run in arms.towers}
    ranked_runs = _ranked_arms(spec)

    def embed(part: EvalSet | None, runs: list[ArmRun], embedded: VectorsByRun | None = None) -> VectorsByRun:
        assert part is not None, "a part with vectors has searches"
        return {
            run: submit(
                embed_texts,
                run,
                features[spec.arms[run[0]].features],
                arms.towers[run],
                part,
                threads[run],
                embedded=embedded[run] if embedded else None,
            )
            for run in runs
        }

    runs = list(arms.towers)
    test = embed(searches.test, runs)
    validation = embed(searches.validation, runs, test) if runs else {}
    ranking = embed(searches.ranking, [run for run in runs if run in ranked_runs], test) if ranked_runs else {}
    return ArmVectors(test, validation, ranking, {}, threads)


def _ranked_arms(spec: Experiment) -> set[ArmRun]:
    """The arms and seeds whose vectors rankers read: the arms that they order, the arms that lend an index its setting,
    and the parts of such ensembles."""
    names = {ranker.of for ranker in spec.rankers.values()}
    names |= {lender for ranker in spec.rankers.values() if (lender := lender_of(spec.all_indexes[ranker.index]))}
    runs = {(name, seed) for name in names for seed in spec.seeds}
    parts = {
        part for name, seed in runs if name in spec.ensembles for part in spec.ensembles[name].runs(seed, spec.seeds)
    }
    return runs | parts


def join_ensembles(spec: Experiment, arms: TrainedArms, vectors: ArmVectors, searches: EvalSets) -> ArmVectors:
    """The vectors of arms and ensembles, and the ensembles' weights."""
    joined = ArmVectors(
        dict(vectors.test),
        dict(vectors.validation),
        dict(vectors.ranking),
        dict(vectors.weights),
        dict(vectors.threads),
    )
    for name, ensemble in spec.ensembles.items():
        for seed in spec.seeds:
            run, parts = (name, seed), ensemble.runs(seed, spec.seeds)
            assert searches.validation is not None, "an ensemble has arms"
            threads = joined.threads[run] = max(vectors.threads[part] for part in parts)
            validation = [vectors.validation[part] for part in parts]
            towers = [arms.towers[part] for part in parts]
            main_k, weights = spec.evaluation.main_k, ensemble.weights
            joined.weights[run] = submit(
                choose_weights, run, towers, validation, searches.validation, weights, threads, main_k
            )
            test = [vectors.test[part] for part in parts]
            joined.test[run] = submit(concat_vectors, run, test, joined.weights[run])
            joined.validation[run] = submit(concat_vectors, run, validation, joined.weights[run], joined.test[run])
            if run in _ranked_arms(spec):
                ranking = [vectors.ranking[part] for part in parts]
                joined.ranking[run] = submit(concat_vectors, run, ranking, joined.weights[run], joined.test[run])
    return joined


def evaluated_runs(spec: Experiment, vectors: ArmVectors) -> list[ArmRun]:
    """The arms and ensembles with the experiment's seeds; runs with other seeds are only parts of ensembles."""
    return [run for run in vectors.test if run[1] in spec.seeds]


def build_indexes(spec: Experiment, vectors: ArmVectors, searches: EvalSets) -> Indexes:
    """Every index of every arm over the documents alive in the test."""
    return {
        (run, name): index_vectors(run, name, index, vectors.test, vectors, searches.test)
        for run in evaluated_runs(spec, vectors)
        for name, index in spec.all_indexes.items()
    }


def index_vectors(
    run: ArmRun,
    name: str,
    index: AnyIndex,
    documents: VectorsByRun,
    vectors: ArmVectors,
    searches: EvalSet,
    or_exact: bool = False,
) -> BuiltIndex:
    """The index of an arm over the documents of these searches. If it reuses the setting tuned for another arm, the
    index of that arm is built first. or_exact: exact search, if there are too few documents for it."""
    lender = lender_of(index)
    setting = None
    if lender:
        lender_run, lender_index = (lender, run[1]), index.model_copy(update={"parameters_of": None})
        setting = index_vectors(lender_run, name, lender_index, documents, vectors, searches, or_exact)
    tuning = vectors.validation[run] if is_tuned(index) else None
    threads = vectors.threads[run]
    return submit(build_index, (*run, name), documents[run], searches, index, threads, tuning, setting, or_exact)


def lender_of(index: AnyIndex) -> str | None:
    """The arm that lends an index its tuned setting; None if none does."""
    match index:
        case Ivf() | Imi() | Hnsw():
            return index.parameters_of
        case Exact() | Scan():
            return None
        case _:
            assert_never(index)


def calibrate_radii(spec: Experiment, vectors: ArmVectors, searches: EvalSets) -> Radii:
    """The radius of each arm whose retrievals or bundle need one, calibrated on validation searches and clicks."""
    runs = [(arm, spec.seeds[0]) for arm in (*spec.arms, *spec.ensembles)]
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
    """True if the radius of the retrieval is calibrated on the validation."""
    return retrieval.arm is not None and retrieval.near == "radius" and isinstance(retrieval.radius, str)


def served_index(spec: Experiment) -> str:
    """The index that bundles use: the first tuned one, or exact search if none is tuned."""
    return next((name for name, index in spec.indexes.items() if is_tuned(index)), EXACT)
