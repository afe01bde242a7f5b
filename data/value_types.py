"""The type of a column that no layout knows, from its values: what a file calls a text may hold numbers or dates."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_WHOLE = r"^[+-]?(0|[1-9][0-9]{0,14})$"  # 007 and longer numbers are identities, which numbers would change
_NUMBER = r"^[+-]?((0|[1-9][0-9]{0,14})(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?$"
_FLAG = r"^([tT]rue|TRUE|[fF]alse|FALSE)$"
_DATE = r"^[0-9]{4}-[01][0-9]-[0-3][0-9]"
_TIME = r"[ T][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_NULLS = ("null", "none", "na", "n/a", "nan")  # texts that mean no value in a column of numbers, flags or times
_INFINITE = r"^[+-]?(?i:inf|infinity)$"  # no value in a column of numbers, counted


def typed_values(lists: pa.ChunkedArray) -> pa.Array:
    """(n,) the values of a column of lists of texts, each list holding the values of one row.

    Lists of texts if a row holds several values; else whole numbers, numbers, Booleans or times in UTC if all values
    are written as such, and texts otherwise. Blanks are null; so are texts that mean null, unless the column holds
    texts, and infinite numbers among others.
    """
    column = lists.combine_chunks()
    values = pc.utf8_trim_whitespace(pc.list_flatten(column))
    rows = pc.list_parent_indices(column)
    given = pc.fill_null(pc.greater(pc.binary_length(values), 0), False)
    values, rows = values.filter(given), rows.filter(given)
    owners = rows.to_numpy()
    if len(np.unique(owners)) < len(owners):
        counts = np.bincount(owners, minlength=len(column))
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, values, mask=pa.array(counts == 0))
    at = np.full(len(column), -1)
    at[owners] = np.arange(len(owners))
    distinct = values.dictionary_encode()
    typed = _typed(distinct.dictionary).take(distinct.indices)
    return typed.take(pa.array(at, mask=at < 0))


def count_infinite(lists: pa.ChunkedArray) -> int:
    """The number of infinite values, which are null in a column of numbers. lists: as for typed_values."""
    values = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    return int(pc.sum(pc.match_substring_regex(values, _INFINITE)).as_py() or 0)


def holds_records(lists: pa.ChunkedArray) -> bool:
    """True if all values are written as JSON records, {…}. lists: as for typed_values."""
    values = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    held = values.filter(pc.fill_null(pc.greater(pc.binary_length(values), 0), False))
    return len(held) > 0 and bool(pc.all(pc.match_substring_regex(held, r"(?s)^\{.*\}$")).as_py())


def _typed(texts: pa.Array) -> pa.Array:
    """(n,) texts as the type that all of them are written in."""
    means_null = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(_NULLS))
    held = texts.filter(pc.invert(means_null))
    if not len(held):
        return texts
    as_null = pc.if_else(means_null, None, texts)
    finite = held.filter(pc.invert(pc.match_substring_regex(held, _INFINITE)))
    if len(finite) and _all_match(finite, _NUMBER):
        held, as_null = finite, pc.if_else(pc.match_substring_regex(as_null, _INFINITE), None, as_null)
    if _all_match(held, _WHOLE):
        return pc.cast(pc.utf8_ltrim(as_null, "+"), pa.int64())
    if _all_match(held, _NUMBER):
        return pc.cast(pc.utf8_ltrim(as_null, "+"), pa.float64())
    if _all_match(held, _FLAG):
        return pc.equal(pc.utf8_lower(as_null), "true")
    if _all_match(held, f"{_DATE}({_TIME}{_ZONE}?)?$"):
        return _times(held, as_null, texts)
    return texts


def _all_match(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _times(held: pa.Array, as_null: pa.Array, texts: pa.Array) -> pa.Array:
    """The times in UTC, to the microsecond; the texts if some carry an offset and others do not, or one is no day of
    the calendar."""
    zoned = pc.match_substring_regex(held, f"{_TIME}{_ZONE}$")
    if pc.any(zoned).as_py() and not pc.all(zoned).as_py():
        return texts
    type_ = pa.timestamp("us", "UTC") if pc.any(zoned).as_py() else pa.timestamp("us")
    try:
        shortened = pc.replace_substring_regex(as_null, r"(\.[0-9]{6})[0-9]+", r"\1")
        return pc.cast(pc.cast(shortened, type_), pa.timestamp("us"))
    except pa.ArrowInvalid:
        return texts
