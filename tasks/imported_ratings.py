"""Ratings that people gave: where imported files are, and how one is stored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data import rating_files
from data.schemas import IMPORTED
from ebr_core.errors import InputError
from tasks.home import home
from tasks.kinds import (
    Log,
)


def imported_folder() -> Path:
    """The folder of imported ratings. They are no artifacts: people made them, and no stage can make them again."""
    return home() / "ratings"


def imported_files(name: str, arm: str) -> list[str]:
    """The names of the files of ratings imported for an arm of this experiment, each a digest of its content."""
    folder = imported_folder() / name / arm
    return sorted(f"{name}/{arm}/{path.name}" for path in folder.glob("*.parquet"))


def store_ratings(log: Log, file: Path, name: str, arm: str) -> tuple[Path, rating_files.ReadRatings]:
    """(the file that keeps the ratings, the ratings) of a CSV file that people filled in or that the search page wrote,
    checked and kept for the arm.

    Raises InputError for what rating_files.read_csv refuses, and for a pair imported before with another grade.
    """
    ratings = rating_files.read_csv(file, log.folder)
    table = ratings.table
    for earlier in imported_files(name, arm):
        together = pa.concat_tables([pq.read_table(imported_folder() / earlier, schema=IMPORTED), table])
        if contradictions := list(
            rating_files.contradictions(together, f"the ratings imported before, {imported_folder() / earlier}")
        ):
            lines = "\n".join(f"  {line}" for line in contradictions)
            raise InputError(
                f"{file}: nothing was imported\n{lines}\n  to import this file in place of that one, remove that first"
            )
    content = json.dumps(table.select(["search_id", "document_id", "grade"]).to_pydict()).encode()
    target = imported_folder() / name / arm / f"{hashlib.sha256(content).hexdigest()[:20]}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    pq.write_table(table, unfinished)
    unfinished.rename(target)
    return target, ratings
