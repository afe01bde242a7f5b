"""The raw files of tables that grow by the day: a night reads only the new ones."""

from __future__ import annotations

from data.experiment.log_config import DatedFiles
from data.file_partitions import GROWING, list_files
from tasks.kinds import Partition
from tasks.log_stages import digest_cache
from tasks.partition_stage import partition
from tasks.progress import show_progress


def partitions_of(logs: DatedFiles) -> dict[str, list[Partition]]:
    """{growing table: the partition of each of its files}; new files are read now, and a copy of a file has a partition
    of its own in the list.

    Partitions are sorted by digest, so that moved files give the same log. Files have no task runs of their own: a year
    of days is hundreds of files, and nearly all were read before. Raises InputError if a file is missing or damaged.
    """
    with digest_cache() as digests:
        files = list_files(logs, digests)
    parts: dict[str, list[Partition]] = {table: [] for table in GROWING[logs.layout]}
    with show_progress("read", len(files)) as show:
        for i, file in enumerate(files):
            parts[file.table].append(partition.fn(file))
            show(i + 1, "")
    return {table: sorted(partitions, key=lambda artifact: artifact.digest) for table, partitions in parts.items()}
