"""End a run: choose what is served, and pass all artifacts to the report and MLflow."""

from __future__ import annotations

from collections.abc import Iterator

from prefect.client.schemas.objects import State
from prefect.states import Failed

from data.experiment.experiment_spec import REFIT, Experiment
from ebr_core.search.index_specs import EXACT
from ebr_core.search.modes import RERANKED
from flows.bundles import parts_of_run
from flows.refit import Refit
from flows.settled_run import SettledRun
from flows.sources import EvalSets, Source
from flows.submit import result
from flows.vectors import served_index
from tasks.audit_stage import leaks
from tasks.champion_stage import publish_champion
from tasks.ensemble_stages import EnsembleRun
from tasks.evaluation_stage import EvaluatedList, above_oracle
from tasks.feedback_stages import FeedbackResult
from tasks.finished_run import CostSource, FinishedRun, RefitRun, ServedRow, TrainedArm
from tasks.kinds import (
    BuiltIndex,
    RunAudit,
    RunResults,
    TunedBm25,
)
from tasks.looks import count_look
from tasks.ranker_stages import RankerRun
from tasks.tracking.runs import Outcome


def select_champion(spec: Experiment, experiment: str, run: SettledRun) -> ServedRow | None:
    """What has the highest validation recall among all with a bundle: an arm or ensemble in its mode, a cascade or a
    ranker; None without bundles."""
    modes = {name: mode for (name, _), mode in run.modes.items()}
    champion = publish_champion(experiment, run.bundles, modes)
    if champion is None:
        return None
    name, mode, recall = champion
    index = spec.index_of_list(name) if mode == RERANKED else served_index(spec)
    if mode != RERANKED and ((name, spec.seeds[0]), index) not in run.indexes:
        index = EXACT  # as the bundle, because this index could not be built
    return ServedRow(arm=name, mode=mode, index=index, recall=recall, refused=run.refused)


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
        costs=tuple(_costs(run, spec.seeds[0])),
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


def _costs(run: SettledRun, served_seed: int) -> Iterator[CostSource]:
    """The artifacts whose folders hold costs, each with its arm, seed and index. served_seed: of the bundles."""
    for artifacts in (run.towers, run.weights, run.rankers):
        for (arm, seed), artifact in artifacts.items():
            yield CostSource(arm=arm, seed=seed, index=None, artifact=artifact)
    for (arm, seed), towers in run.refit.towers.items() if run.refit else ():
        yield CostSource(arm=arm + REFIT, seed=seed, index=None, artifact=towers)
    for arm, made in run.bundles.items():
        yield CostSource(arm=arm, seed=served_seed, index=None, artifact=made)
    for artifacts_by_index in (run.indexes, run.test.indexed):
        for ((arm, seed), index), index_artifact in artifacts_by_index.items():
            yield CostSource(arm=arm, seed=seed, index=index, artifact=index_artifact)
