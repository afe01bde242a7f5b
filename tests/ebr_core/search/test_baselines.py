"""Popularity and click memory, against dictionaries."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.search.baselines import click_memory, first_distinct, popularity

N = 10

clicks_strategy = st.lists(st.tuples(st.integers(0, 3), st.integers(0, N - 1)), max_size=40)  # (query, document)
candidates_strategy = st.lists(st.integers(0, N - 1), min_size=1, unique=True)


def padded(rows: list[int], k: int) -> list[int]:
    return (rows + [-1] * k)[:k]


@settings(max_examples=60, deadline=None)
@given(clicks_strategy, candidates_strategy, st.integers(1, N + 2))
def test_popularity(clicks: list[tuple[int, int]], candidates: list[int], k: int) -> None:
    counter = Counter(document for _, document in clicks)
    counts = np.array([counter[document] for document in range(N)])
    retrieved = popularity(counts, np.array(candidates, np.int32), k)
    assert retrieved.dtype == np.int32
    assert retrieved.tolist() == padded(sorted(candidates, key=lambda document: (-counter[document], document)), k)


@settings(max_examples=80, deadline=None)
@given(clicks_strategy, candidates_strategy, st.lists(st.integers(-1, 5), max_size=6), st.integers(1, N + 2))
def test_click_memory_returns_documents_clicked_for_the_query_then_popular_ones(
    clicks: list[tuple[int, int]], candidates: list[int], queries: list[int], k: int
) -> None:
    popular = Counter(document for _, document in clicks)
    query_clicks = Counter(clicks)
    retrieved = click_memory(
        np.array(queries, np.int32),
        np.array([query for query, _ in clicks], np.int32),
        np.array([document for _, document in clicks], np.int32),
        np.array([popular[document] for document in range(N)]),
        np.array(candidates, np.int32),
        k,
    )
    assert retrieved.shape == (len(queries), k)
    for line, query in zip(retrieved.tolist(), queries, strict=True):
        expected = sorted(candidates, key=lambda d: (-query_clicks[query, d], -popular[d], d))
        assert line == padded(expected, k)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(1, 9), st.integers(1, 12), st.integers(0, 999))
def test_first_distinct(q: int, j: int, k: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(-1, 5, (q, j)).astype(np.int32)
    distinct = first_distinct(rows, k)
    assert distinct.shape == (q, k)
    assert distinct.dtype == np.int32
    for line, given_line in zip(distinct.tolist(), rows.tolist(), strict=True):
        assert line == padded([row for row in dict.fromkeys(given_line) if row >= 0], k)
