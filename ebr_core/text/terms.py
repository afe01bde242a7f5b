"""Retrieval by terms: the documents that hold the query's words, in the order of BM25."""

from __future__ import annotations

import logging
from typing import NamedTuple

import bm25s
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import Stemmer
from scipy import sparse

from ebr_core.arrays import Float32, Int32, Int64

NONE = np.int32(-1)
BLOCK = 512  # queries at a time
PAIRS = 2**20  # pairs of a query and a document at a time


class Terms(NamedTuple):
    """An inverted index: word w is in documents[starts[w]:starts[w + 1]], with their BM25 weights."""

    words: pa.Array  # (V,) stems, in order
    starts: Int64  # (V + 1,)
    documents: Int32
    weights: Float32
    total: int  # N, documents in all


def stems(texts: list[str]) -> pa.ListArray:
    """The words of each text in lower case, without English stop words, stemmed by Snowball's English stemmer."""
    split = bm25s.tokenize(
        texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False, return_ids=False
    )
    return pa.array(split, pa.list_(pa.string()))


def index_terms(texts: list[str]) -> Terms:
    """An index of the words of each text, weighted by BM25 in Lucene's variant, k1 = 1.2, b = 0.75."""
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    corpus = bm25s.tokenize(texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)
    if not corpus.vocab:
        return Terms(
            pa.array([], pa.string()), np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), len(texts)
        )
    ranker = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    ranker.index(corpus, show_progress=False)
    by_word = sparse.csc_array(
        (ranker.scores["data"], ranker.scores["indices"], ranker.scores["indptr"]),
        (len(texts), len(ranker.scores["indptr"]) - 1),
    )
    words = pa.array(list(ranker.vocab_dict), pa.string())
    columns = pa.array(list(ranker.vocab_dict.values()), pa.int64())
    order = pc.sort_indices(words)
    order = order.filter(pc.not_equal(words.take(order), ""))  # bm25s has an entry for the empty word
    by_word = sparse.csc_array(by_word[:, columns.take(order).to_numpy()])
    by_word.sort_indices()
    data, rows, starts = by_word.data.astype(np.float32), by_word.indices.astype(np.int32), by_word.indptr
    return Terms(words.take(order), starts.astype(np.int64), rows, data, len(texts))


def documents_with(terms: Terms, text: str) -> npt.NDArray[np.bool_]:
    """(N,) True for the documents that hold every word of the text; all False if the text has no word."""
    words = pc.index_in(stems([text]).values.unique(), terms.words)
    word_counts = np.zeros(terms.total, np.int64)
    for word in words.drop_null().to_pylist():
        word_counts[terms.documents[terms.starts[word] : terms.starts[word + 1]]] += 1
    return word_counts == len(words) if len(words) else word_counts > 0


def rank_documents(
    terms: Terms, queries: list[str], k: int, all_words: bool, allowed: npt.NDArray[np.bool_] | None = None
) -> tuple[Int32, Float32]:
    """(rows (Q, K), scores (Q, K)): the documents with all words of the query, or with any, by BM25, then by row.

    With all_words, a query with a word that no document holds finds none. −1 and 0 follow the last document.
    """
    rows, scores = np.full((len(queries), k), NONE), np.zeros((len(queries), k), np.float32)
    shape = (len(terms.words), terms.total)
    weights = sparse.csr_array((terms.weights, terms.documents, terms.starts), shape)
    holds = sparse.csr_array((np.ones(len(terms.documents), np.int32), terms.documents, terms.starts), shape)
    for first in range(0, len(queries), BLOCK):
        query_words, needed = _query_words(terms, queries[first : first + BLOCK])
        score, word_counts = (query_words @ weights).tocoo(), (query_words @ holds).tocsr()
        score = sparse.coo_array(score)
        order = np.lexsort((score.col, -score.data, score.row))
        q, d, s = score.row[order], score.col[order], score.data[order]
        keep = np.ones(len(q), bool) if allowed is None else allowed[d]
        if all_words:
            word_counts.sort_indices()
            counts = word_counts.tocoo()
            pos = np.searchsorted(counts.row.astype(np.int64) * terms.total + counts.col, q * np.int64(terms.total) + d)
            keep &= counts.data[pos] >= needed[q]
        q, d, s = q[keep], d[keep], s[keep]
        rank = np.arange(len(q)) - np.searchsorted(q, q)
        q, d, s, rank = (part[rank < k] for part in (q, d, s, rank))
        rows[first + q, rank], scores[first + q, rank] = d, s
    return rows, scores


def scores_of(terms: Terms, queries: list[str], at: Int32, rows: Int32) -> tuple[Float32, Float32]:
    """((P,) BM25, (P,) share of the query's distinct words that the document holds) of the pairs queries[at], rows.

    A query without a word gets 0 and 0.
    """
    query_words, needed = _query_words(terms, queries)
    holders = np.repeat(np.arange(len(terms.words), dtype=np.int64), np.diff(terms.starts))
    keys = holders * terms.total + terms.documents  # ascending: by word, then by document
    scores, shares = np.zeros(len(at), np.float32), np.zeros(len(at), np.float32)
    if not len(keys):
        return scores, shares
    for first in range(0, len(at), PAIRS):
        q, d = at[first : first + PAIRS], rows[first : first + PAIRS].astype(np.int64)
        counts = np.diff(query_words.indptr)[q]
        owner = np.repeat(np.arange(len(q)), counts)
        pos = query_words.indptr[q][owner] + np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
        pair_keys = query_words.indices[pos] * np.int64(terms.total) + d[owner]
        entries = np.minimum(np.searchsorted(keys, pair_keys), len(keys) - 1)
        hit = keys[entries] == pair_keys
        scores[first : first + PAIRS] = np.bincount(owner[hit], terms.weights[entries[hit]], len(q))
        shares[first : first + PAIRS] = np.bincount(owner[hit], minlength=len(q)) / np.maximum(needed[q], 1)
    return scores, shares


def words_of(terms: Terms, query: str) -> dict[str, int | None]:
    """The query's distinct words as stems, each with its number, or None if no document holds it."""
    stemmed = stems([query]).values.unique()
    return dict(zip(stemmed.to_pylist(), pc.index_in(stemmed, terms.words).to_pylist(), strict=True))


def match_query(terms: Terms, words: dict[str, int | None], all_words: bool) -> tuple[Int32, Float32]:
    """(documents, scores) of one query, all of them, best first; reads only the documents of its words."""
    word_ids = [word for word in words.values() if word is not None]
    if not word_ids or (all_words and len(word_ids) < len(words)):
        return np.empty(0, np.int32), np.empty(0, np.float32)
    spans = [slice(terms.starts[word], terms.starts[word + 1]) for word in word_ids]
    holders = np.concatenate([terms.documents[span] for span in spans])
    documents, inverse, counts = np.unique(holders, return_inverse=True, return_counts=True)
    scores = np.bincount(inverse, np.concatenate([terms.weights[span] for span in spans])).astype(np.float32)
    matching = counts == len(word_ids) if all_words else counts > 0
    documents, scores = documents[matching], scores[matching]
    order = np.argsort(-scores, kind="stable")
    return documents[order], scores[order]


def words_in_documents(terms: Terms, words: dict[str, int | None], rows: Int32) -> list[list[str]]:
    """For each document at rows (K,), the given words that it holds."""
    words_of_documents: list[list[str]] = [[] for _ in rows]
    for name, word in words.items():
        if word is not None:
            holders = terms.documents[terms.starts[word] : terms.starts[word + 1]]
            at = np.searchsorted(holders, rows)
            for document in np.flatnonzero(holders[np.minimum(at, len(holders) - 1)] == rows):
                words_of_documents[document].append(name)
    return words_of_documents


def _query_words(terms: Terms, queries: list[str]) -> tuple[sparse.csr_array, Int64]:
    """((Q, V) 1 for each known word of a query, (Q,) the number of its distinct words, unknown ones included)."""
    words = stems(queries)
    owners = np.repeat(np.arange(len(queries)), np.diff(words.offsets.to_numpy()))
    flat = words.flatten()
    coded = flat.dictionary_encode()
    codes = coded.indices.to_numpy()
    _, first = np.unique(owners * np.int64(max(1, len(coded.dictionary))) + codes, return_index=True)
    at = pc.fill_null(pc.index_in(coded.dictionary, terms.words), -1).to_numpy()[codes[first]]
    owners = owners[first]
    needed = np.bincount(owners, minlength=len(queries))
    in_index = at >= 0
    ones = np.ones(int(in_index.sum()), np.int32)
    return sparse.csr_array((ones, (owners[in_index], at[in_index])), (len(queries), len(terms.words))), needed
