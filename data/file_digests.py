"""SHA-256 of local files, remembered by path, size, time of change and inode, so that a file is read for it once."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

_CHUNK_BYTES = 1 << 20
_SETTLED_NS = 2_000_000_000  # a file as young as this may change again without its time telling, as git has it


class Stat(NamedTuple):
    """What tells that a file is as it was."""

    size: int
    mtime_ns: int
    inode: int


class Seen(NamedTuple):
    """A file as it was when it was read."""

    stat: Stat
    digest: str


DigestCache = dict[str, Seen]
_KNOWN = TypeAdapter(DigestCache)


def stat_of(file: Path) -> Stat:
    """The file as it is now. Raises OSError where it is gone."""
    found = file.stat()
    return Stat(found.st_size, found.st_mtime_ns, found.st_ino)


def digest_of(file: Path, known: DigestCache) -> Seen:
    """The file as it is now, from what is known of it, else by reading; what may be relied on later is added to known.

    Raises OSError where it cannot be read.
    """
    place, stat = str(file.absolute()), stat_of(file)
    if place in known and known[place].stat == stat:
        return known[place]
    digest, now = hashlib.sha256(), time.time_ns()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    seen = Seen(stat, digest.hexdigest())
    if stat_of(file) == stat and now - stat.mtime_ns > _SETTLED_NS:
        known[place] = seen
    return seen


def read_known(kept: Path) -> DigestCache:
    """What was remembered there; nothing where the file is missing or damaged, since all can be read again."""
    try:
        return _KNOWN.validate_json(kept.read_bytes())
    except (OSError, ValidationError):
        return {}


def keep(known: DigestCache, kept: Path) -> None:
    """Adds to what is remembered there, in one step; of two who do it at once one may lose what it added, no more."""
    there = read_known(kept)
    if known.items() <= there.items():
        return
    written = kept.with_name(f".{kept.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    written.write_bytes(_KNOWN.dump_json(there | known))
    written.replace(kept)
