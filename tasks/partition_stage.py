"""A raw file of a table that grows by the day, as an artifact of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from data.experiment.log_config import DatedFiles
from data.file_partitions import GROWING, RawFile, count_days, read_file
from tasks.artifacts import stage
from tasks.kinds import Partition


@stage(Partition)
def partition(folder: Path, file: RawFile) -> None:
    """Write the typed rows of a raw file, and its number of searches of each day."""
    read_file(file, folder)


def days_of(logs: DatedFiles, parts: Mapping[str, Sequence[Partition]]) -> dict[date, int]:
    """Each day (UTC) that has searches → their number, in order; null and absurd times are left out."""
    timed = [table for table, times in GROWING[logs.layout].items() if times]
    return count_days(part.folder for table in timed for part in parts[table])
