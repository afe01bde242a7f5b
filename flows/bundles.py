"""Build bundles: for each arm, a model of the first seed that answers queries in the mode that won on validation."""

from __future__ import annotations

from data.experiment.experiment_spec import Experiment
from ebr_core.search.index_specs import EXACT
from flows.arms import ArmRun, TrainedArms
from flows.hybrids import Fusions
from flows.sources import ColumnSets, EvalSets, Source
from flows.submit import failure_reason, submit
from flows.vectors import ArmVectors, Indexes, Radii, served_index
from tasks.bundle_stages import bundle, tabulate
from tasks.kinds import BuiltIndex, BundleTables, EvalSet, ModelBundle, TunedBm25


def build_bundles(
    spec: Experiment,
    source: Source,
    columns: ColumnSets,
    arms: TrainedArms,
    vectors: ArmVectors,
    indexes: Indexes,
    radii: Radii,
    fusions: Fusions,
    searches: EvalSets,
    bm25: TunedBm25,
) -> dict[str, ModelBundle]:
    """A bundle for each arm and ensemble; through exact search, if the index that is served could not be built. Waits
    for these indexes."""
    runs = {name: (name, spec.seeds[0]) for name in (*spec.arms, *spec.ensembles)}
    if not runs:
        return {}
    tables = tabulate_documents(spec, source, searches.test, bm25)
    return {
        name: submit(
            bundle,
            (name,),
            tables,
            searches.test,
            [arms.towers[part] for part in parts_of_run(spec, run)],
            vectors.test[run],
            indexes[run, EXACT]
            if failure_reason(indexes[run, served_index(spec)])
            else indexes[run, served_index(spec)],
            radii[run],
            vectors.weights.get(run),
            [columns[read] for part, _ in parts_of_run(spec, run) if (read := spec.arms[part].features) in columns],
            fusions.weights[run],
            fusions.modes[run],
            name,
            run[1],
            spec.evaluation.ks,
            spec.bundle,
        )
        for name, run in runs.items()
    }


def _usable(index: BuiltIndex, exact: BuiltIndex) -> BuiltIndex:
    """The index, or exact search if it could not be built."""
    return exact if failure_reason(index) else index


def tabulate_documents(spec: Experiment, source: Source, test: EvalSet, bm25: TunedBm25) -> BundleTables:
    """What every bundle of the experiment holds: documents, terms, searchers."""
    own = source.own
    return submit(
        tabulate, (), source.log, test, bm25, own.documents, own.places, spec.serving, own_names=own.own_names
    )


def parts_of_run(spec: Experiment, run: ArmRun) -> list[ArmRun]:
    """The arms and seeds of an ensemble; for an arm, its own run."""
    return spec.ensembles[run[0]].runs(run[1], spec.seeds) if run[0] in spec.ensembles else [run]
