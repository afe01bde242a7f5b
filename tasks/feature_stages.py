"""From texts, columns and graphs to the inputs of the towers, fitted on the training window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from data.extra_columns import read_columns as read_named_columns
from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.scratch import IN_RAM, Scratch
from ebr_core.text.ngram_bags import Bags, take, with_queries
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.checkpoint import load_towers
from ebr_core.towers.column_config import SIDES, Side
from ebr_core.towers.column_values import ColumnData
from ebr_core.towers.feature_config import Features, Location, Numbers, Values
from ebr_core.towers.fitted_features import (
    FittedFeatures,
    FittedValues,
    fit_group,
    fit_text,
    group_bags,
    table_bags,
    text_bags,
)
from ebr_core.towers.graph_vectors import check_graph
from ebr_core.towers.group_places import describe_unknown
from ebr_core.towers.history_config import History
from ebr_core.towers.tower_config import TowerConfig
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup, bag_group, vector_group, with_views
from ebr_core.towers.vector_config import Encoder, GivenVectors, Graph
from tasks.artifacts import stage
from tasks.encode_stages import read_texts
from tasks.graph_stage import read_graph, read_graphs
from tasks.histories import clean_lists, fit_histories, keep_counts, save_histories
from tasks.kinds import ExtraColumns, FeatureSet, GraphVectors, Log, TextVectors, TrainedTowers
from tasks.log_stages import ReadLogs, refuse_changes
from tasks.progress import show_progress
from tasks.text_vectors_of_log import name_vectors, origins_of, read_text_vectors, refuse_other_origins

EXTRACTED_COLUMNS = {
    "searches": ("city", "region", "country", "language"),
    "documents": ("kind", "city", "region", "country", "language"),
}


@stage(FeatureSet)
def featurise(
    folder: Path,
    log: Log,
    features: Features,
    graphs: dict[str, GraphVectors] | None = None,
    columns: ExtraColumns | None = None,
    vectors: dict[str, TextVectors] | None = None,
) -> None:
    """Write the bags of every query, search and document, and what was fitted on the training window.

    graphs: the node vectors of each group of kind graph; columns: those that extraction does not keep; vectors: those
    of each group of kind vectors or encoder.
    """
    data = {side: read_columns(log, features, side, columns) for side in SIDES}
    texts = texts_of(log, features)
    fitted = _fit(log, features, texts, data)
    fitted.group_values.update(origins_of(vectors or {}))
    _write(folder, log, fitted, texts, data, graphs or {})
    name_vectors(folder, vectors or {})
    keep_counts(folder, columns)


@stage(FeatureSet)
def featurise_as(
    folder: Path,
    log: Log,
    towers: TrainedTowers,
    graphs: dict[str, GraphVectors],
    columns: ExtraColumns | None = None,
    vectors: dict[str, TextVectors] | None = None,
) -> None:
    """Write the inputs that trained towers read from a newer log: as featurise, but fitted as the towers were."""
    fitted = load_towers(towers.folder).fitted
    refuse_other_origins(fitted.group_values, vectors or {})
    name_vectors(folder, vectors or {})
    data = {side: read_columns(log, fitted.features, side, columns) for side in SIDES}
    _write(folder, log, fitted, texts_of(log, fitted.features), data, graphs)
    keep_counts(folder, columns)


def _write(
    folder: Path,
    log: Log,
    fitted: FittedFeatures,
    texts: tuple[pa.Array, pa.Array],
    data: dict[Side, ColumnData],
    graphs: dict[str, GraphVectors],
) -> None:
    features = fitted.features
    np.save(folder / "vocabulary.npy", fitted.vocabulary)
    np.save(folder / "rarity.npy", fitted.rarity)
    (folder / "known.json").write_text(json.dumps(fitted.group_values, ensure_ascii=False))
    (folder / "features.json").write_text(features.model_dump_json())
    (folder / "graphs.json").write_text(json.dumps({name: graph.model_dump() for name, graph in graphs.items()}))
    if features.tokens is not None:  # an encoder's time counts: equal texts of documents are one
        distinct = pc.fill_null(texts[1], "").dictionary_encode()
        np.save(folder / "document_texts.npy", distinct.indices.to_numpy().astype(np.int32))
        texts = texts[0], distinct.dictionary
    queries, documents = text_bags(texts[0], fitted, "query"), text_bags(texts[1], fitted, "document")
    if features.text.clicked_queries:
        clicked = extracted_log.read(log.folder, "clicked_queries")
        documents = with_queries(
            documents,
            queries,
            extracted_log.row_numbers(clicked, "document_row"),
            extracted_log.row_numbers(clicked, "query_row"),
        )
    _save(folder, "text.searches", table_bags(queries, fitted))
    _save(folder, "text.documents", table_bags(documents, fitted))
    for name in features.column_groups:
        for side in SIDES:
            _save(folder, f"{name}.{side}", group_bags(name, side, data[side], _rows(log, side), fitted))
    save_histories(folder, log, fitted, data["searches"])
    searches = pq.read_table(log.folder / "searches.parquet", columns=["query_row", "searcher_row"])
    np.save(folder / "query_of.npy", extracted_log.row_numbers(searches, "query_row"))
    np.save(folder / "searcher_of.npy", pc.fill_null(searches["searcher_row"], -1).to_numpy().astype(np.int32))


def texts_of(log: Log, features: Features) -> tuple[pa.Array, pa.Array]:
    """(queries, documents) as texts, blank on a side whose texts do not become n-grams."""
    texts = read_texts(log, features.text.body)
    sides = (features.text.reads("searches"), texts["query"]), (features.text.reads("documents"), texts["document"])
    queries, documents = (side if is_read else pa.repeat("", len(side)) for is_read, side in sides)
    return queries, documents


def _fit(
    log: Log, features: Features, texts: tuple[pa.Array, pa.Array], data: dict[Side, ColumnData]
) -> FittedFeatures:
    """The vocabulary and the groups, fitted on queries and documents of the training window alone."""
    if features.tokens is not None:
        nothing = np.empty(0, np.int32), np.empty(0, np.float32)
        return FittedFeatures(features, *nothing, _fit_groups(log, features, data))
    queries, documents = (hash_texts(side, features.text) for side in texts)
    query_rows = extracted_log.row_numbers(extracted_log.read(log.folder, "training_queries"), "query_row")
    document_rows = extracted_log.row_numbers(extracted_log.read(log.folder, "trainable"), "document_row")
    vocabulary, rarity = fit_text(take(queries, query_rows), take(documents, document_rows), features.text)
    return FittedFeatures(features, vocabulary, rarity, _fit_groups(log, features, data))


def _fit_groups(log: Log, features: Features, data: dict[Side, ColumnData]) -> dict[str, FittedValues]:
    training_rows: dict[Side, Int32] = {
        "searches": extracted_log.row_numbers(extracted_log.read(log.folder, "training_searches"), "search_row"),
        "documents": extracted_log.row_numbers(extracted_log.read(log.folder, "trainable"), "document_row"),
    }
    fitted = {}
    for name, group in features.column_groups.items():
        columns = [
            {key: column.take(pa.array(training_rows[side])) for key, column in data[side].items()} for side in SIDES
        ]
        fitted[name] = fit_group(name, group, *columns)
    return fitted | fit_histories(log, features.histories, data["searches"])


@stage(ExtraColumns)
def extract_columns(folder: Path, logs: ReadLogs, log: Log, contents: dict[str, str], features: Features) -> None:
    """Write searches.parquet and documents.parquet: the columns that groups name and no layout knows.

    What a searcher clicks after the training window is left out of columns that list documents.

    contents: the digest of each file, so that new logs are read again.
    """
    with show_progress("columns", 1), refuse_changes(logs, contents):
        read_named_columns(logs, log.folder, {side: extra_columns(features, side) for side in SIDES}, folder)
        clean_lists(folder, log, features.listed_columns)


def needs_columns(features: Features) -> bool:
    """True if groups name columns that no layout knows."""
    return any(extra_columns(features, side) for side in SIDES)


def check_features(log: Log, features: Features, columns: ExtraColumns | None) -> None:
    """Check, without text or training, that this log has what the groups need. Raises InputError for the first gap."""
    for graph in features.graphs.values():
        matrix, _, searchers = read_graph(log, graph)
        check_graph(matrix, searchers)
    _fit_groups(log, features, {side: read_columns(log, features, side, columns) for side in SIDES})


def describe_group_places(log: Log, features: Features, columns: ExtraColumns | None) -> list[str]:
    """A sentence for what of each group of kind location is no known place. Raises InputError as `check_features`."""
    groups = {name: group for name, group in features.groups.items() if isinstance(group, Location)}
    return [
        sentence
        for side in SIDES
        for data in ([read_columns(log, features, side, columns)] if groups else [])
        for name, group in groups.items()
        for sentence in describe_unknown(name, group, side, data)
    ]


def named_columns(features: Features, side: Side) -> list[str]:
    """The columns of a side that the groups name."""
    return features.columns(side)


def extra_columns(features: Features, side: Side) -> list[str]:
    """The columns among them that extraction does not keep by itself."""
    return [column for column in named_columns(features, side) if column not in EXTRACTED_COLUMNS[side]]


def read_columns(log: Log, features: Features, side: Side, extra: ExtraColumns | None) -> ColumnData:
    """The columns of a side that the groups name, a value for each row of the log."""
    if side == "searches" and (unlisted := set(features.listed_columns) & set(EXTRACTED_COLUMNS[side])):
        raise InputError(f"searches: {', '.join(sorted(unlisted))} lists no documents; name another column")
    named = named_columns(features, side)
    extracted = [column for column in named if column in EXTRACTED_COLUMNS[side]]
    table = pq.read_table(log.folder / f"{side}.parquet", columns=extracted)
    data = {column: table[column].combine_chunks() for column in extracted}
    if extra_names := extra_columns(features, side):
        if extra is None:
            raise InputError(
                f"{side}: {', '.join(extra_names)} are not among the columns {', '.join(EXTRACTED_COLUMNS[side])}"
            )
        table = pq.read_table(extra.folder / f"{side}.parquet", columns=extra_names)
        data |= {column: table[column].combine_chunks() for column in extra_names}
    return data


def _rows(log: Log, side: str) -> int:
    return int(pq.read_metadata(log.folder / f"{side}.parquet").num_rows)


def _save(folder: Path, name: str, bags: Bags) -> None:
    for part, array in bags._asdict().items():
        np.save(folder / f"{name}.{part}.npy", array)


def read_bags(features: FeatureSet, name: str, side: str) -> Bags:
    """The memory-mapped bags of a group on the side "searches" or "documents"; texts are those of distinct queries."""
    return Bags(*(np.load(features.folder / f"{name}.{side}.{part}.npy", mmap_mode="r") for part in Bags._fields))


def read_fitted(features: FeatureSet) -> FittedFeatures:
    """The vocabulary, rarities and groups fitted on the training window."""
    return FittedFeatures(
        Features.model_validate_json((features.folder / "features.json").read_text()),
        np.load(features.folder / "vocabulary.npy"),
        np.load(features.folder / "rarity.npy"),
        json.loads((features.folder / "known.json").read_text()),
    )


def read_inputs(
    features: FeatureSet, towers: TowerConfig, scratch: Scratch = IN_RAM, histories: str = "searches"
) -> Inputs:
    """The inputs of both towers: every search and document of the log; bags lie in scratch.

    histories: "searches" for clicks that end with the training window, or LATEST for those up to each evaluated search.
    """
    fitted = read_fitted(features)
    query_of, searcher_of = (
        np.load(features.folder / f"{name}.npy", mmap_mode="r") for name in ("query_of", "searcher_of")
    )
    reads_tokens = fitted.features.tokens is not None  # their ids are the model's, on both sides
    text_of = np.load(features.folder / "document_texts.npy", mmap_mode="r") if reads_tokens else None
    text = *_sides(features, "text"), fitted.text_rows(), towers.shared or reads_tokens, query_of, scratch, text_of
    groups: dict[str, BagGroup | VectorGroup] = {"text": bag_group(*text)}
    searcher_vectors, document_vectors = read_graphs(features, "searchers"), read_graphs(features, "documents")
    for name, group in fitted.features.groups.items():
        match group:
            case Graph():
                groups[name] = vector_group(searcher_vectors[name], document_vectors[name], searcher_of)
            case History():
                searches = read_bags(features, name, "searches" if group.column is not None else histories)
                sides = searches, read_bags(features, name, "documents")
                groups[name] = bag_group(*sides, fitted.group_rows(name), group.shared, scratch=scratch)
            case GivenVectors() | Encoder():
                groups[name] = read_text_vectors(features, name, query_of, group.adapt)
            case Values() | Numbers() | Location():
                sides = _sides(features, name)
                groups[name] = bag_group(*sides, fitted.group_rows(name), group.shared, scratch=scratch)
            case _:
                assert_never(group)
    sums = any(len(fitted.features.parts_of(side)) > 1 for side in SIDES)
    inputs = Inputs(groups, len(query_of), len(groups["text"].at) - len(query_of), sums=sums)
    return with_views(inputs, towers.query_vectors) if towers.query_vectors > 1 else inputs


def _sides(features: FeatureSet, name: str) -> tuple[Bags, Bags]:
    return read_bags(features, name, "searches"), read_bags(features, name, "documents")
