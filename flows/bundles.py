"""Build bundles: for each arm, a model of the first seed that answers queries with the arm's tuned index."""

from __future__ import annotations

from collections.abc import Mapping

from data.experiment.experiment_spec import Experiment
from flows.arms import ArmRun, TrainedArms
from flows.sources import EvalSets, Source
from flows.submit import settle, submit
from flows.vectors import ArmVectors, Indexes, Radii, is_servable, served_index
from tasks.bundle_stages import bundle, champion_of, tabulate
from tasks.ensemble_stages import weighted_recall
from tasks.kinds import EnsembleWeights, ModelBundle, TrainedTowers, TunedBm25
from tasks.training_stages import best_recall


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
            [arms.towers[part] for part in parts_of_run(spec, run)],
            vectors.test[run],
            indexes[run, served_index(spec)],
            radii[run],
            vectors.weights.get(run),
            name,
            run[1],
        )
        for name, run in runs.items()
    }


def parts_of_run(spec: Experiment, run: ArmRun) -> list[ArmRun]:
    """The arms and seeds of an ensemble; for an arm, its own run."""
    return spec.ensembles[run[0]].runs(run[1], spec.seeds) if run[0] in spec.ensembles else [run]


def served_arm(
    spec: Experiment,
    towers: Mapping[ArmRun, TrainedTowers],
    weights: Mapping[ArmRun, EnsembleWeights],
    bundles: Mapping[str, ModelBundle],
) -> str | None:
    """The champion: the arm or ensemble with the highest validation recall among those with a bundle; None without
    bundles. Waits for them."""
    return champion_of(settle(bundles)[0], validation_recalls(spec, towers, weights))


def validation_recalls(
    spec: Experiment, towers: Mapping[ArmRun, TrainedTowers], weights: Mapping[ArmRun, EnsembleWeights]
) -> dict[str, float]:
    """Arm or ensemble → its validation recall with the first seed, without those that failed."""
    first = spec.seeds[0]
    trained, _ = settle({name: promise for (name, seed), promise in towers.items() if seed == first})
    weighed, _ = settle({name: promise for (name, seed), promise in weights.items() if seed == first})
    recalls = {name: best_recall(artifact) for name, artifact in trained.items() if name in spec.arms}
    return recalls | {name: weighted_recall(artifact) for name, artifact in weighed.items()}
