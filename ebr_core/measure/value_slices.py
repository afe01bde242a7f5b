"""Slices by the values of a column: frequent values apart, numbers and times in bins, rows without a value apart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float64, Int64

MOST_VALUES = 8  # values with a slice of their own
QUANTILES = (0.25, 0.5, 0.75)  # edges of the bins of a column with more numbers than that
DISTANCES = (1, 5, 25, 100)  # edges of the bins of distances, in kilometres
EMPTY, OTHERS = "(empty)", "(others)"
_Write = Callable[[float], str]


class ValueSlices(NamedTuple):
    """The slice of each of n rows."""

    labels: list[str]  # in the order in which they are shown
    codes: Int64  # (n,) positions in labels


def slice_values(values: pa.Array, counted: npt.NDArray[np.bool_]) -> ValueSlices:
    """The slices of a column of texts, numbers, Booleans or times: the MOST_VALUES most frequent values, the others
    together, and the rows without one; more than MOST_VALUES distinct numbers or times in bins of equal counts.

    values (n,); counted (n,): True for the rows by which frequencies and bins are chosen. Raises TypeError for lists.
    """
    if pa.types.is_list(values.type):
        raise TypeError("a row of a list is in several slices")
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    is_time = pa.types.is_timestamp(values.type)
    if pa.types.is_boolean(values.type):
        values = pc.if_else(values, "true", "false")
    if not is_number and not is_time:
        return _by_value(values, counted)
    numbers = (values.cast(pa.int64()) if is_time else values).cast(pa.float64(), safe=False)
    as_floats: Float64 = pc.fill_null(numbers, np.nan).to_numpy(zero_copy_only=False)
    return _by_number(as_floats, as_floats[counted], _day if is_time else _number)


def slice_distances(kilometres: Float64) -> ValueSlices:
    """The slices of distances (n,), NaN where a place is unknown."""
    return _in_bins(kilometres, np.array(DISTANCES, float), lambda edge: f"{edge:g}", " km")


def _by_value(values: pa.Array, counted: npt.NDArray[np.bool_]) -> ValueSlices:
    counts = pc.value_counts(values.filter(pa.array(counted)).drop_null())
    pairs = zip(counts.field("counts").to_pylist(), counts.field("values").to_pylist(), strict=True)
    frequent = [value for _, value in sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:MOST_VALUES]]
    codes = pc.fill_null(pc.index_in(values, pa.array(frequent, values.type)), len(frequent)).to_numpy(
        zero_copy_only=False
    )
    empty = values.is_null().to_numpy(zero_copy_only=False)
    return ValueSlices([*frequent, OTHERS, EMPTY], np.where(empty, len(frequent) + 1, codes).astype(np.int64))


def _by_number(numbers: Float64, counted: Float64, write: _Write) -> ValueSlices:
    known = counted[~np.isnan(counted)]
    distinct = np.unique(known)
    if len(distinct) > MOST_VALUES:
        return _in_bins(numbers, np.unique(np.quantile(known, QUANTILES, method="higher")), write, "")
    codes = np.searchsorted(distinct, numbers)
    at = np.minimum(codes, max(len(distinct) - 1, 0))
    is_known = (distinct[at] == numbers) if len(distinct) else np.zeros(len(numbers), bool)
    codes = np.where(np.isnan(numbers), len(distinct) + 1, np.where(is_known, codes, len(distinct)))
    return ValueSlices([*map(write, distinct), OTHERS, EMPTY], codes.astype(np.int64))


def _in_bins(numbers: Float64, edges: Float64, write: _Write, unit: str) -> ValueSlices:
    """Below the first edge, from each edge to below the next, from the last on, and without a number."""
    between = [f"{write(a)} to under {write(b)}{unit}" for a, b in pairwise(edges.tolist())]
    labels = [f"under {write(edges[0])}{unit}", *between, f"{write(edges[-1])}{unit} and over", EMPTY]
    codes = np.searchsorted(edges, numbers, side="right")
    return ValueSlices(labels, np.where(np.isnan(numbers), len(labels) - 1, codes).astype(np.int64))


def _number(value: float) -> str:
    return f"{value:,.10g}"


def _day(micros: float) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M").removesuffix(" 00:00")
