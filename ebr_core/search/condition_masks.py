"""Which documents meet a condition: its comparisons with the documents' columns, by the type of each."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float64, Int32
from ebr_core.errors import InputError
from ebr_core.own_names import OwnNames, own_name, standard_name
from ebr_core.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    Is,
    Near,
    Not,
    Term,
    Within,
    columns_named,
    contains_nn,
    leaves_of,
    read_instant,
)
from ebr_core.text.terms import Terms, documents_with
from ebr_core.towers.location_cells import distance_km

Mask = npt.NDArray[np.bool_]
Place = tuple[float, float]  # latitude and longitude, in degrees
TEXTS = ("title", "body")  # columns of documents that conditions do not compare
_ORDER = {"<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_EXAMPLES = 8  # values or columns that a message lists, at most


class SearchedDocuments(NamedTuple):
    """What conditions read of N documents."""

    table: pa.Table  # N rows: columns of texts, lists of texts, numbers, Booleans, or times in UTC
    terms: Terms
    places: Float64 | None = None  # (N, 2) latitude and longitude in degrees, NaN: unknown; None if nobody knows any
    left_out: Mapping[str, str] = {}  # column of the user's table that is not in the table → the reason
    own_names: Mapping[str, str] = {}  # the user's names of columns of the table


def condition_mask(
    condition: Condition,
    documents: SearchedDocuments,
    nearest: Callable[[Near, Mask], Mask],
    origin: Place | None = None,
) -> Mask:
    """(N,): True for the documents that meet the condition.

    nearest(near, among) returns the documents of the mask `among` for which an nn holds. In an AND it is called last.
    origin: the place of the search; without one, no document is within a distance of it. Raises InputError for an
    unknown column, or a value that is not of its column's type.
    """
    return _meet(condition, documents, nearest, origin, np.ones(documents.table.num_rows, bool))


def _meet(
    condition: Condition,
    documents: SearchedDocuments,
    nearest: Callable[[Near, Mask], Mask],
    origin: Place | None,
    among: Mask,
) -> Mask:
    match condition:
        case Near():
            return nearest(condition, among)
        case Not():
            return among & ~_meet(condition.part, documents, nearest, origin, among)
        case AnyOf():
            parts = [_meet(part, documents, nearest, origin, among) for part in condition.parts]
            mask: Mask = np.logical_or.reduce(parts)
            return mask
        case AllOf():
            for part in sorted(condition.parts, key=contains_nn):
                among = _meet(part, documents, nearest, origin, among)
            return among
        case Term():
            return among & documents_with(documents.terms, condition.text)
        case Within():
            return among & _within(condition, documents, origin)
        case Is():
            return among & _compare(condition, column_of(documents, condition.attribute))
        case _:
            assert_never(condition)


def _within(condition: Within, documents: SearchedDocuments, origin: Place | None) -> Mask:
    if documents.places is None:
        raise InputError(
            "condition: within needs places, and the documents have none: neither coordinates nor cities. Give them "
            "columns lat and lon, or city and country"
        )
    place = condition.place or origin
    if place is None:
        return np.zeros(len(documents.places), bool)
    distances = distance_km(*documents.places.T, *(np.float64(degrees) for degrees in place))
    mask: Mask = distances <= condition.km  # NaN is not
    return mask


def comparable_columns(table: pa.Table) -> list[str]:
    """The columns of documents that conditions can compare, in order."""
    return [name for name in table.column_names if name not in TEXTS]


def filled_columns(table: pa.Table) -> list[str]:
    """The columns among them that hold a value, in order."""
    return [name for name in comparable_columns(table) if table[name].null_count < table.num_rows]


def column_of(documents: SearchedDocuments, attribute: str) -> pa.ChunkedArray:
    """The column that a condition names, by the user's name or the layout's, whatever its case. Raises InputError if
    there is none, with those that are."""
    names = {name.lower(): name for name in comparable_columns(documents.table)}
    if (name := names.get(standard_name(attribute, documents.own_names).lower())) is not None:
        return documents.table[name]
    left_out = {name.lower(): reason for name, reason in documents.left_out.items()}
    if (reason := left_out.get(attribute.lower())) is not None:
        raise InputError(f"condition: column {attribute!r} of the documents cannot be compared: {reason}")
    if standard_name(attribute, documents.own_names).lower() in TEXTS:
        raise InputError(
            f"condition: {attribute!r} is a text that searches read, and is not compared; ask for a word of it: "
            "term:WORD"
        )
    near = difflib.get_close_matches(attribute.lower(), names, 1)
    hint = f" (did you mean {names[near[0]]}?)" if near else ""
    there = ", ".join(own_name(name, documents.own_names) for name in filled_columns(documents.table))
    raise InputError(f"condition: documents have no column {attribute!r}{hint}; there are {there}")


def check_columns(condition: Condition, documents: SearchedDocuments) -> None:
    """Raise InputError for a column that the documents lack, a value that is not of its column's type, or a distance
    from documents without places."""
    for attribute in columns_named(condition):
        column_of(documents, attribute)
    for leaf in leaves_of(condition):
        match leaf:
            case Is():
                _compare(leaf, column_of(documents, leaf.attribute))
            case Within():
                _within(leaf, documents, None)
            case Term() | Near():
                pass
            case _:
                assert_never(leaf)


def unknown_values(condition: Condition, documents: SearchedDocuments) -> list[str]:
    """A sentence for each text that the condition compares for equality and no document has, with those that are
    frequent or similar."""
    remarks = []
    for leaf in leaves_of(condition):
        if not isinstance(leaf, Is) or leaf.operator not in ("=", "!="):
            continue
        if standard_name(leaf.attribute, documents.own_names) == "document_id":
            continue
        values = _values_of(column_of(documents, leaf.attribute))
        if pa.types.is_string(values.type):
            missing = [value for value in leaf.values if value and pc.index(values, value).as_py() < 0]
            remarks += [f"{leaf.attribute}: no document has {value!r}; {_known(value, values)}" for value in missing]
    return remarks


def _known(value: str, values: pa.Array) -> str:
    """The similar values, else the most frequent ones, in words."""
    counts = pc.value_counts(values.drop_null())
    by_count = sorted(zip(counts.field("counts").to_pylist(), counts.field("values").to_pylist(), strict=True))[::-1]
    frequent = [known for _, known in by_count]
    if not frequent:
        return "no document has any value of it"
    folded = {known.casefold(): known for known in reversed(frequent)}
    if near := difflib.get_close_matches(value.casefold(), folded, 3):
        return f"similar: {', '.join(folded[name] for name in near)}"
    return f"the most frequent: {', '.join(frequent[:_EXAMPLES])}"


def _compare(condition: Is, column: pa.ChunkedArray) -> Mask:
    """(N,): True for the rows whose value meets the comparison; of a list, if one of its values equals. != holds for
    the rows that have a value, and where = does not. An empty value equals the rows without one."""
    if "" in condition.values:
        return _compare_empty(condition, column)
    values, is_list = _values_of(column), pa.types.is_list(column.type)
    wanted = _as_type(condition, values, is_list)
    if pa.types.is_integer(values.type):
        values = values.cast(pa.float64())
    if condition.operator not in ("=", "!="):
        compared: Mask = pc.fill_null(_ORDER[condition.operator](values, wanted[0]), False).to_numpy(
            zero_copy_only=False
        )
        return compared
    equal = pc.is_in(values, value_set=wanted).to_numpy(zero_copy_only=False)
    given = pc.is_valid(values).to_numpy(zero_copy_only=False)
    if is_list:
        rows, count = _rows_of(column), len(column)
        equal, given = _any_of_row(equal, rows, count), _any_of_row(given, rows, count)
    mask: Mask = equal & given if condition.operator == "=" else given & ~equal
    return mask


def _compare_empty(condition: Is, column: pa.ChunkedArray) -> Mask:
    """(N,): as _compare, for an equality with an empty value, and perhaps others."""
    is_none = pc.is_null(column)
    if pa.types.is_list(column.type):
        is_none = pc.or_(is_none, pc.equal(pc.fill_null(pc.list_value_length(column), 0), 0))
    has_none: Mask = is_none.to_numpy(zero_copy_only=False)
    others = tuple(value for value in condition.values if value)
    equal = has_none | (_compare(condition._replace(operator="=", values=others), column) if others else False)
    return equal if condition.operator == "=" else ~equal


def _values_of(column: pa.ChunkedArray) -> pa.Array:
    """The values of a column; those of a list one after the other."""
    array = column.combine_chunks()
    return pc.list_flatten(array) if pa.types.is_list(array.type) else array


def _rows_of(column: pa.ChunkedArray) -> Int32:
    return np.asarray(pc.list_parent_indices(column.combine_chunks()).to_numpy(), np.int32)


def _any_of_row(holds: Mask, rows: Int32, count: int) -> Mask:
    mask = np.zeros(count, bool)
    mask[rows[holds]] = True
    return mask


def _as_type(condition: Is, values: pa.Array, is_list: bool) -> pa.Array:
    """The condition's values in the type of the column. Raises InputError for one of another type."""
    if is_list and condition.operator not in ("=", "!="):
        raise InputError(f"condition: {condition.attribute} holds lists, which have no order; use =, != or IN")
    type_ = values.type
    read = [_read_value(condition.attribute, text, type_) for text in condition.values]
    if pa.types.is_string(type_) and condition.operator not in ("=", "!="):
        _refuse_order(condition, values)
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return pa.array(read, pa.float64())
    return pa.array(read, type_)


def _read_value(attribute: str, text: str, type_: pa.DataType) -> object:
    if pa.types.is_boolean(type_):
        if text.lower() not in _FLAGS:
            raise InputError(f"condition: {attribute} is true or false; got {text!r}")
        return _FLAGS[text.lower()]
    if pa.types.is_timestamp(type_):
        return np.datetime64(read_instant(attribute, text), "us")
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        try:
            return float(text)
        except ValueError as error:
            raise InputError(
                f"condition: {attribute} holds numbers; got {text!r}, expected one such as 19.99"
            ) from error
    return text


def _refuse_order(condition: Is, values: pa.Array) -> None:
    """Raise InputError if a number is to be compared by size with texts."""
    if not _is_number(condition.values[0]):
        return
    texts = (text for text in values.to_pylist() if text is not None)
    example = next((text for text in texts if not _is_number(text)), None)
    held = f"texts such as {example!r}" if example is not None else "texts"
    raise InputError(
        f"condition: {condition.attribute} holds {held}, so {condition.operator} {condition.values[0]} would compare "
        "letters. Use = or IN, or make the column a number in the documents table (SQL can: docs/layouts.md)"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def describe_columns(table: pa.Table, own_names: OwnNames) -> dict[str, str]:
    """The columns that conditions can compare and that hold a value, under the user's names → their types in words:
    text, texts, number, true or false, time."""
    return {own_name(name, own_names): _describe(table.schema.field(name).type) for name in filled_columns(table)}


def _describe(type_: pa.DataType) -> str:
    if pa.types.is_list(type_):
        return "texts"
    if pa.types.is_boolean(type_):
        return "true or false"
    if pa.types.is_timestamp(type_):
        return "time"
    return "text" if pa.types.is_string(type_) else "number"
