"""Digests of sources that are known already, in the user's cache: to follow all names takes seconds in each process,
and the same files give the same digests."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.home import user_cache
from tasks.provenance import modules
from tasks.provenance.modules import PACKAGES

TREES = 50  # versions of the project whose digests are kept


def known_or(key: str, compute: Callable[[], str]) -> str:
    """The digest that an earlier process found for this key in the same files of the project, else that of compute.

    It is kept only if no file has changed meanwhile.
    """
    tree = _tree(modules.ROOT)
    file = user_cache("sources") / f"{tree}.json"
    known = _read(file)
    if key not in known:
        known[key] = compute()
        if tree_digest(modules.ROOT) == tree:
            _write(file, known | _read(file))
    return known[key]


@functools.cache
def _tree(root: Path) -> str:
    return tree_digest(root)


def tree_digest(root: Path) -> str:
    """The digest of all files of the project's packages below root, and of the version of Python."""
    digest = hashlib.sha256(sys.version.encode())
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()[:24]


def _read(file: Path) -> dict[str, str]:
    """The digests in a file; none if it is not there, or is no such file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(content, dict) and all(isinstance(value, str) for value in content.values())
    return content if is_whole else {}


def _write(file: Path, known: dict[str, str]) -> None:
    """Replace the file in one step, and remove those of the oldest versions; it is no fault if none can be written."""
    unfinished = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(known), encoding="utf-8")
        unfinished.replace(file)
        newest_first = sorted(file.parent.glob("*.json"), key=lambda path: -path.stat().st_mtime)
        for old in newest_first[TREES:]:
            old.unlink(missing_ok=True)
    except OSError:
        return
