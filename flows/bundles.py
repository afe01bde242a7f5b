"""The bundles of an experiment: a model that answers for each arm, of its first seed, through its tuned index."""

from __future__ import annotations

from data.experiment.experiment_spec import Experiment
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, Source
from flows.submit import submit
from flows.vectors import Embedded, Indexes, Radii, is_servable, served_index
from tasks.bundle_stages import bundle, tabulate
from tasks.kinds import ModelBundle


def build_bundles(
    spec: Experiment,
    source: Source,
    trained: TrainedArms,
    vectors: Embedded,
    indexes: Indexes,
    radii: Radii,
    searches: EvalSets,
) -> dict[str, ModelBundle]:
    """A bundle for each arm and ensemble of which a query can bring all that its tower reads."""
    runs = {name: (name, spec.seeds[0]) for name in (*spec.arms, *spec.ensembles) if is_servable(spec, name)}
    if not runs:
        return {}
    tables = submit(tabulate, (), source.log, searches.test)
    return {
        name: submit(
            bundle,
            (name,),
            tables,
            searches.test,
            [trained.towers[part] for part in _parts(spec, run)],
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
    """The arms and seeds of an ensemble; of an arm itself."""
    return spec.ensembles[run[0]].runs(run[1], spec.seeds) if run[0] in spec.ensembles else [run]
