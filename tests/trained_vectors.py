"""The vectors of a trained arm whose groups read vectors, by the stages of a run."""

from __future__ import annotations

import numpy as np

from data.experiment.log_config import Tables
from ebr_core.arrays import Float32
from ebr_core.training.arm_config import Arm
from flows.group_vectors import text_vectors
from tasks.artifacts import Artifact
from tasks.feature_stages import featurise
from tasks.log_stages import sample
from tasks.retrieval_stages import embed_texts
from tasks.training_stages import train_arm


def train_vectors(log: Artifact, files: Tables, arm: Arm) -> tuple[Artifact, Float32, Float32]:
    """(the towers, the vectors of the sampled test searches, those of all documents)."""
    vectors = text_vectors(log, files, [arm.features])[arm.features]
    features = featurise.fn(log, arm.features, {}, None, vectors)
    towers = train_arm.fn(log, features, sample.fn(log, "validation", 100, 1), arm, 0)
    embedded = embed_texts.fn(features, towers, sample.fn(log, "test", 50, 1), 1)
    queries, documents = (np.load(embedded.folder / f"{side}.npy") for side in ("queries", "documents"))
    return towers, queries, documents
