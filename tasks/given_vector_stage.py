"""The vectors that users bring, as a stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from data.given_vectors import VectorSide, VectorsOfSide, read_column, read_file
from data.log_fingerprint import digest_files
from ebr_core.errors import InputError
from ebr_core.towers.vector_config import GivenVectors, VectorFile
from tasks.artifacts import stage
from tasks.kinds import Log, TextVectors
from tasks.log_stages import ReadLogs, contents_of, digest_cache, refuse_changes
from tasks.progress import show_progress

SIDES: tuple[VectorSide, ...] = ("searches", "documents")


def vector_contents(group: GivenVectors, logs: ReadLogs) -> tuple[dict[str, str], dict[str, str]]:
    """(the digest of each table of the log, empty if no column of it is read; path → the digest of each file)."""
    sources = [group.source(side) for side in SIDES]
    with digest_cache() as cache:
        files = {
            source.path: digest_files("groups", source.path, cache)
            for source in sources
            if isinstance(source, VectorFile)
        }
    return (contents_of(logs) if any(isinstance(source, str) for source in sources) else {}), files


@stage(TextVectors)
def read_vectors(
    folder: Path,
    logs: ReadLogs,
    log: Log,
    group: GivenVectors,
    contents: dict[str, str],
    files: dict[str, str],
) -> None:
    """Write queries.npy and documents.npy, the vectors of the log's queries and documents, zero where there is none,
    and report.json with their numbers. contents, files: as from `vector_contents`, so that new vectors are read again.
    """
    report = {}
    with show_progress("vectors", 1), refuse_changes(logs, contents):
        sides = {side: _read_side(logs, log, group, side, folder) for side in SIDES if group.source(side) is not None}
    if vector_contents(group, logs)[1] != files:
        raise InputError(f"{', '.join(files)}: changed while it was read; run the same command again")
    widths = {side: read.vectors.shape[1] for side, read in sides.items()}
    if len(set(widths.values())) > 1:
        got = " and ".join(f"{side} have vectors of {width}" for side, width in widths.items())
        raise InputError(f"{got} numbers. Expected the same length on both sides of a group; make two groups of them")
    for side, read in sides.items():
        np.save(folder / f"{'queries' if side == 'searches' else side}.npy", read.vectors)
        report[side] = {"rows": len(read.vectors)} | read._asdict() | {"vectors": read.vectors.shape[1]}
    (folder / "report.json").write_text(json.dumps(report, indent=1))


def _read_side(logs: ReadLogs, log: Log, group: GivenVectors, side: VectorSide, folder: Path) -> VectorsOfSide:
    source = group.source(side)
    if isinstance(source, VectorFile):
        return read_file(source.path, source.column, f"vectors_of_{side}", log.folder, side)
    assert source is not None, "the side has vectors"
    return read_column(logs, log.folder, side, source, folder)


def describe_vectors(name: str, vectors: TextVectors) -> str:
    """How many queries and documents of a log have a vector, in words."""
    report = json.loads((vectors.folder / "report.json").read_text())
    parts = []
    for side, counts in report.items():
        noun = "queries" if side == "searches" else "documents"
        part = f"{counts['given']:,} of {counts['rows']:,} {noun} have a vector of {counts['vectors']}"
        part += f" ({counts['zeros']:,} are zero, which counts as none)" if counts["zeros"] else ""
        part += f" ({counts['differing']:,} have several, of which one counts)" if counts["differing"] else ""
        parts.append(part)
    return f"group {name}: " + "; ".join(parts)
