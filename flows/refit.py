"""Refit: train what is served once more, on training and validation together. Validation has chosen before: the arm or
ensemble, its trials, epochs and weights, the setting of its index and its radius."""

from __future__ import annotations

from typing import NamedTuple

from data.experiment.experiment_spec import REFIT, Experiment
from ebr_core.search.index_specs import EXACT
from ebr_core.search.modes import row_of
from flows.arms import ArmRun, TrainedArms, refit_runs
from flows.bundles import parts_of_run, tabulate_documents
from flows.hybrids import Fusions
from flows.served import served_arm
from flows.sources import EvalSets, FeatureSets, Source, extract_named_columns, featurize
from flows.submit import failure_reason, result, settle, submit
from flows.vectors import ArmVectors, Indexes, Radii, served_index
from tasks.bundle_stages import bundle
from tasks.ensemble_stages import concat_vectors
from tasks.fusion_stages import fusion_depth, rank_terms, retrieve_fused
from tasks.kinds import FeatureSet, Log, ModelBundle, RetrievedList, TrainedTowers, TunedBm25, Vectors
from tasks.log_stages import join_validation
from tasks.retrieval_stages import build_index, embed_texts, retrieve, retrieve_baseline


class Refit(NamedTuple):
    """What is served, trained on training and validation together, and what it retrieves for the test."""

    run: ArmRun  # the arm or ensemble, with the seed that is served
    log: Log  # in which the validation is a part of the training
    features: list[FeatureSet]
    towers: dict[ArmRun, TrainedTowers]  # of the arm or of the parts, and of the arms that they need
    lists: dict[tuple[str, str], RetrievedList]  # by row and index: its own and in the mode that is served
    baselines: dict[str, RetrievedList]  # those that learn from clicks, which see the same days
    bundle: ModelBundle

    @property
    def name(self) -> str:
        """The name of its row."""
        return self.run[0] + REFIT


def refit_champion(
    spec: Experiment,
    source: Source,
    arms: TrainedArms,
    vectors: ArmVectors,
    indexes: Indexes,
    radii: Radii,
    fusions: Fusions,
    bundles: dict[str, ModelBundle],
    searches: EvalSets,
    bm25: TunedBm25,
) -> Refit | None:
    """The champion, trained once more; None if the experiment does not ask for it, or if nothing is served.

    Waits for the validation recall of all arms: it decides which of them is trained again.
    """
    served = served_arm(spec, source.log, fusions, bundles) if spec.refit else None
    if served is None:
        return None
    (champion, mode), test, k = served, searches.test, max(spec.evaluation.ks)
    run = champion, spec.seeds[0]
    joined = source._replace(log=submit(join_validation, (), source.log))
    needed = spec.with_sources(spec.parts_of(champion))
    narrowed = spec.model_copy(update={"arms": {name: spec.arms[name] for name in needed}})
    columns = extract_named_columns(narrowed, joined)
    features = featurize(narrowed, joined, columns)
    parts = parts_of_run(spec, run)
    towers = refit_runs(narrowed, joined, features, parts, arms.towers).towers
    refit_vectors = _embed(spec, features, towers, parts, run, vectors, searches)
    threads, label = vectors.threads[run], champion + REFIT
    refit_indexes = {
        name: submit(
            build_index,
            (label, name),
            refit_vectors,
            test,
            spec.all_indexes[name],
            threads,
            setting_of=indexes[run, name],
        )
        for name in dict.fromkeys((EXACT, served_index(spec)))
    }
    lists = {
        (label, name): submit(retrieve, (label, name), refit_vectors, index, test, k, threads)
        for name, index in refit_indexes.items()
    }
    if mode != "ebr":
        terms = submit(rank_terms, ("test",), source.log, test, bm25, fusion_depth(spec.evaluation.ks))
        weights = fusions.weights[run] if mode == "weighted" else None
        for name, index in refit_indexes.items():
            lists[row_of(label, mode), name] = submit(
                retrieve_fused, (label, name, mode), test, terms, refit_vectors, index, k, threads, weights
            )
    baselines = {
        name: submit(retrieve_baseline, (name + REFIT,), joined.log, test, name, k)
        for name in ("popularity", "memory")  # the others learn nothing from clicks
    }
    refit_bundle = submit(
        bundle,
        (label,),
        tabulate_documents(spec, source, test, bm25),
        test,
        [towers[part] for part in parts],
        refit_vectors,
        refit_indexes[served_index(spec)],
        radii[run],
        vectors.weights.get(run),
        [columns[read] for part, _ in parts if (read := spec.arms[part].features) in columns],
        fusions.weights[run],
        fusions.modes[run],
        label,
        run[1],
        spec.evaluation.ks,
        spec.bundle,
    )
    return Refit(run, joined.log, list(features.values()), towers, lists, baselines, refit_bundle)


def _embed(
    spec: Experiment,
    features: FeatureSets,
    towers: dict[ArmRun, TrainedTowers],
    parts: list[ArmRun],
    run: ArmRun,
    vectors: ArmVectors,
    searches: EvalSets,
) -> Vectors:
    """The vectors of an arm; of an ensemble those of its parts together, with the weights that validation chose."""
    part_vectors = [
        submit(
            embed_texts,
            (part[0] + REFIT, part[1]),
            features[spec.arms[part[0]].features],
            towers[part],
            searches.test,
            spec.arms[part[0]].training.threads,
        )
        for part in parts
    ]
    if run not in vectors.weights:
        return part_vectors[0]
    return submit(concat_vectors, (run[0] + REFIT, run[1]), part_vectors, vectors.weights[run])


def settle_refit(refit: Refit | None) -> tuple[Refit | None, dict[str, str]]:
    """(the refit with its artifacts, its failures) once its stages have ended; None without one or if it failed."""
    if refit is None:
        return None, {}
    promises = (*refit.towers.values(), *refit.lists.values(), *refit.baselines.values(), refit.bundle)
    if reason := failure_reason(*promises):
        return None, {refit.name: reason}
    settled = refit._replace(
        log=result(refit.log),
        features=[result(feature_set) for feature_set in refit.features],
        towers=settle(refit.towers)[0],
        lists=settle(refit.lists)[0],
        baselines=settle(refit.baselines)[0],
        bundle=result(refit.bundle),
    )
    return settled, {}
