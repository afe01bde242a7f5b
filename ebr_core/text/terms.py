"""Retrieval by terms: the documents that hold the query's words, in the order of BM25."""

from __future__ import annotations

import unicodedata
from heapq import heappop, heappush, heappushpop
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit, prange

from ebr_core.arrays import Bool, Float32, Int32, Int64
from ebr_core.parallel import parallel
from ebr_core.text.bm25_config import Language
from ebr_core.text.sorted_texts import SortedTexts, rows_by_hash, rows_of
from ebr_core.text.tokenizer import cut_words

NONE = np.int32(-1)
BLOCK = 16  # queries that share a thread's memory
PAIRS = 2**20  # pairs of a query and a document at a time


class Postings(NamedTuple):
    """An inverted index: word w is in documents[starts[w]:starts[w + 1]], so many times each."""

    language: Language | None
    words: pa.Array  # (V,)
    starts: Int64  # (V + 1,)
    documents: Int32  # ascending for each word
    counts: Int32
    lengths: Int64  # (N,) words of each document


class Terms(NamedTuple):
    """An inverted index: word w is in documents[starts[w]:starts[w + 1]], with their BM25 weights."""

    language: Language | None
    words: pa.Array  # (V,)
    starts: Int64  # (V + 1,)
    documents: Int32  # ascending for each word
    weights: Float32
    total: int  # N, documents in all
    ordered: SortedTexts | None = None  # the words with their order, where single queries are answered


class QueryWord(NamedTuple):
    """A word of a query."""

    number: int | None  # in Terms.words; None if no document holds it
    times: int  # that the query holds it


def count_words(texts: pa.Array | list[str], language: Language | None) -> Postings:
    """The words of each text, (N,), as an inverted index."""
    lists = cut_words(texts, language, characters=True)
    n, lengths = len(lists.offsets) - 1, np.diff(lists.offsets)
    keys = lists.ids.astype(np.int64) * n + np.repeat(np.arange(n), lengths)
    keys, counts = np.unique(keys, return_counts=True)
    starts = np.searchsorted(keys, np.arange(len(lists.vocabulary) + 1) * n)
    documents = (keys % max(n, 1)).astype(np.int32)
    return Postings(language, lists.vocabulary, starts, documents, counts.astype(np.int32), lengths)


def weigh(postings: Postings, k1: float, b: float) -> Terms:
    """The postings with BM25's weights in Lucene's variant:

    log(1 + (N − n + ½) / (n + ½)) · f / (f + k1 · (1 − b + b · length / mean length)) for a word that n of N documents
    hold, f times in this one. A document's score is the sum over the words of the query; repeated ones count again.
    """
    n, holders = len(postings.lengths), np.diff(postings.starts)
    rarity = np.log1p((n - holders + 0.5) / (holders + 0.5))
    norms = k1 * (1 - b + b * postings.lengths / max(postings.lengths.mean() if n else 0, 1e-9))
    weights = np.repeat(rarity, holders)
    weights *= postings.counts / (postings.counts + norms[postings.documents])
    return Terms(postings.language, postings.words, postings.starts, postings.documents, weights.astype(np.float32), n)


def index_terms(texts: pa.Array | list[str], language: Language | None, k1: float, b: float) -> Terms:
    """An index of the words of each text, weighted by BM25."""
    return weigh(count_words(texts, language), k1, b)


def documents_with(terms: Terms, text: str) -> Bool:
    """(N,) True for the documents that hold every word of the text; all False if the text has no word."""
    words = words_of(terms, text).values()
    held = np.zeros(terms.total, np.int64)
    for word in words:
        held[_holders(terms, word)] += 1
    return held == len(words) if words else held > 0


def rank_documents(
    terms: Terms, queries: list[str], k: int, all_words: bool, allowed: Bool | None = None
) -> tuple[Int32, Float32]:
    """(rows (Q, K), scores (Q, K)): the documents with all words of the query, or with any, by BM25, then by row.

    With all_words, a query with a word that no document holds finds none. −1 and 0 follow the last document.
    """
    words = _distinct_words(terms, queries)
    needed = words.needed if all_words else np.minimum(words.needed, 1)
    rows, scores = np.full((len(queries), k), NONE), np.zeros((len(queries), k), np.float32)
    allowed = np.ones(terms.total, bool) if allowed is None else allowed
    index = terms.starts, terms.documents, terms.weights
    _rank(words.offsets, words.ids, words.times, needed, *index, allowed, rows, scores)
    return rows, scores


@parallel("offsets")
def _rank(offsets, ids, times, needed, starts, documents, weights, allowed, rows, scores):  # type: ignore[no-untyped-def]
    """Fill rows and scores. Weights have 24 bits and sums 53, so equal sums are equal in any order of their parts."""
    for block in prange((len(offsets) + BLOCK - 2) // BLOCK):
        score, held = np.zeros(len(allowed), np.float64), np.zeros(len(allowed), np.int32)
        touched = np.empty(len(allowed), np.int32)
        for query in range(block * BLOCK, min((block + 1) * BLOCK, len(offsets) - 1)):
            count = 0
            for at in range(offsets[query], offsets[query + 1]):
                for posting in range(starts[ids[at]], starts[ids[at] + 1]):
                    document = documents[posting]
                    if held[document] == 0:
                        touched[count] = document
                        count += 1
                    score[document] += times[at] * np.float64(weights[posting])
                    held[document] += 1
            _keep_best(touched[:count], score, held, needed[query], allowed, rows[query], scores[query])


@njit(cache=True, nogil=True)
def _keep_best(touched, score, held, needed, allowed, rows, scores):  # type: ignore[no-untyped-def]
    """Write the best allowed documents with enough words into rows and scores, and clear score and held."""
    best = [(0.0, 0)]
    best.pop()
    for document in touched:
        if held[document] >= needed and allowed[document]:
            entry = (score[document], -int(document))
            if len(best) < len(rows):
                heappush(best, entry)
            else:
                heappushpop(best, entry)
        score[document], held[document] = 0, 0
    for rank in range(len(best) - 1, -1, -1):
        value, row = heappop(best)
        rows[rank], scores[rank] = -row, value


def scores_of(terms: Terms, queries: list[str], at: Int32, rows: Int32) -> tuple[Float32, Float32]:
    """((P,) BM25, (P,) share of the query's distinct words that the document holds) of the pairs queries[at], rows.

    A query without a word gets 0 and 0.
    """
    words = _distinct_words(terms, queries)
    scores, shares = np.zeros(len(at), np.float32), np.zeros(len(at), np.float32)
    for first in range(0, len(at), PAIRS):
        q, d = at[first : first + PAIRS], rows[first : first + PAIRS]
        counts = np.diff(words.offsets)[q]
        owner = np.repeat(np.arange(len(q)), counts)
        pos = words.offsets[q][owner] + np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
        entries = _find_postings(terms.starts, terms.documents, words.ids[pos], d[owner])
        hit = entries >= 0
        weights = words.times[pos[hit]] * terms.weights[entries[hit]]
        scores[first : first + PAIRS] = np.bincount(owner[hit], weights, len(q))
        shares[first : first + PAIRS] = np.bincount(owner[hit], minlength=len(q)) / np.maximum(words.needed[q], 1)
    return scores, shares


@njit(cache=True, nogil=True)
def _find_postings(starts, documents, ids, rows):  # type: ignore[no-untyped-def]
    """(P,) the entry of word ids[p] and document rows[p] in the index, −1 if the document does not hold the word."""
    entries = np.empty(len(ids), np.int64)
    for p in range(len(ids)):
        first, last = starts[ids[p]], starts[ids[p] + 1]
        entry = first + np.searchsorted(documents[first:last], rows[p])
        entries[p] = entry if entry < last and documents[entry] == rows[p] else -1
    return entries


def word_numbers(terms: Terms, words: pa.Array) -> Int32:
    """(m,) the number of each word in Terms.words, −1 for a word that no document holds."""
    return rows_by_hash(words, terms.words) if terms.ordered is None else rows_of(words, terms.ordered)


def words_of(terms: Terms, query: str) -> dict[str, QueryWord]:
    """The query's distinct words."""
    _, ids, vocabulary = cut_words([query], terms.language)
    times = np.bincount(ids, minlength=len(vocabulary)).tolist()
    numbers = [None if number < 0 else number for number in word_numbers(terms, vocabulary).tolist()]
    names = [unicodedata.normalize("NFC", word) for word in vocabulary.to_pylist()]
    return dict(zip(names, map(QueryWord, numbers, times), strict=True))


def match_query(terms: Terms, words: dict[str, QueryWord], all_words: bool) -> tuple[Int32, Float32]:
    """(documents, scores) of one query, all of them, best first; reads only the documents of its words."""
    known = [word for word in words.values() if word.number is not None]
    if not known or (all_words and len(known) < len(words)):
        return np.empty(0, np.int32), np.empty(0, np.float32)
    holders = [_holders(terms, word) for word in known]
    weights = [word.times * terms.weights[_postings(terms, word)].astype(np.float64) for word in known]
    documents, inverse, counts = np.unique(np.concatenate(holders), return_inverse=True, return_counts=True)
    scores = np.bincount(inverse, np.concatenate(weights))
    matching = counts == len(known) if all_words else counts > 0
    documents, scores = documents[matching], scores[matching]
    order = np.argsort(-scores, kind="stable")
    return documents[order], scores[order].astype(np.float32)


def words_in_documents(terms: Terms, words: dict[str, QueryWord], rows: Int32) -> list[list[str]]:
    """For each document at rows (K,), the given words that it holds."""
    words_of_documents: list[list[str]] = [[] for _ in rows]
    for name, word in words.items():
        holders = _holders(terms, word)
        if len(holders):
            at = np.searchsorted(holders, rows)
            for document in np.flatnonzero(holders[np.minimum(at, len(holders) - 1)] == rows):
                words_of_documents[document].append(name)
    return words_of_documents


def _postings(terms: Terms, word: QueryWord) -> slice:
    """The entries of the word, none if no document holds it."""
    return slice(0, 0) if word.number is None else slice(terms.starts[word.number], terms.starts[word.number + 1])


def _holders(terms: Terms, word: QueryWord) -> Int32:
    """The documents that hold the word."""
    return terms.documents[_postings(terms, word)]


class _QueryWords(NamedTuple):
    """The distinct words of each query that some document holds: ids[offsets[q]:offsets[q + 1]]."""

    offsets: Int64  # (Q + 1,)
    ids: Int32
    times: Int32  # that the query holds the word
    needed: Int64  # (Q,) distinct words, unknown ones included


def _distinct_words(terms: Terms, queries: list[str]) -> _QueryWords:
    lists = cut_words(queries, terms.language)
    owners = np.repeat(np.arange(len(queries)), np.diff(lists.offsets))
    width = max(1, len(lists.vocabulary))
    keys, times = np.unique(owners * np.int64(width) + lists.ids, return_counts=True)
    owners, ids = keys // width, word_numbers(terms, lists.vocabulary)[keys % width]
    known = ids >= 0
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners[known], minlength=len(queries)))])
    needed = np.bincount(owners, minlength=len(queries))
    return _QueryWords(offsets, ids[known].astype(np.int32), times[known].astype(np.int32), needed)
