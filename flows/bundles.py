"""The bundles of an experiment as a part of its DAG: one for each arm, of its first seed, through its tuned index."""

from __future__ import annotations

from prefect.futures import PrefectFuture

from data.experiment import Experiment
from ebr_core.bundle import CONTEXT
from ebr_core.config import Arm
from ebr_core.index import is_tuned
from flows.names import named
from flows.retrievals import Embedded, Futures, Run
from tasks.artifacts import Artifact
from tasks.bundle import bundle, tabulate
from tasks.features import wanted_columns
from tasks.hybrid import calibrate_radius


def bundle_all(
    asked: Experiment,
    log: Artifact,
    test: Artifact,
    validation: Artifact | None,
    embedded: Embedded,
    towers: Futures,
    weights: Futures,
    indexes: dict[tuple[Run, str], PrefectFuture[Artifact]],
) -> dict[str, PrefectFuture[Artifact]]:
    """A bundle for each arm and ensemble whose towers, vectors and served index came out, and of which a question can
    tell all that the query tower reads."""
    runs = {name: (name, asked.seeds[0]) for name in (*asked.arms, *asked.ensembles) if _can_be_asked(asked, name)}
    there = {name: run for name, run in runs.items() if _made(indexes[run, served(asked)])}
    if not there:
        return {}
    tables = tabulate.submit(log, test)
    found = {}
    for name, run in there.items():
        radius = named(calibrate_radius, *run).submit(embedded.validation[run], validation, embedded.threads[run])
        parts = asked.ensembles[name].runs(run[1], asked.seeds) if name in asked.ensembles else [run]
        asked_of = [towers[part] for part in parts]
        made = embedded.test[run], indexes[run, served(asked)], radius, weights.get(run)
        found[name] = named(bundle, name).submit(tables, test, asked_of, *made, name, run[1])
    return found


def _can_be_asked(asked: Experiment, name: str) -> bool:
    return all(can_be_asked(asked.arms[part]) for part in asked.made_of(name))


def can_be_asked(arm: Arm) -> bool:
    """Whether its query tower reads nothing of a search but the text, the searcher, the place and the language, and
    gives it one vector."""
    return set(wanted_columns(arm.reads, "searches")) <= set(CONTEXT) and arm.towers.query_vectors == 1


def served(asked: Experiment) -> str:
    """The index that answers: the first of the tuned ones, exact search where none is."""
    return next((name for name, spec in asked.indexes.items() if is_tuned(spec)), "exact")


def _made(*futures: PrefectFuture[Artifact]) -> bool:
    for future in futures:
        future.wait()
    return all(future.state.is_completed() for future in futures)
