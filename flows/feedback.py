"""The feedback loop as a part of the DAG: what arms retrieve is rated, and filters learn from it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from prefect.futures import PrefectFuture

from data.experiment import Experiment
from ebr_core.config import Arm
from ebr_core.features import Features
from flows.names import named
from flows.retrievals import Embedded, Futures, Run, index_of
from tasks.artifacts import Artifact
from tasks.feedback import fit_filter, imported_of, rate, retrieve_filtered, take_imported, to_rate

Rated = Callable[[str, int], Any]  # arm and seed → the ratings of what it retrieves: an artifact, or its future
Asking = Callable[..., Callable[..., Any]]  # a stage and its label → the same, as it is to be called


class Source(NamedTuple):
    """An arm whose results are rated: artifacts, or their futures."""

    features: Any
    towers: Any
    arm: Arm


class Feeding(NamedTuple):
    """How to have what an arm with a seed retrieves listed for raters, and rated."""

    listed: Rated
    rated: Rated
    made: dict[Run, Any]  # the ratings that were asked for so far


def feeding(
    asked: Experiment, log: Artifact, world: Artifact | None, source: Callable[[str, int], Source], ask: Asking
) -> Feeding:
    """How to have what an arm with a seed retrieves rated: by a simulated world's truth, else by what was imported.

    What the arm itself was trained on, ratings of earlier rounds, is not rated again. source(arm, seed) trains it.
    """
    its = asked.feedback
    made: dict[Run, Any] = {}

    @functools.cache
    def listed(name: str, seed: int) -> Any:
        ratings = asked.arms[name].ratings
        before = [rated(one, seed) for one in ratings.of] if ratings else []
        return ask(to_rate, name, seed)(log, *source(name, seed), before, its)

    def rated(name: str, seed: int) -> Any:
        if (name, seed) not in made:
            made[name, seed] = _rated(name, seed)
        return made[name, seed]

    def _rated(name: str, seed: int) -> Any:
        if asked.people_rate:
            assert its.imported is not None, "load_experiment names it"
            return ask(take_imported, name)(log, name, imported_of(its.imported, name), its.good_from)
        return ask(rate, name, seed)(log, world, listed(name, seed), its.rater, its.good_from)

    return Feeding(listed, rated, made)


def filter_all(
    asked: Experiment,
    log: Artifact,
    test: Artifact,
    features: Mapping[Features, PrefectFuture[Artifact]],
    towers: Futures,
    rated: Rated,
    embedded: Embedded,
    k: int,
) -> tuple[Futures, Futures]:
    """(every filter as it was fitted, what it lets through), once for each seed that its arm has."""
    judges, found = {}, {}
    for name, its in asked.filters.items():
        arm = asked.arms[its.arm]
        for seed in (seed for seed in asked.seeds if (its.arm, seed) in embedded.test):
            run, threads = (its.arm, seed), embedded.threads[its.arm, seed]
            ratings = [rated(one, seed) for one in its.of]
            judges[name, seed] = named(fit_filter, name, seed).submit(
                log, features[arm.reads], towers[run], arm, ratings, its, seed
            )
            index = index_of(run, its.index, asked.all_indexes[its.index], embedded, test)
            inputs = embedded.test[run], index, judges[name, seed]
            found[name, seed] = named(retrieve_filtered, name, seed).submit(log, test, *inputs, k, threads)
    return judges, found
