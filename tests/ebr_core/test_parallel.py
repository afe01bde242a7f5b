"""Kernels over few rows use one thread, with the same results as many threads."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
import pyarrow as pa
import pytest
from numba import prange

from ebr_core.parallel import MIN_SHARED_ROWS, parallel
from ebr_core.text.ngram_bags import Bags
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.bag_tables import embed
from ebr_core.towers.feature_config import TextFeatures

MANY = 10 * MIN_SHARED_ROWS
pytestmark = pytest.mark.filterwarnings("ignore:Cannot cache compiled function")  # count_threads


@parallel("rows")
def count_threads(scale, rows):  # type: ignore[no-untyped-def]
    """Fill rows (n,) with scale times the number of threads that share them."""
    for i in prange(len(rows)):
        rows[i] = scale * numba.get_num_threads()


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Set two threads for kernels."""
    if numba.config.NUMBA_NUM_THREADS < 2:  # type: ignore[attr-defined]  # numba sets its config while importing
        pytest.skip("this machine has one core")
    numba.set_num_threads(2)
    yield
    numba.set_num_threads(1)


@pytest.mark.parametrize(
    ("rows", "threads"), [(0, []), (1, [1]), (MIN_SHARED_ROWS - 1, [1]), (MIN_SHARED_ROWS, [2]), (MANY, [2])]
)
@pytest.mark.usefixtures("two_threads")
def test_few_rows_use_one_thread(rows: int, threads: list[int]) -> None:
    counts = np.zeros(rows, np.int64)
    count_threads(10, counts)
    assert np.unique(counts).tolist() == [10 * number for number in threads]
    assert numba.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_failing_kernel_restores_the_threads() -> None:
    with pytest.raises(numba.TypingError):
        count_threads("text", np.zeros(1, np.int64))
    assert numba.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_few_texts_get_the_same_bags_as_among_many() -> None:
    texts = pa.array([f"café number {i}, the {i * i}th" for i in range(MANY)])
    many = hash_texts(texts, TextFeatures())
    for first, last in ((0, 1), (5, 5 + MIN_SHARED_ROWS - 1)):
        few, inside = hash_texts(texts[first:last], TextFeatures()), slice(*many.offsets[[first, last]])
        assert few.ids.tobytes() == many.ids[inside].tobytes()
        assert few.weights.tobytes() == many.weights[inside].tobytes()


@pytest.mark.usefixtures("two_threads")
def test_few_bags_get_the_same_vectors_as_among_many() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 30, MANY)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    ids, weights = rng.integers(0, 500, offsets[-1]).astype(np.int32), rng.random(offsets[-1], np.float32)
    table, bags = rng.standard_normal((500, 37), np.float32), Bags(offsets, ids, weights)
    many = embed(table, bags)
    for rows in (np.array([7], np.int32), np.arange(MIN_SHARED_ROWS - 1, dtype=np.int32)):
        assert embed(table, bags, rows).tobytes() == many[rows].tobytes()
