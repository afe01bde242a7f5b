"""Trained towers on disk, and the query tower at work: everything that turns a search into an embedding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import load_file, save_file

from ebr_core.bags import Float32, Int32
from ebr_core.features import Features, Graph, Towers
from ebr_core.fitted import ColumnData, Fitted, group_bags, table_bags, text_bags
from ebr_core.inputs import Bagged, Dense, Inputs, with_views
from ebr_core.towers import Encoder, encoder_of, parameters, query_vectors

_GRAPH = "searchers/"  # before the name of a graph group, its searchers' vectors; no group's name holds a slash


class Model(NamedTuple):
    """Both towers with all that they need of the training window; a searcher's place in the graph is part of it."""

    encoder: Encoder
    fitted: Fitted
    towers: Towers
    graphs: dict[str, Float32]  # for each graph group (searchers, D′)
    searcher_ids: npt.NDArray[np.bytes_]  # (searchers,) in order; empty without a graph


def save_towers(model: Model, folder: Path) -> None:
    """Writes towers.safetensors and manifest.json into folder."""
    tensors = parameters(model.encoder) | {"vocabulary": model.fitted.vocabulary, "rarity": model.fitted.rarity}
    tensors |= {f"{_GRAPH}{name}": vectors for name, vectors in model.graphs.items()}
    ids = model.searcher_ids.view(np.uint8).reshape(len(model.searcher_ids), model.searcher_ids.itemsize)
    save_file(
        {name: np.ascontiguousarray(a) for name, a in tensors.items()} | {"searcher_ids": ids},
        folder / "towers.safetensors",
    )
    manifest = {
        "features": model.fitted.features.model_dump(mode="json"),
        "towers": model.towers.model_dump(mode="json"),
        "groups": list(model.encoder.groups),
        "known": model.fitted.known,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False))


def load_towers(folder: Path) -> Model:
    """The towers that save_towers wrote into folder."""
    manifest = json.loads((folder / "manifest.json").read_text())
    tensors = load_file(folder / "towers.safetensors")
    fitted = Fitted(
        Features.model_validate(manifest["features"]),
        tensors.pop("vocabulary"),
        tensors.pop("rarity"),
        manifest["known"],
    )
    ids = tensors.pop("searcher_ids")
    graphs = {name.removeprefix(_GRAPH): tensors.pop(name) for name in list(tensors) if name.startswith(_GRAPH)}
    searcher_ids = ids.view(f"S{ids.shape[1]}").ravel() if ids.size else np.empty(0, "S1")
    encoder = encoder_of(tensors, manifest["groups"])
    return Model(encoder, fitted, Towers.model_validate(manifest["towers"]), graphs, searcher_ids)


def searcher_rows(model: Model, ids: npt.NDArray[np.bytes_]) -> Int32:
    """(n,) the row of each searcher by identity, −1 for one whom the graph does not know."""
    if not len(model.searcher_ids):
        return np.full(len(ids), -1, np.int32)
    at = np.minimum(np.searchsorted(model.searcher_ids, ids), len(model.searcher_ids) - 1)
    return np.where(model.searcher_ids[at] == ids, at, -1).astype(np.int32)


def query_columns(model: Model) -> list[str]:
    """The columns of a search that the query tower reads beside the text."""
    return model.fitted.features.search_columns


def query_inputs(model: Model, queries: pa.Array, searchers: Int32, columns: ColumnData) -> Inputs:
    """The inputs of searches that no log holds: texts (n,), searchers' rows (n,) or −1, and the columns of the groups.

    A column that is not given counts as empty.
    """
    n, at = len(queries), np.arange(len(queries), dtype=np.int32)
    text = table_bags(text_bags(queries, model.fitted), model.fitted)
    towers = model.towers
    known = len(model.encoder.table) // (towers.query_vectors + (not towers.shared))  # rows of one of them
    groups: dict[str, Bagged | Dense] = {"text": Bagged(text, at, known if towers.shared else 2 * known, known)}
    given = {name: columns.get(name, pa.nulls(n, pa.string())) for name in query_columns(model)}
    for name, group in model.fitted.features.groups.items():
        if isinstance(group, Graph):
            groups[name] = Dense(model.graphs[name], searchers)
        else:
            groups[name] = Bagged(group_bags(name, "searches", given, n, model.fitted), at, 0)
    inputs = Inputs(groups, n, 0)
    return with_views(inputs, towers.query_vectors) if towers.query_vectors > 1 else inputs


def embed_queries(
    model: Model, queries: pa.Array, searchers: Int32 | None = None, columns: ColumnData | None = None
) -> Float32:
    """(n, D) unit vectors f(Q) of searches, whoever asks, or (h, n, D) where a search has several.

    A search of which nothing is known is the zero vector.
    """
    searchers = np.full(len(queries), -1, np.int32) if searchers is None else searchers
    inputs = query_inputs(model, queries, searchers, columns or {})
    return query_vectors(model.encoder, inputs, np.arange(len(queries), dtype=np.int32))
