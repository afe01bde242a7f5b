"""Bundles of as many documents as one likes, to export to engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.search.deduped_index import save
from ebr_core.search.faiss_index import build
from ebr_core.search.index_specs import Ivf
from ebr_core.serving.model_bundle import seal, write_terms
from ebr_core.text.terms import index_terms
from tests.bundles import SERVED, make_bundle

D = 24


def large_bundle(folder: Path, documents: int, seed: int = 0, d: int = D, arm: str = "hand") -> Path:
    """A sealed bundle of documents in clumps on the sphere, as those of trained towers are, with two own columns."""
    make_bundle(folder, arm, seed, d)
    rng = np.random.default_rng(seed)
    clumps = rng.normal(size=(documents // 20 + 1, d))
    vectors = clumps[rng.integers(len(clumps), size=documents)] + 0.5 * rng.normal(size=(documents, d))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)
    save(build(vectors, Ivf(code="flat", nlist=1, nprobe=1)), folder)
    table = pq.read_table(folder / "documents.parquet")
    table = table.take(np.arange(documents) % len(table))
    identities = pa.array([f"d{i}" for i in range(documents)])
    table = table.set_column(table.column_names.index("document_id"), "document_id", identities)
    table = table.append_column("price", pa.array([None if i % 7 == 0 else i / 4 for i in range(documents)]))
    tags = pa.array([["new", "red"][: i % 3] for i in range(documents)], pa.list_(pa.string()))
    table = table.append_column("Tag's", tags)
    pq.write_table(table, folder / "documents.parquet")
    write_terms(index_terms(table["title"].to_pylist(), "en", 1.2, 0.75), folder)
    seal(folder, {"arm": arm, "seed": seed, "index": {"kind": "ivf", "target": 0.9, "at": 10}, **SERVED})
    return folder
