"""The vectors of a log's texts that groups read, and where they are from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.towers.feature_config import Features
from ebr_core.towers.fitted_features import WEIGHTS, FittedValues
from ebr_core.towers.query_vectors import KnownVectors, known_vectors
from ebr_core.towers.tower_inputs import VectorGroup, vector_group
from ebr_core.towers.vector_config import Adapt, GivenVectors
from ebr_core.training.distillation import Teacher
from tasks.artifacts import Artifact
from tasks.kinds import FeatureSet, Log, TextVectors


def origins_of(vectors: dict[str, TextVectors]) -> dict[str, FittedValues]:
    """For each group whose vectors an encoder made: WEIGHTS → the digest of its weights."""
    reports = {name: json.loads((made.folder / "report.json").read_text()) for name, made in vectors.items()}
    return {name: {WEIGHTS: [report[WEIGHTS]]} for name, report in reports.items() if WEIGHTS in report}


def refuse_other_origins(fitted: dict[str, FittedValues], vectors: dict[str, TextVectors]) -> None:
    """Raise InputError if an encoder has other weights than the one with which the towers were trained."""
    for name, origin in origins_of(vectors).items():
        if fitted.get(name) != origin:
            raise InputError(
                f"groups.{name}: its encoder has other weights than the one with which these towers were trained; "
                "train them again"
            )


def name_vectors(folder: Path, vectors: dict[str, TextVectors]) -> None:
    """Write vectors.json: the artifact with the vectors of each group."""
    artifacts = {name: made.model_dump() for name, made in vectors.items()}
    (folder / "vectors.json").write_text(json.dumps(artifacts))


def read_vector_artifacts(features: FeatureSet) -> dict[str, TextVectors]:
    """The artifact with the vectors of each group of kind vectors or encoder."""
    artifacts = json.loads((features.folder / "vectors.json").read_text())
    return {name: TextVectors(Artifact.model_validate(made)) for name, made in artifacts.items()}


def read_text_vectors(features: FeatureSet, name: str, query_of: Int32, adapt: Adapt) -> VectorGroup:
    """The group of that name: a search has the vector of its query (S,); a side without vectors lacks the group."""
    folder = read_vector_artifacts(features)[name].folder
    sides = {
        side: np.load(path, mmap_mode="r") if (path := folder / f"{side}.npy").exists() else None
        for side in ("queries", "documents")
    }
    width = next(vectors.shape[1] for vectors in sides.values() if vectors is not None)
    sizes = {"queries": int(query_of.max(initial=-1)) + 1, "documents": _documents(features)}
    queries, documents = (
        np.zeros((sizes[side], width), np.float32) if vectors is None else vectors for side, vectors in sides.items()
    )
    return vector_group(queries, documents, query_of, adapt)


def read_teacher(features: FeatureSet, vectors: TextVectors) -> Teacher:
    """The vectors of a log's queries and documents by the encoder whose scores are a soft target."""
    queries, documents = (np.load(vectors.folder / f"{side}.npy", mmap_mode="r") for side in ("queries", "documents"))
    return Teacher(queries, documents, np.load(features.folder / "query_of.npy", mmap_mode="r"))


def read_known_queries(log: Log, features: FeatureSet, reads: Features) -> dict[str, KnownVectors]:
    """The vectors of the log's queries in each group of kind vectors that searches have, for models in use."""
    groups = [name for name, group in reads.text_vectors.items() if isinstance(group, GivenVectors)]
    groups = [name for name in groups if reads.groups[name].reads("searches")]
    if not groups:
        return {}
    queries = pq.read_table(log.folder / "queries.parquet", columns=["query"])["query"].combine_chunks()
    artifacts = read_vector_artifacts(features)
    return {
        name: known_vectors(queries, np.load(artifacts[name].folder / "queries.npy", mmap_mode="r")) for name in groups
    }


def _documents(features: FeatureSet) -> int:
    return len(np.load(features.folder / "text.documents.offsets.npy", mmap_mode="r")) - 1
