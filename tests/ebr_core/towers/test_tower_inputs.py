"""Rows that training adds: misspelt copies of searches, and further vectors of a query."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.search.nearest import search_exact
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.ngram_tower import new_ngram_tower
from ebr_core.towers.tower import query_vectors
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import BagGroup, Inputs, bag_group, text_inputs, with_copies, with_views

KNOWN = 6  # n-grams


def bags_of(lists: list[list[int]]) -> Bags:
    counts = np.array([len(bag) for bag in lists])
    ids = np.array([row for bag in lists for row in bag], np.int32)
    return Bags(np.cumsum([0, *counts]), ids, np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts))


QUERIES, DOCUMENTS = [[0], [1, 2], []], [[3], [4, 5], [0, 1]]
QUERY_OF = np.array([0, 1, 1, 2], np.int32)  # four searches


def some_inputs(shared: bool) -> Inputs:
    inputs = text_inputs(bags_of(QUERIES), bags_of(DOCUMENTS), KNOWN, shared, QUERY_OF)
    place = bag_group(bags_of([[0], [1], [0], []]), bags_of([[0], [1], [1]]), 2, True)
    return inputs._replace(groups=inputs.groups | {"place": place})


def bag_at(inputs: Inputs, name: str, row: int) -> list[int]:
    group = inputs.groups[name]
    assert isinstance(group, BagGroup)
    bag = group.at[row]
    ids: list[int] = group.bags.ids[group.bags.offsets[bag] : group.bags.offsets[bag + 1]].tolist()
    return ids


@pytest.mark.parametrize("shared", [True, False])
def test_a_copy_has_its_own_text_and_the_searchs_place(shared: bool) -> None:
    inputs, searches = some_inputs(shared), np.array([1, 3], np.int32)
    copies = [bags_of([[2], [5]]), bags_of([[4], []])]  # of the queries of searches 1 and 3
    wider, first = with_copies(inputs, copies, np.array([0, 1], np.int32), searches)
    assert [bag_at(wider, "text", first + row) for row in range(4)] == [[2], [5], [4], []]
    assert [bag_at(wider, "place", first + row) for row in range(4)] == [[1], [], [1], []]
    for row in range(7):  # nothing else has changed
        assert bag_at(wider, "text", row) == bag_at(inputs, "text", row)
    assert wider.side_of(np.array([0, 3, 4, 6, first, first + 3], np.int32)).tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("views", [2, 3])
def test_each_query_vector_reads_n_grams_of_its_own(shared: bool, views: int) -> None:
    inputs = some_inputs(shared)
    wider = with_views(inputs, views)
    id_sets = [set(bag_at(wider, "text", int(row))) for row in wider.queries_of(np.array([1], np.int32))]
    assert len(id_sets) == views
    assert all(not a & b for a in id_sets for b in id_sets if a is not b)
    assert {len(ids) for ids in id_sets} == {2}
    document_ids = {row for document in range(4, 7) for row in bag_at(wider, "text", document)}
    assert not set().union(*id_sets[1:]) & document_ids
    tower = new_ngram_tower(wider, NgramTowerConfig(dimensions=8, query_vectors=views), False, np.random.default_rng(0))
    vectors = query_vectors(tower.over(wider), wider, np.array([0, 1, 2], np.int32))
    assert vectors.shape == (views, 3, 8)
    for view in range(views):
        rows = np.array([0, 1, 2], np.int32) + wider.views[view]
        assert np.array_equal(vectors[view], tower.over(wider).forward(rows).vectors)
    assert not np.allclose(vectors[0], vectors[1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 12), st.integers(1, 14), st.integers(0, 999))
def test_a_search_over_several_vectors_finds_what_is_near_to_any(h: int, q: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    documents, queries = rng.standard_normal((n, 4)), rng.standard_normal((h, q, 4))
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=2, keepdims=True)
    rows, similarities = search_exact(documents.astype(np.float32), queries.astype(np.float32), k)
    near = np.einsum("hqd,nd->hqn", queries, documents).max(0)
    for at in range(q):
        expected = np.argsort(-near[at], kind="stable")[:k]
        assert rows[at, : len(expected)].tolist() == expected.tolist()
        assert (rows[at, len(expected) :] == -1).all()
        np.testing.assert_allclose(similarities[at, : len(expected)], near[at][expected], atol=1e-5)
