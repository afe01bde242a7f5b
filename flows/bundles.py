"""Build bundles: for each arm, a model of the first seed that answers queries with the arm's tuned index."""

from __future__ import annotations

from data.experiment.experiment_spec import Experiment
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, Source
from flows.submit import submit
from flows.vectors import ArmVectors, Indexes, Radii, is_servable, served_index
from tasks.bundle_stages import bundle, tabulate
from tasks.kinds import ModelBundle, TunedBm25


def build_bundles(
    spec: Experiment,
    source: Source,
    arms: TrainedArms,
    vectors: ArmVectors,
    indexes: Indexes,
    radii: Radii,
    searches: EvalSets,
    bm25: TunedBm25,
) -> dict[str, ModelBundle]:
    """A bundle for each arm and ensemble whose query tower reads only what a query can bring."""
    runs = {name: (name, spec.seeds[0]) for name in (*spec.arms, *spec.ensembles) if is_servable(spec, name)}
    if not runs:
        return {}
    tables = submit(tabulate, (), source.log, searches.test, bm25)
    return {
        name: submit(
            bundle,
            (name,),
            tables,
            searches.test,
            [arms.towers[part] for part in _parts(spec, run)],
            vectors.test[run],
            indexes[run, served_index(spec)],
            radii[run],
            vectors.weights.get(run),
            name,
            run[1],
        )
        for name, run in runs.items()
    }


def _parts(spec: Experiment, run: ArmRun) -> list[ArmRun]:
    """The arms and seeds of an ensemble; for an arm, its own run."""
    return spec.ensembles[run[0]].runs(run[1], spec.seeds) if run[0] in spec.ensembles else [run]
