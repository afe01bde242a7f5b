"""The model that answers after a promotion. As in a run, what wins on the validation is served: the challenger alone,
with BM25, or reordered by a cascade or a ranker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from data.experiment.experiment_spec import Experiment
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.index_specs import EXACT, AnyIndex
from flows.arms import ArmRun, TrainedArms, train_run
from flows.bundles import build_bundles
from flows.challenger import Challenger, NightPlan
from flows.combined_lists import ListInputs
from flows.hybrids import fuse_validation
from flows.lists import Lists, indexed_lists, retrieve_exact
from flows.rerankers import Rerankers, train_rerankers
from flows.served import bundle_reranked, measure_reranked
from flows.sources import EvalSets, FeatureSets, Source, extract_named_columns, featurize, tune_terms
from flows.submit import settle
from flows.vectors import (
    ArmVectors,
    Indexes,
    Radii,
    calibrate_radii,
    embed_arms,
    index_vectors,
    lender_of,
    served_index,
)
from tasks.champion_choice import champion_of
from tasks.kinds import ModelBundle, ServedMode, TunedBm25
from tasks.reranked_bundles import refusal_of


class NightBundle(NamedTuple):
    """The model that answers."""

    bundle: ModelBundle
    unrenewed: dict[str, str]  # the cascades and rankers that could not be renewed, and why


class _Model(NamedTuple):
    """The challenger, what reorders its lists, and the inputs of both."""

    spec: Experiment  # restricted to them
    source: Source
    searches: EvalSets
    bm25: TunedBm25
    arms: TrainedArms
    vectors: ArmVectors
    radii: Radii
    rerankers: Rerankers


def bundle_challenger(plan: NightPlan, source: Source, searches: EvalSets, challenger: Challenger) -> NightBundle:
    """The bundle of the challenger over the documents of the newest day, in the mode that won on the validation days.

    A cascade or ranker over its lists is trained with it, and answers if it wins. One that cannot be trained or served
    leaves the other modes to answer.
    """
    model = _assemble(plan.spec, source, searches, challenger)
    runs = [(run, EXACT) for run in model.vectors.test]
    inputs = _list_inputs(model)
    lists = Lists({}, indexed_lists(inputs, runs), {}, inputs.indexes)
    fusions = fuse_validation(model.spec, source, model.vectors, lists, searches, model.bm25)
    columns, indexes = extract_named_columns(model.spec, source), _indexes(model)
    parts = model.arms, model.vectors, indexes, model.radii, fusions, searches, model.bm25
    bundles = build_bundles(model.spec, source, columns, *parts)
    bundles |= bundle_reranked(model.spec, source, searches, indexes, model.rerankers, bundles)
    exact = retrieve_exact(model.spec, source, model.vectors, model.radii, model.rerankers, searches, model.bm25, lists)
    modes = fusions.modes | measure_reranked(model.spec, exact, searches)
    night = _choose(model.spec, challenger.arm, bundles, {name: mode for (name, _), mode in modes.items()})
    return night._replace(unrenewed=_untrained(plan.spec, challenger.arm) | night.unrenewed)


def _untrained(spec: Experiment, arm: str) -> dict[str, str]:
    """The cascades over the arm's lists that no night can renew, with the reason."""
    cascades = {name: it.then for name, it in spec.cascades.items() if it.first == arm and it.then in spec.ensembles}
    return {name: f"nights do not train the ensemble {then}" for name, then in cascades.items()}


def _assemble(spec: Experiment, source: Source, searches: EvalSets, challenger: Challenger) -> _Model:
    """The challenger with the second arms of its cascades, trained from nothing, and its rankers, trained on the later
    half of the validation days."""
    run, bm25 = (challenger.arm, spec.seeds[0]), tune_terms(spec, source, searches)
    served = serving_of(spec, challenger.arm)
    training = spec.model_copy(update={"arms": {name: spec.arms[name] for name in spec.with_sources(served.arms)}})
    features: FeatureSets = featurize(training, source)
    arms = TrainedArms({run: challenger.towers}, {}, {}, {}, {})
    for name in served.arms:
        second: ArmRun = (name, run[1])
        if second != run:
            arms.towers[second] = train_run(training, source, features, searches.validation, second).towers[second]
    vectors = embed_arms(served, features, arms, searches)
    radii = calibrate_radii(served, vectors, searches)
    rerankers = train_rerankers(served, source, features, arms, vectors, searches, bm25)
    return _Model(served, source, searches, bm25, arms, vectors, radii, rerankers)


def serving_of(spec: Experiment, arm: str) -> Experiment:
    """The experiment, restricted to what a night may serve: the arm, and the cascades and rankers over its lists.

    An index takes no setting from an arm that the night does not train: it is tuned on its own.
    """
    cascades = {name: it for name, it in spec.cascades.items() if it.first == arm and it.then in spec.arms}
    rankers = {name: it for name, it in spec.rankers.items() if it.of == arm}
    arms = {name: spec.arms[name] for name in dict.fromkeys([arm, *(it.then for it in cascades.values())])}
    indexes: dict[str, AnyIndex] = {
        name: index.model_copy(update={"parameters_of": None}) if lender_of(index) else index
        for name, index in spec.indexes.items()
    }
    rest: dict[str, Any] = {"ensembles": {}, "retrievals": {}, "filters": {}, "questions": {}, "lists": {}}
    rest |= {"screening": False, "refit": False, "seeds": spec.seeds[:1]}
    return spec.model_copy(update={"arms": arms, "cascades": cascades, "rankers": rankers, "indexes": indexes} | rest)


def _list_inputs(model: _Model) -> ListInputs:
    validation = model.searches.validation
    assert validation is not None, "a night has validation days"
    return ListInputs(
        spec=model.spec,
        source=model.source,
        split="validation",
        searches=validation,
        documents=model.vectors.validation,
        vectors=model.vectors,
        indexes={},
        radii=model.radii,
        rerankers=model.rerankers,
        bm25=model.bm25,
        baselines={},
        k=max(model.spec.evaluation.ks),
    )


def _indexes(model: _Model) -> Indexes:
    """The indexes that the bundles search, over the documents of the newest day."""
    spec, vectors = model.spec, model.vectors
    reordering: list[Cascade | Ranker] = [*spec.cascades.values(), *spec.rankers.values()]
    names = {EXACT, served_index(spec), *(settings.index for settings in reordering)}
    return {
        (run, name): index_vectors(run, name, spec.all_indexes[name], vectors.test, vectors, model.searches.test)
        for run in vectors.test
        for name in sorted(names)
    }


def _choose(
    spec: Experiment, arm: str, bundles: Mapping[str, ModelBundle], modes: Mapping[str, ServedMode]
) -> NightBundle:
    """The bundle with the highest validation recall among those of the arm and of what reorders its lists. Raises the
    error of the arm's own bundle."""
    names = [arm, *spec.cascades, *spec.rankers]
    made, failures = settle({name: bundles[name] for name in names})
    measured, unmeasured = settle({name: modes[name] for name in names})
    reasons = {name: (failures | unmeasured).get(name) or refusal_of(made[name]) for name in names}
    if reasons[arm]:
        raise RuntimeError(f"the bundle of {arm}: {reasons[arm]}")
    usable = {name: bundle for name, bundle in made.items() if not reasons[name]}
    champion = champion_of(usable, measured)
    assert champion is not None, "the arm has a bundle"
    return NightBundle(usable[champion[0]], {name: reason for name, reason in reasons.items() if reason})
