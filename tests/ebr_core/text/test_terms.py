"""Retrieval by terms, compared with the formula and with reading every document."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.arrays import Bool
from ebr_core.text.terms import (
    Terms,
    documents_with,
    index_terms,
    match_query,
    rank_documents,
    scores_of,
    words_in_documents,
    words_of,
)

WORDS = ["red", "fox", "FOX", "süß", "東京都", "京", "ท", "の"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), min_size=1, max_size=12)
QUERIES = st.lists(st.lists(st.sampled_from([*WORDS, "zebra"]), max_size=4).map(" ".join), min_size=1, max_size=5)


def index(texts: list[str], language: str | None = None) -> Terms:
    return index_terms(texts, language, 1.2, 0.75)  # type: ignore[arg-type]


def words(text: str) -> set[str]:
    return set(oracles.words(text, False))


@settings(max_examples=100, deadline=None)
@given(TEXTS, QUERIES, st.integers(1, 15), st.sampled_from([0.1, 0.4, 1.2]), st.sampled_from([0, 0.75, 1]), st.data())
def test_any_word_follows_the_formula_with_ties_by_row(
    texts: list[str], queries: list[str], k: int, k1: float, b: float, data: st.DataObject
) -> None:
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))))
    rows, scores = rank_documents(index_terms(texts, None, k1, b), queries, k, all_words=False, allowed=allowed)
    corpus = [oracles.words(text, True) for text in texts]
    for line, line_scores, query in zip(rows.tolist(), scores.tolist(), queries, strict=True):
        expected = (
            oracles.bm25_scores(corpus, oracles.words(query, False), k1, b) if any(corpus) else [0.0] * len(texts)
        )
        ranked = sorted((-round(score, 6), row) for row, score in enumerate(expected) if score > 0 and allowed[row])
        retrieved = [row for row in line if row >= 0]
        assert retrieved == [row for _, row in ranked][:k]
        assert line == retrieved + [-1] * (k - len(retrieved))
        assert line_scores[: len(retrieved)] == pytest.approx([expected[row] for row in retrieved], rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(TEXTS, QUERIES, st.integers(1, 15))
def test_every_word_means_every_word_also_an_unknown_one(texts: list[str], queries: list[str], k: int) -> None:
    terms = index(texts)
    rows, scores = rank_documents(terms, queries, k, all_words=True)
    for q, query in enumerate(queries):
        held = [set(oracles.words(text, True)) for text in texts]
        expected = {row for row in range(len(texts)) if words(query) and words(query) <= held[row]}
        retrieved = rows[q][rows[q] >= 0].tolist()
        assert set(retrieved) <= expected
        assert len(retrieved) == min(k, len(expected))
        assert np.all(np.diff(scores[q][: len(retrieved)]) <= 0)
        assert set(np.flatnonzero(documents_with(terms, query)).tolist()) == expected


def test_stems_and_stop_words_of_a_language_named() -> None:
    texts = ["The Running of the Bulls", "a run", "bull", "", "the of and"]
    queries = ["RUNS", "bulls!", "the", "", "unheard"]
    assert rank_documents(index(texts, "en"), queries, 2, False)[0].tolist() == [[1, 0], [2, 0], *[[-1, -1]] * 3]
    assert rank_documents(index(texts), queries, 2, False)[0].tolist() == [[-1, -1], [0, -1], [0, 4], *[[-1, -1]] * 2]


def test_many_equal_documents_are_in_the_order_of_their_rows() -> None:
    """A social search has many namesakes: the cut at K must not be random among them."""
    terms = index(["john smith"] * 300 + ["john doe"] * 300)
    assert rank_documents(terms, ["john", "doe"], 5, False)[0].tolist() == [[0, 1, 2, 3, 4], [300, 301, 302, 303, 304]]


def test_only_allowed_documents_and_equal_ones_by_row() -> None:
    allowed: Bool = np.array([True, False, True, True, True])
    assert rank_documents(index(["red fox"] * 5), ["fox"], 3, True, allowed)[0].tolist() == [[0, 2, 3]]


@pytest.mark.parametrize("texts", [[], ["", ""], ["the", "of"]])
def test_no_text_and_no_word_find_nothing(texts: list[str]) -> None:
    terms = index(texts, "en")
    for all_words in (False, True):
        assert rank_documents(terms, ["fox", "", "the"], 2, all_words)[0].tolist() == [[-1, -1]] * 3
        assert rank_documents(terms, [], 2, all_words)[0].shape == (0, 2)


def test_results_do_not_depend_on_how_many_queries_share_memory() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.integers(20, size=5)) for _ in range(50)]
    queries = [f"w{n} w{m}" for n in range(19) for m in range(10)]  # enough for several threads
    together = rank_documents(index(texts), queries, 7, False)
    alone = [rank_documents(index(texts), [query], 7, False) for query in queries[::17]]
    assert np.array_equal(together[0][::17], np.concatenate([rows for rows, _ in alone]))
    assert np.array_equal(together[1][::17], np.concatenate([scores for _, scores in alone]))


@settings(max_examples=60, deadline=None)
@given(TEXTS, QUERIES, st.booleans())
def test_one_query_alone_is_the_same_as_many(texts: list[str], queries: list[str], all_words: bool) -> None:
    terms = index(texts)
    rows, scores = rank_documents(terms, queries, len(texts), all_words)
    for q, query in enumerate(queries):
        documents, document_scores = match_query(terms, words_of(terms, query), all_words)
        count = int((rows[q] >= 0).sum())
        assert documents.tolist() == rows[q][:count].tolist()
        assert document_scores.tolist() == scores[q][:count].tolist()


def test_which_words_a_document_holds() -> None:
    terms = index(["red fox", "sleeping dog", "a fox sleeps", "ガラス"], "en")
    query_words = words_of(terms, "sleeping foxes fly ｶﾞﾗ")
    assert list(query_words) == ["sleep", "fox", "fli", "ガラ"]
    assert query_words["fli"].number is None
    assert words_in_documents(terms, query_words, np.array([2, 0, 1, 3], np.int32)) == [
        ["sleep", "fox"],
        ["fox"],
        ["sleep"],
        ["ガラ"],
    ]


@settings(max_examples=60, deadline=None)
@given(TEXTS, QUERIES, st.integers(0, 99))
def test_scores_of_pairs_are_those_of_the_lists(texts: list[str], queries: list[str], seed: int) -> None:
    terms = index(texts)
    rows, scores = rank_documents(terms, queries, len(texts), all_words=False)
    rng = np.random.default_rng(seed)
    query_rows, document_rows = (rng.integers(0, n, 20).astype(np.int32) for n in (len(queries), len(texts)))
    pair_scores, shares = scores_of(terms, queries, query_rows, document_rows)
    for pair, (q, d) in enumerate(zip(query_rows, document_rows, strict=True)):
        list_scores = dict(zip(rows[q].tolist(), scores[q].tolist(), strict=True))
        assert pair_scores[pair] == pytest.approx(list_scores.get(int(d), 0), rel=1e-5)
        held = words(queries[q]) & set(oracles.words(texts[d], True))
        assert shares[pair] == pytest.approx(len(held) / max(1, len(words(queries[q]))))
