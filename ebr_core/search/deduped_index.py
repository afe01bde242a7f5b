"""A faiss index over the distinct vectors of documents: a vector that several documents share is indexed once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
from numba import njit

from ebr_core.arrays import Float32, Int32, Int64

_PRIME = np.uint64(0x100000001B3)  # of FNV-1a, applied here to 32-bit words
_HALF = np.uint64(32)


class DuplicateMap(NamedTuple):
    """The documents of each distinct vector u: rows[starts[u] : starts[u + 1]], in ascending order."""

    starts: Int64  # (U + 1,)
    rows: Int32  # (N,)


class DedupedIndex(NamedTuple):
    """A searchable index, and the documents of its vectors if some vectors belong to several documents."""

    index: faiss.Index
    copies: DuplicateMap | None = None

    @property
    def documents(self) -> int:
        """Number of documents that can be found."""
        return int(self.index.ntotal) if self.copies is None else len(self.copies.rows)


def deduplicate(vectors: Float32) -> tuple[Float32, DuplicateMap | None]:
    """(vectors (U, D), duplicates): the bitwise distinct vectors in the order of their first rows, and their documents.

    The duplicates are None if no two vectors are equal. Documents with the same text have the same vector if the tower
    reads the text only. A graph over copies links them to each other and to nothing else, so a walk cannot leave them;
    an inverted file scans every copy.
    """
    hashes = _hash_rows(np.ascontiguousarray(vectors).view(np.uint32))
    _, first, groups = np.unique(hashes, return_index=True, return_inverse=True)
    if len(first) == len(vectors) or not _rows_equal(vectors, first[groups]):  # the second case is a hash collision
        return vectors, None
    group_rank = np.empty(len(first), np.int64)
    group_rank[np.argsort(first)] = np.arange(len(first))
    groups = group_rank[groups]
    starts = np.concatenate([[0], np.cumsum(np.bincount(groups, minlength=len(first)))])
    return vectors[np.sort(first)], DuplicateMap(starts, np.argsort(groups, kind="stable").astype(np.int32))


@njit(cache=True, nogil=True)
def _hash_rows(words):  # type: ignore[no-untyped-def]
    """(N,) 64-bit hashes of words (N, D)."""
    hashes = np.empty(len(words), np.uint64)
    for n in range(len(words)):
        value = np.uint64(0xCBF29CE484222325)
        for word in words[n]:
            value = (value ^ np.uint64(word)) * _PRIME
            value ^= value >> _HALF
        hashes[n] = value
    return hashes


@njit(cache=True, nogil=True)
def _rows_equal(vectors, others):  # type: ignore[no-untyped-def]
    """True if each of the vectors (N, D) equals the row of `others` (N, D)."""
    for n in range(len(vectors)):
        for d in range(vectors.shape[1]):
            if vectors[n, d] != vectors[others[n], d]:
                return False
    return True


def vector_mask(duplicates: DuplicateMap, documents: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(U,): True for the vectors of which at least one document is True in the mask `documents` (N,)."""
    mask: npt.NDArray[np.bool_] = np.logical_or.reduceat(documents[duplicates.rows], duplicates.starts[:-1])
    return mask


def save(index: DedupedIndex, folder: Path) -> int:
    """Write index.faiss, and copies.starts.npy and copies.rows.npy if there are copies. Returns the bytes on disk."""
    faiss.write_index(index.index, str(folder / "index.faiss"))
    for name, array in index.copies._asdict().items() if index.copies else ():
        np.save(folder / f"copies.{name}.npy", array)
    return sum(path.stat().st_size for path in index_files(folder))


def index_files(folder: Path) -> list[Path]:
    """The files that `save` wrote to folder."""
    return [folder / "index.faiss", *sorted(folder.glob("copies.*.npy"))]


def load(folder: Path) -> DedupedIndex:
    """The index that `save` wrote to folder."""
    index = faiss.read_index(str(folder / "index.faiss"))
    if not (folder / "copies.rows.npy").exists():
        return DedupedIndex(index)
    return DedupedIndex(index, DuplicateMap(np.load(folder / "copies.starts.npy"), np.load(folder / "copies.rows.npy")))
