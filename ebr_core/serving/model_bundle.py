"""A model that answers queries: query tower, index, documents, terms and weights in one folder with checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.search.deduped_index import DedupedIndex, load
from ebr_core.search.ensemble_vectors import concat_queries
from ebr_core.search.hybrid_search import Radius
from ebr_core.search.modes import Mode
from ebr_core.search.nearest import search_cost
from ebr_core.search.query_kinds import TrainingQueries
from ebr_core.search.weighted_fusion import FusionWeights
from ebr_core.text.terms import Terms
from ebr_core.towers.checkpoint import Checkpoint, embed_queries, load_towers, query_columns, searcher_rows

FORMAT = 3
WEIGHTS = "ensemble.json"  # next to the folders 0, 1, … of an ensemble's towers
TOLERANCE = 1e-5  # largest difference in a canary's vector
FUSION = "fusion.json"  # the weights of BM25 and cosine
QUERY_SCHEMA = pa.schema(  # a query with its searcher and context; all but the query may be null
    [(name, pa.string()) for name in ("query", "searcher_id", "city", "region", "country", "language")]
)
CONTEXT = tuple(QUERY_SCHEMA.names[1:])
_CHUNK_BYTES = 1 << 20


class EnsembleParts(NamedTuple):
    """The towers of an ensemble, whose weighted query vectors are concatenated."""

    models: tuple[Checkpoint, ...]
    weights: tuple[float, ...]


class Bundle(NamedTuple):
    """An opened and verified bundle."""

    name: str  # the arm
    manifest: dict[str, Any]
    towers: Checkpoint | EnsembleParts
    built_index: DedupedIndex
    vectors: Float32  # (N, D) memory-mapped
    documents: pa.Table  # N rows: document_id, title, and the attributes for conditions
    searchers: pa.Table  # searcher_id with the place and language of their latest search
    terms: Terms
    radius: Radius | None
    typical: float  # documents scanned per query, mean over the canaries
    fields: tuple[str, ...]  # columns of a search that the towers read besides QUERY_SCHEMA
    mode: Mode  # by which it answers unless a query names another: the one that won on the validation
    k: int  # the documents that the run retrieved for each search in mode ebr
    depth: int  # the documents of each list that are fused
    fusion: FusionWeights
    known: TrainingQueries


def query_schema(fields: Iterable[str]) -> pa.Schema:
    """The columns of a query to a model that reads these fields; each field is a list of texts, or null."""
    return pa.schema([*QUERY_SCHEMA, *(pa.field(name, pa.list_(pa.string())) for name in fields)])


def fields_of(towers: Checkpoint | EnsembleParts) -> tuple[str, ...]:
    """The columns of a search that the towers read besides QUERY_SCHEMA, in order."""
    models = towers.models if isinstance(towers, EnsembleParts) else (towers,)
    return tuple(sorted({name for model in models for name in query_columns(model)} - set(QUERY_SCHEMA.names)))


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


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def load_query_towers(folder: Path) -> Checkpoint | EnsembleParts:
    """The towers in a bundle's folder `towers`: those of an arm, or of all parts of an ensemble."""
    if not (folder / WEIGHTS).exists():
        return load_towers(folder)
    weights = tuple(json.loads((folder / WEIGHTS).read_text())["weights"])
    return EnsembleParts(tuple(load_towers(folder / str(part)) for part in range(len(weights))), weights)


def _dimensions(towers: Checkpoint | EnsembleParts) -> int:
    match towers:
        case EnsembleParts():
            return sum(model.tower.dimensions for model in towers.models)
        case Checkpoint():
            return towers.tower.dimensions
        case _:
            assert_never(towers)


def _towers_digest(digests: dict[str, str]) -> str:
    """The digest of the towers, from the digests of files; of an ensemble, it covers all parts and weights."""
    if (digest := digests.get("towers/towers.safetensors")) is not None:
        return digest
    part_digests = [
        digests[name] for name in sorted(digests) if name == f"towers/{WEIGHTS}" or name.endswith("towers.safetensors")
    ]
    return hashlib.sha256("".join(part_digests).encode()).hexdigest()


def seal(folder: Path, details: dict[str, Any]) -> None:
    """Write manifest.json with the details given and the digests of all files in a bundle's folder.

    index.json, which names the towers that the index belongs to, is written too.
    """
    excluded = (folder / "manifest.json", folder / ".record")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path not in excluded)
    digests = {str(path.relative_to(folder)): file_digest(path) for path in files}
    owner = {"towers": _towers_digest(digests), "index": digests["index.faiss"]}
    (folder / "index.json").write_text(json.dumps(owner, indent=1))
    digests["index.json"] = file_digest(folder / "index.json")
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, **details, "files": digests}, indent=1))


def open_bundle(folder: Path) -> Bundle:
    """The bundle in folder. Raises InputError if files are missing, changed or of another model, or canaries moved."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no bundle ({error}); give the folder of a bundle that a run made") from error
    if manifest.get("format") != FORMAT:
        raise InputError(
            f"{folder}: a bundle of format {manifest.get('format')}, this version reads {FORMAT}; run again"
        )
    _check_files(folder, manifest)
    towers = load_query_towers(folder / "towers")
    index = load(folder)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    documents = pq.read_table(folder / "documents.parquet").combine_chunks()
    if not index.documents == len(vectors) == documents.num_rows or index.index.d != _dimensions(towers):
        raise InputError(
            f"{folder}: index of {index.documents} × {index.index.d}, {len(vectors)} vectors, "
            f"{documents.num_rows} documents and towers of {_dimensions(towers)} dimensions do not belong together; "
            "make the bundle again"
        )
    canaries = _check_canaries(folder, towers)
    radius = folder / "radius.json"
    return Bundle(
        manifest["arm"],
        manifest,
        towers,
        index,
        vectors,
        documents,
        pq.read_table(folder / "searchers.parquet").combine_chunks(),
        read_terms(folder, documents.num_rows),
        Radius.model_validate_json(radius.read_text()) if radius.exists() else None,
        float(search_cost(index, canaries, 10)[0].mean()),
        fields_of(towers),
        manifest["mode"],
        manifest["k"],
        manifest["depth"],
        FusionWeights.model_validate(json.loads((folder / FUSION).read_text())["weights"]),
        read_training_queries(folder),
    )


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    missing = [name for name in manifest["files"] if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: {', '.join(missing)} missing; make the bundle again")
    actual = {name: file_digest(folder / name) for name in manifest["files"]}
    owner = json.loads((folder / "index.json").read_text())
    towers = _towers_digest(actual)
    if (owner["towers"], owner["index"]) != (towers, actual["index.faiss"]):
        raise InputError(
            f"{folder}: the index belongs to towers {owner['towers'][:12]}, these are {towers[:12]}; an index "
            "answers only queries of its own model: make the bundle again"
        )
    changed = [name for name, digest in manifest["files"].items() if actual[name] != digest]
    if changed:
        raise InputError(f"{folder}: {', '.join(changed)} changed since it was made; make the bundle again")


def _check_canaries(folder: Path, towers: Checkpoint | EnsembleParts) -> Float32:
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


def write_training_queries(known: TrainingQueries, folder: Path) -> None:
    """Write the queries of the training window and their words to folder."""
    pq.write_table(pa.table({"query": known.queries}), folder / "training_queries.parquet")
    pq.write_table(pa.table({"word": known.words}), folder / "training_words.parquet")


def read_training_queries(folder: Path) -> TrainingQueries:
    """The queries and words that write_training_queries wrote."""
    files = {"query": "training_queries.parquet", "word": "training_words.parquet"}
    return TrainingQueries(*(pq.read_table(folder / file)[name].combine_chunks() for name, file in files.items()))


def write_terms(terms: Terms, folder: Path) -> None:
    """Write the terms to folder."""
    (folder / "terms.json").write_text(json.dumps({"language": terms.language}))
    pq.write_table(pa.table({"word": terms.words}), folder / "words.parquet")
    for name in ("starts", "documents", "weights"):
        np.save(folder / f"terms.{name}.npy", getattr(terms, name))


def read_terms(folder: Path, documents: int) -> Terms:
    """The terms that write_terms wrote, of that many documents."""
    words = pq.read_table(folder / "words.parquet")["word"].combine_chunks()
    starts, holders, weights = (
        np.load(folder / f"terms.{name}.npy", mmap_mode="r") for name in ("starts", "documents", "weights")
    )
    language = json.loads((folder / "terms.json").read_text())["language"]
    return Terms(language, words, starts, holders, weights, documents)
