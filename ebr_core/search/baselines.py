"""Three retrievers that need no tower and always stand in the table: popularity, BM25, memory."""

from __future__ import annotations

import logging

import bm25s
import numpy as np
import Stemmer

from ebr_core.arrays import Int32, Int64

NONE = np.int32(-1)
NEARLY_EQUAL = 2.0**-40  # what a place in the order of rows takes off a BM25 score, relatively


def popularity(clicks: Int64, candidates: Int32, k: int) -> Int32:
    """(K,) the candidates with the most clicks, ties by row; −1 behind the last."""
    order = candidates[np.lexsort((candidates, -clicks[candidates]))][:k]
    return np.concatenate([order, np.full(k - len(order), NONE)]).astype(np.int32)


def click_memory(
    query_rows: Int32, clicked_queries: Int32, clicked_documents: Int32, clicks: Int64, candidates: Int32, k: int
) -> Int32:
    """(Q, K): the documents clicked for this query in the training window, the most often first, then the most popular.

    clicked_queries and clicked_documents hold a row a click; among equally often clicked ones the popular comes first.
    """
    n = len(clicks)
    alive = np.zeros(n, bool)
    alive[candidates] = True
    kept = alive[clicked_documents]
    keys, times = np.unique(clicked_queries[kept].astype(np.int64) * n + clicked_documents[kept], return_counts=True)
    queries, documents = keys // n, (keys % n).astype(np.int32)
    order = np.lexsort((documents, -clicks[documents], -times, queries))
    queries, documents = queries[order], documents[order]
    starts, ends = np.searchsorted(queries, query_rows), np.searchsorted(queries, query_rows, side="right")
    at = starts[:, None] + np.arange(k)
    known = at < ends[:, None]
    remembered = np.where(
        known, documents[np.minimum(at, max(len(documents) - 1, 0))] if len(documents) else NONE, NONE
    )
    popular = np.broadcast_to(
        popularity(clicks, candidates, k), remembered.shape
    )  # k different ones always fill k places
    return first_distinct(np.concatenate([remembered, popular], axis=1).astype(np.int32), k)


def first_distinct(rows: Int32, k: int) -> Int32:
    """(Q, K): the first K different documents of each line of rows (Q, J), −1 skipped and as filler.

    >>> first_distinct(np.array([[4, -1, 4, 2]], dtype=np.int32), 3)
    array([[ 4,  2, -1]], dtype=int32)
    """
    order = np.argsort(rows, axis=1, kind="stable")
    ranked = np.take_along_axis(rows, order, 1)
    again = np.zeros_like(ranked, bool)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    repeated = np.empty_like(again)
    np.put_along_axis(repeated, order, again, 1)
    keep = ~repeated & (rows >= 0)
    front = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    chosen = np.where(np.take_along_axis(keep, front, 1), np.take_along_axis(rows, front, 1), NONE)
    return np.pad(chosen, ((0, 0), (0, k - chosen.shape[1])), constant_values=NONE)


def bm25(texts: list[str], candidates: Int32, queries: list[str], k: int, threads: int = 1) -> Int32:
    """(Q, K) rows of the candidates that share a term with the query, best first; −1 where fewer do.

    BM25 in Lucene's variant, k1 = 1.2, b = 0.75, English stop words, Snowball's Porter-style stemmer. texts are the
    candidates', in their order. Ties are broken by row; scores count as equal where they differ by a millionth.
    """
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    stemmer = Stemmer.Stemmer("english")
    corpus = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    asked = bm25s.tokenize(queries, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
    if not corpus.vocab or not queries:
        return np.full((len(queries), k), NONE)
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75, dtype="float64")
    index.index(corpus, show_progress=False)
    depth = min(k, len(texts))
    # bm25s keeps arbitrary ones of equal documents: weights that fall a little from row to row leave none equal.
    weights = 1 - NEARLY_EQUAL * np.argsort(np.argsort(candidates))
    found, scores = index.retrieve(asked, k=depth, show_progress=False, n_threads=threads, weight_mask=weights)
    rows = np.where(scores > 0, candidates[found], np.iinfo(np.int32).max)
    rows = np.take_along_axis(rows, np.lexsort((rows, -scores), axis=1), 1)
    rows[rows == np.iinfo(np.int32).max] = NONE
    return np.pad(rows, ((0, 0), (0, k - depth)), constant_values=NONE).astype(np.int32)
