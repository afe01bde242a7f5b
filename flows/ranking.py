"""Rankers as a part of the DAG: trees grown on the clicks of the validation's later half, an arm's lists ordered."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.futures import PrefectFuture

from data.experiment import Experiment
from ebr_core.features import Features
from flows.names import named
from flows.retrievals import Embedded, Futures, Run, index_of
from tasks.artifacts import Artifact
from tasks.ensembles import join_vectors
from tasks.logs import sample
from tasks.ranking import estimate_examination, retrieve_ranked, train_ranker
from tasks.retrieval import embed_texts


def rank_all(
    asked: Experiment,
    log: Artifact,
    test: Artifact,
    features: Mapping[Features, PrefectFuture[Artifact]],
    towers: Futures,
    weights: Futures,
    embedded: Embedded,
    k: int,
) -> tuple[Futures, Futures]:
    """(every ranker, its lists), once for each seed that the arm which it orders has."""
    if not asked.rankers:
        return {}, {}
    ranking = sample(log, "ranking", asked.evaluation.searches, asked.logs.judged_from, halved=True)
    examination = estimate_examination.submit(log)
    learnt: Futures = {}

    def vectors(run: Run) -> PrefectFuture[Artifact]:
        if run not in learnt and run[0] in asked.ensembles:
            parts = [vectors(part) for part in asked.ensembles[run[0]].runs(run[1], asked.seeds)]
            learnt[run] = named(join_vectors, *run).submit(parts, weights[run])
        elif run not in learnt:
            inputs = features[asked.arms[run[0]].reads], towers[run], ranking, embedded.threads[run]
            learnt[run] = named(embed_texts, *run).submit(*inputs)
        return learnt[run]

    rankers, found = {}, {}
    for name, its in asked.rankers.items():
        spec = asked.all_indexes[its.index]
        lender = getattr(spec, "parameters_of", None)  # an index may take over another arm's setting
        for run in ((its.of, seed) for seed in asked.seeds if (its.of, seed) in embedded.test):
            here, threads = (name, run[1]), embedded.threads[run]
            needed = [run, (lender, run[1])] if lender else [run]
            then = embedded._replace(test={one: vectors(one) for one in needed})
            index = index_of(run, its.index, spec, then, ranking)
            read = vectors(run), index, examination
            rankers[here] = named(train_ranker, *here).submit(log, ranking, its, run[1], threads, *read)
            index = index_of(run, its.index, spec, embedded, test)
            order = embedded.test[run], index, rankers[here]
            found[here] = named(retrieve_ranked, *here).submit(log, test, its, k, threads, *order)
    return rankers, found
