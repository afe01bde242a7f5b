"""Popularity, memory and BM25, against dictionaries and the formula."""

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


def filled(rows: list[int], k: int) -> list[int]:
    return (rows + [-1] * k)[:k]


@settings(max_examples=60, deadline=None)
@given(clicks_strategy, candidates_strategy, st.integers(1, N + 2))
def test_popularity(clicks: list[tuple[int, int]], candidates: list[int], k: int) -> None:
    times = Counter(document for _, document in clicks)
    counts = np.array([times[document] for document in range(N)])
    got = popularity(counts, np.array(candidates, np.int32), k)
    assert got.dtype == np.int32
    assert got.tolist() == filled(sorted(candidates, key=lambda document: (-times[document], document)), k)


@settings(max_examples=80, deadline=None)
@given(clicks_strategy, candidates_strategy, st.lists(st.integers(-1, 5), max_size=6), st.integers(1, N + 2))
def test_memory_recalls_what_was_clicked_for_the_query_and_fills_up_with_the_popular(
    clicks: list[tuple[int, int]], candidates: list[int], asked: list[int], k: int
) -> None:
    popular = Counter(document for _, document in clicks)
    times = Counter(clicks)
    got = click_memory(
        np.array(asked, np.int32),
        np.array([query for query, _ in clicks], np.int32),
        np.array([document for _, document in clicks], np.int32),
        np.array([popular[document] for document in range(N)]),
        np.array(candidates, np.int32),
        k,
    )
    assert got.shape == (len(asked), k)
    for line, query in zip(got.tolist(), asked, strict=True):
        wanted = sorted(candidates, key=lambda d: (-times[query, d], -popular[d], d))
        assert line == filled(wanted, k)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(1, 9), st.integers(1, 12), st.integers(0, 999))
def test_first_distinct(q: int, j: int, k: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(-1, 5, (q, j)).astype(np.int32)
    got = first_distinct(rows, k)
    assert got.shape == (q, k)
    assert got.dtype == np.int32
    for line, given_line in zip(got.tolist(), rows.tolist(), strict=True):
        assert line == filled([row for row in dict.fromkeys(given_line) if row >= 0], k)


words = st.sampled_from(["zorn", "kilo", "mura", "tabu", "oxo", "lima"])  # none is a stop word, nor changed by stemming
documents = st.lists(st.lists(words, max_size=6), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(documents, st.lists(st.lists(words, max_size=3), min_size=1, max_size=4), st.integers(1, 16), st.data())
def test_bm25_is_its_formula_with_ties_by_row(
    corpus: list[list[str]], asked: list[list[str]], k: int, data: st.DataObject
) -> None:
    candidates = data.draw(st.permutations(range(3, 3 + len(corpus))))
    texts = [" ".join(document) for document in corpus]
    got = bm25(texts, np.array(candidates, np.int32), [" ".join(query) for query in asked], k)
    assert got.shape == (len(asked), k)
    assert got.dtype == np.int32
    for line, query in zip(got.tolist(), asked, strict=True):
        scores = oracles.bm25_scores(corpus, query) if any(corpus) else [0.0] * len(corpus)
        ranked = sorted((-round(score, 6), row) for score, row in zip(scores, candidates, strict=True) if score > 0)
        assert line == filled([row for _, row in ranked], k)


def test_bm25_reads_english() -> None:
    texts = ["The Running of the Bulls", "a run", "bull", "", "the of and"]
    rows = np.arange(5, dtype=np.int32)
    got = bm25(texts, rows, ["RUNS", "bulls!", "the", "", "unheard"], 3)
    assert got.tolist() == [[1, 0, -1], [2, 0, -1], [-1] * 3, [-1] * 3, [-1] * 3]


def test_bm25_breaks_the_ties_of_many_equal_documents_by_row() -> None:
    """Namesakes are what a social search is full of: which of them are cut off at K must not be chance."""
    rows = np.arange(600, dtype=np.int32)
    got = bm25(["john smith"] * 300 + ["john doe"] * 300, rows, ["john", "doe"], 5)
    assert got.tolist() == [[0, 1, 2, 3, 4], [300, 301, 302, 303, 304]]


@pytest.mark.parametrize("texts", [[], ["", ""], ["the", "of"]])
def test_bm25_without_terms_finds_nothing(texts: list[str]) -> None:
    got = bm25(texts, np.arange(len(texts), dtype=np.int32), ["john", ""], 4)
    assert got.tolist() == [[-1] * 4] * 2


def test_bm25_without_queries_finds_nothing() -> None:
    assert bm25(["john"], np.zeros(1, np.int32), [], 4).shape == (0, 4)


def test_bm25_does_not_depend_on_threads() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(20, size=5)) for _ in range(50)]
    rows, queries = np.arange(50, dtype=np.int32), [f"w{n} w{n + 1}" for n in range(19)]
    assert np.array_equal(bm25(texts, rows, queries, 7, threads=1), bm25(texts, rows, queries, 7, threads=2))
