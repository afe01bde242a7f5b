"""A query to a bundle: its text, searcher, context, fields and mode."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, field_validator

from ebr_core.arrays import Float64
from ebr_core.frozen import Frozen
from ebr_core.search.conditions import parse
from ebr_core.serving.query_towers import QUERY_SCHEMA, query_schema

AnswerMode = Literal["ebr", "hybrid", "weighted", "reranked", "boolean", "bm25", "logged"]
TERMS_ALONE = ("boolean", "bm25")
WITHOUT_EMBEDDING = (*TERMS_ALONE, "logged")
Scalar = bool | int | float | str
FieldValue = Scalar | list[Scalar]
INSTANT = pa.timestamp("us", "UTC")
LONGEST_QUERY, LONGEST_VALUE = 500, 200  # characters


def stripped_query(query: str) -> str:
    """The text of a query without blanks around it, as in logs. Raises ValueError if nothing is left."""
    if not query.strip():
        raise ValueError("the query is empty")
    return query.strip()


class SearchQuery(Frozen):
    """A query to a bundle, with its searcher, context and mode."""

    query: str = Field(
        min_length=1, max_length=LONGEST_QUERY, description="the text as typed, without blanks around it"
    )
    searcher_id: str | None = Field(None, max_length=LONGEST_VALUE, description="the searcher's id in the logs")
    city: str | None = Field(None, max_length=LONGEST_VALUE)
    region: str | None = Field(None, max_length=LONGEST_VALUE)
    country: str | None = Field(None, max_length=LONGEST_VALUE)
    language: str | None = Field(None, max_length=LONGEST_VALUE)
    k: int = Field(10, ge=1, le=1000, description="number of documents; by default fewer if the model holds fewer")
    fields: dict[str, FieldValue] = Field(
        default_factory=dict,
        max_length=100,
        description="values of the other columns of a search that the model reads; in an address as JSON",
    )
    mode: AnswerMode | None = Field(
        None,
        description="ebr: nearest by the embedding; hybrid: this and BM25, by summed reciprocal ranks; weighted: by a "
        "weighted sum of BM25 and cosine; reranked: the first documents of ebr in the order of the model's cascade or "
        "ranker; boolean: documents with every word, by BM25; bm25: documents with any word, by BM25; logged: the list "
        "that the engine of the log showed last for this query. Default: the model's own, which won on the validation",
    )
    radius: float | Literal["none", "model", "query"] = Field(
        "none",
        description="cosine distance within which the embedding retrieves; model, query: as calibrated; none: no limit",
    )
    searched_at: datetime | None = Field(
        None, description="the time of the search, from which rankers count the age of documents; default: now (UTC)"
    )
    where: str | None = Field(None, max_length=2000, description="a condition on documents (see docs/indexes.md)")
    show: list[str] | None = Field(
        None,
        max_length=100,
        description="columns of the documents that the answer shows, such as price; in an address separated by commas; "
        "default: those of the experiment",
    )

    _query = field_validator("query")(stripped_query)

    @field_validator("city", "region", "country", "language")
    @classmethod
    def _read_context(cls, value: str | None) -> str | None:
        """The value as logs have it: without blanks around it, and none if nothing is left."""
        return (value and value.strip()) or None

    @field_validator("fields", mode="before")
    @classmethod
    def _read_fields(cls, fields: object) -> object:
        if not isinstance(fields, str):
            return fields
        try:
            return json.loads(fields)
        except ValueError as error:
            raise ValueError('no JSON; expected an object such as {"device": "phone"}') from error

    @field_validator("show", mode="before")
    @classmethod
    def _read_show(cls, show: object) -> object:
        """The names, also if they are written in one text with commas between them."""
        names = [show] if isinstance(show, str) else show
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return show
        return [part.strip() for name in names for part in name.split(",") if part.strip()]

    @field_validator("searched_at")
    @classmethod
    def _as_utc(cls, searched_at: datetime | None) -> datetime | None:
        """A time without a zone is UTC, as in logs."""
        if searched_at is None:
            return None
        return searched_at.replace(tzinfo=UTC) if searched_at.tzinfo is None else searched_at.astimezone(UTC)

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: str | None) -> str | None:
        if where is not None and where.strip():
            parse(where)
            return where
        return None

    @field_validator("radius")
    @classmethod
    def _check_radius(cls, radius: float | str) -> float | str:
        if isinstance(radius, float | int) and not 0 <= radius <= 2:
            raise ValueError("a cosine distance lies between 0 and 2")
        return radius


def queries_as_table(queries: list[SearchQuery], fields: Iterable[str] = ()) -> pa.Table:
    """A table with query_schema(fields) of the queries' texts, contexts and fields."""
    rows = [
        {name: getattr(query, name) for name in QUERY_SCHEMA.names}
        | {name: _as_texts(query.fields.get(name)) for name in fields}
        for query in queries
    ]
    return pa.Table.from_pylist(rows, query_schema(fields))


def _as_texts(value: FieldValue | None) -> list[str] | None:
    if value is None:
        return None
    return [_as_text(part) for part in (value if isinstance(value, list) else [value])]


def _as_text(value: Scalar) -> str:
    """The value as a log's column of that type has it: true, 3, 0.5."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class QueryBlock(NamedTuple):
    """B queries as arrays."""

    table: pa.Table  # query_schema of the bundle's fields
    searched_at: pa.Array  # (B,) INSTANT
    places: Float64  # (B, 2) latitude and longitude of the searches, NaN: unknown


def block_of(query: SearchQuery, fields: Iterable[str], place: tuple[float, float] | None) -> QueryBlock:
    """The block of one query, searched now unless it has a time. fields: those of the bundle; place: where it is."""
    searched_at = pa.array([query.searched_at or datetime.now(UTC)], INSTANT)
    return QueryBlock(queries_as_table([query], fields), searched_at, np.array([place or (np.nan, np.nan)]))
