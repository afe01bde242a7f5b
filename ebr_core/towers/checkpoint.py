"""Trained towers on disk, and the query tower at work: everything that turns a search into an embedding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors.numpy import load_file, save_file

from ebr_core.arrays import Float32, Int32
from ebr_core.towers.feature_config import Features, Graph, Numbers, Values
from ebr_core.towers.fitted_features import ColumnData, Fitted, group_bags, table_bags, text_bags
from ebr_core.towers.tower import Tower, query_vectors
from ebr_core.towers.tower_config import TowerConfig, read_tower_config
from ebr_core.towers.tower_inputs import Bagged, Dense, Inputs, with_views
from ebr_core.towers.tower_kinds import tower_of

_GRAPH = "searchers/"  # before the name of a graph group, its searchers' vectors; no group's name holds a slash


class Checkpoint(NamedTuple):
    """Both towers with all that they need of the training window; a searcher's place in the graph is part of it."""

    tower: Tower  # over no rows, or over those of a log
    fitted: Fitted
    config: TowerConfig
    graphs: dict[str, Float32]  # for each graph group (searchers, D′)
    searcher_ids: npt.NDArray[np.bytes_]  # (searchers,) in order; empty without a graph


def save_towers(model: Checkpoint, folder: Path) -> None:
    """Writes towers.safetensors and manifest.json into folder."""
    tensors = model.tower.state() | {"vocabulary": model.fitted.vocabulary, "rarity": model.fitted.rarity}
    tensors |= {f"{_GRAPH}{name}": vectors for name, vectors in model.graphs.items()}
    ids = model.searcher_ids.view(np.uint8).reshape(len(model.searcher_ids), model.searcher_ids.itemsize)
    save_file(
        {name: np.ascontiguousarray(a) for name, a in tensors.items()} | {"searcher_ids": ids},
        folder / "towers.safetensors",
    )
    manifest = {
        "features": model.fitted.features.model_dump(mode="json"),
        "towers": model.config.model_dump(mode="json"),
        "groups": model.fitted.features.group_names,
        "known": model.fitted.known,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False))


def load_towers(folder: Path) -> Checkpoint:
    """The towers that save_towers wrote into folder, over no rows yet."""
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
    config = read_tower_config(manifest["towers"])
    return Checkpoint(tower_of(config, tensors, manifest["groups"]), fitted, config, graphs, searcher_ids)


def searcher_rows(model: Checkpoint, ids: npt.NDArray[np.bytes_]) -> Int32:
    """(n,) the row of each searcher by identity, −1 for one whom the graph does not know."""
    if not len(model.searcher_ids):
        return np.full(len(ids), -1, np.int32)
    at = np.minimum(np.searchsorted(model.searcher_ids, ids), len(model.searcher_ids) - 1)
    return np.where(model.searcher_ids[at] == ids, at, -1).astype(np.int32)


def query_columns(model: Checkpoint) -> list[str]:
    """The columns of a search that the query tower reads beside the text."""
    return model.fitted.features.columns("searches")


def query_inputs(model: Checkpoint, queries: pa.Array, searchers: Int32, columns: ColumnData) -> Inputs:
    """The inputs of searches that no log holds: texts (n,), searchers' rows (n,) or −1, and the columns of the groups.

    A column that is not given counts as empty.
    """
    n, at = len(queries), np.arange(len(queries), dtype=np.int32)
    text = table_bags(text_bags(queries, model.fitted), model.fitted)
    views = model.config.query_vectors
    known = model.fitted.text_rows() if views > 1 else 0  # only further vectors read rows behind those of the text
    groups: dict[str, Bagged | Dense] = {"text": Bagged(text, at, known if model.config.shared else 2 * known, known)}
    given = {name: columns.get(name, pa.nulls(n, pa.string())) for name in query_columns(model)}
    for name, group in model.fitted.features.groups.items():
        match group:
            case Graph():
                groups[name] = Dense(model.graphs[name], searchers)
            case Values() | Numbers():
                groups[name] = Bagged(group_bags(name, "searches", given, n, model.fitted), at, 0)
            case _:
                assert_never(group)
    inputs = Inputs(groups, n, 0)
    return with_views(inputs, views) if views > 1 else inputs


def embed_queries(
    model: Checkpoint, queries: pa.Array, searchers: Int32 | None = None, columns: ColumnData | None = None
) -> Float32:
    """(n, D) unit vectors f(Q) of searches, whoever asks, or (h, n, D) where a search has several.

    A search of which nothing is known is the zero vector.
    """
    searchers = np.full(len(queries), -1, np.int32) if searchers is None else searchers
    inputs = query_inputs(model, queries, searchers, columns or {})
    return query_vectors(model.tower.over(inputs), inputs, np.arange(len(queries), dtype=np.int32))
