"""The join of the main flow, and what is made of everything that has ended: results, report, MLflow's runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prefect.client.schemas.objects import State
from prefect.states import Failed

from data.experiment.experiment_spec import Experiment
from flows.arms import ArmRun, TrainedArms
from flows.lists import ListRun, Lists
from flows.sources import EvalSets, FeatureSets, Source
from flows.submit import has_begun, result, settle, why_failed
from flows.vectors import Embedded, Indexes
from tasks.audit_stage import Ranked, audit, leaks
from tasks.bundle_stages import publish_champion
from tasks.ensemble_stages import EnsembleRun, weighted_recall
from tasks.evaluation_stage import EvaluatedList, above_oracle, evaluate
from tasks.feedback_stages import FeedbackResult
from tasks.finished_run import CostSource, FinishedRun, TrainedArm
from tasks.graph_stage import leak_of
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
    TargetRanks,
    TrainedRanker,
    TrainedTowers,
)
from tasks.ranker_stages import RankerTrained
from tasks.tracking.runs import Outcome
from tasks.training_stages import best_recall


class SettledRun(NamedTuple):
    """What became of all stages: artifacts by what they are of; why the others failed, by the same names."""

    features: list[FeatureSet]
    towers: dict[ArmRun, TrainedTowers]
    untrained: dict[ArmRun, str]  # the arms and seeds without towers or vectors, and why
    weights: dict[ArmRun, EnsembleWeights]
    indexes: dict[tuple[ArmRun, str], BuiltIndex]
    baselines: dict[str, RetrievedList]
    indexed: dict[tuple[ArmRun, str], RetrievedList]
    combined: dict[ListRun, RetrievedList]
    rankers: dict[ArmRun, TrainedRanker]
    judgements: dict[ArmRun, RatedResults | FittedFilter]  # ratings, then filters
    target_ranks: dict[ArmRun, TargetRanks]
    bundles: dict[str, ModelBundle]
    failures: dict[str, str]  # who → why


def settle_run(
    spec: Experiment,
    features: FeatureSets,
    trained: TrainedArms,
    vectors: Embedded,
    indexes: Indexes,
    lists: Lists,
    bundles: dict[str, ModelBundle],
) -> SettledRun:
    """Everything that was begun, once it has ended: the one place of the flow that waits for all."""
    untrained = dict(_untrained(spec, trained, vectors))
    indexed, _ = settle(lists.indexed)
    ready, unbundled = settle(bundles)
    failures = {_label(run): reason for run, reason in untrained.items()}
    for (run, name), promise in lists.indexed.items():
        reason = why_failed(indexes[run, name], promise)
        if reason and not why_failed(vectors.test[run]):
            failures[f"{_label(run)}, index {name}"] = reason
    failures |= dict(_unjoined(spec, trained, vectors, untrained))
    failures |= {name: reason for (name, _), reason in settle(lists.combined)[1].items()}
    failures |= {name: reason for (name, _), reason in settle(lists.rankers)[1].items()}
    failures |= {name: reason for (name, _), reason in settle(lists.filters)[1].items()}
    failures |= {f"{arm}, bundle": reason for arm, reason in unbundled.items() if has_begun(bundles[arm])}
    return SettledRun(
        features=list(settle(features)[0].values()),
        towers=settle(trained.towers)[0],
        untrained=untrained,
        weights=settle(vectors.weights)[0],
        indexes=settle(indexes)[0],
        baselines={name: result(promise) for name, promise in lists.untrained.items()},
        indexed=indexed,
        combined=settle(lists.combined)[0],
        rankers=settle(lists.rankers)[0],
        judgements=settle(trained.ratings)[0] | settle(lists.filters)[0],
        target_ranks=settle(lists.target_ranks)[0],
        bundles=ready,
        failures=failures,
    )


def _label(run: ArmRun) -> str:
    return f"{run[0]}, seed {run[1]}"


def _untrained(spec: Experiment, trained: TrainedArms, vectors: Embedded) -> Iterator[tuple[ArmRun, str]]:
    """The arms and seeds that have no towers or no vectors, ratings that could not be had first."""
    for (name, seed), towers in trained.towers.items():
        settings = spec.arms[name].ratings
        ratings = [trained.ratings[rated, seed] for rated in settings.of] if settings else []
        if reason := why_failed(*ratings, towers, vectors.test[name, seed]):
            yield (name, seed), reason


def _unjoined(
    spec: Experiment, trained: TrainedArms, vectors: Embedded, untrained: dict[ArmRun, str]
) -> Iterator[tuple[str, str]]:
    """The ensembles that could not be made, and why: the parts that failed first."""
    for run, weights in vectors.weights.items():
        parts = spec.ensembles[run[0]].runs(run[1], spec.seeds)
        failed = next((part for part in parts if why_failed(trained.towers[part])), None)
        if failed:
            yield _label(run), f"its part {_label(failed)}, could not be trained: {untrained[failed]}"
        elif reason := why_failed(weights, vectors.validation[run], vectors.test[run]):
            yield _label(run), reason


def evaluate_run(spec: Experiment, source: Source, searches: EvalSets, run: SettledRun) -> RunResults:
    """The results of everything that was retrieved."""
    lists = [EvaluatedList(arm=name, seed=None, index="none", rows=rows) for name, rows in run.baselines.items()]
    for ((name, seed), index), rows in run.indexed.items():
        leaks = (leak_of(source.log, spec.arms[part].features) for part in spec.made_of(name))
        leak = next((message for message in leaks if message), None)
        lists.append(EvaluatedList(arm=name, seed=seed, index=index, rows=rows, leak=leak))
    for (name, its_seed), rows in run.combined.items():
        lists.append(EvaluatedList(arm=name, seed=its_seed, index=spec.index_within(name), rows=rows))
    return evaluate(result(searches.test), lists, spec.questions, spec.evaluation)


def audit_run(spec: Experiment, source: Source, searches: EvalSets, run: SettledRun) -> RunAudit:
    """What checks of leaks and of sampled evaluations found."""
    ranked = [Ranked(arm=arm, seed=seed, ranks=ranks) for (arm, seed), ranks in run.target_ranks.items()]
    return audit(source.log, result(searches.test), run.features, ranked, spec.evaluation)


def select_champion(spec: Experiment, experiment: str, run: SettledRun) -> str | None:
    """The arm or ensemble of the highest validation recall among those that can answer, None where none can."""
    first = spec.seeds[0]
    recalls = {name: best_recall(run.towers[name, first]) for name in run.bundles if name in spec.arms}
    recalls |= {name: weighted_recall(weights) for (name, seed), weights in run.weights.items() if seed == first}
    return publish_champion(experiment, run.bundles, recalls)


def finish_run(spec: Experiment, experiment: str, source: Source, searches: EvalSets, run: SettledRun) -> FinishedRun:
    """The run as the report and MLflow read it."""
    trained = [
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
        trained=tuple(trained),
        joined=tuple(EnsembleRun(arm=arm, seed=seed, weights=made) for (arm, seed), made in run.weights.items()),
        rankers=tuple(RankerTrained(arm=arm, seed=seed, ranker=made) for (arm, seed), made in run.rankers.items()),
        feedback=tuple(FeedbackResult(arm=arm, seed=seed, made=made) for (arm, seed), made in run.judgements.items()),
        costs=tuple(_costs(run)),
        indexes=indexes,
        bundles=run.bundles,
        failures=run.failures,
    )


def conclude(outcome: Outcome, results: RunResults, audited: RunAudit) -> Outcome | State[Outcome]:
    """The outcome; a failed state around it where a stage failed, an arm beats the oracle or a leak was found."""
    problems = [*outcome.failures, *above_oracle(results), *leaks(audited)]
    return Failed(data=outcome, message="; ".join(problems)) if problems else outcome


def _costs(run: SettledRun) -> Iterator[CostSource]:
    """Everything whose folder says what it cost, and for whom it was made."""
    for artifacts in (run.towers, run.weights, run.rankers):
        for (arm, seed), artifact in artifacts.items():
            yield CostSource(arm=arm, seed=seed, index=None, artifact=artifact)
    for through in (run.indexes, run.indexed):
        for ((arm, seed), index), indexed in through.items():
            yield CostSource(arm=arm, seed=seed, index=index, artifact=indexed)
