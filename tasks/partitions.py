"""The tables that grow by the day, an artifact for each raw file, so that a night reads what is new alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from data.logs import Tables, Ubi
from data.partitions import GROWING, RawFile, count_days, list_files, read_file
from tasks.artifacts import Artifact, stage
from tasks.logs import known_digests
from tasks.progress import showing


@stage
def partition(folder: Path, file: RawFile) -> None:
    """Reads a raw file: its typed rows, and how many searches of which days it holds."""
    read_file(file, folder)


def partitions_of(logs: Tables | Ubi) -> dict[str, list[Artifact]]:
    """Table that grows → the partition of each of its files, a file that is there twice twice; new ones are read now.

    In the order of their names, so that moved files are the same log. No task of Prefect for each: a year of days is
    hundreds of files, and nearly all are there. Raises InputError where a file is missing or damaged.
    """
    with known_digests() as known:
        files = list_files(logs, known)
    parts: dict[str, list[Artifact]] = {table: [] for table in GROWING[logs.layout]}
    with showing("read", len(files)) as show:
        for done, file in enumerate(files):
            parts[file.table].append(partition.fn(file))
            show(done + 1, "")
    return {table: sorted(its, key=lambda one: one.digest) for table, its in parts.items()}


def days_of(logs: Tables | Ubi, parts: Mapping[str, Sequence[Artifact]]) -> dict[date, int]:
    """The days (UTC) that have searches, in order, and how many; null and absurd times are left out."""
    timed = [table for table, times in GROWING[logs.layout].items() if times]
    return count_days(one.folder for table in timed for one in parts[table])
