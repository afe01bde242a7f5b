"""Retrieval by terms: which documents have the query's words, in the order of BM25."""

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
    """Which documents hold each word: documents[starts[w]:starts[w + 1]] with their BM25 weights."""

    words: pa.Array  # (V,) stems, in order
    starts: Int64  # (V + 1,)
    documents: Int32
    weights: Float32
    total: int  # N, documents in all


def stems(texts: list[str]) -> pa.ListArray:
    """The words of each text: lower case, without English stop words, by Snowball's English stemmer."""
    split = bm25s.tokenize(
        texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False, return_ids=False
    )
    return pa.array(split, pa.list_(pa.string()))


def index_terms(texts: list[str]) -> Terms:
    """The words of each text, weighted by BM25 in Lucene's variant, k1 = 1.2, b = 0.75."""
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
    order = order.filter(pc.not_equal(words.take(order), ""))  # bm25s keeps a place for the word that is none
    by_word = sparse.csc_array(by_word[:, columns.take(order).to_numpy()])
    by_word.sort_indices()
    data, rows, starts = by_word.data.astype(np.float32), by_word.indices.astype(np.int32), by_word.indptr
    return Terms(words.take(order), starts.astype(np.int64), rows, data, len(texts))


def documents_with(terms: Terms, text: str) -> npt.NDArray[np.bool_]:
    """(N,): the documents that hold every word of the text; none where the text has no word."""
    found = pc.index_in(stems([text]).values.unique(), terms.words)
    held = np.zeros(terms.total, np.int64)
    for word in found.drop_null().to_pylist():
        held[terms.documents[terms.starts[word] : terms.starts[word + 1]]] += 1
    return held == len(found) if len(found) else held > 0


def ranked(
    terms: Terms, queries: list[str], k: int, every: bool, allowed: npt.NDArray[np.bool_] | None = None
) -> tuple[Int32, Float32]:
    """(rows (Q, K), scores (Q, K)): the documents with every (or any) word of the query, by BM25, then by row.

    A word that no document holds keeps a query that asks for every word from finding any. −1 and 0 behind the last.
    """
    rows, scores = np.full((len(queries), k), NONE), np.zeros((len(queries), k), np.float32)
    shape = (len(terms.words), terms.total)
    weights = sparse.csr_array((terms.weights, terms.documents, terms.starts), shape)
    holds = sparse.csr_array((np.ones(len(terms.documents), np.int32), terms.documents, terms.starts), shape)
    for first in range(0, len(queries), BLOCK):
        asked, needed = _asked(terms, queries[first : first + BLOCK])
        score, held = (asked @ weights).tocoo(), (asked @ holds).tocsr()
        score = sparse.coo_array(score)
        order = np.lexsort((score.col, -score.data, score.row))
        q, d, s = score.row[order], score.col[order], score.data[order]
        keep = np.ones(len(q), bool) if allowed is None else allowed[d]
        if every:
            held.sort_indices()
            counted = held.tocoo()
            there = np.searchsorted(
                counted.row.astype(np.int64) * terms.total + counted.col, q * np.int64(terms.total) + d
            )
            keep &= counted.data[there] >= needed[q]
        q, d, s = q[keep], d[keep], s[keep]
        rank = np.arange(len(q)) - np.searchsorted(q, q)
        q, d, s, rank = (part[rank < k] for part in (q, d, s, rank))
        rows[first + q, rank], scores[first + q, rank] = d, s
    return rows, scores


def scores_of(terms: Terms, queries: list[str], at: Int32, rows: Int32) -> tuple[Float32, Float32]:
    """((P,) BM25, (P,) share of the query's different words that the document holds) of pairs: queries[at], rows.

    A query without a word has 0 and 0.
    """
    asked, needed = _asked(terms, queries)
    holders = np.repeat(np.arange(len(terms.words), dtype=np.int64), np.diff(terms.starts))
    keys = holders * terms.total + terms.documents  # ascending: by word, then by document
    scores, held = np.zeros(len(at), np.float32), np.zeros(len(at), np.float32)
    if not len(keys):
        return scores, held
    for first in range(0, len(at), PAIRS):
        q, d = at[first : first + PAIRS], rows[first : first + PAIRS].astype(np.int64)
        counts = np.diff(asked.indptr)[q]
        owner = np.repeat(np.arange(len(q)), counts)
        place = asked.indptr[q][owner] + np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
        wanted = asked.indices[place] * np.int64(terms.total) + d[owner]
        found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        hit = keys[found] == wanted
        scores[first : first + PAIRS] = np.bincount(owner[hit], terms.weights[found[hit]], len(q))
        held[first : first + PAIRS] = np.bincount(owner[hit], minlength=len(q)) / np.maximum(needed[q], 1)
    return scores, held


def words_of(terms: Terms, query: str) -> dict[str, int | None]:
    """The query's different words as stems, each with its number, None where no document holds it."""
    stemmed = stems([query]).values.unique()
    return dict(zip(stemmed.to_pylist(), pc.index_in(stemmed, terms.words).to_pylist(), strict=True))


def match(terms: Terms, words: dict[str, int | None], every: bool) -> tuple[Int32, Float32]:
    """The same for one query, all of it: (documents, scores), at the cost of reading its words' documents alone."""
    known = [word for word in words.values() if word is not None]
    if not known or (every and len(known) < len(words)):
        return np.empty(0, np.int32), np.empty(0, np.float32)
    spans = [slice(terms.starts[word], terms.starts[word + 1]) for word in known]
    held = np.concatenate([terms.documents[span] for span in spans])
    documents, place, counts = np.unique(held, return_inverse=True, return_counts=True)
    scores = np.bincount(place, np.concatenate([terms.weights[span] for span in spans])).astype(np.float32)
    kept = counts == len(known) if every else counts > 0
    documents, scores = documents[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")
    return documents[order], scores[order]


def words_held(terms: Terms, words: dict[str, int | None], rows: Int32) -> list[list[str]]:
    """For each document at rows (K,) those of the words that it holds."""
    held: list[list[str]] = [[] for _ in rows]
    for name, word in words.items():
        if word is not None:
            its = terms.documents[terms.starts[word] : terms.starts[word + 1]]
            at = np.searchsorted(its, rows)
            for place in np.flatnonzero(its[np.minimum(at, len(its) - 1)] == rows):
                held[place].append(name)
    return held


def _asked(terms: Terms, queries: list[str]) -> tuple[sparse.csr_array, Int64]:
    """((Q, V) 1 for each known word of a query, (Q,) how many different words it has, unknown ones too)."""
    words = stems(queries)
    owners = np.repeat(np.arange(len(queries)), np.diff(words.offsets.to_numpy()))
    flat = words.flatten()
    coded = flat.dictionary_encode()
    codes = coded.indices.to_numpy()
    _, first = np.unique(owners * np.int64(max(1, len(coded.dictionary))) + codes, return_index=True)
    at = pc.fill_null(pc.index_in(coded.dictionary, terms.words), -1).to_numpy()[codes[first]]
    owners = owners[first]
    needed = np.bincount(owners, minlength=len(queries))
    known = at >= 0
    ones = np.ones(int(known.sum()), np.int32)
    return sparse.csr_array((ones, (owners[known], at[known])), (len(queries), len(terms.words))), needed
