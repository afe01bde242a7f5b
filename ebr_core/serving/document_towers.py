"""Vectors of documents that no bundle holds, by their text alone: for engines that index documents as they come."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.search.ensemble_vectors import concat_documents
from ebr_core.serving.query_towers import EnsembleParts
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.checkpoint import Checkpoint
from ebr_core.towers.feature_config import Features, Location, Numbers, Values
from ebr_core.towers.fitted_features import table_bags, text_bags
from ebr_core.towers.history_config import History
from ebr_core.towers.query_encoders import encode_documents
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup, bag_group
from ebr_core.towers.vector_config import Encoder, GivenVectors, Graph


def embed_documents(towers: Checkpoint | EnsembleParts, titles: pa.Array, bodies: pa.Array) -> Float32:
    """(n, D) unit vectors g(D) of documents with these titles and bodies (n,), null for none; other groups are missing.

    A document of the log that lacks these groups has the same vector in the bundle, unless its arm adds the queries
    that clicked it. A text without any known feature has the zero vector. A body counts where the arm reads bodies.
    Raises InputError if a tower reads no text of documents.
    """
    match towers:
        case EnsembleParts():
            return concat_documents([embed_documents(model, titles, bodies) for model in towers.models])
        case Checkpoint():
            inputs = document_inputs(towers, titles, bodies)
            return towers.tower.over(inputs).encode(np.arange(len(titles), dtype=np.int32))
        case _:
            assert_never(towers)


def document_inputs(checkpoint: Checkpoint, titles: pa.Array, bodies: pa.Array) -> Inputs:
    """The inputs of documents that are in no log, by their texts."""
    fitted, n = checkpoint.fitted, len(titles)
    features = fitted.features
    if not reads_documents(features):
        raise InputError(
            "this model reads no text of documents, only their vectors or columns; take the vectors of its own "
            "documents from ebr export"
        )
    texts = _texts(titles, bodies, features.text.body) if features.text.reads("documents") else pa.repeat("", n)
    none = table_bags(text_bags(pa.array([], pa.string()), fitted), fitted)
    bags = table_bags(text_bags(texts, fitted, "document"), fitted)
    shared = checkpoint.config.shared or features.tokens is not None
    groups: dict[str, BagGroup | VectorGroup] = {"text": bag_group(none, bags, fitted.text_rows(), shared)}
    missing, empty = np.full(n, -1, np.int32), Bags(np.zeros(n + 1, np.int64), none.ids, none.weights)
    for name, group in features.groups.items():
        match group:
            case Encoder() if group.reads("documents"):
                weights, read = fitted.weights_of(name), _texts(titles, bodies, group.body)
                vectors = encode_documents(name, group, weights, checkpoint.folder, read)
                at = np.where(vectors.any(axis=1), np.arange(n), -1).astype(np.int32)
                groups[name] = VectorGroup(vectors, at, group.adapt)
            case Encoder() | GivenVectors():
                nothing = np.zeros((1, checkpoint.tower.dimensions), np.float32)
                groups[name] = VectorGroup(nothing, missing, "none")  # no map, whatever the width of the vectors is
            case Graph():
                groups[name] = VectorGroup(checkpoint.graphs[name], missing)
            case Values() | Numbers() | Location() | History():
                groups[name] = BagGroup(empty, np.arange(n, dtype=np.int32), 0)
            case _:
                assert_never(group)
    return Inputs(groups, 0, n)


def reads_documents(features: Features) -> bool:
    """True if the tower of documents reads their texts."""
    encoders = [group for group in features.groups.values() if isinstance(group, Encoder)]
    return features.text.reads("documents") or any(group.reads("documents") for group in encoders)


def _texts(titles: pa.Array, bodies: pa.Array, body: bool) -> pa.Array:
    """(n,) the texts of documents as a log's are read."""
    return pc.binary_join_element_wise(titles, pc.fill_null(bodies, ""), " ") if body else titles
