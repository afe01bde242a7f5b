"""Arrays that grow with the log, kept on disk so that training needs memory for its batches only.

A file is unlinked as soon as it is open, so nothing is left behind however the process ends. The operating system
drops its pages and reads them again, as with any file.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BLOCK_ROWS = 2**20  # processed at a time
MAX_RAM_BYTES = 2**26  # bytes; a larger array goes to disk


class Scratch(NamedTuple):
    """The place of temporary arrays: files in a folder, or memory if there is no folder."""

    folder: Path | None = None

    def columns(self, parts: Iterable[Sequence[Array]], *types: npt.DTypeLike) -> list[Array]:
        """An array for each type. Every part holds a piece of each array; the pieces are concatenated in order."""
        arrays = [_GrowingArray(self.folder, np.dtype(dtype)) for dtype in types]
        for part in parts:
            for array, piece in zip(arrays, part, strict=True):
                array.add(piece)
        return [array.finish() for array in arrays]

    def column(self, pieces: Iterable[Array], dtype: npt.DTypeLike) -> Array:
        """The concatenation of pieces."""
        return self.columns(((piece,) for piece in pieces), dtype)[0]

    def concat_blocks(self, rows: int, piece: Callable[[slice], Array], dtype: npt.DTypeLike) -> Array:
        """The concatenation of piece(part) for the slices of 0 … rows − 1."""
        return self.column(map(piece, slices(rows)), dtype)

    def distinct(self, values: Array) -> Array:
        """The sorted distinct values. `values` is sorted in place, since a copy may not fit into memory."""
        values.sort()

        def first_occurrences(part: slice) -> Array:
            block = values[part]
            is_new = np.ones(len(block), bool)
            np.not_equal(block[1:], block[:-1], out=is_new[1:])
            if part.start:
                is_new[0] = block[0] != values[part.start - 1]
            return block[is_new]

        return self.concat_blocks(len(values), first_occurrences, values.dtype)


class _GrowingArray:
    """An array that grows piece by piece."""

    def __init__(self, folder: Path | None, dtype: np.dtype[Any]) -> None:
        self.folder, self.dtype = folder, dtype
        self.pieces: list[Array] = []
        self.file: IO[bytes] | None = None
        self.pending_bytes = 0

    def add(self, piece: Array) -> None:
        """Append a piece."""
        piece = np.array(piece, self.dtype)
        self.pending_bytes += piece.nbytes
        self.pieces.append(piece)
        if self.folder and self.pending_bytes > MAX_RAM_BYTES:
            self.file = self.file or TemporaryFile(dir=self.folder)  # noqa: SIM115  # closed by finish()
            for block in self.pieces:
                self.file.write(block.data)
            self.pieces, self.pending_bytes = [], 0

    def finish(self) -> Array:
        """The whole array. Nothing can be added afterwards."""
        if self.file is None:
            return np.concatenate(self.pieces) if self.pieces else np.zeros(0, self.dtype)
        with self.file:
            for block in self.pieces:
                self.file.write(block.data)
            self.file.flush()
            return np.frombuffer(mmap.mmap(self.file.fileno(), 0), self.dtype)


def slices(rows: int) -> Iterator[slice]:
    """Slices of at most ROWS rows that cover 0 … rows − 1."""
    return (slice(first, min(first + BLOCK_ROWS, rows)) for first in range(0, rows, BLOCK_ROWS))


def pieces(array: Array) -> Iterator[Array]:
    """Views of at most ROWS rows each that cover an array."""
    return (array[part] for part in slices(len(array)))


def expect_random(arrays: Iterable[Array]) -> None:
    """Advise the system that arrays are read at random, so that it reads single pages and not their neighbours."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        mapped = base.obj if isinstance(base, memoryview) else base
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_RANDOM)


def count_values(values: Array, size: int) -> npt.NDArray[np.int64]:
    """(size,): the number of times that each of 0 … size − 1 occurs in values."""
    counts = np.zeros(size, np.int64)
    for part in slices(len(values)):
        counts += np.bincount(values[part], minlength=size)
    return counts


IN_RAM = Scratch()
