"""Retrieval by terms, compared with the library's own ranking and with reading every document."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.search.baselines import bm25
from ebr_core.text.terms import (
    documents_with,
    index_terms,
    match_query,
    rank_documents,
    scores_of,
    stems,
    words_in_documents,
    words_of,
)

WORDS = ["red", "fox", "runs", "blue", "dog", "sleeping"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), min_size=1, max_size=12)
QUERIES = st.lists(st.lists(st.sampled_from([*WORDS, "zebra"]), max_size=4).map(" ".join), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(TEXTS, QUERIES, st.integers(1, 15))
def test_every_word_means_every_word_also_an_unknown_one(texts: list[str], queries: list[str], k: int) -> None:
    rows, scores = rank_documents(index_terms(texts), queries, k, all_words=True)
    for q, query in enumerate(queries):
        words = set(stems([query])[0].as_py())
        expected = {row for row, text in enumerate(texts) if words and words <= set(stems([text])[0].as_py())}
        retrieved = rows[q][rows[q] >= 0].tolist()
        assert set(retrieved) <= expected
        assert len(retrieved) == min(k, len(expected))
        assert np.all(np.diff(scores[q][: len(retrieved)]) <= 0)
        assert set(np.flatnonzero(documents_with(index_terms(texts), query)).tolist()) == expected


@settings(max_examples=60, deadline=None)
@given(TEXTS, QUERIES)
def test_any_word_is_the_baselines_bm25(texts: list[str], queries: list[str]) -> None:
    """Scores differ in their last bits, so ties may be broken differently: only the sets of rows are compared."""
    everything = np.arange(len(texts), dtype=np.int32)
    rows, _ = rank_documents(index_terms(texts), queries, len(texts), all_words=False)
    expected = bm25(texts, everything, queries, len(texts))
    assert [set(line.tolist()) for line in rows] == [set(line.tolist()) for line in expected]


def test_the_order_is_the_baselines_where_scores_differ() -> None:
    texts = ["red fox", "red red fox runs", "blue dog", "fox", "a sleeping fox and a dog"]
    rows, _ = rank_documents(index_terms(texts), ["fox runs", "red"], 5, all_words=False)
    assert np.array_equal(rows, bm25(texts, np.arange(5, dtype=np.int32), ["fox runs", "red"], 5))


def test_only_allowed_documents_and_equal_ones_by_row() -> None:
    terms = index_terms(["red fox"] * 5)
    rows, _ = rank_documents(terms, ["fox"], 3, all_words=True, allowed=np.array([True, False, True, True, True]))
    assert rows.tolist() == [[0, 2, 3]]


def test_no_text_and_no_word_find_nothing() -> None:
    assert rank_documents(index_terms([]), ["fox"], 2, all_words=False)[0].tolist() == [[-1, -1]]
    assert rank_documents(index_terms(["", ""]), ["fox"], 2, all_words=True)[0].tolist() == [[-1, -1]]
    assert rank_documents(index_terms(["fox"]), ["", "the"], 1, all_words=True)[0].tolist() == [[-1], [-1]]


@settings(max_examples=60, deadline=None)
@given(TEXTS, QUERIES, st.booleans())
def test_one_query_alone_is_the_same_as_many(texts: list[str], queries: list[str], all_words: bool) -> None:
    terms = index_terms(texts)
    rows, scores = rank_documents(terms, queries, len(texts), all_words)
    for q, query in enumerate(queries):
        documents, document_scores = match_query(terms, words_of(terms, query), all_words)
        count = int((rows[q] >= 0).sum())
        assert sorted(documents.tolist()) == sorted(rows[q][:count].tolist())
        assert np.allclose(document_scores, scores[q][:count], atol=1e-5)


def test_which_words_a_document_holds() -> None:
    terms = index_terms(["red fox", "sleeping dog", "a fox sleeps"])
    words = words_of(terms, "sleeping foxes fly")
    assert list(words) == ["sleep", "fox", "fli"]
    assert words["fli"] is None
    assert words_in_documents(terms, words, np.array([2, 0, 1], np.int32)) == [
        ["sleep", "fox"],
        ["fox"],
        ["sleep"],
    ]


@settings(max_examples=60, deadline=None)
@given(TEXTS, QUERIES, st.integers(0, 99))
def test_scores_of_pairs_are_those_of_the_lists(texts: list[str], queries: list[str], seed: int) -> None:
    terms = index_terms(texts)
    rows, scores = rank_documents(terms, queries, len(texts), all_words=False)
    rng = np.random.default_rng(seed)
    query_rows, document_rows = (rng.integers(0, n, 20).astype(np.int32) for n in (len(queries), len(texts)))
    pair_scores, shares = scores_of(terms, queries, query_rows, document_rows)
    for pair, (q, d) in enumerate(zip(query_rows, document_rows, strict=True)):
        list_scores = dict(zip(rows[q].tolist(), scores[q].tolist(), strict=True))
        assert pair_scores[pair] == pytest.approx(list_scores.get(int(d), 0), rel=1e-5)
        query_words, document_words = (set(stems([text])[0].as_py()) for text in (queries[q], texts[d]))
        assert shares[pair] == pytest.approx(len(query_words & document_words) / max(1, len(query_words)))
