"""Vectors that several documents share are indexed once, and searched as if each document had been indexed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import near, units

from ebr_core.arrays import Float32, Int32
from ebr_core.search.deduped_index import deduplicate, load, save, vector_mask
from ebr_core.search.faiss_index import build, set_parameters
from ebr_core.search.index_specs import AnyIndex, Exact, Hnsw, Imi, Ivf, Scan
from ebr_core.search.nearest import recall_up_to_ties, search_cost, search_exact, search_index

EXACT: list[AnyIndex] = [
    Scan(code="flat"),
    Ivf(code="flat", nlist=3, nprobe=3),
    Imi(code="flat", bits=1, nprobe=4),
    Hnsw(links=16, ef=400),
]


def with_copies(n: int, d: int, copies: int, seed: int) -> Float32:
    """(n · copies, d) unit vectors: n vectors repeated, in random order."""
    rows = np.random.default_rng(seed).permutation(np.repeat(np.arange(n), copies))
    return units(n, d, seed)[rows]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 3), st.integers(0, 99))
def test_distinct_vectors_keep_the_order_of_rows_and_their_documents(n: int, d: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).integers(0, 3, (n, d)).astype(np.float32)
    unique_vectors, copies = deduplicate(vectors)
    expected = list({row.tobytes(): None for row in vectors})
    assert [row.tobytes() for row in unique_vectors] == expected
    if copies is None:
        assert len(expected) == n
        return
    for i, unique_vector in enumerate(unique_vectors):
        rows = copies.rows[copies.starts[i] : copies.starts[i + 1]]
        assert rows.tolist() == [row for row, vector in enumerate(vectors) if np.array_equal(vector, unique_vector)]


@pytest.mark.parametrize("spec", EXACT, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("k", [1, 7, 40])
@pytest.mark.parametrize("share", [None, 0.3])
def test_an_index_of_distinct_vectors_equals_sorting_all_documents(spec: AnyIndex, k: int, share: float | None) -> None:
    documents = with_copies(60, 8, 5, 0)
    queries = near(documents, 40)
    queries[3] = 0
    allowed = None if share is None else np.random.default_rng(1).random(len(documents)) < share
    index = build(documents, spec)
    assert (index.documents, index.index.ntotal) == (300, 60)
    rows, similarities = search_index(index, queries, k, allowed=allowed)
    expected, values = _sorted(documents, queries, k, allowed)
    assert np.array_equal(rows, expected)
    assert np.allclose(similarities, values, atol=1e-5)


def _sorted(documents: Float32, queries: Float32, k: int, allowed: np.ndarray | None) -> tuple[Int32, Float32]:
    """The first K of the allowed documents, by similarity, then row."""
    values = np.round((queries.astype(float) @ documents.T.astype(float)), 5)
    values[:, ~allowed if allowed is not None else []] = -np.inf
    rows = np.argsort(-values, axis=1, kind="stable")[:, :k].astype(np.int32)
    values = np.take_along_axis(values, rows, 1)
    values[~queries.any(1)] = -np.inf
    return np.where(np.isfinite(values), rows, -1).astype(np.int32), values.astype(np.float32)


def test_equal_documents_cost_one_comparison() -> None:
    documents = with_copies(80, 8, 4, 0)
    queries = near(documents, 20)
    assert search_cost(build(documents, Scan(code="flat")), queries, 5)[0].tolist() == [80] * 20
    assert search_cost(build(documents, Exact()), queries, 5)[0].tolist() == [320] * 20
    all_cells = build(documents, Ivf(code="flat", nlist=2, nprobe=2))
    assert search_cost(all_cells, queries, 5)[0].tolist() == [80] * 20


def test_a_graph_search_leaves_many_copies() -> None:
    """With 900 copies of a vector, a graph of all documents would link them to each other only."""
    unique_vectors = units(600, 16, 0)
    documents = np.concatenate([np.tile(unique_vectors[:1], (900, 1)), unique_vectors[1:]])
    queries = near(unique_vectors[1:], 100)
    rows, _ = search_index(build(documents, Hnsw(links=8, ef=32)), queries, 10)
    assert recall_up_to_ties(documents, queries, rows, search_exact(documents, queries, 10)[1]).mean() > 0.95


def test_copies_are_indexed_if_distinct_vectors_are_too_few_for_the_code() -> None:
    documents = with_copies(100, 8, 4, 0)
    index = build(documents, Scan(code="pq4"))
    assert index.copies is None
    assert index.index.ntotal == 400


def test_a_loaded_index_returns_the_same_results(tmp_path: Path) -> None:
    documents = with_copies(90, 8, 3, 0)
    index = build(documents, Ivf(code="flat", nlist=4, nprobe=2))
    size = save(index, tmp_path)
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    loaded = load(tmp_path)
    set_parameters(loaded.index, "nprobe=2")
    assert np.array_equal(
        search_index(loaded, near(documents, 30), 9)[0], search_index(index, near(documents, 30), 9)[0]
    )


def test_a_vector_is_selected_if_one_of_its_documents_is() -> None:
    _, copies = deduplicate(np.array([[1], [2], [1], [3]], np.float32))
    assert copies is not None
    assert vector_mask(copies, np.array([False, False, True, False])).tolist() == [True, False, False]
