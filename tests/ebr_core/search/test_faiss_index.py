"""Families and codes of indexes against exact search, and specs that are refused."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from oracles import near, units

from ebr_core.errors import InputError
from ebr_core.search.deduped_index import load, save
from ebr_core.search.faiss_index import build, innermost, set_parameters
from ebr_core.search.index_specs import AnyIndex, Exact, Hnsw, Imi, Ivf, Scan, problem
from ebr_core.search.index_tuning import recall_of
from ebr_core.search.nearest import search_cost, search_exact, search_index

FAMILIES: list[AnyIndex] = [
    Scan(code="flat"),
    Scan(code="sq8"),
    Scan(code="pq8"),
    Scan(code="opq8"),
    Scan(code="pq16x4fs"),
    Scan(code="pq8", pca=8),
    Scan(code="flat", prefix=8, refine=True),
    Ivf(code="flat"),
    Ivf(code="sq8"),
    Ivf(code="opq8", refine=True),
    Ivf(code="pq16x4fs", prefix=16, refine=True),
    Imi(code="flat", bits=3),
    Imi(code="sq8", bits=3),
    Imi(code="pq8", bits=3),
    Hnsw(),
    Hnsw(code="sq8", refine=True),
]


@pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: f"{spec.kind}-{spec.code}")
def test_every_family_uses_inner_products_and_survives_a_file(spec: AnyIndex, tmp_path: Path) -> None:
    documents = units(600, 16, 0)
    deduped_index = build(documents, spec)
    index = deduped_index.index
    assert index.metric_type == innermost(index).metric_type == faiss.METRIC_INNER_PRODUCT
    queries = near(documents, 40)
    rows, similarities = search_index(deduped_index, queries, 5)
    assert np.all(np.diff(similarities[rows[:, -1] >= 0], axis=1) <= 0)  # by similarity, not by L2
    save(deduped_index, tmp_path)
    assert np.array_equal(search_index(load(tmp_path), queries, 5)[0], rows)
    assert recall_of(rows, search_exact(documents, queries, 5)[0]) > 0.2


@pytest.mark.parametrize("spec", [Ivf(code="flat", nlist=12), Imi(code="flat", bits=2)])
def test_scanning_all_cells_is_exact_search(spec: Ivf | Imi) -> None:
    documents = units(700, 12, 0)
    documents[5] = 0  # no known word: cosine 0 to all queries
    queries = near(documents, 60)
    queries[7] = 0
    index = build(documents, spec)
    set_parameters(index.index, "nprobe=100000")
    assert np.array_equal(search_index(index, queries, 20)[0], search_exact(documents, queries, 20)[0])
    assert search_cost(index, queries, 20)[0].tolist() == [700] * 60


@pytest.mark.parametrize("spec", [Ivf(code="flat", nlist=20), Imi(code="flat", bits=3)])
def test_recall_and_documents_scanned_never_fall_with_more_cells(spec: Ivf | Imi) -> None:
    documents, index = units(900, 16, 0), build(units(900, 16, 0), spec)
    queries = near(documents, 50)
    nearest, recalls, documents_scanned = search_exact(documents, queries, 10)[0], [], []
    for nprobe in (1, 2, 4, 8, 16, 64):
        set_parameters(index.index, f"nprobe={nprobe}")
        recalls.append(recall_of(search_index(index, queries, 10)[0], nearest))
        documents_scanned.append(search_cost(index, queries, 10)[0].mean())
    assert recalls == sorted(recalls)
    assert documents_scanned == sorted(documents_scanned)
    assert recalls[0] < recalls[-1] == 1


def test_documents_scanned_are_those_of_the_nearest_cells() -> None:
    documents, queries = units(500, 8, 0), units(30, 8, 1)
    index = build(documents, Ivf(code="flat", nlist=10, nprobe=3))
    inner = faiss.extract_index_ivf(index.index)
    centroids = np.stack([inner.quantizer.reconstruct(cell) for cell in range(10)])
    cell_of_document = (documents @ centroids.T).argmax(1)
    documents_scanned, distances = search_cost(index, queries, 10)
    for query, count in zip(queries, documents_scanned, strict=True):
        cells = np.argsort(-(centroids @ query))[:3]
        assert count == np.isin(cell_of_document, cells).sum()
    assert np.array_equal(distances, documents_scanned + 10)


def test_the_cost_of_graphs_and_refinement_is_counted() -> None:
    documents, queries = units(400, 8, 0), units(20, 8, 1)
    narrow, wide = build(documents, Hnsw(ef=10)), build(documents, Hnsw(ef=200))
    assert search_cost(narrow, queries, 5)[0][0] < search_cost(wide, queries, 5)[0][0] <= 400
    refined = build(documents, Scan(code="sq8", refine=True))
    set_parameters(refined.index, "k_factor_rf=4")
    assert search_cost(refined, queries, 5)[1].tolist() == [400 + 20] * 20
    assert search_cost(build(documents, Exact()), queries, 5)[1].tolist() == [400] * 20


def test_a_prefix_is_the_first_dimensions_at_unit_length() -> None:
    documents, queries = units(300, 12, 0), units(20, 12, 1)
    short = [part[:, :5] / np.linalg.norm(part[:, :5], axis=1, keepdims=True) for part in (documents, queries)]
    index = build(documents, Scan(code="flat", prefix=5))
    assert np.array_equal(search_index(index, queries, 10)[0], search_exact(*short, 10)[0])


def test_principal_directions_keep_the_inner_products_of_their_subspace() -> None:
    """Vectors with a large mean in a 4-dimensional subspace of 12 dimensions: nothing is lost."""
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.standard_normal((12, 4)))[0].T
    vectors = ((rng.standard_normal((300, 4)) + 2) @ plane).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = build(vectors, Scan(code="flat", pca=4))
    _, similarities = search_index(index, vectors[:20], 300)
    assert np.allclose(np.sort(similarities, axis=1), np.sort(vectors[:20] @ vectors.T, axis=1), atol=1e-5)


@pytest.mark.parametrize("spec", [Ivf(code="flat"), Ivf(code="pq8"), Ivf(code="pq16x4fs", refine=True), Hnsw()])
def test_only_allowed_documents_are_retrieved(spec: AnyIndex) -> None:
    documents = units(600, 16, 0)
    allowed = np.random.default_rng(3).random(600) < 0.3
    rows, _ = search_index(build(documents, spec), near(documents, 30), 8, allowed=allowed, widen=50)
    assert allowed[rows[rows >= 0]].all()
    assert (rows >= 0).all()
    if not isinstance(spec, Ivf) or spec.code != "pq8":
        allowed_rows = np.flatnonzero(allowed)
        expected = allowed_rows[search_exact(documents[allowed], near(documents, 30), 8)[0]]
        assert recall_of(rows, expected) > 0.9


@pytest.mark.parametrize(
    ("spec", "n", "d", "message"),
    [
        (Exact(), 0, 8, "the corpus is empty"),
        (Hnsw(), 0, 8, "the corpus is empty"),
        (Ivf(code="pq4"), 255, 8, "at least 256 documents"),
        (Ivf(code="pq4x4fs"), 15, 8, "at least 16 documents"),
        (Ivf(code="flat", nlist=31), 30, 8, "nlist 31 is more than the 30"),
        (Ivf(code="flat", nlist=(3, 31), target=0.9), 30, 8, "nlist 31 is more than the 30"),
        (Imi(code="flat", bits=6), 60, 8, "at least 64 documents"),
        (Imi(code="flat"), 600, 7, "two halves"),
        (Scan(code="pq4", pca=6), 600, 8, "pq4 does not divide the 6 dimensions"),
        (Scan(prefix=16), 600, 64, "pq32, the default, does not divide the 16 dimensions"),
        (Scan(code="flat", prefix=9), 600, 8, "prefix 9 is more than the 8"),
        (Scan(code="flat", prefix=4, pca=5), 600, 8, "pca 5 is more than the 4"),
    ],
)
def test_an_impossible_spec_is_refused_before_vectors_are_needed(spec: AnyIndex, n: int, d: int, message: str) -> None:
    assert message in (problem(spec, n, d) or "")
    with pytest.raises(InputError, match=message):
        build(units(n, d, 0), spec)
