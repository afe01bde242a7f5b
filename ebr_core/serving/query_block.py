"""Rows of a table as a block of queries to a bundle, and what is wrong with single ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float64
from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.own_data import DEGREES, OwnData, standard_columns
from ebr_core.serving.query_towers import CONTEXT, query_schema
from ebr_core.serving.search_query import INSTANT, LONGEST_QUERY, LONGEST_VALUE, QueryBlock
from ebr_core.towers.city_names import locate_cities
from ebr_core.towers.location_cells import known_places


def read_block(bundle: Bundle, rows: pa.Table) -> tuple[QueryBlock, pa.Array]:
    """(the queries that can be answered, (n,) the problem of each row, null where there is none).

    rows have the column query; columns of QUERY_SCHEMA, searched_at and the bundle's fields are read if they are there,
    by the user's names or the layout's.
    A searcher's place and language fill in where a row has none of its own.
    """
    rows, problems = rows.rename_columns(standard_columns(bundle.own, rows.column_names)), _Problems(rows.num_rows)
    texts = pc.utf8_trim_whitespace(_texts(rows, "query"))
    lengths = pc.fill_null(pc.utf8_length(texts), 0)
    problems.add(pc.equal(lengths, 0), "query: the query is empty")
    problems.add(pc.greater(lengths, LONGEST_QUERY), f"query: more than {LONGEST_QUERY} characters")
    columns = {"query": texts, "searcher_id": _texts(rows, "searcher_id")}
    for name in CONTEXT[1:]:
        values = pc.utf8_trim_whitespace(_texts(rows, name))
        columns[name] = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    for name in CONTEXT:
        too_long = pc.fill_null(pc.greater(pc.utf8_length(columns[name]), LONGEST_VALUE), False)
        problems.add(too_long, f"{name}: more than {LONGEST_VALUE} characters")
    columns |= _with_searchers(bundle, columns, problems)
    columns |= {name: as_lists(rows[name]) if name in rows.column_names else None for name in bundle.fields}
    schema = query_schema(bundle.fields)
    table = pa.table([_or_nulls(columns[field.name], rows.num_rows, field.type) for field in schema], schema)
    searched_at, places = _instants(rows, problems), _places(bundle.own, table, problems)
    sound = problems.texts.is_null()
    at = np.flatnonzero(sound.to_numpy(zero_copy_only=False))
    return QueryBlock(table.filter(sound), searched_at.filter(sound), places[at]), problems.texts


class _Problems:
    """The first problem of each of n rows."""

    def __init__(self, n: int) -> None:
        self.texts = pa.nulls(n, pa.string())

    def add(self, where: pa.Array, text: str | pa.Array) -> None:
        """Note a problem of the rows for which `where` is true, unless they have one already."""
        self.texts = pc.coalesce(self.texts, pc.if_else(where, text, pa.scalar(None, pa.string())))


def _texts(rows: pa.Table, name: str) -> pa.Array:
    """A column as texts; null where the table has none. Raises InputError for lists and records."""
    if name not in rows.column_names:
        return pa.nulls(rows.num_rows, pa.string())
    column = rows[name].combine_chunks()
    try:
        return column.cast(pa.string())
    except pa.ArrowNotImplementedError as error:
        raise InputError(f"{name}: got a column of {column.type}; expected texts") from error


def _or_nulls(column: pa.Array | None, n: int, type_: pa.DataType) -> pa.Array:
    return pa.nulls(n, type_) if column is None else column


def _with_searchers(bundle: Bundle, columns: dict[str, Any], problems: _Problems) -> dict[str, pa.Array]:
    """The places and languages of the rows: their own, or, if a row has none at all, its searcher's."""
    ids = columns["searcher_id"]
    at = pc.index_in(ids, bundle.searchers["searcher_id"].combine_chunks())
    unknown = pc.and_(ids.is_valid(), at.is_null())
    reason = pc.binary_join_element_wise(
        "no searcher", ids, "in the logs of this model; leave it out for an unknown searcher", " "
    )
    problems.add(unknown, reason)
    is_placed = np.zeros(len(ids), bool)
    for name in CONTEXT[1:]:
        is_placed |= columns[name].is_valid().to_numpy(zero_copy_only=False)
    return {
        name: pc.if_else(pa.array(is_placed), columns[name], bundle.searchers[name].combine_chunks().take(at))
        for name in CONTEXT[1:]
    }


def as_lists(column: pa.ChunkedArray) -> pa.Array:
    """(n,) a column of requests as lists of texts, as a log's column of its type has them; a single value is a list of
    one."""
    values = column.combine_chunks()
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        lists = values.cast(pa.list_(values.type.value_type))
        first, last = lists.offsets[0].as_py(), lists.offsets[-1].as_py()
        offsets = pc.subtract(lists.offsets, first)
        texts = _as_texts(lists.values.slice(first, last - first))
        return pa.ListArray.from_arrays(offsets, texts, mask=lists.is_null())
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, _as_texts(values), mask=values.is_null())


def _as_texts(values: pa.Array) -> pa.Array:
    """Values as texts. Floats are written as Python and DuckDB do, 3.0, which arrow writes as 3."""
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    encoded = values.dictionary_encode()
    texts = [None if value is None else str(value) for value in encoded.dictionary.cast(pa.float64()).to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _instants(rows: pa.Table, problems: _Problems) -> pa.Array:
    """(n,) INSTANT: the times of the searches; without a zone they are UTC, and without a time they are now."""
    now = pa.scalar(datetime.now(UTC), INSTANT)
    if "searched_at" not in rows.column_names:
        return pa.repeat(now, rows.num_rows)
    column = rows["searched_at"].combine_chunks()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        instants, unread = [], []
        for text in column.to_pylist():
            instants.append(_instant(text))
            unread.append(text is not None and instants[-1] is None)
        problems.add(pa.array(unread), "searched_at: expected a time such as 2026-11-30T09:30:00Z")
        column = pa.array(instants, INSTANT)
    elif not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        raise InputError(f"searched_at: got a column of {column.type}; expected timestamps")
    return pc.fill_null(column.cast(pa.timestamp("us", getattr(column.type, "tz", None))).cast(INSTANT), now)


def _instant(text: str | None) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _places(own: OwnData, table: pa.Table, problems: _Problems) -> Float64:
    """(n, 2) latitude and longitude of the searches: of their fields, else of their cities; NaN where unknown."""
    places = np.full((table.num_rows, 2), np.nan)
    if own.places is None:
        return places
    given = [_first(table[name].combine_chunks()) for name in own.settings.place]
    filled = [column.is_valid().to_numpy(zero_copy_only=False) for column in given]
    has_fields = filled[0] | filled[1]
    cities, countries = table["city"].combine_chunks(), table["country"].combine_chunks()
    if own.settings.names:
        cities, countries = (
            pc.if_else(pa.array(has_fields), *pair) for pair in zip(given, (cities, countries), strict=True)
        )
        return _located(cities, countries)
    by_city = pa.array(~has_fields)
    places[~has_fields] = _located(cities.filter(by_city), countries.filter(by_city))
    places[has_fields] = _coordinates(own, given, has_fields, problems)
    return places


def _located(cities: pa.Array, countries: pa.Array) -> Float64:
    """(n, 2) the places of cities with their countries; NaN for those that are unknown."""
    return np.stack(locate_cities(cities.to_pylist(), countries.to_pylist()), 1)


def _coordinates(own: OwnData, given: list[pa.Array], wanted: Any, problems: _Problems) -> Float64:
    """(m, 2) the coordinates of the rows wanted (n,); 0, 0 is unknown. Values that no place has are problems."""
    degrees = []
    for name, column, (kind, most) in zip(own.settings.place, given, DEGREES.items(), strict=True):
        encoded = column.dictionary_encode()
        numbers = np.array([_degrees(text, most) for text in encoded.dictionary.to_pylist()] + [np.nan])
        values = numbers[pc.fill_null(encoded.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)]
        wrong = wanted & np.isnan(values)
        problems.add(
            pa.array(wrong), f"fields.{name}: expected the {kind} of the search, from -{most} to {most} degrees"
        )
        degrees.append(values[wanted])
    return np.stack(known_places(*degrees), 1)


def _degrees(text: str | None, most: int) -> float:
    try:
        number = float(text or "nan")
    except ValueError:
        return float("nan")
    return number if abs(number) <= most else float("nan")


def _first(lists: pa.Array) -> pa.Array:
    """(n,) the first text of each list; null without one, or if it is empty."""
    first = pc.list_flatten(pc.list_slice(lists, 0, 1))
    filled = pc.fill_null(pc.greater(pc.list_value_length(lists), 0), False).to_numpy(zero_copy_only=False)
    at = np.where(filled, np.cumsum(filled) - 1, 0)
    texts = first.take(pa.array(at, mask=~filled))
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
