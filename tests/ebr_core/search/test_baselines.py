"""Popularity, click memory and BM25, against dictionaries and the formula."""

from __future__ import annotations

from collections import Counter

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.search.baselines import bm25, click_memory, first_distinct, popularity

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


words = st.sampled_from(["zorn", "kilo", "mura", "tabu", "oxo", "lima"])  # not stop words, and not changed by stemming
documents = st.lists(st.lists(words, max_size=6), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(documents, st.lists(st.lists(words, max_size=3), min_size=1, max_size=4), st.integers(1, 16), st.data())
def test_bm25_follows_the_formula_with_ties_by_row(
    corpus: list[list[str]], queries: list[list[str]], k: int, data: st.DataObject
) -> None:
    candidates = data.draw(st.permutations(range(3, 3 + len(corpus))))
    texts = [" ".join(document) for document in corpus]
    retrieved = bm25(texts, np.array(candidates, np.int32), [" ".join(query) for query in queries], k)
    assert retrieved.shape == (len(queries), k)
    assert retrieved.dtype == np.int32
    for line, query in zip(retrieved.tolist(), queries, strict=True):
        scores = oracles.bm25_scores(corpus, query) if any(corpus) else [0.0] * len(corpus)
        ranked = sorted((-round(score, 6), row) for score, row in zip(scores, candidates, strict=True) if score > 0)
        assert line == padded([row for _, row in ranked], k)


def test_bm25_stems_english_and_drops_stop_words() -> None:
    texts = ["The Running of the Bulls", "a run", "bull", "", "the of and"]
    rows = np.arange(5, dtype=np.int32)
    retrieved = bm25(texts, rows, ["RUNS", "bulls!", "the", "", "unheard"], 3)
    assert retrieved.tolist() == [[1, 0, -1], [2, 0, -1], [-1] * 3, [-1] * 3, [-1] * 3]


def test_bm25_breaks_the_ties_of_many_equal_documents_by_row() -> None:
    """A social search has many namesakes: the cut at K must not be random among them."""
    rows = np.arange(600, dtype=np.int32)
    retrieved = bm25(["john smith"] * 300 + ["john doe"] * 300, rows, ["john", "doe"], 5)
    assert retrieved.tolist() == [[0, 1, 2, 3, 4], [300, 301, 302, 303, 304]]


@pytest.mark.parametrize("texts", [[], ["", ""], ["the", "of"]])
def test_bm25_without_terms_retrieves_nothing(texts: list[str]) -> None:
    retrieved = bm25(texts, np.arange(len(texts), dtype=np.int32), ["john", ""], 4)
    assert retrieved.tolist() == [[-1] * 4] * 2


def test_bm25_without_queries_retrieves_nothing() -> None:
    assert bm25(["john"], np.zeros(1, np.int32), [], 4).shape == (0, 4)


def test_bm25_does_not_depend_on_threads() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(20, size=5)) for _ in range(50)]
    rows, queries = np.arange(50, dtype=np.int32), [f"w{n} w{n + 1}" for n in range(19)]
    assert np.array_equal(bm25(texts, rows, queries, 7, threads=1), bm25(texts, rows, queries, 7, threads=2))
