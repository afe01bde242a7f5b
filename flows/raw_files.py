"""The raw files of tables that grow by the day: a night reads those alone that are new."""

from __future__ import annotations

from data.experiment.log_config import Tables, Ubi
from data.file_partitions import GROWING, list_files
from tasks.kinds import Partition
from tasks.log_stages import known_digests
from tasks.partition_stage import partition
from tasks.progress import showing


def partitions_of(logs: Tables | Ubi) -> dict[str, list[Partition]]:
    """Table that grows → the partition of each of its files, a file that is there twice twice; new ones are read now.

    In the order of their names, so that moved files are the same log. No task run for each file: a year of days is
    hundreds of files, and nearly all are read already. Raises InputError where a file is missing or damaged.
    """
    with known_digests() as known:
        files = list_files(logs, known)
    parts: dict[str, list[Partition]] = {table: [] for table in GROWING[logs.layout]}
    with showing("read", len(files)) as show:
        for done, file in enumerate(files):
            parts[file.table].append(partition.fn(file))
            show(done + 1, "")
    return {table: sorted(partitions, key=lambda artifact: artifact.digest) for table, partitions in parts.items()}
