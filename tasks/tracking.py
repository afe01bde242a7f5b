"""MLflow mirrors the files: one parent run an experiment, one child run an arm and seed. mlflow lives here and
nowhere else,
but for the served model's own file."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow.parquet as pq
import yaml
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import LoggedModelStatus, Metric, Run
from mlflow.models import ModelSignature
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array
from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

import ebr_core
from data.experiment import BASELINES, ORACLES, Experiment, arm_of
from ebr_core.bundle import ASKED
from ebr_core.cascade import Cascade
from ebr_core.config import Arm
from ebr_core.frozen import Frozen
from ebr_core.hybrid import Retrieval
from tasks import plots
from tasks.answers import difference_metrics, verdict_tags
from tasks.artifacts import Artifact
from tasks.ensembles import Joined, weighed
from tasks.evaluation import COUNTS
from tasks.home import home
from tasks.nights import Champion, Night
from tasks.process import is_gone, myself
from tasks.ranker_section import importance
from tasks.ranking import RankerTrained, trained_of

MODEL_CODE = Path(__file__).with_name("served_model.py")
MODEL_NEEDS = (
    *("bm25s", "faiss-cpu", "mlflow", "numba", "numpy", "pandas", "pyarrow", "pydantic", "PyStemmer"),
    *("safetensors", "scipy", "torch"),
)
MODEL_PARAMS = {"mode": "hybrid", "radius": "none", "where": "", "output": "documents"}


class TrainedArm(Frozen):
    """What became of one arm with one seed."""

    arm: str
    seed: int
    towers: Artifact | None
    error: str | None = None


class Outcome(Frozen):
    """Where everything of a run is to be found."""

    experiment: str
    log: Artifact
    sample: Artifact
    results: Artifact
    report: Artifact
    mlflow_experiment_id: str
    mlflow_run_id: str
    failures: dict[str, str]  # arm and seed → why


@task(name="track")
def track(
    experiment: str,
    asked: Experiment,
    log: Artifact,
    sample: Artifact,
    trained: list[TrainedArm],
    failures: dict[str, str],
    results: Artifact,
    report: Artifact,
    indexes: dict[str, dict[str, Artifact]],
    champion: str | None,
    bundles: dict[str, Artifact],
    joined: list[Joined],
    rankers: list[RankerTrained],
) -> Outcome:
    """Writes a finished run into MLflow: parameters, metrics by epoch, final metrics, dataset, report, plots, and the
    champion's bundle as a model."""
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    make_database()
    with _alone():
        experiment_id = _experiment(experiment)
        close_dead(experiment_id)
    rows = pq.read_table(results.folder / "results.parquet").to_pylist()
    name = f"{experiment} {datetime.now():%Y-%m-%d %H:%M}"
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=_teller()) as parent:
        _log_parent(asked, log, sample, results, rows)
        _log_report(report, rows, experiment_id)
        measured = {row["arm"] for row in rows}
        for name in (name for name in (*BASELINES, *ORACLES) if name in measured):
            _log_child(parent, name, None, asked, log, rows)
        for name in (name for name in (*asked.retrievals, *asked.cascades, *asked.filters) if name in measured):
            _log_retrieval(parent, name, asked, rows)
        for ranker in rankers:
            _log_ranker(parent, ranker, asked, rows)
        for each in joined:
            crowned = each.arm == champion and each.seed == asked.seeds[0]
            _log_ensemble(parent, each, asked, log, rows, bundles[each.arm] if crowned else None)
        for run in trained:
            crowned = run.arm == champion and run.seed == asked.seeds[0]
            _log_child(parent, run.arm, run, asked, log, rows, bundles[run.arm] if crowned else None)
        _log_tuning(indexes)
        mlflow.set_tags({"failures": len(failures), "champion": champion or "none"})
    if failures:
        mlflow.MlflowClient().set_terminated(parent.info.run_id, "FAILED")
    return Outcome(
        experiment=experiment,
        log=log,
        sample=sample,
        results=results,
        report=report,
        mlflow_experiment_id=experiment_id,
        mlflow_run_id=parent.info.run_id,
        failures=failures,
    )


def make_database() -> None:
    """Makes MLflow's database where EBR_HOME is to hold it and does not: whole, or not at all.

    MLflow makes it in place, table by table, and can never open what a process left that was killed meanwhile.
    """
    place = home() / "mlflow.db"
    if place.exists() or os.environ["MLFLOW_TRACKING_URI"] != f"sqlite:///{place}":
        return
    with _alone():
        if place.exists():
            return
        unfinished = home() / ".mlflow.db"
        for left in home().glob(".mlflow.db*"):
            left.unlink()
        store = SqlAlchemyStore(f"sqlite:///{unfinished}", (home() / "mlflow-artifacts").as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        unfinished.rename(place)


@contextmanager
def _alone() -> Iterator[None]:
    """What is done by one process of a home at a time; one that dies lets go."""
    with (home() / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def close_dead(experiment_id: str) -> None:
    """Marks as killed what a process that is gone began to tell, with its children; the next run tells it whole."""
    client = mlflow.MlflowClient()
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    dead = {run.info.run_id for run in running if _is_of_the_dead(run)}
    for run in running:
        if dead & {run.info.run_id, run.data.tags.get("mlflow.parentRunId")}:
            client.set_terminated(run.info.run_id, "KILLED")


def _teller() -> dict[str, str]:
    """The tags by which a run whose process is gone is found."""
    return {"host": socket.gethostname(), "process": myself()}


def _is_of_the_dead(run: Run) -> bool:
    tags = run.data.tags
    return "process" in tags and is_gone(tags["process"], tags.get("host"))


@task(name="track night")
def track_night(night: Night) -> None:
    """Writes a night into MLflow: a run with its figures, the same one if it is told again."""
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    with _night_run(night.experiment, str(night.day)):
        mlflow.set_tags(
            {"decision": night.decision, "reason": night.reason[:5000], "training": night.training or "none"}
            | {"champion": str(night.champion.day) if night.champion else "none"}
        )
        measured = {"challenger_recall": night.recall, "champion_recall": night.champion_recall}
        if night.against:
            measured |= {"difference": night.against[0].difference, "difference_bound": night.against[0].bound}
        measured |= {f"day/{name}": value for name, value in night.figures.items()}
        mlflow.log_metrics({name: value for name, value in measured.items() if value is not None})
        mlflow.log_text(night.model_dump_json(indent=1), "night.json")


@task(name="register")
def register(experiment: str, champion: Champion) -> None:
    """Makes the champion's bundle a version of the experiment's registered model, once however often it is told."""
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    if champion.bundle.folder.name in _versions(experiment):
        return
    with _night_run(experiment, str(champion.day)) as run:
        model = _saved(run, champion.bundle) or _log_model(champion.bundle)
        tags = {"bundle": champion.bundle.folder.name, "day": str(champion.day), "arm": champion.arm}
        mlflow.register_model(f"models:/{model}", experiment, tags=tags)


def _saved(run: Run, bundle: Artifact) -> str | None:
    """The id of the bundle's model, where a killed night came to save it and not to register it."""
    wanted = f"source_run_id = '{run.info.run_id}' AND tags.bundle = '{bundle.folder.name}'"
    found = mlflow.MlflowClient().search_logged_models([run.info.experiment_id], wanted)
    return next((str(model.model_id) for model in found if model.status == LoggedModelStatus.READY), None)


@task(name="point at champions")
def point_at(experiment: str, champion: Champion, previous: Champion | None) -> None:
    """Moves the aliases `champion` and `previous` of the registered model. Both have to be registered."""
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client, versions = mlflow.MlflowClient(), _versions(experiment)
    client.set_registered_model_alias(experiment, "champion", versions[champion.bundle.folder.name])
    if previous:
        client.set_registered_model_alias(experiment, "previous", versions[previous.bundle.folder.name])
    else:
        client.delete_registered_model_alias(experiment, "previous")


def _night_run(experiment: str, day: str) -> mlflow.ActiveRun:
    """The run of a night, found again by its tags or begun; those of killed nights are marked as killed."""
    make_database()
    with _alone():
        experiment_id = _experiment(experiment)
        close_dead(experiment_id)
    found = mlflow.MlflowClient().search_runs([experiment_id], f"tags.kind = 'night' and tags.day = '{day}'")
    if found:
        run = mlflow.start_run(run_id=found[0].info.run_id)
        mlflow.set_tags(_teller())
        return run
    tags = {"kind": "night", "day": day} | _teller()
    return mlflow.start_run(experiment_id=experiment_id, run_name=f"night {day}", tags=tags)


def _versions(experiment: str) -> dict[str, str]:
    """The bundles that are registered → the version of each."""
    found = mlflow.MlflowClient().search_model_versions(f"name = '{experiment}'")
    return {str(version.tags.get("bundle")): str(version.version) for version in found}


def _experiment(name: str) -> str:
    """The id of the MLflow experiment of that name, made on first use and marked so that the page opens on its runs."""
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    tags = {"mlflow.experimentKind": "custom_model_development"}
    place = (home() / "mlflow-artifacts").as_uri() if str(mlflow.get_tracking_uri()).startswith("sqlite") else None
    return str(mlflow.create_experiment(name, place, tags))


def _log_parent(
    asked: Experiment, log: Artifact, sample: Artifact, results: Artifact, rows: list[dict[str, Any]]
) -> None:
    mlflow.set_tags({f"question.{name}": "asked" for name in asked.questions} | {"kind": "experiment"})
    mlflow.log_params({"layout": asked.logs.layout, "arms": len(asked.arms), "seeds": str(list(asked.seeds))})
    mlflow.log_input(_dataset(asked, log), context="training")
    mlflow.log_text(asked.shown(), "experiment.yaml")
    mlflow.log_artifact(str(log.folder / "report.json"), "data")
    mlflow.log_artifact(str(sample.folder / "counts.json"), "data")
    for name in ("results.parquet", "per_search.parquet", "checks.json"):
        mlflow.log_artifact(str(results.folder / name), "results")
    for targets, curves in _panels(rows).items():
        mlflow.log_figure(plots.recall_by_k({targets: curves}), f"plots/recall_by_k.{targets}.png")


def _log_report(report: Artifact, rows: list[dict[str, Any]], experiment_id: str) -> None:
    """The report and the files that it was made of; its answers stand on the run's page, and on Prefect's."""
    for file in sorted(report.folder.iterdir()):
        if file.suffix in (".html", ".md", ".svg"):
            mlflow.log_artifact(str(file), "report")
        elif file.name in ("audit.json", "costs.parquet", "run.json"):
            mlflow.log_artifact(str(file), "results")
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    answers = text[: text.find("\n## Differences")] if "\n## Differences" in text else text
    by_recall = "compareRunsMode=CHART&orderByKey=metrics.%60recall_at_10%60&orderByAsc=false"
    charts = f"[Charts of all arms, side by side](#/experiments/{experiment_id}/runs?{by_recall})"
    mlflow.set_tags(
        {"mlflow.note.content": f"{charts}\n\n{answers}", "report": report.folder.name} | verdict_tags(rows)
    )
    place = (report.folder / "report.html").as_uri()
    whole = f"{answers}\n\nThe whole report: {place}\n"
    create_markdown_artifact(whole, key="report", description="What the run says")
    create_link_artifact(place, "report.html", key="report-page", description="The report as a page of its own")


def _dataset(asked: Experiment, log: Artifact) -> MetaDataset:
    source = CodeDatasetSource({"layout": asked.logs.layout, "artifact": log.folder.name})
    return MetaDataset(source, name=f"log-{log.digest[:8]}", digest=log.digest)  # type: ignore[abstract] # its stub


def _panels(rows: list[dict[str, Any]]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """The curves of each target set: one set's recall says nothing of another's."""
    names = sorted({row["targets"] for row in rows})
    return {targets: _curves([row for row in rows if row["targets"] == targets]) for targets in names}


def _curves(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """(K, recall) of every run under exact search, over all searches."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if (
            row["question"] is None
            and row["slice"] == "all"
            and row["metric"] == "recall"
            and row["index"] in ("exact", "none")
        ):
            name = row["arm"] if not row["seed"] else f"{row['arm']}, seed {row['seed']}"
            curves.setdefault(name, []).append((row["k"], row["value"]))
    return {name: sorted(points) for name, points in curves.items()}


def _own_rows(rows: list[dict[str, Any]], name: str, seed: int | None, asked: Experiment) -> list[dict[str, Any]]:
    """What one run reached over all searches, the main recall first: the page compares by what is logged first."""
    wanted = (name, seed, None, "all")
    mine = [row for row in rows if (row["arm"], row["seed"], row["question"], row["slice"]) == wanted]
    return sorted(mine, key=lambda row: (row["metric"] != "recall", row["k"] != main_k(asked)))


def _log_child(
    parent: Run,
    name: str,
    run: TrainedArm | None,
    asked: Experiment,
    log: Artifact,
    rows: list[dict[str, Any]],
    bundle: Artifact | None = None,
) -> None:
    seed = run.seed if run else None
    mine = _own_rows(rows, name, seed, asked)
    metrics = {_metric_name(row): row["value"] for row in mine if _is_shown(row, asked)}
    metrics |= difference_metrics(rows, name)
    dataset = _dataset(asked, log)
    label = name if seed is None else f"{name}-{seed}"
    with mlflow.start_run(experiment_id=parent.info.experiment_id, run_name=label, nested=True) as child:
        kind = "arm" if run else "oracle" if name in ORACLES else "baseline"
        mlflow.set_tags({"kind": kind, "arm": name} | _question_tags(name, asked) | verdict_tags(rows, name))
        mlflow.log_input(dataset, context="training" if run else "evaluation")
        if run is None:
            mlflow.log_metrics(metrics, dataset=dataset)
            return
        mlflow.set_tag("seed", run.seed)
        mlflow.log_params(_parameters(name, asked) | {"seed": run.seed})
        mlflow.log_text(yaml.safe_dump(asked.arms[name].model_dump(mode="json"), sort_keys=False), "arm.yaml")
        model = None
        if run.error:
            mlflow.set_tag("error", run.error[:5000])
        elif bundle:
            model = _log_model(bundle)
        mlflow.log_metrics(metrics, model_id=model, dataset=dataset)  # the first is what the page compares first
        if run.towers and not run.error:
            _log_training(run.towers)
            mlflow.log_figure(plots.recall_by_k(_panels(mine)), "plots/recall_by_k.png")
    if run.error:
        mlflow.MlflowClient().set_terminated(child.info.run_id, "FAILED")  # leaving the block said FINISHED


def _log_tuning(indexes: dict[str, dict[str, Artifact]]) -> None:
    """For each arm and seed the settings that the tuning of its indexes tried, as a plot and as they are."""
    for label, by_name in indexes.items():
        files = {name: index.folder / "tuning.json" for name, index in by_name.items()}
        tried = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
        if tried:
            mlflow.log_figure(plots.recall_by_scanned(tried, label), f"plots/recall_by_scanned.{label}.png")
            mlflow.log_text(json.dumps(tried, indent=1), f"results/tuning.{label}.json")


def _log_retrieval(parent: Run, name: str, asked: Experiment, rows: list[dict[str, Any]]) -> None:
    """A child run of one of the `retrievals`, `cascades` or `filters`, its first seed's figures."""
    its = (asked.retrievals | asked.cascades | asked.filters)[name]
    seed = None if isinstance(its, Retrieval) and its.arm is None else asked.seeds[0]
    kind = "retrieval" if isinstance(its, Retrieval) else "cascade" if isinstance(its, Cascade) else "filter"
    with mlflow.start_run(experiment_id=parent.info.experiment_id, run_name=name, nested=True):
        tags = {"kind": kind, "arm": name} | _question_tags(name, asked) | verdict_tags(rows, name)
        mlflow.set_tags(tags)
        mlflow.log_params({key: str(value) for key, value in its.model_dump(mode="json").items() if value is not None})
        mine = [row | {"index": "none"} for row in _own_rows(rows, name, seed, asked)]  # its index is a part of it
        metrics = {_metric_name(row): row["value"] for row in mine if _is_shown(row, asked) or row["metric"] in COUNTS}
        mlflow.log_metrics(metrics | difference_metrics(rows, name))


def _log_ranker(parent: Run, each: RankerTrained, asked: Experiment, rows: list[dict[str, Any]]) -> None:
    """A child run of a ranker with one seed: its settings, figures, course, trees and what mattered to them."""
    told = trained_of(each.ranker)
    label = f"{each.arm}-{each.seed}"
    with mlflow.start_run(experiment_id=parent.info.experiment_id, run_name=label, nested=True) as child:
        tags = {"kind": "ranker", "arm": each.arm, "seed": each.seed, "bias": told["bias"]}
        mlflow.set_tags(tags | _question_tags(each.arm, asked) | verdict_tags(rows, each.arm))
        mlflow.log_params(asked.rankers[each.arm].model_dump(mode="json") | {"seed": each.seed})
        mine = [
            row | {"index": "none"} for row in _own_rows(rows, each.arm, each.seed, asked)
        ]  # its index is a part of it
        metrics = {_metric_name(row): row["value"] for row in mine if _is_shown(row, asked) or row["metric"] in COUNTS}
        mlflow.log_metrics(metrics | difference_metrics(rows, each.arm) | {"trees": told["trees"]})
        now = int(time.time() * 1000)
        course = [Metric("held_out/ndcg_at_10", value, now, step) for step, value in enumerate(told["held_out"], 1)]
        mlflow.MlflowClient().log_batch(
            child.info.run_id, course[:1000]
        )  # as many as it takes at once; ranker.json has all
        mlflow.log_text(json.dumps(told, indent=1), "results/ranker.json")
        mlflow.log_artifact(str(each.ranker.folder / "ranker.txt"), "model")
        mlflow.log_figure(plots.importance({each.arm: importance(told)}), "plots/importance.png")


def _log_ensemble(
    parent: Run,
    each: Joined,
    asked: Experiment,
    log: Artifact,
    rows: list[dict[str, Any]],
    bundle: Artifact | None,
) -> None:
    """A child run of an ensemble with one seed, as an arm has it: its parts and weights, its figures, its bundle."""
    name, dataset = each.arm, _dataset(asked, log)
    mine = _own_rows(rows, name, each.seed, asked)
    with mlflow.start_run(experiment_id=parent.info.experiment_id, run_name=f"{name}-{each.seed}", nested=True):
        tags = {"kind": "ensemble", "arm": name, "seed": each.seed}
        mlflow.set_tags(tags | _question_tags(name, asked) | verdict_tags(rows, name))
        mlflow.log_input(dataset, context="training")
        told, parts = weighed(each.weights), asked.ensembles[name].parts
        dimensions = sum(asked.arms[part].towers.dimensions for part in parts)
        mlflow.log_params({"parts": ", ".join(parts), "seed": each.seed, "towers.dimensions": dimensions})
        mlflow.log_text(json.dumps(told, indent=1), "results/ensemble.json")
        model = _log_model(bundle) if bundle else None
        metrics = {_metric_name(row): row["value"] for row in mine if _is_shown(row, asked)}
        mlflow.log_metrics(metrics | difference_metrics(rows, name), model_id=model, dataset=dataset)
        mlflow.log_metrics({f"weight.{at}.{part}": told["weights"][at] for at, part in enumerate(parts)})
        costs = json.loads((each.weights.folder / "costs.json").read_text())
        mlflow.log_metrics({f"cost/{key}": value for key, value in costs.items()})
        mlflow.log_metrics({"validation_recall": told["recall"], "validation_recall.equal_weights": told["equal"]})
        mlflow.log_figure(plots.recall_by_k(_panels(mine)), "plots/recall_by_k.png")


def _question_tags(arm: str, asked: Experiment) -> dict[str, str]:
    tags = {}
    for name, question in asked.questions.items():
        if arm == arm_of(question.baseline):
            tags[f"question.{name}"] = "baseline"
        elif arm in map(arm_of, question.arms):
            tags[f"question.{name}"] = "arm"
    return tags


def _metric_name(row: dict[str, Any]) -> str:
    """recall_at_10 on clicks under exact search; truth/recall_at_10 on another target set, which MLflow's charts then
    put into a section of its own; recall_at_10.ivfpq through an index."""
    name = row["metric"] + (f"_at_{row['k']}" if row["k"] else "")
    if row["targets"] != "clicked":
        name = f"{row['targets']}/{name}"
    return name if row["index"] in ("exact", "none") else f"{name}.{row['index']}"


MEASURES = ("precision", "ndcg", "coverage", "popularity_lift", "index_recall")  # at one K; recall and MRR at all


def main_k(asked: Experiment) -> int:
    """The K of the metric that is shown first: the nearest to 10."""
    return min(asked.evaluation.ks, key=lambda k: abs(k - 10))


def _is_shown(row: dict[str, Any], asked: Experiment) -> bool:
    """Few enough metrics to look at: recall at every K and MRR, the others at the K nearest to 10; through an index
    only what it is about. All of them are in results.parquet."""
    at = row["k"] == main_k(asked)
    if row["index"] in ("exact", "none"):
        return row["metric"] in ("recall", "mrr") or (at and row["metric"] in MEASURES)
    return bool(at) and row["metric"] in ("recall", "index_recall")


def _parameters(arm: str, asked: Experiment) -> dict[str, Any]:
    """The arm's settings, flat: negatives.random = 100; only those in which some arm of the experiment differs from the
    defaults, so that a table of runs shows what was varied. All of them are in arm.yaml."""
    plain = _flat(Arm().model_dump(mode="json"))
    every = {name: _flat(of.model_dump(mode="json")) for name, of in asked.arms.items()}
    varied = sorted({key for of in every.values() for key in of if of[key] != plain.get(key)})
    return {key: every[arm][key] for key in varied if key in every[arm]}


def _flat(settings: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) and value else {f"{before}{key}": value}
    return flat


def _log_training(towers: Artifact) -> None:
    epochs = json.loads((towers.folder / "epochs.json").read_text())
    for epoch in epochs:
        metrics = {f"epoch/{key}": value for key, value in epoch.items() if key != "epoch"}
        mlflow.log_metrics(metrics, step=epoch["epoch"])
    costs = json.loads((towers.folder / "costs.json").read_text())
    mlflow.log_metrics({f"cost/{key}": value for key, value in costs.items()})
    weights = json.loads((towers.folder / "weights.json").read_text())
    mlflow.log_metrics({f"weight.{key}": value for key, value in weights.items()})
    mlflow.log_figure(plots.by_epoch(epochs), "plots/by_epoch.png")


def _log_model(bundle: Artifact) -> str | None:
    """The bundle with its signature as a model that can be loaded and served, linked to its run; its id. Code and exact
    needs travel with it."""
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, name, required=name == "query") for name in ASKED.names
    ]
    params = [
        ParamSpec("k", DataType.long, 10),
        *(ParamSpec(name, DataType.string, value) for name, value in MODEL_PARAMS.items()),
    ]
    lists = {"document_ids": DataType.string, "titles": DataType.string, "scores": DataType.double}
    output: list[ColSpec | TensorSpec] = [ColSpec(Array(kind), name) for name, kind in lists.items()]
    model = mlflow.pyfunc.log_model(
        name="retriever",
        tags={"bundle": bundle.folder.name},
        python_model=str(MODEL_CODE),
        artifacts={"bundle": str(bundle.folder)},
        code_paths=[str(Path(ebr_core.__file__).parent)],
        signature=ModelSignature(Schema(columns), Schema(output), ParamSchema(params)),
        input_example=pd.DataFrame({"query": ["an example"]}),
        pip_requirements=[f"{need}=={importlib.metadata.version(need).split('+')[0]}" for need in MODEL_NEEDS],
    )
    return str(model.model_id) if model.model_id else None
