"""Compiled kernels are kept in the user's cache folder, for all copies and versions of this project that share them."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba.core.caching import _CacheLocator

from tasks.provenance.modules import ROOT as ROOT
from tasks.provenance.modules import path_of

ROOMS = ("ebr_core", "data")  # of all kernels
_IMPORT = re.compile(
    rf"^\s*(?:from|import)\s+((?:{'|'.join(ROOMS)})[\w.]*)(?:\s+import\s+(\([^)]*\)|[^#\n]*))?", re.MULTILINE
)


class SourceLocator(_CacheLocator):
    """A kernel's folder, named by the digest of its file and of all files that it imports.

    numba's own rule checks the kernel's file alone, so it may run old code of a kernel that is called; and it names the
    folder by its path, so another copy of the project compiles everything again.
    """

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file  # numba names it in a warning
        self._digest = digest_of(Path(py_file).resolve())
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """The folder."""
        return str(Path(os.environ["NUMBA_CACHE_DIR"]) / self._digest[:16])

    def get_source_stamp(self) -> str:
        """The digest: numba takes the compiled kernel if it is that of the file's time of compilation."""
        return self._digest

    def get_disambiguator(self) -> str:
        """The line, which tells kernels of one name in one file apart."""
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> SourceLocator | None:
        """The locator; None if the kernel is not of this project, or the folder cannot be written."""
        if not Path(py_file).resolve().is_relative_to(ROOT):
            return None
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()  # type: ignore[no-untyped-call]  # of numba
        except OSError:
            return None
        return locator


@functools.cache
def digest_of(file: Path) -> str:
    """The digest of a file of this project and of all files of it that it imports, directly or not."""
    digest = hashlib.sha256()
    for path in sorted(_reached(file)):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _reached(file: Path) -> set[Path]:
    reached, waiting = {file}, [file]
    while waiting:
        new = set(_imported(waiting.pop())) - reached
        reached |= new
        waiting += new
    return reached


@functools.cache
def _imported(file: Path) -> tuple[Path, ...]:
    """The files of this project that a file imports."""
    return tuple(path for name in _imported_names(file.read_text(encoding="utf-8")) if (path := path_of(name)))


def _imported_names(text: str) -> Iterator[str]:
    for module, names in _IMPORT.findall(text):
        yield module
        for name in re.findall(r"\w+(?:\s+as\s+\w+)?", names):
            yield f"{module}.{name.split()[0]}"
