"""A weighted sum equals a loop over all documents of both lists, and its weights are those of an obvious search."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ebr_core.search.weighted_fusion import (
    FEW_SEARCHES,
    FOLDS,
    GRID,
    FusionWeights,
    choose_fusion,
    cosines_of,
    fuse_weighted,
    normalise,
    pool_rows,
    recalls_by_weight,
)

lists = st.lists(st.integers(0, 12), unique=True, max_size=6)
sixteenths = st.integers(0, 16).map(lambda value: value / 16)  # sums without rounding, so that ties are ties


def padded(rows: list[int]) -> Any:
    return np.array([rows + [-1] * (6 - len(rows))], np.int32)


@settings(max_examples=80, deadline=None)
@given(
    first=lists,
    second=lists,
    bm25=arrays(np.float32, 13, elements=sixteenths),
    cosines=arrays(np.float32, 13, elements=st.integers(-16, 16).map(lambda value: value / 16)),
    weight=st.sampled_from([0, 0.25, 0.5, 1]),
    k=st.integers(1, 14),
)
def test_the_sum_is_that_of_a_loop(
    first: list[int], second: list[int], bm25: Any, cosines: Any, weight: float, k: int
) -> None:
    rows = pool_rows([padded(first), padded(second)])
    pool = normalise(rows, np.where(rows >= 0, bm25[rows], 0), np.where(rows >= 0, cosines[rows], 0))
    fused, scores = fuse_weighted(pool, np.array([weight]), k)
    documents = sorted({*first, *second})
    best = max((float(bm25[row]) for row in documents), default=0)
    nearest = max((1 + float(cosines[row]) for row in documents), default=0)
    expected = []
    for row in documents:
        terms = float(bm25[row]) / best if best else 0
        near = (1 + float(cosines[row])) / nearest if nearest else 0
        expected.append((-round(weight * terms + (1 - weight) * near, 5), row))
    expected.sort()
    count = min(k, len(expected))
    assert fused[0].tolist() == [row for _, row in expected[:count]] + [-1] * (k - count)
    np.testing.assert_allclose(scores[0, :count], [-score for score, _ in expected[:count]], atol=1e-5)


def test_nearly_equal_scores_are_ties_and_go_by_row() -> None:
    rows = np.array([[3, 5, 8]], np.int32)
    pool = normalise(rows, np.zeros((1, 3), np.float32), np.array([[0.5, 0.5 + 1e-7, 0.6]], np.float32))
    assert fuse_weighted(pool, np.zeros(1), 3)[0].tolist() == [[8, 3, 5]]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), searches=st.integers(1, 90))
def test_the_weights_are_those_of_an_obvious_search(seed: int, searches: int) -> None:
    rng = np.random.default_rng(seed)
    recalls = rng.integers(0, 3, (len(GRID), searches)) / 2
    kinds, groups = rng.integers(0, 2, searches), rng.integers(0, 40, searches)

    def best(inside: list[int]) -> float:
        means = [round(sum(recalls[at, s] for s in inside) / max(len(inside), 1), 9) for at in range(len(GRID))]
        return min(GRID, key=lambda weight: (-means[GRID.index(weight)], abs(weight - 0.5)))

    def best_by_kind(inside: list[int]) -> list[float]:
        parts = [[s for s in inside if kinds[s] == kind] for kind in range(2)]
        return [best(part) if len(part) >= FEW_SEARCHES else best(inside) for part in parts]

    chosen = choose_fusion(recalls, kinds, groups, 2)
    single, by_kind = [0.0] * searches, [0.0] * searches
    order = sorted(set(groups.tolist()))
    for fold in range(FOLDS):
        others = [s for s in range(searches) if order.index(groups[s]) % FOLDS != fold]
        weight, weights = best(others), best_by_kind(others)
        for s in set(range(searches)) - set(others):
            single[s], by_kind[s] = weight, weights[kinds[s]]
    means = [
        np.mean([recalls[GRID.index(weight), s] for s, weight in enumerate(weights)]) for weights in (single, by_kind)
    ]
    np.testing.assert_allclose([chosen.single, chosen.by_kind], means)
    assert chosen.weights.weight == best(list(range(searches)))
    if chosen.by_kind > chosen.single:
        assert list(chosen.weights.by_kind or ()) == best_by_kind(list(range(searches)))
        assert chosen.held_out.tolist() == by_kind
    else:
        assert chosen.weights.by_kind is None
        assert chosen.held_out.tolist() == single


def test_recall_by_weight_is_that_of_the_fused_lists() -> None:
    """The first search is answered by terms alone, the second by the embedding alone."""
    rows = np.array([[0, 1], [0, 1]], np.int32)
    pool = normalise(rows, np.array([[2, 1], [2, 1]], np.float32), np.array([[0, 0.9], [0, 0.9]], np.float32))
    targets = np.array([0, 1])
    recalls = recalls_by_weight(pool, 1, lambda lists: (lists[:, 0] == targets).astype(float))
    assert recalls[0].tolist() == [0, 1]
    assert recalls[-1].tolist() == [1, 0]


def test_each_kind_has_its_weight() -> None:
    weights = FusionWeights(weight=0.5, by_kind=(0.1, 0.9))
    assert weights.of(np.array([1, 0, 1])).tolist() == [0.9, 0.1, 0.9]
    assert FusionWeights(weight=0.5).of(np.array([1, 0])).tolist() == [0.5, 0.5]


def test_cosines_are_those_of_the_nearest_query_vector() -> None:
    rng = np.random.default_rng(0)
    documents, queries = rng.normal(size=(9, 4)).astype(np.float32), rng.normal(size=(2, 3, 4)).astype(np.float32)
    rows = np.array([[0, 8, -1], [3, -1, -1], [5, 6, 7]], np.int32)
    cosines = cosines_of(rows, documents, queries)
    for q in range(3):
        for j in range(3):
            products = [float(view[q] @ documents[rows[q, j]]) for view in queries]
            assert np.isclose(cosines[q, j], max(products) if rows[q, j] >= 0 else 0, atol=1e-5)
