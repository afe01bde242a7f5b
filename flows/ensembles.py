"""Ensembles and cascades as a part of the DAG: weights on the validation, vectors joined, candidates ordered again."""

from __future__ import annotations

from data.experiment import Experiment
from flows.names import named
from flows.retrievals import Embedded, Futures, Run, index_of
from tasks.artifacts import Artifact
from tasks.ensembles import join_vectors, retrieve_cascade, weigh


def join_all(
    asked: Experiment, towers: Futures, embedded: Embedded, validation: Artifact | None
) -> tuple[Futures, Embedded]:
    """(the weights of every ensemble and seed, the vectors of arms and ensembles): from here on, these are arms."""
    weights: Futures = {}
    both = Embedded(dict(embedded.test), dict(embedded.validation), dict(embedded.threads))
    for name, its in asked.ensembles.items():
        for seed in asked.seeds:
            run, parts = (name, seed), its.runs(seed, asked.seeds)
            both.threads[run] = max(embedded.threads[part] for part in parts)
            tuned_on = [embedded.validation[part] for part in parts]
            trained = [towers[part] for part in parts]
            weights[run] = named(weigh, *run).submit(trained, tuned_on, validation, its.weights, both.threads[run])
            both.validation[run] = named(join_vectors, *run).submit(tuned_on, weights[run])
            tested = [embedded.test[part] for part in parts]
            both.test[run] = named(join_vectors, *run).submit(tested, weights[run])
    return weights, both


def runs_needed(asked: Experiment) -> list[Run]:
    """The arms and seeds that ensembles are made of, each once."""
    every = [run for seed in asked.seeds for its in asked.ensembles.values() for run in its.runs(seed, asked.seeds)]
    return list(dict.fromkeys(every))


def cascade_all(asked: Experiment, test: Artifact, embedded: Embedded, k: int) -> Futures:
    """Every cascade, once for each seed that both its models have."""
    found = {}
    for name, its in asked.cascades.items():
        for seed in asked.seeds:
            first, then = (its.first, seed), (its.then, seed)
            if first in embedded.test and then in embedded.test:
                threads = max(embedded.threads[first], embedded.threads[then])
                index = index_of(first, its.index, asked.all_indexes[its.index], embedded, test)
                inputs = embedded.test[first], index, embedded.test[then]
                found[name, seed] = named(retrieve_cascade, name, seed).submit(test, its, k, threads, *inputs)
    return found
