"""The values of a log's columns: lists and texts as single values, and their places among those that training knows."""

from __future__ import annotations

from bisect import bisect_left
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.towers.feature_config import Numbers, Values

ColumnData = dict[str, pa.Array]  # column → values: texts, lists of texts, or numbers
FEW = 16  # rows, at most, that plain Python looks up faster than Arrow
_BLANKS = " \t\n\v\f\r\x1c\x1d\x1e\x1f"
_LISTED = Values(searches=("listed",), allow_identifier=True)


def flatten(column: pa.Array, group: Values | Numbers, where: str) -> tuple[pa.Array, Int32]:
    """(values, the row of each) without nulls and blanks; lists and separated texts give several values per row."""
    match group:
        case Values():
            return _flatten_texts(column, group.separator)
        case Numbers():
            return flatten_numbers(column, where)
        case _:
            assert_never(group)


def _flatten_texts(column: pa.Array, separator: str | None) -> tuple[pa.Array, Int32]:
    if pa.types.is_null(column.type):
        column = pc.cast(column, pa.string())
    if not pa.types.is_list(column.type) and separator:
        column = pc.split_pattern(column, separator)
    if pa.types.is_list(column.type):
        rows = pc.list_parent_indices(column).to_numpy().astype(np.int32)
        values = pc.list_flatten(column)
    else:
        rows, values = np.arange(len(column), dtype=np.int32), column
    values = pc.utf8_trim_whitespace(pc.cast(values, pa.string()))
    valid = pc.fill_null(pc.greater(pc.binary_length(values), 0), False).to_numpy(zero_copy_only=False)
    return values.filter(pa.array(valid)), rows[valid]


def flatten_numbers(
    column: pa.Array, where: str, way_out: str = "Expected numbers; for texts set kind: values"
) -> tuple[pa.Array, Int32]:
    """(the first number of each row that has one, its row). Raises InputError, with the way out, for texts."""
    if pa.types.is_list(column.type):
        column = pc.list_element(pc.if_else(pc.greater(pc.list_value_length(column), 0), column, None), 0)
    if pa.types.is_string(column.type):
        column = pc.replace_with_mask(column, pc.fill_null(pc.equal(column, ""), False), pa.scalar(None, pa.string()))
    try:
        values = pc.cast(column, pa.float64())
    except pa.ArrowInvalid as error:
        raise InputError(f"{where}: {error}. {way_out}") from error
    valid = pc.fill_null(pc.is_finite(values), False).to_numpy(zero_copy_only=False)
    return values.filter(pa.array(valid)), np.flatnonzero(valid).astype(np.int32)


def known_ids(
    column: pa.Array, group: Values | Numbers, known_values: list[str] | list[float], where: str
) -> tuple[Int32, Int32]:
    """(the ids of the known values, or of the buckets, of a column, the row of each)."""
    match group:
        case Values():
            few_ids = _known_ids_of_few(column, group, known_values) if len(column) <= FEW else None
            if few_ids is not None:
                return few_ids
        case Numbers():
            pass
        case _:
            assert_never(group)
    values, rows = flatten(column, group, where)
    ids = _ids(values, known_values)
    return ids[ids >= 0], rows[ids >= 0]


def _known_ids_of_few(
    column: pa.Array, group: Values, known_values: list[str] | list[float]
) -> tuple[Int32, Int32] | None:
    """(ids, the row of each) of known values in a few rows, the same as `flatten` and `_ids` give, but without the
    fixed cost of Arrow's calls. None if a value is not an ASCII text."""
    ids, rows = [], []
    for row, value in enumerate(column.to_pylist()):
        parts = value if isinstance(value, list) else [value]
        if group.separator and isinstance(value, str):
            parts = value.split(group.separator)
        for part in parts:
            if part is None:
                continue
            if not isinstance(part, str) or not part.isascii():
                return None
            text = part.strip(_BLANKS)
            pos = bisect_left(known_values, text)  # the values are in order
            if pos < len(known_values) and known_values[pos] == text:
                ids.append(pos)
                rows.append(row)
    return np.array(ids, np.int32), np.array(rows, np.int32)


def _ids(values: pa.Array, known_values: list[str] | list[float]) -> Int32:
    if pa.types.is_floating(values.type):
        return np.asarray(np.searchsorted(np.array(known_values, float), values.to_numpy(), side="right"), np.int32)
    positions = pc.index_in(values, pa.array(known_values, pa.string()))
    return np.asarray(pc.fill_null(positions, -1).to_numpy(zero_copy_only=False), np.int32)


def listed_values(column: pa.Array) -> tuple[pa.Array, Int32]:
    """(the values that a column of lists holds, the row of each, in order), without nulls and blanks."""
    return _flatten_texts(column, None)


def find_listed(column: pa.Array, known_values: list[str]) -> tuple[Int32, Int32]:
    """(the row of each known value that a column of lists holds, its position among the known values, in order)."""
    ids, rows = known_ids(column, _LISTED, known_values, "a list")
    return rows, ids
