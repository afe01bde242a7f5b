"""The child runs of an experiment in MLflow: of baselines, arms, ensembles, hybrids, lists, rankers and a refit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml

from data.experiment.experiment_spec import ORACLES, Experiment
from ebr_core.search.modes import LATEST, MODES, is_of_arm, row_of
from ebr_core.towers.tower_config import dimensions_of
from tasks.artifacts import Artifact
from tasks.ensemble_stages import EnsembleRun, read_weights
from tasks.finished_run import RefitRun, TrainedArm
from tasks.kinds import Log, ModelBundle, TrainedTowers
from tasks.ranker_stages import RankerRun, read_ranker_summary
from tasks.report import plots
from tasks.report.curves import line_styles, recall_by_k
from tasks.report.ranker_section import importance
from tasks.report.result import ResultRow
from tasks.tracking.logged_model import log_model
from tasks.tracking.run_metrics import arm_parameters, arm_tags, own_rows, recall_panels, run_metrics

if TYPE_CHECKING:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import Run

MOST_METRICS, MOST_PARAMETERS = 1000, 100  # that MLflow accepts at once
LONGEST_TAG = 5000


def dataset_of(experiment: Experiment, log: Log) -> MetaDataset:
    """The log as MLflow names it."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = CodeDatasetSource({"layout": experiment.logs.layout, "artifact": log.folder.name})
    return MetaDataset(source, name=f"log-{log.digest[:8]}", digest=log.digest)  # type: ignore[abstract] # its stub


@contextmanager
def _child_run(name: str, tags: dict[str, Any]) -> Iterator[Run]:
    """A run within the one that is open, with these tags."""
    import mlflow

    parent = mlflow.active_run()
    assert parent is not None, "a child run needs a run that is open"
    with mlflow.start_run(experiment_id=parent.info.experiment_id, run_name=name, nested=True) as run:
        mlflow.set_tags(tags)
        yield run


def log_baseline(name: str, experiment: Experiment, log: Log, rows: list[ResultRow]) -> None:
    """A child run of a baseline or an oracle."""
    import mlflow

    dataset = dataset_of(experiment, log)
    with _child_run(name, arm_tags(name, "oracle" if name in ORACLES else "baseline", rows, experiment)):
        mlflow.log_input(dataset, context="evaluation")
        mlflow.log_metrics(run_metrics(rows, name, None, experiment), dataset=dataset)


def log_arm(
    run: TrainedArm, experiment: Experiment, log: Log, rows: list[ResultRow], bundle: ModelBundle | None
) -> None:
    """A child run of an arm with one seed: its settings, figures, course, and its bundle."""
    import mlflow

    name, seed, dataset = run.arm, run.seed, dataset_of(experiment, log)
    with _child_run(f"{name}-{seed}", arm_tags(name, "arm", rows, experiment) | {"seed": seed}) as child:
        mlflow.log_input(dataset, context="training")
        _log_parameters(arm_parameters(name, experiment) | {"seed": seed})
        mlflow.log_text(yaml.safe_dump(experiment.arms[name].model_dump(mode="json"), sort_keys=False), "arm.yaml")
        if run.error:
            mlflow.set_tag("error", run.error[:LONGEST_TAG])
        model = log_model(bundle) if bundle and not run.error else None
        metrics = run_metrics(rows, name, seed, experiment)  # the page compares the first one first
        mlflow.log_metrics(metrics, model_id=model, dataset=dataset)
        if run.towers and not run.error:
            _log_training(run.towers)
            _log_curves(name, own_rows(rows, name, seed, experiment))
        _log_hybrids(name, seed, experiment, rows)
    if run.error:
        mlflow.MlflowClient().set_terminated(child.info.run_id, "FAILED")  # the end of the block set FINISHED


def _log_parameters(parameters: dict[str, Any]) -> None:
    import mlflow

    names = list(parameters)
    for first in range(0, len(names), MOST_PARAMETERS):
        mlflow.log_params({name: parameters[name] for name in names[first : first + MOST_PARAMETERS]})


def log_refit(run: RefitRun, experiment: Experiment, log: Log, rows: list[ResultRow], bundle: ModelBundle) -> None:
    """A child run of what was trained on the validation, too: its figures, the cost of its towers, its bundle."""
    import mlflow

    tags = arm_tags(run.arm, "refit", rows, experiment) | {"seed": run.seed, "refit_of": run.source}
    with _child_run(f"{run.arm}-{run.seed}", tags):
        dataset = dataset_of(experiment, log)
        mlflow.log_input(dataset, context="training")
        metrics = run_metrics(rows, run.arm, run.seed, experiment)
        mlflow.log_metrics(metrics, model_id=log_model(bundle), dataset=dataset)
        costs = [read_json(towers, "costs.json")["train_s"] for towers in run.towers]
        mlflow.log_metric("cost/train_s", sum(costs))
        _log_curves(run.arm, own_rows(rows, run.arm, run.seed, experiment))


def _log_training(towers: TrainedTowers) -> None:
    import mlflow
    from mlflow.entities import Metric

    epochs, parent = read_json(towers, "epochs.json"), mlflow.active_run()
    assert parent is not None, "metrics need a run that is open"
    mlflow.set_tag("training_ended", read_json(towers, "trials.json")["ended"])
    now = int(time.time() * 1000)
    course = [
        Metric(f"epoch/{key}", value, now, epoch["epoch"])
        for epoch in epochs
        for key, value in epoch.items()
        if key != "epoch" and value is not None
    ]
    for first in range(0, len(course), MOST_METRICS):
        mlflow.MlflowClient().log_batch(parent.info.run_id, course[first : first + MOST_METRICS])
    mlflow.log_metrics({f"cost/{key}": value for key, value in read_json(towers, "costs.json").items()})
    mlflow.log_metrics({f"weight.{key}": value for key, value in read_json(towers, "weights.json").items()})
    mlflow.log_figure(plots.by_epoch(epochs), "plots/by_epoch.png")


def _log_curves(arm: str, rows: list[ResultRow]) -> None:
    """Log the recall by K of one run as a picture, a line for each target set; nothing for a run whose lists failed."""
    import mlflow

    by_targets = {targets: curve for targets, curves in recall_panels(rows).items() for curve in curves.values()}
    if by_targets:
        mlflow.log_figure(recall_by_k(by_targets, line_styles(by_targets), arm), "plots/recall_by_k.png")


def read_json(artifact: Artifact, name: str) -> Any:
    """The content of a JSON file of an artifact."""
    return json.loads((artifact.folder / name).read_text())


def log_list(name: str, experiment: Experiment, rows: list[ResultRow], bundle: ModelBundle | None) -> None:
    """A child run of a list that is not trained, with the figures of its first seed, and its bundle."""
    import mlflow

    spec = experiment.combined_lists[name]
    seed = experiment.seeds[0] if spec.vector_sources else None
    with _child_run(name, arm_tags(name, experiment.kind_of_list(name), rows, experiment)):
        settings = spec.model_dump(mode="json").items()
        mlflow.log_params({key: str(value) for key, value in settings if value is not None})
        model = log_model(bundle) if bundle else None
        mlflow.log_metrics(run_metrics(rows, name, seed, experiment, has_own_index=True), model_id=model)


def log_ranker(run: RankerRun, experiment: Experiment, rows: list[ResultRow], bundle: ModelBundle | None) -> None:
    """A child run of a ranker with one seed: its settings, figures, course, trees, the importance of features, and its
    bundle."""
    import mlflow
    from mlflow.entities import Metric

    name, seed, trained = run.arm, run.seed, read_ranker_summary(run.ranker)
    tags = arm_tags(name, "ranker", rows, experiment) | {"seed": seed, "bias": trained["bias"]}
    with _child_run(f"{name}-{seed}", tags) as child:
        mlflow.log_params(experiment.rankers[name].model_dump(mode="json") | {"seed": seed})
        metrics = run_metrics(rows, name, seed, experiment, has_own_index=True)
        model = log_model(bundle) if bundle else None
        mlflow.log_metrics(metrics | {"trees": trained["trees"]}, model_id=model)
        now = int(time.time() * 1000)
        course = [Metric("held_out/ndcg_at_10", value, now, step) for step, value in enumerate(trained["held_out"], 1)]
        mlflow.MlflowClient().log_batch(child.info.run_id, course[:MOST_METRICS])  # ranker.json has all
        mlflow.log_text(json.dumps(trained, indent=1), "results/ranker.json")
        mlflow.log_artifact(str(run.ranker.folder / "ranker.txt"), "model")
        mlflow.log_figure(plots.importance({name: importance(trained["gains"])}), "plots/importance.png")


def log_ensemble(
    run: EnsembleRun, experiment: Experiment, log: Log, rows: list[ResultRow], bundle: ModelBundle | None
) -> None:
    """A child run of an ensemble with one seed, as for an arm: its parts and weights, its figures, its bundle."""
    import mlflow

    name, seed, dataset = run.arm, run.seed, dataset_of(experiment, log)
    with _child_run(f"{name}-{seed}", arm_tags(name, "ensemble", rows, experiment) | {"seed": seed}):
        mlflow.log_input(dataset, context="training")
        weights, parts = read_weights(run.weights), experiment.ensembles[name].parts
        dimensions = sum(dimensions_of(experiment.arms[part].towers) for part in parts)
        mlflow.log_params({"parts": ", ".join(parts), "seed": seed, "towers.dimensions": dimensions})
        mlflow.log_text(json.dumps(weights, indent=1), "results/ensemble.json")
        model = log_model(bundle) if bundle else None
        mlflow.log_metrics(run_metrics(rows, name, seed, experiment), model_id=model, dataset=dataset)
        mlflow.log_metrics({f"weight.{at}.{part}": weights["weights"][at] for at, part in enumerate(parts)})
        mlflow.log_metrics({f"cost/{key}": value for key, value in read_json(run.weights, "costs.json").items()})
        mlflow.log_metrics(
            {"validation_recall": weights["recall"], "validation_recall.equal_weights": weights["equal"]}
        )
        _log_curves(name, own_rows(rows, name, seed, experiment))
        _log_hybrids(name, seed, experiment, rows)


def _log_hybrids(arm: str, seed: int, experiment: Experiment, rows: list[ResultRow]) -> None:
    """A run inside that of an arm or ensemble for each row that is made of it and was measured, with its figures: its
    hybrids with BM25, and what it retrieves with the latest clicks."""
    import mlflow

    for mode, name in [*((mode, row_of(arm, mode)) for mode in MODES), ("latest", arm + LATEST)]:
        if not is_of_arm(name) and own_rows(rows, name, seed, experiment):
            with _child_run(f"{name}-{seed}", arm_tags(name, "hybrid", rows, experiment) | {"seed": seed, "of": arm}):
                mlflow.log_params({"mode": mode, "seed": seed})
                mlflow.log_metrics(run_metrics(rows, name, seed, experiment))
