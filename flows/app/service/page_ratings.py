"""Ratings that people give on the search page: a CSV file for `ebr ratings import`."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc
from pydantic import Field, field_validator

from data.experiment.log_config import LONGEST_ID
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.search.query_kinds import is_known
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.search_query import LONGEST_QUERY, LONGEST_VALUE, stripped_query
from tasks.home import home

COLUMNS = ("search_id", "document_id", "grade", "query", "searcher_id", "title", "rank", "shown_by", "rated_at")
LARGEST_FILE_BYTES = 64 * 1024 * 1024


class Rating(Frozen):
    """How well a document answers a query."""

    query: str = Field(min_length=1, max_length=LONGEST_QUERY, description="the text as typed")
    document_id: str = Field(min_length=1, max_length=LONGEST_ID)
    grade: int | None = Field(ge=0, le=3, description="0 bad, 1 acceptable, 2 good, 3 exactly right; null: no longer")
    searcher_id: str | None = Field(None, max_length=LONGEST_VALUE, description="the searcher for whom it was rated")
    rank: int | None = Field(None, ge=1, le=1000, description="the rank at which it was seen")
    shown_by: str | None = Field(None, max_length=LONGEST_VALUE, description="the model and mode that showed it")

    _query = field_validator("query")(stripped_query)


class RatingAnswer(Frozen):
    """What became of a rating."""

    remark: str = Field(description="whether arms can learn from it")


def rated_file(experiment: str) -> Path:
    """The file of the ratings that were given on the page of an experiment."""
    return home() / "rated" / f"{experiment}.csv"


def write_rating(experiment: str, bundle: Bundle, rating: Rating) -> RatingAnswer:
    """Add a rating to the experiment's file, in one write.

    Raises InputError for a document or searcher that the model does not know, and if the file is full.
    """
    row = pc.index(bundle.documents["document_id"], rating.document_id).as_py()
    if row < 0:
        raise InputError(f"document_id: this model has no document {rating.document_id!r}")
    known = rating.searcher_id is None or pc.index(bundle.searchers["searcher_id"], rating.searcher_id).as_py() >= 0
    if not known:
        raise InputError(f"searcher_id: no searcher {rating.searcher_id!r} in the logs of this model")
    values = rating.model_dump() | {
        "title": bundle.documents["title"][row].as_py(),
        "rated_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    _append(rated_file(experiment), values)
    if rating.grade is None:
        return RatingAnswer(remark="taken back")
    if not is_known(rating.query, bundle.known):
        return RatingAnswer(remark="kept; nobody asked this in the training window, so no arm learns from it yet")
    return RatingAnswer(remark="kept")


def _append(path: Path, values: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # several services may write to it
        size = os.fstat(stream.fileno()).st_size
        if size > LARGEST_FILE_BYTES:
            raise InputError(f"{path} has {size:,} bytes; import it with ebr ratings import, then move it away")
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, extrasaction="raise", lineterminator="\n")
        if not size:
            writer.writeheader()
        texts = {name: " ".join(str(values[name] or "").split()) for name in ("query", "title")}
        writer.writerow({name: "" if value is None else value for name, value in (values | texts).items()})
        stream.write(text.getvalue().encode())
