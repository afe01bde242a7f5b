"""The `retrievals` of an experiment as a part of its DAG: terms, an arm's index, its radius, the documents chosen."""

from __future__ import annotations

from typing import NamedTuple

from prefect.futures import PrefectFuture

from data.experiment import Experiment
from ebr_core.hybrid import Retrieval
from ebr_core.index import AnyIndex, is_tuned
from flows.names import named
from tasks.artifacts import Artifact
from tasks.hybrid import calibrate_radius, choose_documents, retrieve_hybrid
from tasks.retrieval import build_index

Run = tuple[str, int]  # arm and seed
Futures = dict[Run, PrefectFuture[Artifact]]


class Embedded(NamedTuple):
    """The arms' embeddings of the test's searches, and of the validation's, which tune and calibrate."""

    test: Futures
    validation: Futures
    threads: dict[Run, int]


def calibrated(its: Retrieval) -> bool:
    """Whether its radius comes from the validation."""
    return its.arm is not None and its.near == "radius" and isinstance(its.radius, str)


def retrieve_all(
    asked: Experiment, log: Artifact, test: Artifact, validation: Artifact | None, embedded: Embedded, k: int
) -> dict[tuple[str, int | None], PrefectFuture[Artifact]]:
    """Every retrieval, once for each seed of its arm, once where it has none."""
    found = {}
    for name, its in asked.retrievals.items():
        narrowed = choose_documents(log, test, its.documents) if its.documents else test
        seeds = [seed for seed in asked.seeds if (its.arm, seed) in embedded.test] if its.arm else [None]
        for seed in seeds:
            label = (name,) if seed is None else (name, seed)
            if its.arm is None or seed is None:
                found[name, seed] = named(retrieve_hybrid, *label).submit(log, narrowed, its, k, 1)
                continue
            run, spec = (its.arm, seed), asked.all_indexes[its.index]
            index = index_of(run, its.index, spec, embedded, narrowed)
            threads, vectors = embedded.threads[run], embedded.test[run]
            radius = (
                named(calibrate_radius, *run).submit(embedded.validation[run], validation, threads)
                if calibrated(its)
                else None
            )
            found[name, seed] = named(retrieve_hybrid, *label).submit(
                log, narrowed, its, k, threads, vectors, index, radius
            )
    return found


def index_of(run: Run, name: str, spec: AnyIndex, embedded: Embedded, test: Artifact) -> PrefectFuture[Artifact]:
    """The index of an arm; where the spec takes over the setting tuned for another arm, that one's comes first."""
    threads, tuning = embedded.threads[run], embedded.validation[run] if is_tuned(spec) else None
    lender, setting_of = getattr(spec, "parameters_of", None), None
    if lender is not None:
        theirs, own = (lender, run[1]), spec.model_copy(update={"parameters_of": None})
        setting_of = named(build_index, *theirs, name).submit(
            embedded.test[theirs], test, own, embedded.threads[theirs], embedded.validation[theirs]
        )
    return named(build_index, *run, name).submit(embedded.test[run], test, spec, threads, tuning, setting_of)
