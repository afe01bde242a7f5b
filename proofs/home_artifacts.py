"""The artifacts of a home: which are finished or half written, and which results they hold."""

from __future__ import annotations

from pathlib import Path

RESULTS = ("results.parquet", "per_search.parquet")


MARK = ".unfinished-"


def folders(home: Path) -> dict[str, Path]:
    """The finished artifacts by name."""
    return {path.name: path for path in (home / "artifacts").glob("*-*") if not path.name.startswith(".")}


def files_of(folder: Path) -> set[str]:
    """The files of an artifact, without Prefect's record, which is written later."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"prefect"}


def results_of(home: Path) -> dict[str, bytes]:
    """The bytes of each file of results; empty if there are none."""
    evaluations = [path for name, path in folders(home).items() if name.startswith("evaluate-")]
    return {name: (path / name).read_bytes() for path in evaluations for name in RESULTS}


def arm_stats(home: Path) -> dict[str, tuple[int, int]]:
    """The inode and the time of each trained arm, which a second training would change."""
    stats = {name: path.stat() for name, path in folders(home).items() if name.startswith("train_arm-")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def half_written(home: Path, expected: dict[str, set[str]]) -> int:
    """The number of folders that have their final name but not all of their files. expected: folder → its files."""
    return sum(files_of(path) != expected.get(name) for name, path in folders(home).items())
