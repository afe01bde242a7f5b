"""Extraction from the files of a log, and from the partitions of these files."""

from __future__ import annotations

from pathlib import Path

from data.experiment.log_config import DatedFiles, Split
from data.extract import extract
from data.file_partitions import list_files, read_file
from ebr_core.errors import InputError


def write_partitions(logs: DatedFiles, folder: Path) -> dict[str, list[Path]]:
    """Table → the partitions of its files, each in a folder of its own."""
    partitions: dict[str, list[Path]] = {}
    for i, file in enumerate(list_files(logs, {})):
        partition = folder / str(i)
        partition.mkdir(parents=True)
        read_file(file, partition)
        partitions.setdefault(file.table, []).append(partition)
    return partitions


def extract_both(logs: DatedFiles, split: Split, folder: Path) -> list[dict[str, bytes | str]]:
    """[outputs of extraction from the files, from the partitions]: the bytes of each file, or the error message."""
    partitions = write_partitions(logs, folder / "kept")
    outputs = []
    for name, source in (("raw", None), ("parts", partitions)):
        try:
            extract(logs, split, folder / name, source)
            outputs.append({path.name: path.read_bytes() for path in (folder / name).iterdir()})
        except InputError as error:
            outputs.append({"refused": str(error)})
    return outputs
