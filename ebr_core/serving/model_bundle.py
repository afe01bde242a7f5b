"""A model that can be asked: query tower, index, documents, terms and radius in one folder that checks itself."""

from __future__ import annotations

import hashlib
import json
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
from ebr_core.search.nearest import scanned
from ebr_core.text.terms import Terms
from ebr_core.towers.checkpoint import Checkpoint, embed_queries, load_towers, searcher_rows

FORMAT = 1
WEIGHTS = "ensemble.json"  # beside the folders 0, 1 … of an ensemble's towers
TOLERANCE = 1e-5  # of a canary's vector
ASKED = pa.schema(  # a query and who asks it from where; all but the query may be null
    [(name, pa.string()) for name in ("query", "searcher_id", "city", "region", "country", "language")]
)
CONTEXT = tuple(ASKED.names[1:])
_CHUNK_BYTES = 1 << 20


class EnsembleParts(NamedTuple):
    """The towers of an ensemble, whose query vectors are joined by weight."""

    models: tuple[Checkpoint, ...]
    weights: tuple[float, ...]


class Bundle(NamedTuple):
    """An opened bundle, checked."""

    name: str  # the arm
    manifest: dict[str, Any]
    towers: Checkpoint | EnsembleParts
    searched: DedupedIndex
    vectors: Float32  # (N, D) memory-mapped
    documents: pa.Table  # N rows: document_id, title, and what a condition may ask of them
    searchers: pa.Table  # searcher_id with the place and language of their latest search
    terms: Terms
    radius: Radius | None
    typical: float  # documents scanned for a query, mean over the canaries


def embed_asked(towers: Checkpoint | EnsembleParts, asked: pa.Table) -> Float32:
    """(Q, D) unit vectors of queries with their context, rows of ASKED: the only way from a question to a vector.

    (h, Q, D) where the towers give a query several vectors; the zero vector where nothing of a question is known.
    """
    match towers:
        case EnsembleParts():
            return concat_queries([embed_asked(model, asked) for model in towers.models], towers.weights)
        case Checkpoint():
            return _embed(towers, asked)
        case _:
            assert_never(towers)


def _embed(towers: Checkpoint, asked: pa.Table) -> Float32:
    given = {name: asked[name].combine_chunks() for name in asked.column_names}
    ids = np.array([(one or "").encode() for one in given["searcher_id"].to_pylist()], np.bytes_)
    return embed_queries(towers, given["query"], searcher_rows(towers, ids), given)


def as_rows(vectors: Float32) -> Float32:
    """(Q, h · D): a row for each query, its vectors one behind the other."""
    views = vectors if vectors.ndim == 3 else vectors[None]
    return np.ascontiguousarray(views.transpose(1, 0, 2).reshape(views.shape[1], -1))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def load_query_towers(folder: Path) -> Checkpoint | EnsembleParts:
    """The towers in a bundle's folder towers: one arm's, or those of an ensemble's parts."""
    if not (folder / WEIGHTS).exists():
        return load_towers(folder)
    weights = tuple(json.loads((folder / WEIGHTS).read_text())["weights"])
    return EnsembleParts(tuple(load_towers(folder / str(at)) for at in range(len(weights))), weights)


def _dimensions(towers: Checkpoint | EnsembleParts) -> int:
    match towers:
        case EnsembleParts():
            return sum(model.tower.dimensions for model in towers.models)
        case Checkpoint():
            return towers.tower.dimensions
        case _:
            assert_never(towers)


def _of_towers(digests: dict[str, str]) -> str:
    """The digest of the towers among files' digests: one file's, or, of an ensemble, that of all parts and weights."""
    if (one := digests.get("towers/towers.safetensors")) is not None:
        return one
    its = [
        digests[name] for name in sorted(digests) if name == f"towers/{WEIGHTS}" or name.endswith("towers.safetensors")
    ]
    return hashlib.sha256("".join(its).encode()).hexdigest()


def seal(folder: Path, told: dict[str, Any]) -> None:
    """Writes manifest.json over all files of a bundle's folder: their digests, and what is told of it.

    index.json says to which towers the index belongs.
    """
    own = (folder / "manifest.json", folder / ".record")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path not in own)
    digests = {str(path.relative_to(folder)): file_digest(path) for path in files}
    belongs = {"towers": _of_towers(digests), "index": digests["index.faiss"]}
    (folder / "index.json").write_text(json.dumps(belongs, indent=1))
    digests["index.json"] = file_digest(folder / "index.json")
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, **told, "files": digests}, indent=1))


def open_bundle(folder: Path) -> Bundle:
    """The bundle in folder. Errors: files that are missing, changed or of another model; canaries that moved."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no bundle ({error}); give a folder that a run made") from error
    if manifest.get("format") != FORMAT:
        raise InputError(f"{folder}: a bundle of format {manifest.get('format')}, this version reads {FORMAT}")
    _check_files(folder, manifest)
    towers = load_query_towers(folder / "towers")
    searched = load(folder)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    documents = pq.read_table(folder / "documents.parquet").combine_chunks()
    if not searched.documents == len(vectors) == documents.num_rows or searched.index.d != _dimensions(towers):
        raise InputError(
            f"{folder}: index of {searched.documents} × {searched.index.d}, {len(vectors)} vectors, "
            f"{documents.num_rows} documents and towers of {_dimensions(towers)} dimensions do not belong together; "
            "make the bundle again"
        )
    canaries = _check_canaries(folder, towers)
    radius = folder / "radius.json"
    return Bundle(
        manifest["arm"],
        manifest,
        towers,
        searched,
        vectors,
        documents,
        pq.read_table(folder / "searchers.parquet").combine_chunks(),
        _read_terms(folder),
        Radius.model_validate_json(radius.read_text()) if radius.exists() else None,
        float(scanned(searched, canaries, 10)[0].mean()),
    )


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    missing = [name for name in manifest["files"] if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder}: {', '.join(missing)} missing; make the bundle again")
    found = {name: file_digest(folder / name) for name in manifest["files"]}
    belongs = json.loads((folder / "index.json").read_text())
    towers = _of_towers(found)
    if (belongs["towers"], belongs["index"]) != (towers, found["index.faiss"]):
        raise InputError(
            f"{folder}: the index belongs to towers {belongs['towers'][:12]}, these are {towers[:12]}; an index "
            "answers only queries of its own model: make the bundle again"
        )
    changed = [name for name, digest in manifest["files"].items() if found[name] != digest]
    if changed:
        raise InputError(f"{folder}: {', '.join(changed)} changed since it was made; make the bundle again")


def _check_canaries(folder: Path, towers: Checkpoint | EnsembleParts) -> Float32:
    """The vectors of the canaries, which have to come out as they were when the model was measured."""
    canaries = pq.read_table(folder / "canaries.parquet")
    kept = np.asarray(canaries["vector"].combine_chunks().flatten(), np.float32).reshape(canaries.num_rows, -1)
    vectors = embed_asked(towers, canaries)
    rows = as_rows(vectors)
    off = np.abs(rows - kept).max(initial=0) if rows.shape == kept.shape else np.inf
    if off > TOLERANCE:
        raise InputError(
            f"{folder}: canary queries come out {off:.1e} from their stored vectors, at most {TOLERANCE} is allowed: "
            "this code or these libraries embed differently; serve with the versions of the manifest"
        )
    return vectors


def write_terms(terms: Terms, folder: Path) -> None:
    """Writes the terms into folder."""
    pq.write_table(pa.table({"word": terms.words}), folder / "words.parquet")
    for name in ("starts", "documents", "weights"):
        np.save(folder / f"terms.{name}.npy", getattr(terms, name))


def _read_terms(folder: Path) -> Terms:
    words = pq.read_table(folder / "words.parquet")["word"].combine_chunks()
    starts, documents, weights = (
        np.load(folder / f"terms.{name}.npy", mmap_mode="r") for name in ("starts", "documents", "weights")
    )
    return Terms(words, starts, documents, weights, pq.read_metadata(folder / "documents.parquet").num_rows)
