"""Slices by the values of a column, against a loop over the rows."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.measure.value_slices import EMPTY, MOST_VALUES, OTHERS, ValueSlices, slice_distances, slice_values


def _names(slices: ValueSlices) -> list[str]:
    return [slices.labels[code] for code in slices.codes.tolist()]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([None, *"abcdefghijkl"]), min_size=1, max_size=60))
def test_the_most_frequent_texts_have_a_slice_each(values: list[str | None]) -> None:
    counts = Counter(value for value in values if value is not None)
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_VALUES]
    expected = [EMPTY if value is None else value if value in frequent else OTHERS for value in values]
    slices = slice_values(pa.array(values, pa.string()), np.ones(len(values), bool))
    assert _names(slices) == expected
    assert slices.labels == [*frequent, OTHERS, EMPTY]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=80))
def test_numbers_are_cut_at_their_quartiles_unless_they_are_few(values: list[int | None]) -> None:
    slices = slice_values(pa.array(values, pa.int64()), np.ones(len(values), bool))
    known = sorted(value for value in values if value is not None)
    if len(set(known)) <= MOST_VALUES:
        assert _names(slices) == [EMPTY if value is None else str(value) for value in values]
        return
    assert slices.labels[-1] == EMPTY
    bins: dict[str, list[int]] = {}
    for name, value in zip(_names(slices), values, strict=True):
        assert (name == EMPTY) == (value is None)
        bins.setdefault(name, []).append(value or 0)
    edges = [label.removeprefix("under ").removesuffix(" and over") for label in slices.labels[:-1]]
    for label, inside in bins.items():
        if " to under " in label:
            low, high = map(int, label.split(" to under "))
            assert low <= min(inside) <= max(inside) < high
        elif label.startswith("under "):
            assert max(inside) < int(edges[0])
        elif label != EMPTY:
            assert min(inside) >= int(edges[-1])
    assert int(edges[0]) in known  # a quartile is a value, so numbers are not rounded
    assert sum(map(len, bins.values())) == len(values)


def test_bins_and_frequencies_are_those_of_the_counted_rows() -> None:
    counted = np.array([True, True, True, False, False])
    assert _names(slice_values(pa.array(["a", "b", "a", "c", "c"]), counted)) == ["a", "b", "a", OTHERS, OTHERS]
    assert _names(slice_values(pa.array([1.5, 2, 2, 7, None]), counted)) == ["1.5", "2", "2", OTHERS, EMPTY]


def test_flags_and_times_have_words() -> None:
    everything = np.ones(3, bool)
    assert _names(slice_values(pa.array([True, None, False]), everything)) == ["true", EMPTY, "false"]
    times = [datetime(2024, 1, 2), datetime(2024, 1, 2, 10, 30), None]
    assert _names(slice_values(pa.array(times, pa.timestamp("us")), everything)) == [
        *("2024-01-02", "2024-01-02 10:30", EMPTY)
    ]
    days = pa.array([datetime(2024, 1, day) for day in range(1, 21)], pa.timestamp("us"))
    assert _names(slice_values(days, np.ones(20, bool)))[0] == "under 2024-01-06"


def test_distances_have_fixed_bins() -> None:
    kilometres = np.array([0, 0.99, 1, 24.9, 25, 100, 20_000, np.nan])
    assert _names(slice_distances(kilometres)) == [
        *("under 1 km", "under 1 km", "1 to under 5 km", "5 to under 25 km", "25 to under 100 km"),
        *("100 km and over", "100 km and over", EMPTY),
    ]


def test_a_column_of_lists_is_refused() -> None:
    with pytest.raises(TypeError, match="several slices"):
        slice_values(pa.array([["a"]]), np.ones(1, bool))
