"""The main flow: logs in, a table of what gave the best recall out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from data.experiment import BASELINES, ORACLES, load_experiment
from data.logs import Simulated
from flows.bundles import bundle_all
from flows.names import named
from flows.retrievals import Embedded, index_of, retrieve_all
from tasks.artifacts import Artifact, clear_unfinished
from tasks.bundle import crown
from tasks.evaluation import Retrieved, above_oracle, evaluate
from tasks.features import featurise
from tasks.logs import live, obtain, sample
from tasks.retrieval import (
    embed_texts,
    refuse_impossible,
    retrieve,
    retrieve_baseline,
    retrieve_oracle,
)
from tasks.tracking import Outcome, TrainedArm, track
from tasks.training import train_arm

DEFAULT = "experiments/default.yaml"
# With one thread an arm, arms run side by side and share the cores without waiting for each other (see LOG.md).
RUNNER: TaskRunner[PrefectFuture[Any]] = ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1)  # type: ignore[assignment]


@flow(name="ebr", task_runner=RUNNER, flow_run_name="{experiment}")
def ebr(experiment: str = DEFAULT) -> Outcome | State[Outcome]:
    """From logs to verdicts, for the experiment file of that path. One arm's failure is told and the others finish."""
    clear_unfinished()
    asked = load_experiment(Path(experiment))
    arms = {(name, seed): arm for name, arm in asked.arms.items() for seed in asked.seeds}
    deepest = max(asked.evaluation.ks)

    simulated = asked.logs if isinstance(asked.logs, Simulated) else None
    world = live(simulated.world) if simulated else None
    log = obtain(asked.logs, asked.split, world)
    test = sample(log, "test", asked.evaluation.searches, asked.logs.judged_from, world)
    refuse_impossible(test, asked.indexes.values(), {arm.towers.dimensions for arm in arms.values()}, deepest)
    ceilings = {
        name: named(retrieve_oracle, name).submit(simulated.world, world, log, test, name.split("-")[1], deepest)
        for name in ORACLES
        if simulated
    }
    baselines = {name: named(retrieve_baseline, name).submit(log, test, name, deepest) for name in BASELINES}

    validation = (
        sample(log, "validation", asked.evaluation.validation_searches, asked.logs.judged_from) if arms else None
    )
    features = {text: featurise.submit(log, text) for text in {arm.text for arm in arms.values()}}
    towers = {
        key: named(train_arm, *key).submit(log, features[arm.text], validation, arm, key[1])
        for key, arm in arms.items()
    }
    vectors = {
        key: named(embed_texts, *key).submit(features[arm.text], towers[key], test, arm.training.threads)
        for key, arm in arms.items()
    }
    tuned_on = {
        key: named(embed_texts, *key).submit(features[arm.text], towers[key], validation, arm.training.threads)
        for key, arm in arms.items()
    }
    embedded = Embedded(vectors, tuned_on, {key: arm.training.threads for key, arm in arms.items()})
    indexes = {
        (key, name): index_of(key, name, spec, embedded, test)
        for key in arms
        for name, spec in asked.all_indexes.items()
    }
    found = {
        (key, name): named(retrieve, *key, name).submit(vectors[key], index, test, deepest, arms[key].training.threads)
        for (key, name), index in indexes.items()
    }
    others = retrieve_all(asked, log, test, validation, embedded, deepest)

    retrieved = [
        Retrieved(arm=name, seed=None, index="none", rows=rows.result())
        for name, rows in (baselines | ceilings).items()
    ]
    for ((name, seed), index), future in found.items():
        if rows := finished(future):
            retrieved.append(Retrieved(arm=name, seed=seed, index=index, rows=rows))
    for (name, others_seed), future in others.items():
        if rows := finished(future):
            index = asked.retrievals[name].index if asked.retrievals[name].arm else "none"
            retrieved.append(Retrieved(arm=name, seed=others_seed, index=index, rows=rows))
    results = evaluate(test, retrieved, asked.questions, asked.evaluation)
    trained = [
        TrainedArm(arm=name, seed=seed, towers=finished(future), error=why_failed(future, vectors[name, seed]))
        for (name, seed), future in towers.items()
    ]
    unindexed = {
        f"{name}, seed {seed}, index {index}": told
        for ((name, seed), index), future in found.items()
        if finished(vectors[name, seed]) and (told := why_failed(indexes[(name, seed), index], future))
    }
    unindexed |= {name: told for (name, _), future in others.items() if (told := why_failed(future))}
    built: dict[str, dict[str, Artifact]] = {}
    for ((name, seed), index), future in indexes.items():
        if artifact := finished(future):
            built.setdefault(f"{name}-{seed}", {})[index] = artifact
    bundles = bundle_all(asked, log, test, validation, embedded, towers, indexes)
    ready = {arm: artifact for arm, future in bundles.items() if (artifact := finished(future))}
    unindexed |= {f"{arm}, bundle": told for arm, future in bundles.items() if (told := why_failed(future))}
    champion = crown(Path(experiment).stem, ready, {arm: towers[arm, asked.seeds[0]].result() for arm in ready})
    outcome = track(Path(experiment).stem, asked, log, test, trained, unindexed, results, built, champion, ready)
    problems = [*outcome.failures, *above_oracle(results)]
    return Failed(data=outcome, message="; ".join(problems)) if problems else outcome


def finished(future: PrefectFuture[Artifact]) -> Artifact | None:
    """What the task made, or None where it, or one that it needed, failed."""
    future.wait()
    return future.result() if future.state.is_completed() else None


def why_failed(*futures: PrefectFuture[Artifact]) -> str | None:
    """The first failure among the stages of an arm, None where all went well."""
    for future in futures:
        future.wait()
        if not future.state.is_completed():
            error = future.result(raise_on_failure=False)
            return f"{type(error).__name__}: {error}"
    return None
