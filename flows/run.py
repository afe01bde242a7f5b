"""Wait for all stages of the main flow, and pass their artifacts to the results, the audit, the report and MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prefect.client.schemas.objects import State
from prefect.states import Failed

from data.experiment.experiment_file import against_bm25
from data.experiment.experiment_spec import BM25, LOGGED, REFIT, Comparison, Experiment
from ebr_core.search.index_specs import NO_INDEX
from ebr_core.search.modes import arm_of_row
from flows.arms import ArmRun, TrainedArms
from flows.bundles import parts_of_run
from flows.hybrids import FusedLists, Fusions
from flows.lists import ListRun, Lists
from flows.refit import Refit, settle_refit
from flows.rerankers import Rerankers
from flows.sources import EvalSets, FeatureSets, Source
from flows.submit import failure_reason, has_run, result, settle
from flows.vectors import ArmVectors, Indexes, served_index
from tasks.audit_stage import RankedArm, audit, leaks
from tasks.bundle_stages import publish_champion
from tasks.ensemble_stages import EnsembleRun
from tasks.evaluation_stage import EvaluatedList, above_oracle, evaluate, evaluate_validation
from tasks.feedback_stages import FeedbackResult
from tasks.finished_run import CostSource, FinishedRun, RefitRun, ServedRow, TrainedArm
from tasks.graph_stage import leak_remark
from tasks.kinds import (
    BuiltIndex,
    EnsembleWeights,
    FeatureSet,
    FittedFilter,
    ModelBundle,
    RatedResults,
    RetrievedList,
    RunAudit,
    RunResults,
    ServedMode,
    TargetRanks,
    TrainedRanker,
    TrainedTowers,
    TunedBm25,
)
from tasks.list_measures import EVERY_SET
from tasks.looks import count_look
from tasks.ranked_list_stages import engine_reasons
from tasks.ranker_stages import RankerRun
from tasks.tracking.runs import Outcome
from tasks.training_stages import training_remark


class SettledLists(NamedTuple):
    """The lists of one part that could be retrieved."""

    baselines: dict[str, RetrievedList]
    indexed: dict[tuple[ArmRun, str], RetrievedList]  # arms, ensembles and their hybrids
    combined: dict[ListRun, RetrievedList]


class SettledRun(NamedTuple):
    """The artifacts of all stages that succeeded, and the reasons why the others failed."""

    features: list[FeatureSet]
    towers: dict[ArmRun, TrainedTowers]
    untrained: dict[ArmRun, str]  # arm and seed without towers or vectors → reason
    weights: dict[ArmRun, EnsembleWeights]
    indexes: dict[tuple[ArmRun, str], BuiltIndex]
    test: SettledLists
    validation: SettledLists
    modes: dict[ArmRun, ServedMode]  # of the first seed
    rankers: dict[ArmRun, TrainedRanker]
    feedback: dict[ArmRun, RatedResults | FittedFilter]  # ratings, then filters
    target_ranks: dict[ArmRun, TargetRanks]
    bundles: dict[str, ModelBundle]
    refit: Refit | None  # what is served, trained on the validation, too
    failures: dict[str, str]  # label → reason


def settle_run(
    spec: Experiment,
    features: FeatureSets,
    arms: TrainedArms,
    vectors: ArmVectors,
    indexes: Indexes,
    rerankers: Rerankers,
    validation: Lists,
    lists: Lists,
    fusions: Fusions,
    fused: FusedLists,
    target_ranks: dict[ArmRun, TargetRanks],
    bundles: dict[str, ModelBundle],
    refit: Refit | None,
) -> SettledRun:
    """The artifacts and failures of the run, once all stages have ended. Only here the flow waits for all of them."""
    untrained = dict(_failed_arms(spec, arms, vectors))
    rankers, ranker_failures = settle(rerankers.rankers)
    filters, filter_failures = settle(rerankers.filters)
    bundle_artifacts, bundle_failures = settle(bundles)
    settled_refit, refit_failures = settle_refit(refit)
    combined_failures = settle(lists.combined)[1]
    failures = {_label(run): reason for run, reason in untrained.items()}
    for (run, name), promise in lists.indexed.items():
        reason = failure_reason(indexes[run, name], promise)
        if reason and not failure_reason(vectors.test[run]):
            failures[f"{_label(run)}, index {name}"] = reason
    for ((row, seed), _), reason in (settle(fusions.lists)[1] | settle(fused)[1]).items():
        run = arm_of_row(row)[0], seed
        if not failure_reason(vectors.validation[run], vectors.test[run]):  # else the failure of the arm says it
            failures[_label((row, seed))] = reason
    failures |= dict(_failed_ensembles(spec, arms, vectors, untrained))
    failures |= {
        f"{name}, validation": reason
        for (name, seed), reason in settle(validation.combined)[1].items()
        if (name, seed) not in combined_failures
    }
    failures |= {name: reason for (name, _), reason in combined_failures.items()}
    failures |= {name: reason for (name, _), reason in (ranker_failures | filter_failures).items()}
    failures |= {f"{arm}, bundle": reason for arm, reason in bundle_failures.items() if has_run(bundles[arm])}
    failures |= refit_failures
    return SettledRun(
        features=list(settle(features)[0].values()),
        towers=settle(arms.towers)[0],
        untrained=untrained,
        weights=settle(vectors.weights)[0],
        indexes=settle(indexes)[0],
        test=settle_lists(lists, fused),
        validation=settle_lists(validation, fusions.lists),
        modes=settle(fusions.modes)[0],
        rankers=rankers,
        feedback=settle(arms.ratings)[0] | filters,
        target_ranks=settle(target_ranks)[0],
        bundles=bundle_artifacts | ({settled_refit.run[0]: settled_refit.bundle} if settled_refit else {}),
        refit=settled_refit,
        failures=failures,
    )


def settle_lists(lists: Lists, fused: FusedLists) -> SettledLists:
    """The lists of a part whose stages succeeded, once all have ended."""
    baselines = {name: result(promise) for name, promise in lists.baselines.items()}
    return SettledLists(baselines, settle(lists.indexed | fused)[0], settle(lists.combined)[0])


def _label(run: ArmRun) -> str:
    return f"{run[0]}, seed {run[1]}"


def _failed_arms(spec: Experiment, arms: TrainedArms, vectors: ArmVectors) -> Iterator[tuple[ArmRun, str]]:
    """(run, reason) for each arm and seed without towers or vectors; the reason is a failure of its ratings first."""
    for (name, seed), towers in arms.towers.items():
        settings = spec.arms[name].ratings
        ratings = [arms.ratings[rated_arm, seed] for rated_arm in settings.of] if settings else []
        if reason := failure_reason(*ratings, towers, vectors.test[name, seed]):
            yield (name, seed), reason


def _failed_ensembles(
    spec: Experiment, arms: TrainedArms, vectors: ArmVectors, untrained: dict[ArmRun, str]
) -> Iterator[tuple[str, str]]:
    """(label, reason) for each ensemble without vectors; the reason is its first part without towers, if any."""
    for run, weights in vectors.weights.items():
        parts = spec.ensembles[run[0]].runs(run[1], spec.seeds)
        failed_part = next((part for part in parts if failure_reason(arms.towers[part])), None)
        if failed_part:
            yield _label(run), f"its part {_label(failed_part)}, could not be trained: {untrained[failed_part]}"
        elif reason := failure_reason(weights, vectors.validation[run], vectors.test[run]):
            yield _label(run), reason


def evaluate_run(
    spec: Experiment,
    source: Source,
    searches: EvalSets,
    run: SettledRun,
    lists: list[EvaluatedList],
    served: ServedRow | None,
) -> RunResults:
    """The results of all lists, on the validation and, these lists, on the test."""
    validation = evaluate_on_validation(spec, source, searches, run.validation, run.towers)
    return evaluate(result(searches.test), lists, questions_of_run(spec, served), spec.evaluation, validation)


def questions_of_run(spec: Experiment, served: ServedRow | None) -> dict[str, Comparison]:
    """The questions of the file, and those of the report's first line: the row that is served against BM25, beside the
    arms, and against the engine of today. A file's own question on BM25 stays as it is."""
    if served is None:
        return spec.questions
    questions, generated = dict(spec.questions), against_bm25(spec).get(BM25)
    if generated and questions.get(BM25) == generated:
        arms = tuple(dict.fromkeys([*generated.arms, served.row]))
        questions[BM25] = generated.model_copy(update={"arms": arms})
    title, metric = "what is served against the engine of today", f"recall@{spec.evaluation.main_k}"
    return questions | {LOGGED: Comparison(title=title, baseline=LOGGED, arms=(served.row,), metric=metric)}


def evaluate_on_validation(
    spec: Experiment,
    source: Source,
    searches: EvalSets,
    lists: SettledLists,
    towers: dict[ArmRun, TrainedTowers],
) -> RunResults | None:
    """The levels of all lists on the validation; None where nothing needs one."""
    if searches.validation is None:
        return None
    lists_to_evaluate = evaluated_lists(spec, source, lists, towers)
    return evaluate_validation(result(searches.validation), lists_to_evaluate, spec.evaluation)


def evaluated_lists(
    spec: Experiment, source: Source, settled: SettledLists, towers: dict[ArmRun, TrainedTowers]
) -> list[EvaluatedList]:
    """The lists of one part to evaluate: those of baselines, of arms through their indexes, and those made of arms."""
    made_by_engine = {name: engine_reasons(name, rows) for name, rows in settled.baselines.items()}
    lists = [
        EvaluatedList(arm=name, seed=None, index=NO_INDEX, rows=rows, undecidable=made_by_engine[name])
        for name, rows in settled.baselines.items()
    ]
    leaks = {arm: _leak_of(spec, source, arm) for arm in {arm_of_row(name)[0] for (name, _), _ in settled.indexed}}
    for ((name, seed), index), rows in settled.indexed.items():
        arm = arm_of_row(name)[0]
        leak, undecidable = leaks[arm], _undecidable(spec, towers, (arm,), seed)
        lists.append(EvaluatedList(arm=name, seed=seed, index=index, rows=rows, leak=leak, undecidable=undecidable))
    for (name, list_seed), rows in settled.combined.items():
        undecidable = _undecidable(spec, towers, spec.combined_lists[name].vector_sources, list_seed)
        for fused in spec.retrievals[name].lists if name in spec.retrievals else ():
            undecidable |= made_by_engine[fused]
        index = spec.index_of_list(name)
        lists.append(EvaluatedList(arm=name, seed=list_seed, index=index, rows=rows, undecidable=undecidable))
    return lists


def _leak_of(spec: Experiment, source: Source, name: str) -> str | None:
    """The reason why the training of an arm, or of a part of an ensemble, may have seen the test; None without one."""
    remarks = (leak_remark(source.log, spec.arms[part].features) for part in spec.parts_of(name))
    return next((remark for remark in remarks if remark), None)


def _undecidable(
    spec: Experiment, towers: dict[ArmRun, TrainedTowers], names: Iterable[str], seed: int | None
) -> dict[str, str]:
    """The reason why nothing is decided about a list that these arms and ensembles make: a training that ended by the
    cap. Empty without one."""
    if seed is None:
        return {}
    parts = [
        part
        for name in names
        for part in (spec.ensembles[name].runs(seed, spec.seeds) if name in spec.ensembles else [(name, seed)])
    ]
    for part in parts:
        if part in towers and (remark := training_remark(towers[part])):
            return {EVERY_SET: f"{_label(part)}: {remark}"}
    return {}


def refit_lists(spec: Experiment, refit: Refit | None) -> list[EvaluatedList]:
    """The lists of what was trained on the validation, too; empty without a refit."""
    if refit is None:
        return []
    leaks = (leak_remark(refit.log, spec.arms[part].features) for part in spec.parts_of(refit.run[0]))
    leak = next((message for message in leaks if message), None)
    return [
        *(
            EvaluatedList(arm=name + REFIT, seed=None, index=NO_INDEX, rows=rows)
            for name, rows in refit.baselines.items()
        ),
        *(
            EvaluatedList(arm=name, seed=refit.run[1], index=index, rows=rows, leak=leak)
            for (name, index), rows in refit.lists.items()
        ),
    ]


def audit_run(spec: Experiment, source: Source, searches: EvalSets, run: SettledRun) -> RunAudit:
    """The findings of the checks for leaks and for sampled evaluations."""
    ranked = [RankedArm(arm=arm, seed=seed, ranks=ranks) for (arm, seed), ranks in run.target_ranks.items()]
    refit_log, refit_features = (run.refit.log, run.refit.features) if run.refit else (None, None)
    return audit(source.log, result(searches.test), run.features, ranked, spec.evaluation, refit_log, refit_features)


def select_champion(spec: Experiment, experiment: str, run: SettledRun) -> ServedRow | None:
    """The arm or ensemble, and its mode, with the highest validation recall among those with a bundle; None without
    bundles."""
    modes = {name: mode for (name, _), mode in run.modes.items()}
    champion = publish_champion(experiment, run.bundles, modes)
    if champion is None:
        return None
    arm, mode, recall = champion
    return ServedRow(arm=arm, mode=mode, index=served_index(spec), recall=recall)


def finish_run(
    spec: Experiment,
    experiment: str,
    source: Source,
    searches: EvalSets,
    bm25: TunedBm25,
    run: SettledRun,
    lists: list[EvaluatedList],
    results: RunResults,
    served: ServedRow | None,
) -> FinishedRun:
    """The run in the form that the report and MLflow read."""
    trained_arms = [
        TrainedArm(arm=arm, seed=seed, towers=run.towers.get((arm, seed)), error=run.untrained.get((arm, seed)))
        for arm, seed in dict.fromkeys([*run.towers, *run.untrained])
    ]
    indexes: dict[str, dict[str, BuiltIndex]] = {}
    for ((arm, seed), name), index in run.indexes.items():
        indexes.setdefault(f"{arm}-{seed}", {})[name] = index
    return FinishedRun(
        experiment=experiment,
        spec=spec,
        log=source.log,
        searches=result(searches.test),
        bm25=result(bm25),
        trained=tuple(trained_arms),
        ensembles=tuple(
            EnsembleRun(arm=arm, seed=seed, weights=weights) for (arm, seed), weights in run.weights.items()
        ),
        refit=_refit_run(spec, run.refit) if run.refit else None,
        rankers=tuple(RankerRun(arm=arm, seed=seed, ranker=ranker) for (arm, seed), ranker in run.rankers.items()),
        feedback=tuple(
            FeedbackResult(arm=arm, seed=seed, artifact=artifact) for (arm, seed), artifact in run.feedback.items()
        ),
        costs=tuple(_costs(run)),
        indexes=indexes,
        bundles=run.bundles,
        lists=tuple(lists),
        champion=served.row if served else None,
        failures=run.failures,
        served=served,
        looks=count_look(source.log, result(searches.test), results),
    )


def _refit_run(spec: Experiment, refit: Refit) -> RefitRun:
    towers = tuple(refit.towers[part] for part in parts_of_run(spec, refit.run))
    return RefitRun(arm=refit.name, source=refit.run[0], seed=refit.run[1], towers=towers)


def conclude(outcome: Outcome, results: RunResults, run_audit: RunAudit) -> Outcome | State[Outcome]:
    """The outcome; in a failed state if a stage failed, an arm beats the oracle or a leak was found."""
    problems = [*outcome.failures, *above_oracle(results), *leaks(run_audit)]
    return Failed(data=outcome, message="; ".join(problems)) if problems else outcome


def _costs(run: SettledRun) -> Iterator[CostSource]:
    """The artifacts whose folders hold costs, each with its arm, seed and index."""
    for artifacts in (run.towers, run.weights, run.rankers):
        for (arm, seed), artifact in artifacts.items():
            yield CostSource(arm=arm, seed=seed, index=None, artifact=artifact)
    for (arm, seed), towers in run.refit.towers.items() if run.refit else ():
        yield CostSource(arm=arm + REFIT, seed=seed, index=None, artifact=towers)
    for artifacts_by_index in (run.indexes, run.test.indexed):
        for ((arm, seed), index), index_artifact in artifacts_by_index.items():
            yield CostSource(arm=arm, seed=seed, index=index, artifact=index_artifact)
