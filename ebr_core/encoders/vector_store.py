"""Vectors of texts on disk: a text that was encoded once is found again by its digest, by every arm, run and night.

A folder holds the vectors of one encoder with one prompt, in pieces of 16 bytes of digest and D numbers a text. Pieces
are written under another name and renamed, so a piece that is there is whole, and never change.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import safe_open
from safetensors.numpy import save_file

from ebr_core.arrays import Bool, Float32, Int32

Digests = npt.NDArray[np.uint64]  # (n, 2)
_HASH_KEYS = ("ebr/text/first/1", "ebr/text/second1")


class StoredVectors(NamedTuple):
    """The digests of a folder's texts in order, and where their vectors are."""

    digests: Digests  # (T, 2) by the first number
    piece: Int32  # (T,)
    row: Int32  # (T,) in its piece
    pieces: tuple[Path, ...]


def text_digests(texts: pa.Array) -> Digests:
    """(n, 2) a digest of 128 bits of each text."""
    import pandas as pd

    values = np.asarray(texts.to_pylist(), object)
    return np.stack([pd.util.hash_array(values, hash_key=key, categorize=False) for key in _HASH_KEYS], axis=1)


def open_store(folder: Path) -> StoredVectors:
    """All pieces in a folder, which need not exist."""
    pieces = tuple(sorted(folder.glob("*.safetensors")))
    digests = [np.empty((0, 2), np.uint64)]
    for path in pieces:
        with safe_open(path, "numpy") as file:
            digests.append(file.get_tensor("digests"))
    joined = np.concatenate(digests)
    order = np.argsort(joined[:, 0], kind="stable")
    lengths = [len(part) for part in digests[1:]]
    piece = np.repeat(np.arange(len(pieces), dtype=np.int32), lengths)
    row = np.concatenate([np.empty(0, np.int32), *(np.arange(length, dtype=np.int32) for length in lengths)])
    return StoredVectors(joined[order], piece[order], row[order], pieces)


def positions_of(store: StoredVectors, digests: Digests) -> Int32:
    """(n,) the place of each text among the digests of the store, −1 if it is not there."""
    if not len(store.digests):
        return np.full(len(digests), -1, np.int32)
    at = np.minimum(np.searchsorted(store.digests[:, 0], digests[:, 0]), len(store.digests) - 1)
    return np.where((store.digests[at] == digests).all(axis=1), at, -1).astype(np.int32)


def take_vectors(store: StoredVectors, positions: Int32, out: Float32) -> None:
    """Fill the rows of out (n, D) with the vectors at these positions (n,); rows of −1 stay as they are."""
    piece = np.where(positions >= 0, store.piece[positions], -1) if len(store.pieces) else np.full(len(positions), -1)
    for number, path in enumerate(store.pieces):
        rows = np.flatnonzero(piece == number)
        if len(rows):
            with safe_open(path, "numpy") as file:
                out[rows] = file.get_tensor("vectors")[store.row[positions[rows]]]


def add_piece(folder: Path, digests: Digests, vectors: Float32) -> None:
    """Write the vectors (n, D) of the texts with these digests as a new piece."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
    temporary = folder / f".{name}"
    save_file({"digests": np.ascontiguousarray(digests), "vectors": np.ascontiguousarray(vectors)}, temporary)
    temporary.replace(folder / f"{name}.safetensors")


def in_share(digests: Digests, share: int, shares: int) -> Bool:
    """(n,) True for the texts of one of several equal shares: by their digests, so equal texts fall into the same."""
    return np.asarray(digests[:, 1] % np.uint64(shares) == share)
