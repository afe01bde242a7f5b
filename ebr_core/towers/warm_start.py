"""The transfer of a learned table to the features of a later log, where the same feature may have another row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

import numpy as np

from ebr_core.arrays import Int32
from ebr_core.towers.bag_tables import Table
from ebr_core.towers.feature_config import Group, Location, Numbers, Values
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.history_config import History
from ebr_core.towers.projection import Projection
from ebr_core.towers.vector_config import Encoder, GivenVectors, Graph


def copy_known(name: str, old: Table, fresh: Table, before: FittedFeatures, after: FittedFeatures) -> None:
    """Copy from `old` to `fresh` the rows that both tables have; they are the group's tables over the fitted features
    `before` and `after`."""
    row_map = _text_rows(before, after) if name == "text" else _rows(name, before, after)
    _copy(old, fresh, *row_map)


def _text_rows(old: FittedFeatures, new: FittedFeatures) -> tuple[Int32, Int32, int, int]:
    """(the old rows and the new rows of the n-grams in both, the rows of a tower before and after)."""
    sizes = old.text_rows(), new.text_rows()
    if new.features.text.remainders is not None:  # rows depend on the hash alone
        same = np.arange(sizes[1], dtype=np.int32)
        return same, same, *sizes
    common = np.flatnonzero((old.vocabulary >= 0) & (new.vocabulary >= 0))
    return old.vocabulary[common], new.vocabulary[common], *sizes


def _rows(name: str, old: FittedFeatures, new: FittedFeatures) -> tuple[Int32, Int32, int, int]:
    """The same for a group: values and cells match themselves, buckets by their order if both have equally many."""
    pairs = [np.empty((2, 0), np.int32), *_matched(name, old, new)]
    before, after = np.concatenate(pairs, axis=1)
    return before, after, old.group_rows(name), new.group_rows(name)


def _matched(name: str, old: FittedFeatures, new: FittedFeatures) -> Iterator[Int32]:
    """For each column of both logs, (2, n) the old and the new rows of its values, or buckets, that are in both."""
    group = new.features.groups[name]
    starts, base = {}, 0
    for means, values in old.group_values[name].items():
        starts[means] = base
        base += old.rows_of(name, values)
    base = 0
    for means, values in new.group_values[name].items():
        if means in starts:
            yield _same_rows(group, old.group_values[name][means], values) + np.array(
                [[starts[means]], [base]], np.int32
            )
        base += new.rows_of(name, values)


def _same_rows(group: Group, old: Sequence[str | float], new: Sequence[str | float]) -> Int32:
    """(2, n) the old and the new row of each value, cell or bucket of one column that is in both logs."""
    match group:
        case Values() | Location() | History():
            rows = {value: row for row, value in enumerate(old)}
            matches = [(rows[value], row) for row, value in enumerate(new) if value in rows]
            return np.array(matches, np.int32).reshape(-1, 2).T
        case Numbers():
            buckets = np.arange(len(new) + 1 if len(old) == len(new) else 0, dtype=np.int32)
            return np.stack([buckets, buckets])
        case Graph() | GivenVectors() | Encoder():
            raise TypeError(f"a group of kind {group.kind} has no table whose rows could be copied")
        case _:
            assert_never(group)


def keeps_axes(name: str, before: FittedFeatures, after: FittedFeatures) -> bool:
    """True if the vectors of a group have the same axes in both logs: not those of a graph, nor of other weights."""
    group = after.features.groups[name]
    match group:
        case GivenVectors() | Encoder():
            return before.group_values.get(name) == after.group_values.get(name)
        case Graph() | Values() | Numbers() | Location() | History():
            return False
        case _:
            assert_never(group)


def copy_projection(old: Projection, new: Projection) -> None:
    """Copy the maps of `old` to `new`, if both have the same shape."""
    if [part.shape for part in old] == [part.shape for part in new]:
        for source, target in zip(old, new, strict=True):
            target[:] = source


def _copy(old: Table, new: Table, before: Int32, after: Int32, size_before: int, size_after: int) -> None:
    """Copy rows within each block: a table has a block for each tower, and one for each further query vector."""
    blocks = len(new.table) // max(size_after, 1)
    for block in range(blocks):
        for part in ("table", "scales", "squares", "scale_squares"):
            source, target = getattr(old, part), getattr(new, part)
            if len(target) and len(source):
                target[block * size_after + after] = source[block * size_before + before]
