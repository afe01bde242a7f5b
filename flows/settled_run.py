"""Wait for all stages of the main flow: the artifacts of those that succeeded, the reasons of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from data.experiment.experiment_spec import Experiment
from ebr_core.search.modes import arm_of_row
from flows.arms import ArmRun, TrainedArms
from flows.combined_lists import ListRun
from flows.hybrids import FusedLists, Fusions
from flows.latest import LatestLists
from flows.lists import Lists
from flows.refit import Refit, settle_refit
from flows.rerankers import Rerankers
from flows.served import refusals
from flows.sources import FeatureSets
from flows.submit import failure_reason, has_run, result, settle
from flows.vectors import ArmVectors, Indexes
from tasks.kinds import (
    BuiltIndex,
    EnsembleWeights,
    FeatureSet,
    FittedFilter,
    ModelBundle,
    RatedResults,
    RetrievedList,
    ServedMode,
    TargetRanks,
    TrainedRanker,
    TrainedTowers,
)


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
    modes: dict[ArmRun, ServedMode]  # of the first seed: arms, ensembles, cascades, rankers
    rankers: dict[ArmRun, TrainedRanker]
    feedback: dict[ArmRun, RatedResults | FittedFilter]  # ratings, then filters
    target_ranks: dict[ArmRun, TargetRanks]
    bundles: dict[str, ModelBundle]
    refused: dict[str, str]  # cascade or ranker → the reason why no bundle holds it
    refit: Refit | None  # what is served, trained on the validation, too
    failures: dict[str, str]  # label → reason


class Stages(NamedTuple):
    """The promises of all stages of the main flow up to the models that can be served."""

    features: FeatureSets
    arms: TrainedArms
    vectors: ArmVectors
    indexes: Indexes
    rerankers: Rerankers
    validation: Lists
    test: Lists
    fusions: Fusions  # on the validation
    fused: FusedLists  # on the test
    latest: LatestLists  # with all clicks before each search
    target_ranks: dict[ArmRun, TargetRanks]
    reranked: dict[ArmRun, ServedMode]
    bundles: dict[str, ModelBundle]
    refit: Refit | None


def settle_run(spec: Experiment, stages: Stages) -> SettledRun:
    """The artifacts and failures of the run, once all stages have ended. Only here the flow waits for all of them."""
    arms, vectors, fusions = stages.arms, stages.vectors, stages.fusions
    untrained = dict(_failed_arms(spec, arms, vectors))
    bundles, _ = settle(stages.bundles)
    refused, refit = refusals(spec, bundles), settle_refit(stages.refit)[0]
    bundles = {name: made for name, made in bundles.items() if name not in refused}
    filters, _ = settle(stages.rerankers.filters)
    return SettledRun(
        features=list(settle(stages.features)[0].values()),
        towers=settle(arms.towers)[0],
        untrained=untrained,
        weights=settle(vectors.weights)[0],
        indexes=settle(stages.indexes)[0],
        test=settle_lists(stages.test, stages.fused | stages.latest.test),
        validation=settle_lists(stages.validation, fusions.lists | stages.latest.validation),
        modes=settle(fusions.modes | stages.reranked)[0],
        rankers=settle(stages.rerankers.rankers)[0],
        feedback=settle(arms.ratings)[0] | filters,
        target_ranks=settle(stages.target_ranks)[0],
        bundles=bundles | ({refit.run[0]: refit.bundle} if refit else {}),
        refused=refused,
        refit=refit,
        failures=_failures(spec, stages, untrained),
    )


def _failures(spec: Experiment, stages: Stages, untrained: dict[ArmRun, str]) -> dict[str, str]:
    """Label → reason of all stages that failed by themselves. untrained: the arms and seeds without towers or
    vectors."""
    vectors, combined = stages.vectors, settle(stages.test.combined)[1]
    failures = {label_of(run): reason for run, reason in untrained.items()}
    for (run, name), promise in stages.test.indexed.items():
        reason = failure_reason(stages.indexes[run, name], promise)
        if reason and not failure_reason(vectors.test[run]):
            failures[f"{label_of(run)}, index {name}"] = reason
    derived = stages.fusions.lists | stages.fused | stages.latest.validation | stages.latest.test
    for ((row, seed), _), reason in settle(derived)[1].items():
        run = arm_of_row(row)[0], seed
        if not failure_reason(vectors.validation[run], vectors.test[run]):  # else the failure of the arm says it
            failures[label_of((row, seed))] = reason
    failures |= dict(_failed_ensembles(spec, stages.arms, vectors, untrained))
    failures |= {
        f"{name}, validation": reason
        for (name, seed), reason in settle(stages.validation.combined)[1].items()
        if (name, seed) not in combined
    }
    reranker_failures = settle(stages.rerankers.rankers)[1] | settle(stages.rerankers.filters)[1]
    failures |= {name: reason for (name, _), reason in (combined | reranker_failures).items()}
    for (name, _), reason in settle(stages.reranked)[1].items():
        failures.setdefault(name, f"not compared with other models: {reason}")
    bundle_failures = settle(stages.bundles)[1]
    failures |= {f"{arm}, bundle": reason for arm, reason in bundle_failures.items() if has_run(stages.bundles[arm])}
    return failures | settle_refit(stages.refit)[1]


def settle_lists(lists: Lists, fused: FusedLists) -> SettledLists:
    """The lists of a part whose stages succeeded, once all have ended."""
    baselines = {name: result(promise) for name, promise in lists.baselines.items()}
    return SettledLists(baselines, settle(lists.indexed | fused)[0], settle(lists.combined)[0])


def label_of(run: ArmRun) -> str:
    """The arm and seed in words."""
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
            yield label_of(run), f"its part {label_of(failed_part)}, could not be trained: {untrained[failed_part]}"
        elif reason := failure_reason(weights, vectors.validation[run], vectors.test[run]):
            yield label_of(run), reason
