"""Exact search and search through an index, against sorting every similarity."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import units
from pydantic import TypeAdapter, ValidationError

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.search.deduped_index import DedupedIndex
from ebr_core.search.faiss_index import build
from ebr_core.search.index_specs import AnyIndex, Exact, Index, Ivf
from ebr_core.search.nearest import search_exact, search_index


def brute(documents: Float32, queries: Float32, k: int) -> tuple[Int32, Float32]:
    """(rows, similarities) from sorting all documents, padded with −1 and −∞; empty for a zero query."""
    rows = np.full((len(queries), k), -1, np.int32)
    similarities = np.full((len(queries), k), -np.inf, np.float32)
    for q, query in enumerate(queries):
        scored = [(-float(query @ document), row) for row, document in enumerate(documents) if query.any()]
        for pos, (distance, row) in enumerate(sorted(scored)[:k]):
            rows[q, pos], similarities[q, pos] = row, -distance
    return rows, similarities


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40), st.integers(0, 7), st.integers(2, 5), st.integers(1, 50), st.integers(1, 4), st.integers(0, 99)
)
def test_exact_search_sorts_by_similarity_then_row(n: int, q: int, d: int, k: int, block: int, seed: int) -> None:
    """Small integers give exact similarities and many ties. faiss decides which ties are cut off at K."""
    rng = np.random.default_rng(seed)
    documents, queries = (rng.integers(-2, 3, (count, d)).astype(np.float32) for count in (n, q))
    rows, similarities = search_exact(documents, queries, k, block)
    expected_rows, expected = brute(documents, queries, k)
    assert rows.shape == similarities.shape == (q, k)
    assert (rows.dtype, similarities.dtype) == (np.int32, np.float32)
    assert np.array_equal(similarities, expected)
    for i in range(q):
        valid = rows[i, rows[i] >= 0]
        assert len(set(valid.tolist())) == len(valid) == (min(k, n) if queries[i].any() else 0)
        assert np.array_equal(similarities[i, : len(valid)], documents[valid] @ queries[i])
        above = similarities[i] > (similarities[i, -1] if k < n else -np.inf)
        assert np.array_equal(rows[i, above], expected_rows[i, above])
        line = [(-similarity, row) for similarity, row in zip(similarities[i].tolist(), valid.tolist(), strict=False)]
        assert line == sorted(line)


@pytest.mark.parametrize("q", [1, 30])  # faiss multiplies matrices for 20 queries or more
@pytest.mark.parametrize("k", [1, 10, 150])
def test_exact_search_equals_sorting(q: int, k: int) -> None:
    documents, queries = units(400, 16, 0), units(q, 16, 1)
    rows, similarities = search_exact(documents, queries, k)
    expected = np.argsort(-(queries.astype(float) @ documents.T.astype(float)), axis=1)[:, :k]
    assert np.array_equal(rows, expected)
    np.testing.assert_allclose(similarities, np.take_along_axis(queries @ documents.T, expected, 1), atol=1e-6)


def test_missing_documents_are_minus_one() -> None:
    rows, similarities = search_exact(units(3, 4, 0), units(2, 4, 1), 5)
    assert rows[:, 3:].tolist() == [[-1, -1]] * 2
    assert np.all(similarities[:, 3:] == -np.inf)
    assert sorted(rows[0, :3].tolist()) == [0, 1, 2]


def test_an_inverted_file_with_all_cells_is_exact_search() -> None:
    documents, queries = units(2000, 16, 0), units(50, 16, 1)
    index = faiss.index_factory(16, "IVF20,Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(documents)
    index.add(documents)
    index.nprobe = 20
    expected, similarities = search_exact(documents, queries, 30)
    rows, retrieved_similarities = search_index(DedupedIndex(index), queries, 30)
    assert np.array_equal(rows, expected)
    np.testing.assert_allclose(retrieved_similarities, similarities, atol=1e-6)
    index.nprobe = 1
    rows_of_one_cell, retrieved_similarities = search_index(
        DedupedIndex(index), queries, 300
    )  # a cell holds about 100 documents: the rest is −1
    assert (rows_of_one_cell[:, -1] == -1).all()
    assert np.all(np.isneginf(retrieved_similarities) == (rows_of_one_cell == -1))


def test_an_exact_index_is_exact_search() -> None:
    documents, queries = units(300, 8, 0), units(9, 8, 1)
    assert np.array_equal(
        search_index(build(documents, Exact()), queries, 10)[0], search_exact(documents, queries, 10)[0]
    )


def test_a_compressed_index_follows_its_spec_and_more_cells_raise_recall() -> None:
    documents = units(1000, 16, 0)
    queries = (documents[:200] + 0.1 * units(200, 16, 1)).astype(np.float32)
    expected, _ = search_exact(documents, queries, 10)
    hits = []
    for nprobe in (1, 16):
        deduped_index = build(documents, Ivf(nlist=16, nprobe=nprobe, code="pq8"))
        index = deduped_index.index
        assert (index.nlist, index.nprobe, index.pq.M, index.ntotal) == (16, nprobe, 8, 1000)
        assert index.metric_type == faiss.METRIC_INNER_PRODUCT
        rows, _ = search_index(deduped_index, queries, 10)
        hits.append(np.mean([len(set(a) & set(b)) for a, b in zip(rows, expected, strict=True)]))
    assert hits[0] < hits[1]


@pytest.mark.parametrize(("n", "nlist"), [(300, 7), (2000, 51), (25_000, 632)])
def test_the_default_cells_are_few_enough_for_training(n: int, nlist: int) -> None:
    index = build(units(n, 2, 0), Ivf(code="pq1", nprobe=10_000)).index
    assert index.nlist == nlist
    assert index.nprobe == index.nlist


def test_two_builds_give_the_same_bytes() -> None:
    documents = units(600, 8, 0)
    first, second = (faiss.serialize_index(build(documents, Ivf(nlist=8, code="pq4")).index) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_document_without_a_known_word_is_indexed() -> None:
    documents = units(4, 8, 0)
    documents[2] = 0
    assert build(documents, Exact()).documents == 4


def not_a_number() -> Float32:
    vectors = units(300, 8, 0)
    vectors[7, 3] = np.nan
    return vectors


@pytest.mark.parametrize(
    ("vectors", "spec", "message"),
    [
        (units(0, 8, 0), Exact(), "the corpus is empty"),
        (not_a_number(), Exact(), "not numbers.*lower learning_rate"),
        (not_a_number() * np.float32(np.inf), Ivf(code="pq4"), "not numbers"),
        (2 * units(300, 8, 0), Exact(), "300 of 300 embeddings are longer than 1"),
        (units(300, 8, 0), Ivf(code="pq3"), "pq3 does not divide the 8 dimensions; try pq2"),
        (units(255, 8, 0), Ivf(code="pq4"), "at least 256 documents.*got 255; use.*kind: exact"),
        (units(300, 8, 0), Ivf(code="pq4", nlist=301), "nlist 301 is more than the 300 documents"),
    ],
)
def test_invalid_vectors_and_specs_are_refused(vectors: Float32, spec: AnyIndex, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(vectors, spec)


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "annoy"},
        {},
        {"kind": "exact", "nlist": 3},
        {"kind": "ivf", "nlist": 0},
        {"kind": "ivf", "nlist": [4, 8]},
        {"kind": "ivf", "nlist": [], "target": 0.9},
        {"kind": "ivf", "nprobe": 0},
        {"kind": "ivf", "code": "pq0"},
        {"kind": "ivf", "code": "pq"},
        {"kind": "ivf", "target": 1.1},
        {"kind": "ivf", "parameters_of": "other"},
        {"kind": "ivf", "typo": 1},
        {"kind": "scan", "target": 0.9},
        {"kind": "imi", "bits": 13},
        {"kind": "hnsw", "code": "pq8"},
        {"kind": "hnsw", "links": 1},
        {"kind": "hnsw", "links": [8, 16]},
        {"kind": "hnsw", "links": [], "target": 0.9},
        {"kind": "hnsw", "links": [1, 8], "target": 0.9},
    ],
)
def test_invalid_index_settings_are_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Index).validate_python(spec)


@pytest.mark.parametrize("k", [5, 50])
def test_equal_documents_are_ordered_by_row_with_any_threads(k: int) -> None:
    """Equal documents share a vector, but the last bits of their similarities depend on their place in a block."""
    unique_vectors = units(40, 64, 3)
    documents, queries = np.tile(unique_vectors, (30, 1)), units(64, 64, 4)
    results = []
    for threads in (1, 2):
        use_threads(threads)
        results.append(search_exact(documents, queries, k)[0])
    assert np.array_equal(*results)
    nearest = (unique_vectors @ queries.T).argmax(0)
    assert np.array_equal(results[0][:, :5], nearest[:, None] + 40 * np.arange(5))
