"""What an index finds where a condition leaves a part of the documents."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float32
from ebr_core.search.deduped_index import DedupedIndex
from ebr_core.search.hybrid_search import search_within
from ebr_core.search.nearest import recall_up_to_ties, search_cost, search_exact

SHARES = (0.5, 0.1, 0.01, 0.001)
QUERIES = 256  # the first ones


class FilteredPoint(NamedTuple):
    """An index under conditions that leave a share of the documents."""

    share: float
    documents: int  # that are left
    recall: float  # mean share of the K exactly nearest of them among the first K
    is_exact: bool  # True if all of them are compared, because they are no more than the index scans anyway
    queries_per_s: float


def filtered_recall(index: DedupedIndex, documents: Float32, queries: Float32, k: int) -> list[FilteredPoint]:
    """Recall of searches for K documents under conditions, each as a model in use runs it: see `search_within`.

    The documents left are drawn at random, the same for every index of N documents, and a smaller share is a part of a
    larger one. Shares that leave fewer than K documents are left out. documents (N, D), queries (Q, D) or (h, Q, D).
    """
    views = queries if queries.ndim == 3 else queries[None]
    queries = queries[..., np.flatnonzero(views.any((0, 2)))[:QUERIES], :]
    order = np.random.default_rng(0).permutation(len(documents))
    if not queries.shape[-2]:
        return []
    typical = float(search_cost(index, queries, k)[0].mean())
    points = []
    for share in SHARES:
        count = round(share * len(documents))
        if count < k:
            break
        allowed = np.zeros(len(documents), bool)
        allowed[order[:count]] = True
        started = time.perf_counter()
        found = search_within(index, documents, queries, k, allowed, typical)
        seconds = time.perf_counter() - started
        nearest = search_exact(documents[allowed], queries, k)[1]
        recall = float(recall_up_to_ties(documents, queries, found.rows, nearest).mean())
        points.append(FilteredPoint(share, count, recall, found.is_exact, queries.shape[-2] / max(seconds, 1e-9)))
    return points
