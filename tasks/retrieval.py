"""From towers to the K nearest documents of every evaluation search."""

from __future__ import annotations

import json
import time
from pathlib import Path

import faiss
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import samples
from data.world.config import Sees, World
from data.world.oracle import oracle
from ebr_core import baselines
from ebr_core.bags import Int32
from ebr_core.index import Exact, IvfPq, build
from ebr_core.model import load_towers
from ebr_core.search import through
from ebr_core.towers import query_vectors, vectors_of
from ebr_core.train import use_threads
from tasks.artifacts import Artifact, stage
from tasks.features import read_inputs
from tasks.progress import showing
from tasks.samples import read_sample


@stage
def embed_texts(folder: Path, features: Artifact, towers: Artifact, evaluated: Artifact, threads: int) -> None:
    """Unit vectors: documents.npy (N, D) of every document, queries.npy (S, D) of the sampled searches in their
    order, or (h, S, D) where a search has several."""
    use_threads(threads)
    model, sample = load_towers(towers.folder), read_sample(evaluated)
    inputs = read_inputs(features, model.towers)
    documents = inputs.rows_of(np.arange(inputs.documents, dtype=np.int32))
    started = time.perf_counter()
    np.save(folder / "documents.npy", vectors_of(model.encoder, inputs, documents))
    seconds = time.perf_counter() - started
    np.save(folder / "queries.npy", query_vectors(model.encoder, inputs, sample.searches["search_row"]))
    costs = {"embed_s": seconds, "documents_per_s": inputs.documents / max(seconds, 1e-9)}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


@stage
def build_index(folder: Path, vectors: Artifact, evaluated: Artifact, spec: Exact | IvfPq, threads: int) -> None:
    """A faiss index over the documents alive; the manifest names the vectors that it belongs to."""
    use_threads(threads)
    started = time.perf_counter()
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[read_sample(evaluated).candidates]
    with showing(f"index {spec.kind}", 1):
        index = build(documents, spec)
    faiss.write_index(index, str(folder / "index.faiss"))
    (folder / "manifest.json").write_text(json.dumps({"vectors": vectors.digest, **spec.model_dump()}))
    costs = {"build_s": time.perf_counter() - started, "index_bytes": (folder / "index.faiss").stat().st_size}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


@stage
def retrieve(folder: Path, vectors: Artifact, index: Artifact, evaluated: Artifact, k: int, threads: int) -> None:
    """retrieved.npy (S, K): the document rows that the index finds for each sampled search, −1 where it finds fewer."""
    use_threads(threads)
    manifest = json.loads((index.folder / "manifest.json").read_text())
    if manifest["vectors"] != vectors.digest:
        raise ValueError(f"this index belongs to vectors {manifest['vectors']}, not to {vectors.digest}")
    queries = np.load(vectors.folder / "queries.npy")
    started = time.perf_counter()
    rows, _ = through(faiss.read_index(str(index.folder / "index.faiss")), queries, k)
    seconds = time.perf_counter() - started
    candidates = read_sample(evaluated).candidates
    np.save(folder / "retrieved.npy", np.where(rows >= 0, candidates[rows], -1).astype(np.int32))
    costs = {"search_s": seconds, "queries_per_s": queries.shape[-2] / max(seconds, 1e-9)}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


@stage
def retrieve_baseline(folder: Path, log: Artifact, evaluated: Artifact, name: str, k: int) -> None:
    """The same from a baseline without towers; unavailable.json with the reason where these logs allow none."""
    with showing(name, 1):
        rows = _run_baseline(log, evaluated, name, k)
    if isinstance(rows, str):
        (folder / "unavailable.json").write_text(json.dumps({"reason": rows}))
    else:
        np.save(folder / "retrieved.npy", rows)


def _run_baseline(log: Artifact, evaluated: Artifact, name: str, k: int) -> Int32 | str:
    sample = read_sample(evaluated)
    if name == "bm25":
        return _bm25(log, sample.candidates, sample.searches["query_row"], k)
    shown = samples.read_shown(log.folder)
    clicked = shown.clicked
    if not clicked.any():
        return "no clicks in the training window"
    clicks = baselines.count_clicks(
        shown.document_rows[clicked], pq.read_metadata(log.folder / "documents.parquet").num_rows
    )
    if name == "popularity":
        popular = baselines.popularity(clicks, sample.candidates, k)
        return np.tile(popular, (len(sample.searches["query_row"]), 1))
    queries, documents = shown.query_rows[clicked], shown.document_rows[clicked]
    return baselines.memory(sample.searches["query_row"], queries, documents, clicks, sample.candidates, k)


def _bm25(log: Artifact, candidates: Int32, query_rows: Int32, k: int) -> Int32:
    documents = pq.read_table(log.folder / "documents.parquet", columns=["title", "body"]).take(candidates)
    texts = pc.binary_join_element_wise(documents["title"], pc.fill_null(documents["body"], ""), " ")
    asked, place = np.unique(query_rows, return_inverse=True)
    queries = pq.read_table(log.folder / "queries.parquet")["query"].take(asked)
    return baselines.bm25(texts.to_pylist(), candidates, queries.to_pylist(), k)[place]


@stage
def retrieve_oracle(
    folder: Path, world: World, lived: Artifact, log: Artifact, evaluated: Artifact, sees: Sees, k: int
) -> None:
    """The same from the simulated world's own posterior, which knows the text, the place too, or everything."""
    searches = pq.read_table(evaluated.folder / "searches.parquet", columns=["search_row", "search_id"])
    asked = searches["search_id"].to_numpy().astype(np.int64)
    with showing(f"oracle {sees}", 1):
        found = oracle(world, lived.folder, asked, k, sees)
    documents = pq.read_table(log.folder / "documents.parquet", columns=["document_id"])["document_id"]
    place = np.argsort(asked, kind="stable")
    at = place[np.searchsorted(asked[place], found["search_id"].to_numpy())]
    rows = np.full((len(asked), k), -1, np.int32)
    rows[at, found["position"].to_numpy() - 1] = pc.index_in(found["document_id"], documents).to_numpy()
    np.save(folder / "retrieved.npy", rows)
