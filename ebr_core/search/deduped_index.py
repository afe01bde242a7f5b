"""A faiss index over the distinct vectors of documents: what several documents share is indexed once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
from numba import njit

from ebr_core.arrays import Float32, Int32, Int64

_PRIME = np.uint64(0x100000001B3)  # of FNV-1a, here over words of 32 bits
_HALF = np.uint64(32)


class DuplicateMap(NamedTuple):
    """The documents of each distinct vector u: rows[starts[u] : starts[u + 1]], ascending."""

    starts: Int64  # (U + 1,)
    rows: Int32  # (N,)


class DedupedIndex(NamedTuple):
    """What is searched: an index, and whose its vectors are where some have several documents."""

    index: faiss.Index
    copies: DuplicateMap | None = None

    @property
    def documents(self) -> int:
        """How many documents can be found."""
        return int(self.index.ntotal) if self.copies is None else len(self.copies.rows)


def distinct(vectors: Float32) -> tuple[Float32, DuplicateMap | None]:
    """The distinct ones of the vectors (N, D), to the bit, in the order of their first rows, and their documents; None
    where no two are equal.

    Namesakes have one vector where text is all that a tower reads. A graph over copies links them to each other and to
    nothing else, so that a walk does not come away from them; a cell scans each copy.
    """
    hashes = _hashed(np.ascontiguousarray(vectors).view(np.uint32))
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    if len(first) == len(vectors) or not _equal(vectors, first[group]):  # the latter: two hashes fell together
        return vectors, None
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    group = place[group]
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=len(first)))])
    return vectors[np.sort(first)], DuplicateMap(starts, np.argsort(group, kind="stable").astype(np.int32))


@njit(cache=True, nogil=True)
def _hashed(words):  # type: ignore[no-untyped-def]
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
def _equal(vectors, others):  # type: ignore[no-untyped-def]
    """Whether each of the vectors (N, D) is the same as that of row others (N,)."""
    for n in range(len(vectors)):
        for d in range(vectors.shape[1]):
            if vectors[n, d] != vectors[others[n], d]:
                return False
    return True


def of_vectors(copies: DuplicateMap, documents: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(U,): the vectors of which at least one of the documents (N,) is meant."""
    any_of: npt.NDArray[np.bool_] = np.logical_or.reduceat(documents[copies.rows], copies.starts[:-1])
    return any_of


def save(searched: DedupedIndex, folder: Path) -> int:
    """Writes index.faiss, and copies.starts.npy and copies.rows.npy where there are copies; bytes on disk."""
    faiss.write_index(searched.index, str(folder / "index.faiss"))
    for name, array in searched.copies._asdict().items() if searched.copies else ():
        np.save(folder / f"copies.{name}.npy", array)
    return sum(path.stat().st_size for path in saved_as(folder))


def saved_as(folder: Path) -> list[Path]:
    """Where an index was saved."""
    return [folder / "index.faiss", *sorted(folder.glob("copies.*.npy"))]


def load(folder: Path) -> DedupedIndex:
    """What was saved."""
    index = faiss.read_index(str(folder / "index.faiss"))
    if not (folder / "copies.rows.npy").exists():
        return DedupedIndex(index)
    return DedupedIndex(index, DuplicateMap(np.load(folder / "copies.starts.npy"), np.load(folder / "copies.rows.npy")))
