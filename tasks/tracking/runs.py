"""A finished run in MLflow, which mirrors the files: a parent run, and a child run for each arm and seed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import mlflow
import yaml
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Run
from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from data.experiment.experiment_spec import ORACLES, REFIT, Experiment
from ebr_core.frozen import Frozen
from tasks.artifacts import Artifact
from tasks.ensemble_stages import EnsembleRun, read_weights
from tasks.finished_run import FinishedRun, RefitRun, ServedRow, TrainedArm
from tasks.kinds import BuiltIndex, EvalSet, Log, ModelBundle, RunReport, RunResults, TrainedTowers
from tasks.ranker_stages import RankerRun, read_ranker_summary
from tasks.report import plots
from tasks.report.answers import verdict_tags
from tasks.report.curves import line_styles, recall_by_k
from tasks.report.ranker_section import importance
from tasks.report.result import ResultRow, arms_in_order, read_rows
from tasks.report.seed_means import over_seeds
from tasks.tracking.logged_model import log_model
from tasks.tracking.mlflow_store import open_experiment, process_tags
from tasks.tracking.run_metrics import arm_tags, own_rows, recall_panels, run_metrics, varied_parameters

MOST_METRICS = 1000  # that MLflow accepts at once
LONGEST_TAG = 5000


class Outcome(Frozen):
    """The artifacts and MLflow runs of a finished run, and what failed."""

    experiment: str
    log: Log
    sample: EvalSet
    results: RunResults
    report: RunReport
    mlflow_experiment_id: str
    mlflow_run_id: str
    failures: dict[str, str]  # arm and seed → error
    served: ServedRow | None
    looks: int  # at the test of this log, with this one


@task(name="track")
def track(run: FinishedRun, results: RunResults, report: RunReport) -> Outcome:
    """Write a finished run into MLflow: parameters, metrics by epoch, final metrics, dataset, report, plots, and the
    champion's bundle as a model."""
    experiment_id, spec = open_experiment(run.experiment), run.spec
    rows = read_rows(results.folder / "results.parquet")
    measured_arms = {row.arm for row in rows}
    champion, bundles = run.served.arm if run.served else None, {}
    if champion in run.bundles and not run.refit:
        bundles[champion, spec.seeds[0]] = run.bundles[champion]
    name = f"{run.experiment} {datetime.now():%Y-%m-%d %H:%M}"
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=process_tags()) as parent:
        _log_parent(spec, run.log, run.searches, results, rows)
        _log_report(report, rows, experiment_id, spec.evaluation.main_k)
        baselines = (*spec.baselines, *(name + REFIT for name in spec.baselines), *ORACLES)
        for name in (name for name in baselines if name in measured_arms):
            _log_baseline(name, spec, run.log, rows)
        for name in (name for name in spec.combined_lists if name in measured_arms and name not in spec.rankers):
            _log_list(name, spec, rows)
        for ranker in run.rankers:
            _log_ranker(ranker, spec, rows)
        for ensemble in run.ensembles:
            _log_ensemble(ensemble, spec, run.log, rows, bundles.get((ensemble.arm, ensemble.seed)))
        for arm in (arm for arm in run.trained if arm.seed in spec.seeds):
            _log_arm(arm, spec, run.log, rows, bundles.get((arm.arm, arm.seed)))
        if run.refit and champion:
            _log_refit(run.refit, spec, run.log, rows, run.bundles[champion])
        _log_tuning(run.indexes)
        mlflow.set_tags({"failures": len(run.failures), "champion": champion or "none"})
        mlflow.set_tags({"served": run.served.row} if run.served else {})
    if run.failures:
        mlflow.MlflowClient().set_terminated(parent.info.run_id, "FAILED")
    return Outcome(
        experiment=run.experiment,
        log=run.log,
        sample=run.searches,
        results=results,
        report=report,
        mlflow_experiment_id=experiment_id,
        mlflow_run_id=parent.info.run_id,
        failures=run.failures,
        served=run.served,
        looks=run.looks,
    )


def _log_parent(experiment: Experiment, log: Log, sample: EvalSet, results: RunResults, rows: list[ResultRow]) -> None:
    mlflow.set_tags({f"question.{name}": "asked" for name in experiment.questions} | {"kind": "experiment"})
    settings = {"layout": experiment.logs.layout, "arms": len(experiment.arms), "seeds": str(list(experiment.seeds))}
    mlflow.log_params(settings)
    mlflow.log_input(_dataset(experiment, log), context="training")
    mlflow.log_text(experiment.to_yaml(), "experiment.yaml")
    mlflow.log_artifact(str(log.folder / "report.json"), "data")
    mlflow.log_artifact(str(sample.folder / "counts.json"), "data")
    for name in ("results.parquet", "per_search.parquet", "checks.json"):
        mlflow.log_artifact(str(results.folder / name), "results")
    styles = line_styles(arms_in_order(rows, experiment.model_dump()))
    for targets, curves in recall_panels(over_seeds(rows)).items():
        mlflow.log_figure(recall_by_k(curves, styles, targets), f"plots/recall_by_k.{targets}.png")


def _log_report(report: RunReport, rows: list[ResultRow], experiment_id: str, k: int) -> None:
    """Log the report and its files; show its answers on the page of the run and on that of Prefect."""
    for file in sorted(report.folder.iterdir()):
        if file.suffix in (".html", ".md", ".svg"):
            mlflow.log_artifact(str(file), "report")
        elif file.name in ("audit.json", "costs.parquet", "run.json"):
            mlflow.log_artifact(str(file), "results")
    answers = (report.folder / "report.md").read_text(encoding="utf-8").partition("\n## Differences")[0]
    by_recall = f"compareRunsMode=CHART&orderByKey=metrics.%60recall_at_{k}%60&orderByAsc=false"
    charts = f"[Charts of all arms, side by side](#/experiments/{experiment_id}/runs?{by_recall})"
    tags = {"mlflow.note.content": f"{charts}\n\n{answers}", "report": report.folder.name}
    mlflow.set_tags(tags | verdict_tags(rows))
    address = (report.folder / "report.html").as_uri()
    page = f"{answers}\n\nThe whole report: {address}\n"
    create_markdown_artifact(page, key="report", description="The answers of the run")
    create_link_artifact(address, "report.html", key="report-page", description="The report as a page of its own")


def _dataset(experiment: Experiment, log: Log) -> MetaDataset:
    source = CodeDatasetSource({"layout": experiment.logs.layout, "artifact": log.folder.name})
    return MetaDataset(source, name=f"log-{log.digest[:8]}", digest=log.digest)  # type: ignore[abstract] # its stub


@contextmanager
def _child_run(name: str, tags: dict[str, Any]) -> Iterator[Run]:
    """A run within the one that is open, with these tags."""
    parent = mlflow.active_run()
    assert parent is not None, "a child run needs a run that is open"
    with mlflow.start_run(experiment_id=parent.info.experiment_id, run_name=name, nested=True) as run:
        mlflow.set_tags(tags)
        yield run


def _log_baseline(name: str, experiment: Experiment, log: Log, rows: list[ResultRow]) -> None:
    """A child run of a baseline or an oracle."""
    dataset = _dataset(experiment, log)
    with _child_run(name, arm_tags(name, "oracle" if name in ORACLES else "baseline", rows, experiment)):
        mlflow.log_input(dataset, context="evaluation")
        mlflow.log_metrics(run_metrics(rows, name, None, experiment), dataset=dataset)


def _log_arm(
    run: TrainedArm, experiment: Experiment, log: Log, rows: list[ResultRow], bundle: ModelBundle | None
) -> None:
    """A child run of an arm with one seed: its settings, figures, course, and its bundle."""
    name, seed, dataset = run.arm, run.seed, _dataset(experiment, log)
    with _child_run(f"{name}-{seed}", arm_tags(name, "arm", rows, experiment) | {"seed": seed}) as child:
        mlflow.log_input(dataset, context="training")
        mlflow.log_params(varied_parameters(name, experiment) | {"seed": seed})
        mlflow.log_text(yaml.safe_dump(experiment.arms[name].model_dump(mode="json"), sort_keys=False), "arm.yaml")
        if run.error:
            mlflow.set_tag("error", run.error[:LONGEST_TAG])
        model = log_model(bundle) if bundle and not run.error else None
        metrics = run_metrics(rows, name, seed, experiment)  # the page compares the first one first
        mlflow.log_metrics(metrics, model_id=model, dataset=dataset)
        if run.towers and not run.error:
            _log_training(run.towers)
            _log_curves(name, own_rows(rows, name, seed, experiment))
    if run.error:
        mlflow.MlflowClient().set_terminated(child.info.run_id, "FAILED")  # the end of the block set FINISHED


def _log_refit(run: RefitRun, experiment: Experiment, log: Log, rows: list[ResultRow], bundle: ModelBundle) -> None:
    """A child run of what was trained on the validation, too: its figures, the cost of its towers, its bundle."""
    tags = arm_tags(run.arm, "refit", rows, experiment) | {"seed": run.seed, "refit_of": run.source}
    with _child_run(f"{run.arm}-{run.seed}", tags):
        dataset = _dataset(experiment, log)
        mlflow.log_input(dataset, context="training")
        metrics = run_metrics(rows, run.arm, run.seed, experiment)
        mlflow.log_metrics(metrics, model_id=log_model(bundle), dataset=dataset)
        costs = [_read(towers, "costs.json")["train_s"] for towers in run.towers]
        mlflow.log_metric("cost/train_s", sum(costs))
        _log_curves(run.arm, own_rows(rows, run.arm, run.seed, experiment))


def _log_training(towers: TrainedTowers) -> None:
    epochs = _read(towers, "epochs.json")
    mlflow.set_tag("training_ended", _read(towers, "trials.json")["ended"])
    for epoch in epochs:
        metrics = {f"epoch/{key}": value for key, value in epoch.items() if key != "epoch"}
        mlflow.log_metrics(metrics, step=epoch["epoch"])
    mlflow.log_metrics({f"cost/{key}": value for key, value in _read(towers, "costs.json").items()})
    mlflow.log_metrics({f"weight.{key}": value for key, value in _read(towers, "weights.json").items()})
    mlflow.log_figure(plots.by_epoch(epochs), "plots/by_epoch.png")


def _log_curves(arm: str, rows: list[ResultRow]) -> None:
    """Log the recall by K of one run as a picture, a line for each target set; nothing for a run whose lists failed."""
    by_targets = {targets: curve for targets, curves in recall_panels(rows).items() for curve in curves.values()}
    if by_targets:
        mlflow.log_figure(recall_by_k(by_targets, line_styles(by_targets), arm), "plots/recall_by_k.png")


def _read(artifact: Artifact, name: str) -> Any:
    return json.loads((artifact.folder / name).read_text())


def _log_list(name: str, experiment: Experiment, rows: list[ResultRow]) -> None:
    """A child run of a list that is not trained, with the figures of its first seed."""
    spec = experiment.combined_lists[name]
    seed = experiment.seeds[0] if spec.vector_sources else None
    with _child_run(name, arm_tags(name, experiment.kind_of_list(name), rows, experiment)):
        settings = spec.model_dump(mode="json").items()
        mlflow.log_params({key: str(value) for key, value in settings if value is not None})
        mlflow.log_metrics(run_metrics(rows, name, seed, experiment, has_own_index=True))


def _log_ranker(run: RankerRun, experiment: Experiment, rows: list[ResultRow]) -> None:
    """A child run of a ranker with one seed: its settings, figures, course, trees and the importance of features."""
    name, seed, trained = run.arm, run.seed, read_ranker_summary(run.ranker)
    tags = arm_tags(name, "ranker", rows, experiment) | {"seed": seed, "bias": trained["bias"]}
    with _child_run(f"{name}-{seed}", tags) as child:
        mlflow.log_params(experiment.rankers[name].model_dump(mode="json") | {"seed": seed})
        metrics = run_metrics(rows, name, seed, experiment, has_own_index=True)
        mlflow.log_metrics(metrics | {"trees": trained["trees"]})
        now = int(time.time() * 1000)
        course = [Metric("held_out/ndcg_at_10", value, now, step) for step, value in enumerate(trained["held_out"], 1)]
        mlflow.MlflowClient().log_batch(child.info.run_id, course[:MOST_METRICS])  # ranker.json has all
        mlflow.log_text(json.dumps(trained, indent=1), "results/ranker.json")
        mlflow.log_artifact(str(run.ranker.folder / "ranker.txt"), "model")
        mlflow.log_figure(plots.importance({name: importance(trained["gains"])}), "plots/importance.png")


def _log_ensemble(
    run: EnsembleRun, experiment: Experiment, log: Log, rows: list[ResultRow], bundle: ModelBundle | None
) -> None:
    """A child run of an ensemble with one seed, as for an arm: its parts and weights, its figures, its bundle."""
    name, seed, dataset = run.arm, run.seed, _dataset(experiment, log)
    with _child_run(f"{name}-{seed}", arm_tags(name, "ensemble", rows, experiment) | {"seed": seed}):
        mlflow.log_input(dataset, context="training")
        weights, parts = read_weights(run.weights), experiment.ensembles[name].parts
        dimensions = sum(experiment.arms[part].towers.dimensions for part in parts)
        mlflow.log_params({"parts": ", ".join(parts), "seed": seed, "towers.dimensions": dimensions})
        mlflow.log_text(json.dumps(weights, indent=1), "results/ensemble.json")
        model = log_model(bundle) if bundle else None
        mlflow.log_metrics(run_metrics(rows, name, seed, experiment), model_id=model, dataset=dataset)
        mlflow.log_metrics({f"weight.{at}.{part}": weights["weights"][at] for at, part in enumerate(parts)})
        mlflow.log_metrics({f"cost/{key}": value for key, value in _read(run.weights, "costs.json").items()})
        mlflow.log_metrics(
            {"validation_recall": weights["recall"], "validation_recall.equal_weights": weights["equal"]}
        )
        _log_curves(name, own_rows(rows, name, seed, experiment))


def _log_tuning(indexes: dict[str, dict[str, BuiltIndex]]) -> None:
    """Log the settings that the tuning of indexes tried, for each arm and seed, as a plot and as JSON."""
    for label, by_name in indexes.items():
        tuned_indexes = {name: index for name, index in by_name.items() if (index.folder / "tuning.json").exists()}
        points = {name: _read(index, "tuning.json") for name, index in tuned_indexes.items()}
        if points:
            mlflow.log_figure(plots.recall_by_scanned(points, label), f"plots/recall_by_scanned.{label}.png")
            mlflow.log_text(json.dumps(points, indent=1), f"results/tuning.{label}.json")
