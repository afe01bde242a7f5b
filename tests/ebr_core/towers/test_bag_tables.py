"""The tables of vectors: forward and backward."""

from __future__ import annotations

import numba
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from ebr_core.arrays import Float32
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.bag_tables import adagrad_step, embed, normalize_backward
from ebr_core.towers.tower_inputs import stack_bags

ROWS = 12  # of the table

entry = st.tuples(st.integers(0, ROWS - 1), st.floats(0.125, 2, width=32))
bag_lists = st.lists(st.lists(entry, max_size=5), min_size=1, max_size=6)


def bags_from(lists: list[list[tuple[int, float]]]) -> Bags:
    entries = [entry for bag in lists for entry in bag]
    return Bags(
        np.cumsum([0, *map(len, lists)]),
        np.array([row for row, _ in entries], np.int32),
        np.array([weight for _, weight in entries], np.float32),
    )


def table_of(dimensions: int, seed: int) -> Float32:
    return np.random.default_rng(seed).standard_normal((ROWS, dimensions), np.float32)


@settings(max_examples=50, deadline=None)
@given(bag_lists, st.integers(2, 9), st.integers(0, 99), st.data())
def test_embeddings_are_the_unit_weighted_sums(
    lists: list[list[tuple[int, float]]], dimensions: int, seed: int, data: st.DataObject
) -> None:
    table = table_of(dimensions, seed)
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9))
    for vectors, bag_rows in [
        (embed(table, bags_from(lists)), range(len(lists))),
        (embed(table, bags_from(lists), np.array(rows, np.int32)), rows),
    ]:
        assert vectors.shape == (len(bag_rows), dimensions)
        for vector, row in zip(vectors, bag_rows, strict=True):
            np.testing.assert_allclose(vector, oracles.embedded(table.astype(float), lists[row]), atol=2e-5)
            assert np.linalg.norm(vector) == pytest.approx(1 if lists[row] else 0, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(bag_lists, st.integers(2, 9), st.integers(0, 99), st.data())
def test_step_is_row_wise_adagrad_on_the_dense_gradient(
    lists: list[list[tuple[int, float]]], dimensions: int, seed: int, data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), min_size=1, max_size=9))  # with repetitions
    rng, table = np.random.default_rng(seed), table_of(dimensions, seed)
    adagrad_sum, scratch_slots = np.zeros(ROWS, np.float32), np.full(ROWS, -1, np.int32)
    expected, expected_sum = table.astype(float), np.zeros(ROWS)
    for _ in range(2):  # the second step sees the first one's accumulators
        gradient = rng.standard_normal((len(rows), dimensions), np.float32)
        adagrad_step(table, adagrad_sum, scratch_slots, bags_from(lists), np.array(rows, np.int32), gradient, 0.5)
        expected, expected_sum = oracles.adagrad(
            expected, expected_sum, [lists[row] for row in rows], gradient.astype(float), 0.5
        )
        np.testing.assert_allclose(adagrad_sum, expected_sum, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(table, expected, atol=2e-3)
        assert np.all(scratch_slots == -1)


@settings(max_examples=50, deadline=None)
@given(bag_lists, st.integers(2, 6), st.integers(0, 99))
def test_learned_weights_are_adagrad_on_the_gradient_of_autograd(
    lists: list[list[tuple[int, float]]], dimensions: int, seed: int
) -> None:
    rng, bags = np.random.default_rng(seed), bags_from(lists)
    table, token_weights = table_of(dimensions, seed), rng.uniform(0.5, 2, ROWS).astype(np.float32)
    gradient = rng.standard_normal((len(lists), dimensions), np.float32)
    rows = torch.tensor(table, dtype=torch.float64, requires_grad=True)
    by_row = torch.tensor(token_weights, dtype=torch.float64, requires_grad=True)
    total = torch.zeros((), dtype=torch.float64)
    for bag, by_sum in zip(lists, gradient, strict=True):
        for row, weight in bag:
            total = total + (weight * by_row[row] * rows[row]) @ torch.tensor(by_sum, dtype=torch.float64)
    grads = (
        torch.autograd.grad(total, [rows, by_row])
        if total.requires_grad
        else (torch.zeros(ROWS, dimensions), torch.zeros(ROWS))
    )
    bag_rows = np.arange(len(lists), dtype=np.int32)
    for vector, bag in zip(embed(table, bags, bag_rows, token_weights), lists, strict=True):
        weighted = [(row, weight * float(token_weights[row])) for row, weight in bag]
        np.testing.assert_allclose(vector, oracles.embedded(table.astype(float), weighted), atol=2e-5)
    adagrad_sum, scratch_slots = np.zeros(ROWS, np.float32), np.full(ROWS, -1, np.int32)
    weight_adagrad_sum, before, token_weights_before = np.zeros(ROWS, np.float32), table.copy(), token_weights.copy()
    adagrad_step(
        table, adagrad_sum, scratch_slots, bags, bag_rows, gradient.copy(), 0.5, token_weights, weight_adagrad_sum
    )
    by_table, by_weight = (np.array(grad) for grad in grads)
    np.testing.assert_allclose(adagrad_sum, (by_table**2).mean(1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(weight_adagrad_sum, by_weight**2, rtol=1e-2, atol=1e-4)
    moved = np.abs(by_weight) > 1e-2  # Adagrad's first step is the sign of the gradient
    np.testing.assert_allclose(
        (token_weights - token_weights_before)[moved], -0.5 * np.sign(by_weight[moved]), atol=1e-3
    )
    steps = 0.5 / np.sqrt(np.maximum((by_table**2).mean(1), 1e-12))[:, None]
    clear = np.abs(by_table).max(1) > 1e-2
    np.testing.assert_allclose((table - before)[clear], (-steps * by_table)[clear], atol=5e-3)


def test_a_row_without_gradient_keeps_its_bytes() -> None:
    table = table_of(4, 0)
    before = table.copy()
    bags = bags_from([[(1, 1.0), (2, 1.0)], [(3, 1.0)]])
    gradient = np.array([[1, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    adagrad_step(
        table, np.zeros(ROWS, np.float32), np.full(ROWS, -1, np.int32), bags, np.arange(2, dtype=np.int32), gradient, 1
    )
    assert np.flatnonzero((table != before).any(1)).tolist() == [1, 2]


@pytest.mark.skipif(numba.get_num_threads() < 2, reason="needs two cores")
def test_learning_gives_the_same_bytes_with_one_thread_and_with_two() -> None:
    rng = np.random.default_rng(0)
    lists = [[(int(row), 0.1) for row in rng.integers(ROWS, size=20)] for _ in range(200)]
    bags, rows = bags_from(lists), rng.integers(200, size=300).astype(np.int32)
    gradient = rng.standard_normal((300, 16), np.float32)
    results = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        table = table_of(16, 0)
        adagrad_step(table, np.zeros(ROWS, np.float32), np.full(ROWS, -1, np.int32), bags, rows, gradient, 0.1)
        results.append(table.tobytes() + embed(table, bags).tobytes())
    assert results[0] == results[1]


@settings(max_examples=30, deadline=None)
@given(
    st_numpy.arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32)),
    st_numpy.arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32)),
)
def test_the_gradient_through_the_norm_is_its_jacobian(sums: Float32, by_unit: Float32) -> None:
    sums[np.linalg.norm(sums, axis=1) < 0.1] = 0
    norms = np.linalg.norm(sums, axis=1)
    units = sums / np.where(norms > 0, norms, 1)[:, None]
    gradient = by_unit.copy()
    normalize_backward(gradient, units, norms)
    for row in range(3):
        jacobian = np.zeros((4, 4))
        if norms[row]:
            jacobian = (np.eye(4) - np.outer(units[row], units[row])) / norms[row]
        np.testing.assert_allclose(gradient[row], jacobian @ by_unit[row], atol=2e-4)


@settings(max_examples=30, deadline=None)
@given(bag_lists, bag_lists)
def test_stacked_bags_read_separate_tables_like_separate_bags(
    queries: list[list[tuple[int, float]]], documents: list[list[tuple[int, float]]]
) -> None:
    query_table, document_table = table_of(5, 1), table_of(5, 2)
    stacked = stack_bags(bags_from(queries), bags_from(documents), ROWS)
    assert len(stacked) == len(queries) + len(documents)
    assert stacked.ids.dtype == np.int32
    vectors = embed(np.concatenate([query_table, document_table]), stacked)
    assert np.array_equal(vectors[: len(queries)], embed(query_table, bags_from(queries)))
    assert np.array_equal(vectors[len(queries) :], embed(document_table, bags_from(documents)))
    shared = embed(query_table, stack_bags(bags_from(queries), bags_from(documents), 0))
    assert np.array_equal(shared[len(queries) :], embed(query_table, bags_from(documents)))
