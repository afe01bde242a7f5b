"""Recall of an index under conditions, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import near, units

from ebr_core.search.faiss_index import build
from ebr_core.search.filtered_recall import SHARES, filtered_recall
from ebr_core.search.hybrid_search import search_within
from ebr_core.search.index_specs import Exact, Hnsw, Ivf
from ebr_core.search.nearest import search_cost


@pytest.mark.parametrize("spec", [Ivf(code="flat", nlist=20, nprobe=1), Ivf(code="pq4", nlist=20, nprobe=20), Hnsw()])
def test_recall_is_the_share_of_the_nearest_of_the_documents_left(spec: Ivf | Hnsw) -> None:
    documents = units(1200, 16, 0)
    queries, index = near(documents, 60), build(documents, spec)
    points = filtered_recall(index, documents, queries, 5)
    assert [point.share for point in points] == list(SHARES[:3])  # .1 % leaves one document, fewer than five
    assert [point.documents for point in points] == [600, 120, 12]
    assert (points[2].is_exact, points[2].recall) == (True, 1)
    left = np.random.default_rng(0).permutation(1200)[:120]
    allowed = np.isin(np.arange(1200), left)
    found = search_within(index, documents, queries, 5, allowed, float(search_cost(index, queries, 5)[0].mean())).rows
    similarity = queries @ documents.T
    nearest = [set(left[np.argsort(-row[left])[:5]]) for row in similarity]
    hits = [len(nearest[q] & set(found[q])) / 5 for q in range(60)]
    assert points[1].recall == pytest.approx(np.mean(hits))


def test_one_cell_of_many_misses_what_exact_search_finds() -> None:
    documents = units(1200, 16, 0)
    queries = near(documents, 60)
    narrow = filtered_recall(build(documents, Ivf(code="flat", nlist=30, nprobe=1)), documents, queries, 5)
    assert narrow[0].recall < 1
    exact = filtered_recall(build(documents, Exact()), documents, queries, 5)
    assert [point.recall for point in exact] == [1, 1, 1]
    assert all(point.is_exact for point in exact)


def test_queries_without_a_vector_and_several_vectors_of_a_query() -> None:
    documents = units(300, 8, 0)
    queries = near(documents, 20)
    index = build(documents, Exact())
    assert filtered_recall(index, documents, np.zeros((4, 8), np.float32), 5) == []
    views = np.stack([queries, near(documents, 20)[::-1]])
    assert [point.recall for point in filtered_recall(index, documents, views, 5)] == [1, 1]
