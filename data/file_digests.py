"""SHA-256 of local files, cached by path, size, time of change and inode, so that each file is read for it once."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

_CHUNK_BYTES = 1 << 20
_SETTLED_NS = (
    2_000_000_000  # a younger file may change again within the same time of change (git calls such files racy)
)


class Stat(NamedTuple):
    """The properties of a file that change with it."""

    size: int
    mtime_ns: int
    inode: int


class FileDigest(NamedTuple):
    """The digest of a file, and its properties when it was read."""

    stat: Stat
    digest: str


DigestCache = dict[str, FileDigest]
_CACHE_TYPE = TypeAdapter(DigestCache)


def stat_of(file: Path) -> Stat:
    """The properties of a file as it is now. Raises OSError if it is gone."""
    status = file.stat()
    return Stat(status.st_size, status.st_mtime_ns, status.st_ino)


def digest_of(file: Path, cache: DigestCache) -> FileDigest:
    """The digest of a file as it is now, from the cache if the file is unchanged; new digests are added to the cache.

    A digest is not added if the file is so young that a later change could go unnoticed. Raises OSError if the file
    cannot be read.
    """
    path, stat = str(file.absolute()), stat_of(file)
    if path in cache and cache[path].stat == stat:
        return cache[path]
    digest, now = hashlib.sha256(), time.time_ns()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    entry = FileDigest(stat, digest.hexdigest())
    if stat_of(file) == stat and now - stat.mtime_ns > _SETTLED_NS:
        cache[path] = entry
    return entry


def read_digest_cache(cache_file: Path) -> DigestCache:
    """The digests in a cache file; none if it is missing or damaged, because all can be computed again."""
    try:
        return _CACHE_TYPE.validate_json(cache_file.read_bytes())
    except (OSError, ValidationError):
        return {}


def extend_digest_cache(cache: DigestCache, cache_file: Path) -> None:
    """Add digests to a cache file, whose folder need not exist, atomically.

    Of two concurrent writers, one may lose the digests that it added.
    """
    stored = read_digest_cache(cache_file)
    if cache.items() <= stored.items():
        return
    temporary = cache_file.with_name(f".{cache_file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    cache_file.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(_CACHE_TYPE.dump_json(stored | cache))
    temporary.replace(cache_file)
