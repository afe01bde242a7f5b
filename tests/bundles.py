"""A small bundle built without training: random n-gram vectors and nine documents."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.arrays import Float32
from ebr_core.search.deduped_index import save
from ebr_core.search.faiss_index import build
from ebr_core.search.hybrid_search import Radius
from ebr_core.search.index_specs import Ivf
from ebr_core.search.query_kinds import training_queries
from ebr_core.search.weighted_fusion import FusionWeights
from ebr_core.serving.model_bundle import FUSION, seal, write_terms, write_training_queries
from ebr_core.serving.own_data import OwnSettings, write_own_data
from ebr_core.serving.query_towers import QUERY_SCHEMA, embed_query_table
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.text.terms import index_terms
from ebr_core.towers.checkpoint import Checkpoint, save_towers
from ebr_core.towers.feature_config import Features, TextFeatures, Values
from ebr_core.towers.fitted_features import FittedFeatures, fit_group, fit_text, group_bags, table_bags, text_bags
from ebr_core.towers.ngram_tower import new_ngram_tower
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import bag_group, text_inputs

TITLES = [
    *("Anna Schmidt", "Anna Smith", "Ana Smit", "Smith Brothers Band", "Walking Club Lyon"),
    *("Chess Club Bonn", "Bonn Walks", "Lyon Chess Open", "Jazz Night"),
]
KINDS = ["person", "person", "person", "page", "group", "group", "page", "event", "event"]
SERVED = {"mode": "hybrid", "k": 3, "depth": 100}  # details in a manifest that decide how a bundle answers
PRICES = [5.0, 15.0, None, 25.0, 35.0, 45.0, 55.0, 65.0, 7.5]
BRANDS = ["Acme", "Acme", "Zett", None, "Zett", "Acme", "Orbit", "Orbit", "Acme"]
RELEASED = [datetime(2024, 1, 1 + i) for i in range(9)]
LYON, BONN = (45.75, 4.85), (50.73, 7.1)
PLACES = [LYON, BONN, (np.nan, np.nan), LYON, (45.8, 4.9), BONN, LYON, (46.0, 4.85), BONN]
CITIES = ["Bonn", "Lyon", "Lyon", None, "Lyon", "Bonn", "Bonn", "Lyon", None]


def make_bundle(folder: Path, arm: str = "hand", seed: int = 0, d: int = 24) -> Path:
    """Write a sealed bundle to folder, which is returned."""
    (folder / "towers").mkdir(parents=True)
    towers, vectors = _untrained(seed, d)
    save_towers(towers, folder / "towers")
    save(build(vectors, Ivf(code="flat", nlist=3, nprobe=2)), folder)
    np.save(folder / "vectors.npy", vectors)
    n = len(TITLES)
    columns = {
        "title": pa.array(TITLES),
        "body": pa.nulls(n, pa.string()),
        "document_id": pa.array([f"d{i}" for i in range(n)]),
        "kind": pa.array(KINDS),
        "city": pa.array(CITIES, pa.string()),
        **{name: pa.nulls(n, pa.string()) for name in ("region", "country", "language")},
        "created_at": pa.array([datetime(2024, 1, 1 + i) for i in range(n)], pa.timestamp("us")),
        "removed_at": pa.nulls(n, pa.timestamp("us")),
    }
    pq.write_table(pa.table(columns), folder / "documents.parquet")
    write_terms(index_terms(TITLES, "en", 1.2, 0.75), folder)
    write_training_queries(training_queries(pa.array(["anna smith"]), "en"), folder)
    (folder / FUSION).write_text(json.dumps({"weights": FusionWeights(weight=0.5).model_dump()}))
    searchers = [{"searcher_id": "s1", "city": "Lyon", "region": None, "country": "FR", "language": "fr"}]
    searcher_schema = pa.schema([QUERY_SCHEMA.field(name) for name in QUERY_SCHEMA.names[1:]])
    pq.write_table(pa.Table.from_pylist(searchers, searcher_schema), folder / "searchers.parquet")
    (folder / "radius.json").write_text(Radius(model=0.6, beyond=0.3, targets=9).model_dump_json())
    queries = pa.Table.from_pylist([{"query": query} for query in ("anna smith", "chess", "wlaking clb")], QUERY_SCHEMA)
    vector_column = pa.FixedSizeListArray.from_arrays(pa.array(embed_query_table(towers, queries).ravel()), d)
    pq.write_table(queries.append_column("vector", vector_column), folder / "canaries.parquet")
    seal(folder, {"arm": arm, "seed": seed, **SERVED})
    return folder


def with_own_columns(
    folder: Path, details: dict[str, Any], settings: OwnSettings, more: dict[str, pa.Array] | None = None
) -> Path:
    """The bundle in folder with columns and places of its documents, sealed again. more: further columns."""
    table = pq.read_table(folder / "documents.parquet")
    columns = {"Price": pa.array(PRICES), "brand": pa.array(BRANDS), "released": pa.array(RELEASED, pa.timestamp("us"))}
    columns |= more or {}
    for name, values in columns.items():
        table = table.append_column(name, values)
    pq.write_table(table, folder / "documents.parquet")
    write_own_data(settings, np.array(PLACES), folder)
    seal(folder, details)
    return folder


def _untrained(seed: int, d: int) -> tuple[Checkpoint, Float32]:
    """Untrained towers that read the text and the city, and the documents' vectors."""
    features = Features(
        text=TextFeatures(buckets=4096), groups={"place": Values(searches=("city",), documents=("city",))}
    )
    texts = {"queries": pa.array([], pa.string()), "documents": pa.array(TITLES)}
    hashed = {side: hash_texts(column, features.text) for side, column in texts.items()}
    cities = {"city": pa.array(CITIES, pa.string())}
    fitted_groups = {"place": fit_group("place", features.groups["place"], cities, cities)}
    fitted = FittedFeatures(features, *fit_text(hashed["queries"], hashed["documents"], features.text), fitted_groups)
    query_of = np.empty(0, np.int32)
    bags = [table_bags(text_bags(column, fitted), fitted) for column in texts.values()]
    inputs = text_inputs(bags[0], bags[1], fitted.text_rows(), True, query_of)
    no_city = group_bags("place", "searches", {"city": cities["city"][:0]}, 0, fitted)
    places = group_bags("place", "documents", cities, len(CITIES), fitted)
    inputs.groups["place"] = bag_group(no_city, places, fitted.group_rows("place"), True)
    encoder = new_ngram_tower(
        inputs, NgramTowerConfig(start_weight=1, dimensions=d), False, np.random.default_rng(seed)
    )
    vectors = encoder.over(inputs).encode(inputs.rows_of(np.arange(len(TITLES), dtype=np.int32)))
    return Checkpoint(encoder, fitted, NgramTowerConfig(start_weight=1, dimensions=d), {}, np.empty(0, "S1")), vectors


def publish_bundles(home: Path, experiment: str, folders: dict[str, Path], champion: str) -> None:
    """Record the bundles of an experiment, as a run does. The folders are under home/artifacts."""
    (home / "models").mkdir(parents=True, exist_ok=True)
    models = {arm: {"bundle": folder.name, "validation_recall": 0.5} for arm, folder in folders.items()}
    record = {"experiment": experiment, "made_at": f"after {champion}", "champion": champion, "models": models}
    temporary = home / "models" / ".new"
    temporary.write_text(json.dumps(record))
    temporary.replace(home / "models" / f"{experiment}.json")
