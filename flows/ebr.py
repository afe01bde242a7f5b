"""The main flow: logs in, a table of what gave the best recall out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.task_runners import TaskRunner

from data.experiment import BASELINES, ORACLES, Experiment, arm_of, load_experiment
from data.logs import Simulated
from ebr_core.config import Arm
from ebr_core.features import Features
from flows.bundles import bundle_all
from flows.ensembles import cascade_all, join_all, runs_needed
from flows.feedback import Feeding, Source, feeding, filter_all
from flows.leftovers import begin
from flows.names import named
from flows.ranking import rank_all
from flows.retrievals import Embedded, Futures, Run, index_of, retrieve_all
from flows.runner import RUNNER, cluster_of, reachable
from tasks.artifacts import Artifact
from tasks.audit import Ranked, audit, leaks, rank_targets
from tasks.bundle import crown
from tasks.ensembles import Joined, weighted_recall
from tasks.evaluation import Retrieved, above_oracle, evaluate
from tasks.features import extract_columns, featurise, needs_columns
from tasks.feedback import Told
from tasks.graph import embed_graph, leak_of
from tasks.logs import contents_of, files_of, live, obtain, sample
from tasks.ranking import RankerTrained, refuse_deep
from tasks.report.report_stage import Spent, report
from tasks.retrieval import embed_texts, refuse_impossible, retrieve, retrieve_baseline, retrieve_oracle
from tasks.tracking.runs import Outcome, TrainedArm, track
from tasks.training import best_recall, mine_negatives, train_arm

DEFAULT = "experiments/default.yaml"


@flow(name="ebr", task_runner=RUNNER, flow_run_name="{experiment}")
def ebr(experiment: str = DEFAULT) -> Outcome | State[Outcome]:
    """From logs to verdicts, for the experiment file of that path. One arm's failure is told and the others finish."""
    begin()
    asked = load_experiment(Path(experiment))
    if (cluster := cluster_of(asked.runner)) is not None:
        return on_cluster(cluster, experiment)
    arms = asked.arms
    deepest = max(asked.evaluation.ks)

    simulated = asked.logs if isinstance(asked.logs, Simulated) else None
    world = live(simulated.world) if simulated else None
    log = obtain(asked.logs, asked.split, world)
    test = sample(log, "test", asked.evaluation.searches, asked.logs.judged_from, world)
    refuse_impossible(test, asked.indexes.values(), asked.dimensions, deepest)
    refuse_deep(test, asked.rankers)
    ceilings = {
        name: named(retrieve_oracle, name).submit(simulated.world, world, log, test, name.split("-")[1], deepest)
        for name in ORACLES
        if simulated
    }
    baselines = {name: named(retrieve_baseline, name).submit(log, test, name, deepest) for name in BASELINES}

    tried = asked.evaluation.validation_searches
    halved = bool(asked.rankers)  # they learn from the later half
    validation = sample(log, "validation", tried, asked.logs.judged_from, halved=halved) if arms else None
    features = read_features(asked, log, world)
    towers, fed = train_arms(asked, log, features, validation, world)
    vectors = {
        key: named(embed_texts, *key).submit(features[arms[key[0]].reads], trained, test, arms[key[0]].training.threads)
        for key, trained in towers.items()
    }
    tuned_on = {
        key: named(embed_texts, *key).submit(
            features[arms[key[0]].reads], trained, validation, arms[key[0]].training.threads
        )
        for key, trained in towers.items()
    }
    own = Embedded(vectors, tuned_on, {key: arms[key[0]].training.threads for key in towers})
    weights, embedded = join_all(asked, towers, own, validation)
    runs = [run for run in embedded.test if run[1] in asked.seeds]  # another seed is a part of an ensemble, no more
    ranks = {key: named(rank_targets, *key).submit(embedded.test[key], test, embedded.threads[key]) for key in runs}
    indexes = {
        (key, name): index_of(key, name, spec, embedded, test)
        for key in runs
        for name, spec in asked.all_indexes.items()
    }
    found = {
        (key, name): named(retrieve, *key, name).submit(embedded.test[key], index, test, deepest, embedded.threads[key])
        for (key, name), index in indexes.items()
    }
    others = retrieve_all(asked, log, test, validation, embedded, deepest)
    others |= {(name, seed): rows for (name, seed), rows in cascade_all(asked, test, embedded, deepest).items()}
    rankers, ordered = rank_all(asked, log, test, features, towers, weights, embedded, deepest)
    others |= {(name, seed): rows for (name, seed), rows in ordered.items()}
    judges, filtered = filter_all(asked, log, test, features, towers, fed.rated, embedded, deepest)
    others |= {(name, seed): rows for (name, seed), rows in filtered.items()}

    retrieved = [
        Retrieved(arm=name, seed=None, index="none", rows=rows.result())
        for name, rows in (baselines | ceilings).items()
    ]
    for ((name, seed), index), future in found.items():
        if rows := finished(future):
            leak = next((told for part in asked.made_of(name) if (told := leak_of(log, arms[part].reads))), None)
            retrieved.append(Retrieved(arm=name, seed=seed, index=index, rows=rows, leak=leak))
    for (name, its_seed), future in others.items():
        if rows := finished(future):
            retrieved.append(Retrieved(arm=name, seed=its_seed, index=asked.index_within(name), rows=rows))
    results = evaluate(test, retrieved, asked.questions, asked.evaluation)
    trained = [
        TrainedArm(
            arm=name,
            seed=seed,
            towers=finished(future),
            error=why_untrained(asked, (name, seed), fed, future, vectors[name, seed]),
        )
        for (name, seed), future in towers.items()
    ]
    unindexed = {
        f"{name}, seed {seed}, index {index}": told
        for ((name, seed), index), future in found.items()
        if finished(embedded.test[name, seed]) and (told := why_failed(indexes[(name, seed), index], future))
    }
    unindexed |= {
        f"{name}, seed {seed}": told
        for (name, seed), future in weights.items()
        if (told := why_not_joined(asked, (name, seed), towers, future, embedded))
    }
    unindexed |= {name: told for (name, _), future in others.items() if (told := why_failed(future))}
    unindexed |= {name: told for (name, _), future in (rankers | judges).items() if (told := why_failed(future))}
    learnt = [
        RankerTrained(arm=name, seed=seed, ranker=made)
        for (name, seed), future in rankers.items()
        if (made := finished(future))
    ]
    feedback = [
        Told(arm=name, seed=seed, made=made)
        for (name, seed), future in (*fed.made.items(), *judges.items())
        if (made := finished(future))
    ]
    bundles = bundle_all(asked, log, test, validation, embedded, towers, weights, indexes)
    ready = {arm: artifact for arm, future in bundles.items() if (artifact := finished(future))}
    unindexed |= {f"{arm}, bundle": told for arm, future in bundles.items() if (told := why_failed(future))}
    joined = [
        Joined(arm=run[0], seed=run[1], weights=of) for run, future in weights.items() if (of := finished(future))
    ]
    recalls = {name: best_recall(towers[name, asked.seeds[0]].result()) for name in ready if name in arms}
    recalls |= {each.arm: weighted_recall(each.weights) for each in joined if each.seed == asked.seeds[0]}
    champion = crown(Path(experiment).stem, ready, recalls)
    failures = {f"{run.arm}, seed {run.seed}": run.error for run in trained if run.error} | unindexed
    ranked = [Ranked(arm=arm, seed=seed, ranks=of) for (arm, seed), future in ranks.items() if (of := finished(future))]
    audited = audit(
        log, test, [of for future in features.values() if (of := finished(future))], ranked, asked.evaluation
    )
    spent = [Spent(arm=run.arm, seed=run.seed, index=None, made=run.towers) for run in trained if run.towers]
    spent += [Spent(arm=each.arm, seed=each.seed, index=None, made=each.weights) for each in joined]
    spent += [Spent(arm=each.arm, seed=each.seed, index=None, made=each.ranker) for each in learnt]
    spent += [
        Spent(arm=arm, seed=seed, index=index, made=made)
        for futures in (indexes, found)
        for ((arm, seed), index), future in futures.items()
        if (made := finished(future))
    ]
    built: dict[str, dict[str, Artifact]] = {}
    for ((arm, seed), index), future in indexes.items():
        if made := finished(future):
            built.setdefault(f"{arm}-{seed}", {})[index] = made
    page = report(Path(experiment).stem, asked, log, test, results, audited, spent, failures, joined, learnt, feedback)
    shown = [run for run in trained if run.seed in asked.seeds]
    outcome = track(
        Path(experiment).stem, asked, log, test, shown, failures, results, page, built, champion, ready, joined, learnt
    )
    problems = [*outcome.failures, *above_oracle(results), *leaks(audited)]
    return Failed(data=outcome, message="; ".join(problems)) if problems else outcome


def on_cluster(cluster: TaskRunner[Any], experiment: str) -> Outcome | State[Outcome]:
    """The same flow as a part of this one, its stages run by the cluster."""
    with reachable():
        state: State[Any] = ebr.with_options(task_runner=cluster)(experiment, return_state=True)
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    return Failed(data=outcome, message=state.message) if state.is_failed() else outcome


def read_features(asked: Experiment, log: Artifact, world: Artifact | None) -> dict[Features, PrefectFuture[Artifact]]:
    """What each arm reads, made once for all arms that read the same; a graph or a column that is not there fails only
    those that asked for it."""
    reads = {arm.reads: None for arm in asked.arms.values()}
    files = files_of(asked.logs, world)
    graphs = {
        graph: embed_graph.submit(log, graph)
        for graph in {graph: None for read in reads for graph in read.graphs.values()}
    }
    columns = {
        read: extract_columns.submit(files, log, contents_of(files), read) for read in reads if needs_columns(read)
    }
    return {
        read: featurise.submit(
            log, read, {name: graphs[graph] for name, graph in read.graphs.items()}, columns.get(read)
        )
        for read in reads
    }


def train_arms(
    asked: Experiment,
    log: Artifact,
    features: Mapping[Features, PrefectFuture[Artifact]],
    validation: Artifact | None,
    world: Artifact | None = None,
) -> tuple[dict[tuple[str, int], PrefectFuture[Artifact]], Feeding]:
    """Towers by (arm, seed): every arm with the first seed; with the others every arm too, or, under screening, each
    question's baseline and its best arm on validation; and the parts of ensembles. An arm that mines, starts or takes
    ratings from another waits for it. And how to have rated what an arm with a seed retrieves."""
    towers: dict[tuple[str, int], PrefectFuture[Artifact]] = {}

    def trained(name: str, seed: int) -> PrefectFuture[Artifact]:
        if (name, seed) not in towers:
            arm, first = asked.arms[name], asked.seeds[0]
            ratings = [fed.rated(one, seed) for one in arm.ratings.of] if arm.ratings else None
            mined = mine(arm.mine_from, arm, seed, ratings) if arm.mine_from else None
            start = trained(arm.start_from, seed) if arm.start_from else None
            screened = trained(name, first) if seed != first and len(arm.tried) > 1 else None
            inputs = (log, features[arm.reads], validation, arm, seed, start, mined, screened, ratings)
            towers[name, seed] = named(train_arm, name, seed).submit(*inputs)
        return towers[name, seed]

    def mine(name: str, arm: Arm, seed: int, ratings: list[PrefectFuture[Artifact]] | None) -> PrefectFuture[Artifact]:
        source = asked.arms[name]
        found = features[source.reads], trained(name, seed), source
        wanted = arm.positives, arm.mask, arm.mining, seed, arm.training.threads, arm.ratings, ratings
        return named(mine_negatives, name, seed).submit(log, *found, *wanted)

    def source(name: str, seed: int) -> Source:
        return Source(features[asked.arms[name].reads], trained(name, seed), asked.arms[name])

    fed = feeding(asked, log, world, source, lambda task, *label: named(task, *label).submit)

    for name in asked.arms:
        trained(name, asked.seeds[0])
    again = finalists(asked, towers) if asked.screening else list(asked.arms)
    for name, seed in ((name, seed) for seed in asked.seeds[1:] for name in again):
        trained(name, seed)
    for name, seed in runs_needed(asked):
        trained(name, seed)
    for its in asked.filters.values():  # whose ratings may be of an arm that screening left out
        for seed in (seed for seed in asked.seeds if (its.arm, seed) in towers):
            for one in its.of:
                fed.rated(one, seed)
    return towers, fed


def finalists(asked: Experiment, towers: Mapping[tuple[str, int], PrefectFuture[Artifact]]) -> list[str]:
    """Each question's baseline and its best arm by validation recall with the first seed, in the order of the arms."""
    first = asked.seeds[0]
    recalls = {name: best_recall(rows) for name in asked.arms if (rows := finished(towers[name, first]))}
    chosen = set()
    for question in asked.questions.values():
        there = [name for label in question.arms if (name := arm_of(label)) in recalls]
        chosen |= {arm_of(question.baseline)} & set(recalls)
        chosen |= {max(there, key=lambda name: recalls[name])} if there else set()
    return [name for name in asked.arms if name in chosen]


def finished(future: PrefectFuture[Artifact]) -> Artifact | None:
    """What the task made, or None where it, or one that it needed, failed."""
    future.wait()
    return future.result() if future.state.is_completed() else None


def why_not_joined(
    asked: Experiment, run: Run, towers: Futures, weights: PrefectFuture[Artifact], embedded: Embedded
) -> str | None:
    """Why an ensemble could not be made, the parts that failed first; None where it was."""
    for arm, seed in asked.ensembles[run[0]].runs(run[1], asked.seeds):
        if told := why_failed(towers[arm, seed]):
            return f"its part {arm}, seed {seed}, could not be trained: {told}"
    return why_failed(weights, embedded.validation[run], embedded.test[run])


def why_untrained(asked: Experiment, run: Run, fed: Feeding, *futures: PrefectFuture[Artifact]) -> str | None:
    """Why an arm could not be trained, ratings that could not be had first; None where it was."""
    ratings = asked.arms[run[0]].ratings
    return why_failed(*(fed.rated(one, run[1]) for one in ratings.of) if ratings else (), *futures)


def why_failed(*futures: PrefectFuture[Artifact]) -> str | None:
    """The first failure among the stages of an arm, None where all went well."""
    for future in futures:
        future.wait()
        if future.state.is_pending():  # it was never begun
            return "a stage that it needs failed"
        if not future.state.is_completed():
            error = future.result(raise_on_failure=False)
            return f"{type(error).__name__}: {error}"
    return None
