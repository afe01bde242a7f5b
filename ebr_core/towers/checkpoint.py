"""Trained towers on disk, and the query tower in use: everything that turns a search into an embedding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import load_file, save_file

from ebr_core.arrays import Float32, Int32
from ebr_core.text.ngram_bags import Bags, concatenate, take
from ebr_core.towers.column_values import ColumnData, find_listed
from ebr_core.towers.feature_config import Features, Location, Numbers, Values
from ebr_core.towers.fitted_features import FittedFeatures, group_bags, table_bags, text_bags
from ebr_core.towers.history_bags import list_bags, newest_of
from ebr_core.towers.history_config import CLICKED, History
from ebr_core.towers.query_encoders import encode_queries
from ebr_core.towers.query_vectors import KnownVectors, vectors_of_queries
from ebr_core.towers.tower import Tower, query_vectors
from ebr_core.towers.tower_config import TowerConfig, read_tower_config
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup, with_views
from ebr_core.towers.tower_kinds import restore_tower, save_encoder
from ebr_core.towers.vector_config import Encoder, GivenVectors, Graph

# Prefixes of a group's name for its searchers' vectors or bags; group names hold no slash.
_GRAPH, _HISTORY, _QUERIES = "searchers/", "histories/", "queries/"
ENCODER = "encoder"  # the folder of an encoder's settings and tokenizer, beside the towers


class Checkpoint(NamedTuple):
    """Both towers with all that they need from the training window, the searchers' vectors of graphs included."""

    tower: Tower  # over no rows, or over those of a log
    fitted: FittedFeatures
    config: TowerConfig
    graphs: dict[str, Float32]  # for each graph group (searchers, D′)
    searcher_ids: npt.NDArray[np.bytes_]  # (searchers,) in order; empty without a graph and without clicks
    histories: Mapping[str, Bags] = MappingProxyType({})  # for each group of clicks (searchers,) at the window's end
    folder: Path | None = None  # from which they were read
    known_queries: Mapping[str, KnownVectors] = MappingProxyType({})  # for each group of vectors that searches have


def save_towers(checkpoint: Checkpoint, folder: Path) -> None:
    """Write towers.safetensors and manifest.json into folder."""
    tensors = checkpoint.tower.state() | {
        "vocabulary": checkpoint.fitted.vocabulary,
        "rarity": checkpoint.fitted.rarity,
    }
    tensors |= {f"{_GRAPH}{name}": vectors for name, vectors in checkpoint.graphs.items()}
    tensors |= {
        f"{_HISTORY}{name}/{part}": array
        for name, bags in checkpoint.histories.items()
        for part, array in bags._asdict().items()
    }
    tensors |= {
        f"{_QUERIES}{name}/{part}": array
        for name, known in checkpoint.known_queries.items()
        for part, array in known._asdict().items()
    }
    ids = checkpoint.searcher_ids.view(np.uint8).reshape(len(checkpoint.searcher_ids), checkpoint.searcher_ids.itemsize)
    save_file(
        {name: np.ascontiguousarray(a) for name, a in tensors.items()} | {"searcher_ids": ids},
        folder / "towers.safetensors",
    )
    save_encoder(checkpoint.tower, folder / ENCODER)
    manifest = {
        "features": checkpoint.fitted.features.model_dump(mode="json"),
        "towers": checkpoint.config.model_dump(mode="json"),
        "groups": checkpoint.fitted.features.group_names,
        "known": checkpoint.fitted.group_values,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False))


def load_towers(folder: Path) -> Checkpoint:
    """The towers that save_towers wrote into folder, over no rows yet."""
    manifest = json.loads((folder / "manifest.json").read_text())
    tensors = load_file(folder / "towers.safetensors")
    encoder = folder / ENCODER if (folder / ENCODER).is_dir() else None
    fitted = FittedFeatures(
        Features.model_validate(manifest["features"]),
        tensors.pop("vocabulary"),
        tensors.pop("rarity"),
        manifest["known"],
        encoder,
    )
    ids = tensors.pop("searcher_ids")
    graphs = {name.removeprefix(_GRAPH): tensors.pop(name) for name in list(tensors) if name.startswith(_GRAPH)}
    clicks = [name for name, group in fitted.features.histories.items() if group.column is None]
    histories = {
        name: Bags(*(tensors.pop(f"{_HISTORY}{name}/{part}") for part in Bags._fields))
        for name in clicks
        if f"{_HISTORY}{name}/offsets" in tensors
    }
    known_queries = {
        name: KnownVectors(*(tensors.pop(f"{_QUERIES}{name}/{part}") for part in KnownVectors._fields))
        for name in fitted.features.text_vectors
        if f"{_QUERIES}{name}/vectors" in tensors
    }
    searcher_ids = ids.view(f"S{ids.shape[1]}").ravel() if ids.size else np.empty(0, "S1")
    config = read_tower_config(manifest["towers"])
    return Checkpoint(
        restore_tower(config, tensors, manifest["groups"], encoder),
        fitted,
        config,
        graphs,
        searcher_ids,
        histories,
        folder,
        known_queries,
    )


def searcher_rows(checkpoint: Checkpoint, ids: npt.NDArray[np.bytes_]) -> Int32:
    """(n,) the row of each searcher by identity, −1 for a searcher whom the log does not know."""
    if not len(checkpoint.searcher_ids):
        return np.full(len(ids), -1, np.int32)
    pos = np.minimum(np.searchsorted(checkpoint.searcher_ids, ids), len(checkpoint.searcher_ids) - 1)
    return np.where(checkpoint.searcher_ids[pos] == ids, pos, -1).astype(np.int32)


def query_columns(checkpoint: Checkpoint) -> list[str]:
    """The columns of a request for a search that the query tower reads besides the text."""
    return checkpoint.fitted.features.request_columns


def query_inputs(checkpoint: Checkpoint, queries: pa.Array, searchers: Int32, columns: ColumnData) -> Inputs:
    """The inputs of searches that are in no log: texts (n,), searchers' rows (n,) or −1, and the columns of the groups.

    A column that is missing counts as empty.
    """
    n, rows = len(queries), np.arange(len(queries), dtype=np.int32)
    reads_text = checkpoint.fitted.features.text.reads("searches")
    texts = queries if reads_text else pa.repeat("", n)
    text = table_bags(text_bags(texts, checkpoint.fitted), checkpoint.fitted)
    views = checkpoint.config.query_vectors
    text_rows = (
        checkpoint.fitted.text_rows() if views > 1 else 0
    )  # only further query vectors read rows behind those of the text
    groups: dict[str, BagGroup | VectorGroup] = {
        "text": BagGroup(text, rows, text_rows if checkpoint.config.shared else 2 * text_rows, text_rows)
    }
    query_data = {name: columns.get(name, pa.nulls(n, pa.string())) for name in query_columns(checkpoint)}
    for name, group in checkpoint.fitted.features.groups.items():
        match group:
            case Graph():
                groups[name] = VectorGroup(checkpoint.graphs[name], searchers)
            case History():
                bags = _history_bags(checkpoint, name, group, searchers, query_data)
                groups[name] = BagGroup(bags, rows, 0)
            case Encoder() if group.reads("searches"):
                weights = checkpoint.fitted.weights_of(name)
                vectors = encode_queries(name, group, weights, checkpoint.folder, queries)
                at = np.where(vectors.any(axis=1), rows, -1).astype(np.int32)
                groups[name] = VectorGroup(vectors, at, group.adapt)
            case GivenVectors() if name in checkpoint.known_queries:
                [column] = group.request_columns
                known = checkpoint.known_queries[name]
                vectors, at = vectors_of_queries(known, column, queries, columns.get(column))
                groups[name] = VectorGroup(vectors, at, group.adapt)
            case Encoder() | GivenVectors():
                width = checkpoint.tower.dimensions
                groups[name] = VectorGroup(np.zeros((1, width), np.float32), np.full(n, -1, np.int32), group.adapt)
            case Values() | Numbers() | Location():
                groups[name] = BagGroup(group_bags(name, "searches", query_data, n, checkpoint.fitted), rows, 0)
            case _:
                assert_never(group)
    inputs = Inputs(groups, n, 0)
    return with_views(inputs, views) if views > 1 else inputs


def _history_bags(
    checkpoint: Checkpoint, name: str, history: History, searchers: Int32, query_data: ColumnData
) -> Bags:
    """(n,) the documents that the requests list; without a list, what the searchers clicked in the training window."""
    listed = query_data[CLICKED if history.column is None else history.column]
    owners, documents = find_listed(listed, checkpoint.fitted.history_documents(name))
    if history.column is not None:
        return list_bags(owners, documents, len(searchers))
    newest = newest_of(owners, history.newest)
    given = list_bags(owners[newest], documents[newest], len(searchers))
    unlisted = listed.is_null().to_numpy(zero_copy_only=False)
    known = np.flatnonzero(unlisted & (searchers >= 0))
    if not len(known):
        return given
    both = concatenate(given, take(checkpoint.histories[name], searchers[known]))
    at = np.arange(len(searchers), dtype=np.int32)
    at[known] = len(given) + np.arange(len(known))
    return take(both, at)


def embed_queries(
    checkpoint: Checkpoint, queries: pa.Array, searchers: Int32 | None = None, columns: ColumnData | None = None
) -> Float32:
    """(n, D) unit vectors f(Q) of searches, or (h, n, D) if a search has several query vectors.

    searchers (n,): their rows in the log, or −1; None for unknown searchers. A search without any known feature gives
    the zero vector.
    """
    searchers = np.full(len(queries), -1, np.int32) if searchers is None else searchers
    inputs = query_inputs(checkpoint, queries, searchers, columns or {})
    return query_vectors(checkpoint.tower.over(inputs), inputs, np.arange(len(queries), dtype=np.int32))
