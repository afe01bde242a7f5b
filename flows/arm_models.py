"""The models of single arms, made one by one by the wiring of a run: their artifacts are those that a run makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from data.experiment.experiment_spec import BM25, Comparison, Experiment
from ebr_core.errors import InputError
from ebr_core.search.index_specs import EXACT
from ebr_core.search.modes import MODES, arm_of_row, row_of
from flows.arms import TrainedArms, train_run
from flows.bundles import build_bundles
from flows.combined_lists import ListInputs
from flows.evaluated_lists import evaluated_lists
from flows.hybrids import FusedLists, Fusions, fuse_test, fuse_validation
from flows.lists import Lists, indexed_lists, retrieve_baselines
from flows.rerankers import Rerankers
from flows.settled_run import SettledLists
from flows.sources import (
    EvalSets,
    FeatureSets,
    Source,
    extract_log,
    extract_named_columns,
    featurize,
    match_lists,
    refuse_small,
    sample_searches,
    tune_terms,
    with_own_data,
)
from flows.submit import result, submit
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
from tasks.evaluation_stage import EvaluatedList, evaluate, evaluate_validation
from tasks.kinds import EvalSet, ModelBundle, RetrievedList, RunResults, TunedBm25


class PreparedLog(NamedTuple):
    """What all arms of an experiment read."""

    spec: Experiment
    source: Source
    searches: EvalSets
    bm25: TunedBm25


class ArmModel(NamedTuple):
    """A trained arm with the first seed, and what its lists and its bundle are made of."""

    arm: str
    spec: Experiment  # with the arm alone, and the one that lends its index a setting
    features: FeatureSets
    arms: TrainedArms
    vectors: ArmVectors
    indexes: Indexes  # over the documents of the test
    radii: Radii
    validation: Lists
    fusions: Fusions


def prepare_log(spec: Experiment) -> PreparedLog:
    """The log of an experiment, extracted, with its sampled searches. Raises InputError if it cannot be read or is too
    small for the experiment's K."""
    source = with_own_data(spec, extract_log(spec))
    searches = sample_searches(spec, source)
    refuse_small(spec, searches)
    return PreparedLog(spec, source, searches, tune_terms(spec, source, searches))


def train_model(log: PreparedLog, arm: str) -> ArmModel:
    """The arm, trained with the first seed, with its vectors, indexes and hybrids. Raises InputError if there is no
    such arm."""
    spec, source, searches = log.spec, log.source, log.searches
    if arm not in spec.arms:
        raise InputError(f"no arm {arm!r}; there are {', '.join(spec.arms) or 'none'}")
    lender = lender_of(spec.all_indexes[served_index(spec)])
    names = list(dict.fromkeys([arm, *([lender] if lender else [])]))
    trained = _with_arms(spec, spec.with_sources(names))
    features, arms = featurize(trained, source), TrainedArms({}, {}, {}, {}, {})
    for name in names:
        run = name, spec.seeds[0]
        arms.towers[run] = train_run(trained, source, features, searches.validation, run).towers[run]
    alone = _with_arms(spec, names)
    vectors = embed_arms(alone, features, arms, searches)
    radii = calibrate_radii(alone, vectors, searches)
    indexes = {
        (run, name): index_vectors(run, name, spec.all_indexes[name], vectors.test, vectors, searches.test)
        for run in vectors.test
        for name in dict.fromkeys([EXACT, served_index(spec)])
    }
    assert searches.validation is not None, "an experiment with arms has validation searches"
    inputs = _list_inputs(log, alone, vectors, {}, radii, searches.validation)
    validation = Lists({}, indexed_lists(inputs, [(run, EXACT) for run in vectors.test]), {}, inputs.indexes)
    fusions = fuse_validation(alone, source, vectors, validation, searches, log.bm25)
    return ArmModel(arm, alone, features, arms, vectors, indexes, radii, validation, fusions)


def bundle_model(log: PreparedLog, model: ArmModel) -> ModelBundle:
    """The bundle of a trained arm: the one that a run of the experiment makes."""
    spec = _with_arms(log.spec, [model.arm])
    columns = extract_named_columns(_with_arms(log.spec, log.spec.with_sources([model.arm])), log.source)
    parts = columns, model.arms, model.vectors, model.indexes, model.radii, model.fusions, log.searches, log.bm25
    return result(build_bundles(spec, log.source, *parts)[model.arm])


def measure_on_validation(log: PreparedLog, models: Sequence[ArmModel]) -> RunResults:
    """The levels of trained arms, their hybrids and the baselines on the validation searches."""
    validation = log.searches.validation
    assert validation is not None, "an experiment with arms has validation searches"
    lists = {model.arm: model.validation.indexed | model.fusions.lists for model in models}
    evaluated = _evaluated(log, models, _baselines(log, validation, ("validation",)), lists)
    return result(submit(evaluate_validation, (), validation, evaluated, log.spec.evaluation))


def measure_on_test(log: PreparedLog, models: Sequence[ArmModel]) -> RunResults:
    """The levels of trained arms, their hybrids and the baselines on the test searches, and their differences to BM25.

    The intervals of the differences hold for all these arms and hybrids together.
    """
    lists = {model.arm: _test_lists(log, model) for model in models}
    evaluated = _evaluated(log, models, _baselines(log, log.searches.test, ()), lists)
    rows = [row_of(model.arm, mode) for model in models for mode in MODES]
    metric = f"recall@{log.spec.evaluation.main_k}"
    question = Comparison(title="every arm against BM25", baseline=BM25, arms=tuple(rows), metric=metric)
    return result(submit(evaluate, (), log.searches.test, evaluated, {BM25: question}, log.spec.evaluation))


def _with_arms(spec: Experiment, names: Sequence[str]) -> Experiment:
    """The experiment with these arms and the first seed, and with nothing that is made of arms."""
    rest: dict[str, Any] = {"ensembles": {}, "retrievals": {}, "cascades": {}, "rankers": {}, "filters": {}}
    rest |= {"questions": {}, "screening": False, "refit": False, "seeds": spec.seeds[:1]}
    return spec.model_copy(update={"arms": {name: spec.arms[name] for name in names}} | rest)


def _list_inputs(
    log: PreparedLog, spec: Experiment, vectors: ArmVectors, indexes: Indexes, radii: Radii, searches: EvalSet
) -> ListInputs:
    """The inputs of the lists for the searches of a part; without indexes, of the validation."""
    return ListInputs(
        spec=spec,
        source=log.source,
        split="test" if indexes else "validation",
        searches=searches,
        documents=vectors.test if indexes else vectors.validation,
        vectors=vectors,
        indexes=indexes,
        radii=radii,
        rerankers=Rerankers({}, {}),
        bm25=log.bm25,
        baselines={},
        k=max(spec.evaluation.ks),
    )


def _test_lists(log: PreparedLog, model: ArmModel) -> FusedLists:
    """The lists of the arm and of its hybrids for the searches of the test, through exact search and what is served."""
    inputs = _list_inputs(log, model.spec, model.vectors, model.indexes, model.radii, log.searches.test)
    lists = Lists({}, indexed_lists(inputs, list(model.indexes)), {}, model.indexes)
    parts = model.vectors, lists, model.fusions, log.searches, log.bm25
    return lists.indexed | fuse_test(model.spec, log.source, *parts)


def _baselines(log: PreparedLog, searches: EvalSet, part: tuple[str, ...]) -> dict[str, RetrievedList]:
    """The baselines and the user's own lists for the searches of a part."""
    own, k = match_lists(log.spec, log.source, log.searches), max(log.spec.evaluation.ks)
    return retrieve_baselines(log.spec, log.source, log.bm25, own, searches, k, part)


def _evaluated(
    log: PreparedLog, models: Sequence[ArmModel], baselines: dict[str, RetrievedList], lists: dict[str, FusedLists]
) -> list[EvaluatedList]:
    """The baselines and the lists of these arms, without those of arms that lend an index its setting."""
    own = {
        run: rows for arm, of_arm in lists.items() for run, rows in of_arm.items() if arm_of_row(run[0][0])[0] == arm
    }
    towers = {run: trained for model in models for run, trained in model.arms.towers.items()}
    return evaluated_lists(log.spec, log.source, SettledLists(baselines, own, {}), towers)
