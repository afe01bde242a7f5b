"""Retrievers that need neither towers nor words, and are in every table of results: popularity and click memory."""

from __future__ import annotations

import numpy as np

from ebr_core.arrays import Int32, Int64

NONE = np.int32(-1)


def popularity(clicks: Int64, candidates: Int32, k: int) -> Int32:
    """(K,) the candidates with the most clicks, ties by row, padded with −1."""
    order = candidates[np.lexsort((candidates, -clicks[candidates]))][:k]
    return np.concatenate([order, np.full(k - len(order), NONE)]).astype(np.int32)


def click_memory(
    query_rows: Int32, clicked_queries: Int32, clicked_documents: Int32, clicks: Int64, candidates: Int32, k: int
) -> Int32:
    """(Q, K): documents clicked for the query in the training window, most clicked first, then the most popular ones.

    clicked_queries and clicked_documents have one entry per click. Documents with equally many clicks for the query are
    ordered by their clicks overall.
    """
    n = len(clicks)
    is_candidate = np.zeros(n, bool)
    is_candidate[candidates] = True
    valid = is_candidate[clicked_documents]
    keys, times = np.unique(clicked_queries[valid].astype(np.int64) * n + clicked_documents[valid], return_counts=True)
    queries, documents = keys // n, (keys % n).astype(np.int32)
    order = np.lexsort((documents, -clicks[documents], -times, queries))
    queries, documents = queries[order], documents[order]
    starts, ends = np.searchsorted(queries, query_rows), np.searchsorted(queries, query_rows, side="right")
    pos = starts[:, None] + np.arange(k)
    has_clicks = pos < ends[:, None]
    clicked = np.where(
        has_clicks, documents[np.minimum(pos, max(len(documents) - 1, 0))] if len(documents) else NONE, NONE
    )
    popular = np.broadcast_to(
        popularity(clicks, candidates, k), clicked.shape
    )  # k distinct documents always fill k places
    return first_distinct(np.concatenate([clicked, popular], axis=1).astype(np.int32), k)


def first_distinct(rows: Int32, k: int) -> Int32:
    """(Q, K): the first K distinct documents of each line of rows (Q, J). −1 is skipped, and pads short lines.

    >>> first_distinct(np.array([[4, -1, 4, 2]], dtype=np.int32), 3)
    array([[ 4,  2, -1]], dtype=int32)
    """
    order = np.argsort(rows, axis=1, kind="stable")
    ranked = np.take_along_axis(rows, order, 1)
    repeats_previous = np.zeros_like(ranked, bool)
    repeats_previous[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    is_repeated = np.empty_like(repeats_previous)
    np.put_along_axis(is_repeated, order, repeats_previous, 1)
    keep = ~is_repeated & (rows >= 0)
    first = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    chosen = np.where(np.take_along_axis(keep, first, 1), np.take_along_axis(rows, first, 1), NONE)
    return np.pad(chosen, ((0, 0), (0, k - chosen.shape[1])), constant_values=NONE)
