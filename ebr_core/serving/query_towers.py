"""The query towers of a bundle: how queries with their context become vectors, and the check that they still do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.search.ensemble_vectors import concat_queries
from ebr_core.towers.checkpoint import Checkpoint, embed_queries, load_towers, query_columns, searcher_rows

WEIGHTS = "ensemble.json"  # next to the folders 0, 1, … of an ensemble's towers
TOLERANCE = 1e-5  # largest difference in a canary's vector
QUERY_SCHEMA = pa.schema(  # a query with its searcher and context; all but the query may be null
    [(name, pa.string()) for name in ("query", "searcher_id", "city", "region", "country", "language")]
)
CONTEXT = tuple(QUERY_SCHEMA.names[1:])


class EnsembleParts(NamedTuple):
    """The towers of an ensemble, whose weighted query vectors are concatenated."""

    models: tuple[Checkpoint, ...]
    weights: tuple[float, ...]


def query_schema(fields: Iterable[str]) -> pa.Schema:
    """The columns of a query to a model that reads these fields; each field is a list of texts, or null."""
    return pa.schema([*QUERY_SCHEMA, *(pa.field(name, pa.list_(pa.string())) for name in fields)])


def fields_of(towers: Checkpoint | EnsembleParts) -> tuple[str, ...]:
    """The columns of a search that the towers read besides QUERY_SCHEMA, in order."""
    models = towers.models if isinstance(towers, EnsembleParts) else (towers,)
    return tuple(sorted({name for model in models for name in query_columns(model)} - set(QUERY_SCHEMA.names)))


def context_of(towers: Checkpoint | EnsembleParts) -> tuple[str, ...]:
    """The parts of CONTEXT that the towers read: the searcher where friends or clicks are known of searchers, places
    and language where a group has such a column."""
    models = towers.models if isinstance(towers, EnsembleParts) else (towers,)
    names = {name for model in models for name in query_columns(model)}
    names |= {"searcher_id" for model in models if model.graphs or model.fitted.features.reads_clicks}
    return tuple(name for name in CONTEXT if name in names)


def embed_query_table(towers: Checkpoint | EnsembleParts, queries: pa.Table) -> Float32:
    """(Q, D) unit vectors of queries with their context, a table with query_schema of the fields that the towers read.

    (h, Q, D) if the towers give a query several vectors. A query without any known feature has the zero vector.
    """
    match towers:
        case EnsembleParts():
            return concat_queries([embed_query_table(model, queries) for model in towers.models], towers.weights)
        case Checkpoint():
            return _embed(towers, queries)
        case _:
            assert_never(towers)


def _embed(towers: Checkpoint, queries: pa.Table) -> Float32:
    columns = {name: queries[name].combine_chunks() for name in queries.column_names}
    ids = np.array([(searcher_id or "").encode() for searcher_id in columns["searcher_id"].to_pylist()], np.bytes_)
    return embed_queries(towers, columns["query"], searcher_rows(towers, ids), columns)


def as_rows(vectors: Float32) -> Float32:
    """(Q, h · D): a row for each query, with its vectors concatenated."""
    views = vectors if vectors.ndim == 3 else vectors[None]
    return np.ascontiguousarray(views.transpose(1, 0, 2).reshape(views.shape[1], -1))


def load_query_towers(folder: Path) -> Checkpoint | EnsembleParts:
    """The towers in a bundle's folder `towers`: those of an arm, or of all parts of an ensemble."""
    if not (folder / WEIGHTS).exists():
        return load_towers(folder)
    weights = tuple(json.loads((folder / WEIGHTS).read_text())["weights"])
    return EnsembleParts(tuple(load_towers(folder / str(part)) for part in range(len(weights))), weights)


def dimensions_of(towers: Checkpoint | EnsembleParts) -> int:
    """D of the vectors of queries."""
    match towers:
        case EnsembleParts():
            return sum(model.tower.dimensions for model in towers.models)
        case Checkpoint():
            return towers.tower.dimensions
        case _:
            assert_never(towers)


def check_canaries(folder: Path, towers: Checkpoint | EnsembleParts) -> Float32:
    """The vectors of the canary queries. Raises InputError if they differ from those stored with the model."""
    canaries = pq.read_table(folder / "canaries.parquet")
    stored = np.asarray(canaries["vector"].combine_chunks().flatten(), np.float32).reshape(canaries.num_rows, -1)
    vectors = embed_query_table(towers, canaries)
    rows = as_rows(vectors)
    difference = np.abs(rows - stored).max(initial=0) if rows.shape == stored.shape else np.inf
    if difference > TOLERANCE:
        raise InputError(
            f"{folder}: canary queries come out {difference:.1e} from their stored vectors, at most {TOLERANCE} is "
            "allowed: this code or these libraries embed differently; use the versions in the manifest"
        )
    return vectors
