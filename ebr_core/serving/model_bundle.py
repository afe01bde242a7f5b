"""A model that answers queries: query tower, index, documents, terms and weights in one folder with checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.search.deduped_index import DedupedIndex, load
from ebr_core.search.hybrid_search import Radius
from ebr_core.search.modes import MODES, RERANKED, Mode
from ebr_core.search.nearest import search_cost
from ebr_core.search.query_kinds import TrainingQueries
from ebr_core.search.weighted_fusion import FusionWeights
from ebr_core.serving.logged_lists import LoggedLists, read_logged_lists
from ebr_core.serving.own_data import OwnData, read_own_data
from ebr_core.serving.query_cost import COSTS, read_cost
from ebr_core.serving.query_towers import (
    CONTEXT,
    QUERY_SCHEMA,
    WEIGHTS,
    EnsembleParts,
    check_canaries,
    dimensions_of,
    fields_of,
    load_query_towers,
)
from ebr_core.serving.second_stage import SECOND, SecondStage, read_second_stage
from ebr_core.text.sorted_texts import SortedTexts, sort_texts
from ebr_core.text.terms import Terms
from ebr_core.towers.checkpoint import Checkpoint

FORMAT = 3
FUSION = "fusion.json"  # the weights of BM25 and cosine
_CHUNK_BYTES = 1 << 20


class Bundle(NamedTuple):
    """An opened and verified bundle."""

    name: str  # the arm
    manifest: dict[str, Any]
    towers: Checkpoint | EnsembleParts
    built_index: DedupedIndex
    vectors: Float32  # (N, D) memory-mapped
    documents: pa.Table  # N rows: document_id, title, the attributes for conditions, and the user's own columns
    searchers: pa.Table  # searcher_id with the place and language of their latest search
    terms: Terms
    radius: Radius | None
    typical: float  # documents scanned per query, mean over the canaries
    fields: tuple[str, ...]  # columns of a search that it reads besides QUERY_SCHEMA
    mode: Mode  # by which it answers unless a query names another: the one that won on the validation
    k: int  # the documents that the run retrieved for each search in mode ebr
    depth: int  # the documents of each list that are fused
    fusion: FusionWeights
    known: TrainingQueries
    own: OwnData  # of the documents: settings of the user's own columns, and places
    searcher_rows: SortedTexts  # the ids of the searchers with their order
    second: SecondStage | None = None  # what reorders in mode reranked
    embed_query_ms: float | None = None  # milliseconds to embed a query, where the bundle was made; None: not measured
    context_values: Mapping[str, frozenset[str]] = MappingProxyType({})  # of each part of CONTEXT but the searcher
    logged: LoggedLists | None = None  # what the engine of the log showed last; None if the log has no positions

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes in which it can answer."""
        reranked, logged = (RERANKED,) if self.second else (), ("logged",) if self.logged else ()
        return (*MODES, *reranked, "boolean", "bm25", *logged)


def file_digest(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def model_digest(folder: Path) -> str:
    """The digest of the bundle in a folder, 20 characters: of its manifest, which has those of all its files."""
    return file_digest(folder / "manifest.json")[:20]


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
    excluded = (folder / "manifest.json", folder / ".record", folder / COSTS)
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
    if not index.documents == len(vectors) == documents.num_rows or index.index.d != dimensions_of(towers):
        raise InputError(
            f"{folder}: index of {index.documents} × {index.index.d}, {len(vectors)} vectors, "
            f"{documents.num_rows} documents and towers of {dimensions_of(towers)} dimensions do not belong together; "
            "make the bundle again"
        )
    canaries, searchers = check_canaries(folder, towers), pq.read_table(folder / "searchers.parquet").combine_chunks()
    radius, own = folder / "radius.json", read_own_data(folder)
    second = read_second_stage(folder, manifest, documents, own)
    return Bundle(
        manifest["arm"],
        manifest,
        towers,
        index,
        vectors,
        documents,
        searchers,
        read_terms(folder, documents.num_rows),
        Radius.model_validate_json(radius.read_text()) if radius.exists() else None,
        float(search_cost(index, canaries, 10)[0].mean()),
        fields_of_bundle(folder),
        manifest["mode"],
        manifest["k"],
        manifest["depth"],
        FusionWeights.model_validate(json.loads((folder / FUSION).read_text())["weights"]),
        read_training_queries(folder),
        own,
        sort_texts(searchers["searcher_id"]),
        second,
        read_cost(folder),
        _context_values(documents, searchers),
        read_logged_lists(folder),
    )


def _context_values(documents: pa.Table, searchers: pa.Table) -> dict[str, frozenset[str]]:
    """The places and languages that a document or a searcher has, by column."""
    values = {name: [pc.unique(table[name]).to_pylist() for table in (documents, searchers)] for name in CONTEXT[1:]}
    return {name: frozenset(chain.from_iterable(parts)) - {None} for name, parts in values.items()}


def fields_of_bundle(folder: Path) -> tuple[str, ...]:
    """The columns of a search that the bundle in a folder reads besides QUERY_SCHEMA, in order: those of its towers,
    and its place if documents have places."""
    towers = [path / "towers" for path in (folder, folder / SECOND) if (path / "towers").exists()]
    names = {name for part in towers for name in fields_of(load_query_towers(part))}
    return tuple(sorted((names | set(read_own_data(folder).fields)) - set(QUERY_SCHEMA.names)))


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
    return Terms(language, words, starts, holders, weights, documents, sort_texts(words))
