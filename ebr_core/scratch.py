"""Arrays that grow with the log, on disk instead of in memory, so that training asks the memory for its batches alone.

A file is removed as soon as it is open: whatever ends the process, nothing is left. Its pages are the system's to drop
and to read again, as those of any file.
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
ROWS = 2**20  # that are worked on at a time
HELD = 2**26  # bytes up to which an array stays in memory


class Scratch(NamedTuple):
    """Where arrays lie while they are needed: files in a folder, or, without one, memory."""

    folder: Path | None = None

    def columns(self, parts: Iterable[Sequence[Array]], *types: npt.DTypeLike) -> list[Array]:
        """An array for each type: every part brings a piece for each of them, and pieces follow one another."""
        arrays = [_Growing(self.folder, np.dtype(kind)) for kind in types]
        for part in parts:
            for array, piece in zip(arrays, part, strict=True):
                array.add(piece)
        return [array.whole() for array in arrays]

    def column(self, pieces: Iterable[Array], kind: npt.DTypeLike) -> Array:
        """One array of its pieces."""
        return self.columns(((piece,) for piece in pieces), kind)[0]

    def over(self, rows: int, piece: Callable[[slice], Array], kind: npt.DTypeLike) -> Array:
        """One array of what piece gives for the slices of so many rows."""
        return self.column(map(piece, slices(rows)), kind)

    def distinct(self, values: Array) -> Array:
        """The values in order, each once. They are sorted in place, since a copy may not fit into memory."""
        values.sort()

        def new(part: slice) -> Array:
            some = values[part]
            differs = np.ones(len(some), bool)
            np.not_equal(some[1:], some[:-1], out=differs[1:])
            if part.start:
                differs[0] = some[0] != values[part.start - 1]
            return some[differs]

        return self.over(len(values), new, values.dtype)


class _Growing:
    """An array under way."""

    def __init__(self, folder: Path | None, kind: np.dtype[Any]) -> None:
        self.folder, self.kind = folder, kind
        self.pieces: list[Array] = []
        self.file: IO[bytes] | None = None
        self.held = 0

    def add(self, piece: Array) -> None:
        """Puts a piece behind the others."""
        piece = np.array(piece, self.kind)
        self.held += piece.nbytes
        self.pieces.append(piece)
        if self.folder and self.held > HELD:
            self.file = self.file or TemporaryFile(dir=self.folder)  # noqa: SIM115  # closed when it is whole
            for one in self.pieces:
                self.file.write(one.data)
            self.pieces, self.held = [], 0

    def whole(self) -> Array:
        """All pieces as one."""
        if self.file is None:
            return np.concatenate(self.pieces) if self.pieces else np.zeros(0, self.kind)
        with self.file:
            for one in self.pieces:
                self.file.write(one.data)
            self.file.flush()
            return np.frombuffer(mmap.mmap(self.file.fileno(), 0), self.kind)


def slices(rows: int) -> Iterator[slice]:
    """So many rows, some at a time."""
    return (slice(first, min(first + ROWS, rows)) for first in range(0, rows, ROWS))


def pieces(array: Array) -> Iterator[Array]:
    """An array, some rows at a time."""
    return (array[part] for part in slices(len(array)))


def expect_random(arrays: Iterable[Array]) -> None:
    """Tells the system that these are read here and there, so that for a row it reads a page and not its neighbours."""
    for array in arrays:
        held: Any = array
        while isinstance(held, np.ndarray):
            held = held.base
        mapped = held.obj if isinstance(held, memoryview) else held
        if isinstance(mapped, mmap.mmap):
            mapped.madvise(mmap.MADV_RANDOM)


def counted(values: Array, most: int) -> npt.NDArray[np.int64]:
    """(most,) how often each of 0 … most − 1 is among the values."""
    counts = np.zeros(most, np.int64)
    for part in slices(len(values)):
        counts += np.bincount(values[part], minlength=most)
    return counts


IN_RAM = Scratch()
