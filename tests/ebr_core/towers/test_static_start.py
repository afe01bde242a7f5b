"""The static start against a slow loop over words, and its words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.static_start import COMMON, start_rows, words_of


def test_words_end_at_blanks_and_are_counted_in_lower_case() -> None:
    words, counts = words_of(pa.chunked_array([["Red  shoe", None, " "], ["red boot"]]))
    assert dict(zip(words.to_pylist(), counts.tolist(), strict=True)) == {"boot": 1, "red": 2, "shoe": 1}
    assert len(words_of(pa.chunked_array([["", None]], pa.string()))[0]) == 0


def test_a_row_is_the_mean_of_its_words_along_the_main_axes_and_frequent_ones_are_shorter() -> None:
    rng = np.random.default_rng(0)
    words, rows, width, dimensions = 30, 12, 6, 4
    members = [rng.choice(rows - 1, rng.integers(1, 4), replace=False) for _ in range(words)]  # the last row has none
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in members])])
    bags = Bags(offsets, np.concatenate(members).astype(np.int32), np.ones(offsets[-1], np.float32))
    counts, vectors = rng.integers(1, 50, words), rng.standard_normal((words, width)).astype(np.float32)
    table = start_rows(bags, counts, vectors, rows, dimensions, np.random.default_rng(1))

    total, means = np.zeros(rows - 1), np.zeros((rows - 1, width))
    for word in range(words):
        for row in members[word]:
            total[row] += counts[word]
            means[row] += counts[word] * vectors[word].astype(float)
    means /= total[:, None]
    centred = means - (total[:, None] * means).sum(0) / total.sum()
    _, _, axes = np.linalg.svd(np.sqrt(total)[:, None] * centred, full_matrices=False)
    expected = centred @ axes[:dimensions].T * (COMMON / (COMMON + total / total.sum()))[:, None]
    expected /= np.linalg.norm(expected, axis=1).mean()
    np.testing.assert_allclose(table[:-1] @ table[:-1].T, expected @ expected.T, atol=1e-5)  # but for signs of axes
    assert 0.2 < np.linalg.norm(table[-1]) < 2.5  # random
    again = start_rows(bags, counts, vectors, rows, dimensions, np.random.default_rng(1))
    assert np.array_equal(again, table)
    wide = start_rows(bags, counts, vectors, rows, 9, np.random.default_rng(1))
    assert wide.shape == (rows, 9)
    assert np.isfinite(wide).all()
