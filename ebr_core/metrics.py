"""Measures of a retrieval, a number for each search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ebr_core.bags import Int32, Int64

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


class Targets(NamedTuple):
    """The relevant documents of each search: documents[offsets[s]:offsets[s + 1]], at least one."""

    offsets: Int64  # (S + 1,)
    documents: Int32

    @property
    def counts(self) -> Int64:
        """(S,) how many targets each search has."""
        return np.diff(self.offsets)


def hits(retrieved: Int32, targets: Targets) -> Bool:
    """(S, K): whether each retrieved document row (S, K) is a target of its search; row −1 is no document."""
    width = int(max(retrieved.max(initial=0), targets.documents.max(initial=0))) + 1
    searches = np.arange(len(retrieved), dtype=np.int64)
    wanted = np.repeat(searches, targets.counts) * width + targets.documents
    return np.isin(searches[:, None] * width + retrieved, wanted) & (retrieved >= 0)


def recall_at_k(hit: Bool, targets: Targets, k: int) -> Float64:
    """(S,) recall@K = |top-K ∩ T| / |T| [EBR §2.1]; hit is (S, K') with K' ≥ K unless the corpus is smaller.

    >>> recall_at_k(np.array([[True, False, True]]), Targets(np.array([0, 4]), np.arange(4, dtype=np.int32)), 3)
    array([0.5])
    """
    found: Int64 = hit[:, :k].sum(1)
    return found / targets.counts


def recall_ceiling(targets: Targets, k: int) -> Float64:
    """(S,) the highest recall@K that a search allows: min(K, |T|) / |T|."""
    return np.minimum(k, targets.counts) / targets.counts


def reciprocal_rank(hit: Bool) -> Float64:
    """(S,) 1 / the rank of the first target, 0 where none was retrieved; its mean is the MRR.

    >>> reciprocal_rank(np.array([[False, True], [False, False]]))
    array([0.5, 0. ])
    """
    return np.where(hit.any(1), 1 / (1 + hit.argmax(1)), 0.0)


def ndcg_at_k(grades: Float64, ideal: Float64, k: int) -> Float64:
    """(S,) nDCG@K = Σ grade / log₂(1 + rank), over that of the best order.

    grades (S, K') as retrieved, ideal (S, G) descending.
    """
    discount = 1 / np.log2(np.arange(2, 2 + k))
    gained: Float64 = (grades[:, :k] * discount[: grades[:, :k].shape[1]]).sum(1)
    most: Float64 = (ideal[:, :k] * discount[: ideal[:, :k].shape[1]]).sum(1)
    return gained / most
