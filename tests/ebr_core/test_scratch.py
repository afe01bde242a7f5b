"""Arrays on disk have the same values as in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core import scratch
from ebr_core.scratch import IN_RAM, Scratch
from ebr_core.training.pair_config import Positives
from ebr_core.training.positives import RatedPairs, RecoveredPairs, ShownResults, select_pairs


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return Scratch(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, and almost nothing in memory."""
    monkeypatch.setattr(scratch, "BLOCK_ROWS", 5)
    monkeypatch.setattr(scratch, "MAX_RAM_BYTES", 16)


def on_disk(array: np.ndarray) -> bool:
    return isinstance(array.base, memoryview)


pieces = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8)


@settings(max_examples=100, deadline=None)
@given(pieces)
def test_pieces_are_concatenated(disk: Scratch, pieces: list[list[int]]) -> None:
    expected = [value for piece in pieces for value in piece]
    parts = [(np.array(piece, np.int64), np.array(piece, np.int64) > 4) for piece in pieces]
    for place in (IN_RAM, disk):
        integers, flags = place.columns(parts, np.int32, np.bool_)
        assert (integers.dtype, flags.dtype) == (np.int32, np.bool_)
        assert integers.tolist() == expected
        assert flags.tolist() == [value > 4 for value in expected]
    assert on_disk(integers) == (len(expected) > 4)
    assert disk.folder is not None
    assert not list(disk.folder.iterdir())  # the files are unlinked, so a killed run leaves none


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 20), max_size=60))
def test_distinct_values_are_sorted(disk: Scratch, values: list[int]) -> None:
    for place in (IN_RAM, disk):
        result = place.distinct(place.column([np.array(values, np.int64)], np.int64))
        assert result.tolist() == sorted(set(values))


def test_expecting_random_reads_leaves_the_values(disk: Scratch, tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.arange(9))
    arrays = [disk.concat_blocks(20, lambda part: np.arange(part.start, part.stop), np.int32), np.arange(5)]
    arrays += [arrays[0].reshape(4, 5)[1:], np.load(tmp_path / "array.npy", mmap_mode="r")]
    before = [array.tolist() for array in arrays]
    scratch.expect_random(arrays)
    assert [array.tolist() for array in arrays] == before


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=40))
def test_counts_of_values(values: list[int]) -> None:
    assert scratch.count_values(np.array(values, np.int32), 7).tolist() == [values.count(value) for value in range(7)]


@pytest.mark.parametrize("mask", ["pair", "query", "document", "none"])
@pytest.mark.parametrize("source", ["clicks", "impressions", "both"])
def test_pairs_are_the_same_in_memory_and_on_disk(disk: Scratch, source: str, mask: str) -> None:
    positives = Positives.model_validate({"source": source, "hard_share": 0.1, "equal_volume": mask == "query"})
    for seed in range(8):
        rng = np.random.default_rng(seed)
        query, person = rng.integers(6, size=30).astype(np.int32), rng.integers(-1, 5, size=30).astype(np.int32)
        search, document = (side.astype(np.int32) for side in np.divmod(np.flatnonzero(rng.random(600) < 0.3), 20))
        clicked = rng.random(len(search)) < 0.3
        weights = rng.choice([1, 3, 5], len(search)) * clicked.astype(np.float32) if seed % 2 else None
        shown = ShownResults(search, document, clicked, query[search], person[search], weights)
        rows = rng.integers(30, size=9)
        recovered = RecoveredPairs(
            rows.astype(np.int32), rng.integers(25, size=9).astype(np.int32), query[rows], person[rows],
            None if weights is None else np.full(9, 3, np.float32),
        )  # fmt: skip
        rated = RatedPairs(*recovered[:4], rng.random(9) < 0.5)
        in_memory, stored = (
            select_pairs(shown, recovered, positives, mask, seed, rated, True, place) for place in (IN_RAM, disk)
        )
        for expected, actual in zip(in_memory, stored, strict=True):
            for name in expected._fields:
                assert np.array_equal(getattr(expected, name), getattr(actual, name)), name
        assert on_disk(stored[0].search_rows)
