"""The join of the main flow, and what is made of everything that has ended: results, report, MLflow's runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prefect.client.schemas.objects import State
from prefect.states import Failed

from data.experiment import Experiment
from flows.arms import ArmRun, TrainedArms
from flows.lists import ListRun, Lists
from flows.sources import EvalSets, FeatureSets, Source
from flows.submit import has_begun, result, settle, why_failed
from flows.vectors import Embedded, Indexes
from tasks.artifacts import Artifact
from tasks.audit import Ranked, audit, leaks
from tasks.bundle import crown
from tasks.ensembles import Joined, weighted_recall
from tasks.evaluation import EvaluatedList, above_oracle, evaluate
from tasks.feedback import Told
from tasks.graph import leak_of
from tasks.ranking import RankerTrained
from tasks.report.report_stage import Spent, report
from tasks.tracking.runs import Outcome, TrainedArm, track
from tasks.training import best_recall


class Run(NamedTuple):
    """What became of all stages: artifacts by what they are of; why the others failed, by the same names."""

    features: list[Artifact]
    towers: dict[ArmRun, Artifact]
    untrained: dict[ArmRun, str]  # the arms and seeds without towers or vectors, and why
    weights: dict[ArmRun, Artifact]
    indexes: dict[tuple[ArmRun, str], Artifact]
    baselines: dict[str, Artifact]
    indexed: dict[tuple[ArmRun, str], Artifact]
    combined: dict[ListRun, Artifact]
    rankers: dict[ArmRun, Artifact]
    judgements: dict[ArmRun, Artifact]  # ratings, then filters
    target_ranks: dict[ArmRun, Artifact]
    bundles: dict[str, Artifact]
    failures: dict[str, str]  # who → why


def settle_run(
    spec: Experiment,
    features: FeatureSets,
    trained: TrainedArms,
    vectors: Embedded,
    indexes: Indexes,
    lists: Lists,
    bundles: dict[str, Artifact],
) -> Run:
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
    failures |= {name: reason for (name, _), reason in settle(lists.rankers | lists.filters)[1].items()}
    failures |= {f"{arm}, bundle": reason for arm, reason in unbundled.items() if has_begun(bundles[arm])}
    return Run(
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


def evaluate_run(spec: Experiment, source: Source, searches: EvalSets, run: Run) -> Artifact:
    """The results of everything that was retrieved."""
    lists = [EvaluatedList(arm=name, seed=None, index="none", rows=rows) for name, rows in run.baselines.items()]
    for ((name, seed), index), rows in run.indexed.items():
        leaks = (leak_of(source.log, spec.arms[part].reads) for part in spec.made_of(name))
        leak = next((message for message in leaks if message), None)
        lists.append(EvaluatedList(arm=name, seed=seed, index=index, rows=rows, leak=leak))
    for (name, its_seed), rows in run.combined.items():
        lists.append(EvaluatedList(arm=name, seed=its_seed, index=spec.index_within(name), rows=rows))
    return evaluate(result(searches.test), lists, spec.questions, spec.evaluation)


def audit_run(spec: Experiment, source: Source, searches: EvalSets, run: Run) -> Artifact:
    """What checks of leaks and of sampled evaluations found."""
    ranked = [Ranked(arm=arm, seed=seed, ranks=ranks) for (arm, seed), ranks in run.target_ranks.items()]
    return audit(source.log, result(searches.test), run.features, ranked, spec.evaluation)


def select_champion(spec: Experiment, experiment: str, run: Run) -> str | None:
    """The arm or ensemble of the highest validation recall among those that can answer, None where none can."""
    first = spec.seeds[0]
    recalls = {name: best_recall(run.towers[name, first]) for name in run.bundles if name in spec.arms}
    recalls |= {name: weighted_recall(weights) for (name, seed), weights in run.weights.items() if seed == first}
    return crown(experiment, run.bundles, recalls)


def report_run(
    spec: Experiment,
    experiment: str,
    source: Source,
    searches: EvalSets,
    run: Run,
    results: Artifact,
    audited: Artifact,
) -> Artifact:
    """The report of the run, in a folder with all of its result files."""
    return report(
        experiment,
        spec,
        source.log,
        result(searches.test),
        results,
        audited,
        list(_costs(run)),
        run.failures,
        _joined(run),
        _rankers(run),
        [Told(arm=arm, seed=seed, made=artifact) for (arm, seed), artifact in run.judgements.items()],
    )


def track_run(
    spec: Experiment,
    experiment: str,
    source: Source,
    searches: EvalSets,
    run: Run,
    results: Artifact,
    page: Artifact,
    champion: str | None,
) -> Outcome:
    """Where everything of the run is found, once MLflow has it, too."""
    trained = [
        TrainedArm(arm=arm, seed=seed, towers=run.towers.get((arm, seed)), error=run.untrained.get((arm, seed)))
        for arm, seed in dict.fromkeys([*run.towers, *run.untrained])
        if seed in spec.seeds
    ]
    indexes: dict[str, dict[str, Artifact]] = {}
    for ((arm, seed), name), index in run.indexes.items():
        indexes.setdefault(f"{arm}-{seed}", {})[name] = index
    return track(
        experiment,
        spec,
        source.log,
        result(searches.test),
        trained,
        run.failures,
        results,
        page,
        indexes,
        champion,
        run.bundles,
        _joined(run),
        _rankers(run),
    )


def conclude(outcome: Outcome, results: Artifact, audited: Artifact) -> Outcome | State[Outcome]:
    """The outcome; a failed state around it where a stage failed, an arm beats the oracle or a leak was found."""
    problems = [*outcome.failures, *above_oracle(results), *leaks(audited)]
    return Failed(data=outcome, message="; ".join(problems)) if problems else outcome


def _joined(run: Run) -> list[Joined]:
    return [Joined(arm=arm, seed=seed, weights=weights) for (arm, seed), weights in run.weights.items()]


def _rankers(run: Run) -> list[RankerTrained]:
    return [RankerTrained(arm=arm, seed=seed, ranker=ranker) for (arm, seed), ranker in run.rankers.items()]


def _costs(run: Run) -> Iterator[Spent]:
    """Everything whose folder says what it cost, and for whom it was made."""
    for artifacts in (run.towers, run.weights, run.rankers):
        yield from (Spent(arm=arm, seed=seed, index=None, made=made) for (arm, seed), made in artifacts.items())
    for through in (run.indexes, run.indexed):
        yield from (Spent(arm=arm, seed=seed, index=index, made=made) for ((arm, seed), index), made in through.items())
