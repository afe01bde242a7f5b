"""What the home holds, and what of it may go: artifacts that no champion, no running work and no result needs.

An artifact that is gone is made again when a run needs it. So the budget is a matter of time, never of results.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ebr_core.errors import InputError
from tasks.artifacts import KEPT, UNFINISHED
from tasks.home import artifacts, home
from tasks.process_identity import is_gone, own_identity

BUDGET = "EBR_KEEP"  # environment variable: gigabytes
GIGABYTE = 10**9
FINDINGS = ("evaluate", "report", "audit")  # stages whose output is what a run found: small, and never removed
RECENT_S = 3600.0  # what was used in the last hour stays, for commands that read artifacts and are not marked
CHAMPIONS = 30  # of each nightly experiment, the newest


class Stored(NamedTuple):
    """A folder of the artifacts."""

    name: str
    stage: str
    files: dict[int, int]  # inode → bytes on disk; artifacts share the files that are linked
    used: float  # seconds since 1970: when it was made, or last asked for by a run


def mark_running() -> None:
    """Note that this process works in the home, until it ends: what it uses from now on is not removed."""
    folder = home() / "running"
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f"{socket.gethostname()}:{own_identity()}"
    if not mark.exists():  # its time is that of the first work
        mark.touch()


def _running_since(now: float) -> float:
    """The time at which the oldest process that works began; now if none works. Marks of dead ones are removed."""
    since = now
    for mark in (home() / "running").glob("*"):
        host, _, process = mark.name.partition(":")
        if is_gone(process, host):
            mark.unlink(missing_ok=True)
        else:
            since = min(since, mark.stat().st_mtime)
    return since


def stored_artifacts() -> list[Stored]:
    """All finished artifacts, and the saved epochs of trainings that were killed; what was used first comes first."""
    found = []
    for folder in artifacts().iterdir():
        if folder.is_dir() and not folder.name.startswith(UNFINISHED):
            stage = folder.name.removeprefix(KEPT).rpartition("-")[0]
            found.append(Stored(folder.name, stage, _files(folder), folder.stat().st_mtime))
    return sorted(found, key=lambda one: (one.used, one.name))


def _files(folder: Path) -> dict[int, int]:
    files = (path.lstat() for path in folder.rglob("*"))
    return {file.st_ino: file.st_blocks * 512 for file in files}


def size_of(stored: Iterable[Stored]) -> int:
    """The bytes on disk of these artifacts together, a shared file once."""
    return sum({inode: size for one in stored for inode, size in one.files.items()}.values())


def champions() -> set[str]:
    """The names of the artifacts that a model in service, or one of the newest champions of nights, is made of."""
    names = set[str]()
    for file in (home() / "models").glob("*.json"):
        names |= set(_names_in(json.loads(file.read_text())))
    for nights in (home() / "nights").glob("*"):
        records = sorted(nights.glob("[!.]*.json"), key=lambda file: (len(file.name), file.name), reverse=True)
        of_nights = (json.loads(file.read_text()).get("champion") for file in records)
        distinct = {json.dumps(champion): champion for champion in of_nights if champion}
        for champion in list(distinct.values())[:CHAMPIONS]:
            names |= set(_names_in(champion))
    return names


def _names_in(content: Any) -> Iterator[str]:
    """The artifacts that a JSON value names, as objects with a stage and a digest or by the name of their folder."""
    match content:
        case {"stage": str(stage), "digest": str(digest)}:
            yield f"{stage}-{digest}"
        case dict():
            for value in content.values():
                yield from _names_in(value)
        case list():
            for value in content:
                yield from _names_in(value)
        case str():
            yield content


def removable() -> list[Stored]:
    """What may go, the longest unused first."""
    now = time.time()
    limit, needed = min(now - RECENT_S, _running_since(now)), champions()
    return [
        one for one in stored_artifacts() if one.used < limit and one.stage not in FINDINGS and one.name not in needed
    ]


def beyond(budget: float, stored: list[Stored], candidates: list[Stored]) -> list[Stored]:
    """The first of the candidates, as many as must go until all that is stored fits into the budget, in bytes."""
    links = Counter(inode for one in stored for inode in one.files)
    excess, chosen = size_of(stored) - budget, []
    for one in candidates:
        if excess <= 0:
            break
        chosen.append(one)
        links.subtract(one.files.keys())
        excess -= sum(size for inode, size in one.files.items() if not links[inode])
    return chosen


def without(stored: list[Stored], chosen: list[Stored]) -> list[Stored]:
    """What is left once the chosen ones are gone."""
    names = {one.name for one in chosen}
    return [one for one in stored if one.name not in names]


def remove(stored: Iterable[Stored]) -> None:
    """Remove artifacts. A folder is renamed first, so that no run sees a part of one."""
    for one in stored:
        name = f"{UNFINISHED}{one.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        try:
            (artifacts() / one.name).rename(artifacts() / name)
        except FileNotFoundError:  # another process removed it
            continue
        shutil.rmtree(artifacts() / name, ignore_errors=True)


def budget() -> float | None:
    """The bytes that artifacts may have, by EBR_KEEP; None without it. Raises InputError if that is no number."""
    text = os.environ.get(BUDGET, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise InputError(f"{BUDGET}: got {text!r}; expected the gigabytes that artifacts may have, such as 20")
    return number * GIGABYTE


def hold_budget() -> str | None:
    """Remove what EBR_KEEP does not allow. Returns a sentence about it; None if nothing had to go."""
    if (allowed := budget()) is None:
        return None
    stored = stored_artifacts()
    size = size_of(stored)
    if size <= allowed:
        return None
    chosen = beyond(allowed, stored, removable())
    remove(chosen)
    remaining = size_of(without(stored, chosen))
    clauses = []
    if chosen:
        clauses.append(f"{len(chosen)} artifacts of {gigabytes(size - remaining)} removed, the longest unused first")
    if remaining > allowed:
        clauses.append(f"{gigabytes(remaining)} are in use, so {gigabytes(allowed)} cannot be held")
    return f"{BUDGET}: {'; '.join(clauses)}"


def gigabytes(size: float) -> str:
    """A size in words."""
    return f"{size / GIGABYTE:,.2f} GB"
