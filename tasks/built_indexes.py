"""Indexes on disk. Exact search has no index file: its folder has the vectors, linked, and the documents alive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.search.deduped_index import DedupedIndex, index_files, load, save
from ebr_core.search.faiss_index import build
from ebr_core.search.index_specs import Exact
from tasks.artifacts import link
from tasks.kinds import Vectors

_VECTORS, _CANDIDATES = "documents.npy", "candidates.npy"


def save_exact(vectors: Vectors, candidates: Int32, dimensions: int, folder: Path) -> int:
    """Write what exact search over the candidates needs. Returns the bytes that it has in memory."""
    link(vectors.folder / _VECTORS, folder / _VECTORS)
    np.save(folder / _CANDIDATES, candidates)
    return len(candidates) * dimensions * np.dtype(np.float32).itemsize


def load_index(folder: Path) -> DedupedIndex:
    """The index of a folder that `build_index` wrote."""
    if not (folder / _CANDIDATES).exists():
        return load(folder)
    documents: Float32 = np.load(folder / _VECTORS, mmap_mode="r")
    return build(documents[np.load(folder / _CANDIDATES)], Exact())


def copy_index(source: Path, target: Path) -> None:
    """Give a folder the index of another one, in files that need nothing else."""
    if (source / _CANDIDATES).exists():
        save(load_index(source), target)
        return
    for path in index_files(source):
        link(path, target / path.name)
