"""Hybrid retrieval: terms and embedding together, under conditions, within a radius. [EBR §4.2, §4.3]"""

from __future__ import annotations

from typing import Literal, NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.search.baselines import first_distinct
from ebr_core.search.conditions import holds_nn, parse
from ebr_core.search.deduped_index import DedupedIndex
from ebr_core.search.faiss_index import innermost
from ebr_core.search.nearest import search_exact, search_index

RRF = 60  # Cormack et al. 2009
KEPT = 0.95  # share of the validation targets that a calibrated radius keeps
BY_CODES = (faiss.IndexPQ, faiss.IndexPQFastScan)  # they compare all and take no condition


class DocumentFilter(Frozen):
    """Which documents are in the index: those that meet at least one. [EBR §4.3, index selection]"""

    active: bool = Field(False, description="shown or clicked in the training window")
    recent_days: float | None = Field(None, gt=0, description="made in so many days before the period, or in it")
    popular: float | None = Field(
        None, gt=0, le=1, description="share of the clicked documents, the most clicked first"
    )

    @model_validator(mode="after")
    def _some(self) -> DocumentFilter:
        if not self.active and self.recent_days is None and self.popular is None:
            raise ValueError("give active, recent_days or popular: none of them leaves no document")
        return self


class Trigger(Frozen):
    """Which searches the embedding is spared, because the terms or memory answer them. [EBR §4.3, query selection]"""

    refinding: bool = Field(True, description="the searcher has clicked a result of this very query before")
    navigational: float | None = Field(
        0.8, gt=0, le=1, description="the share of the query's past clicks, of at least 3, that went to one document"
    )
    instead: Literal["terms", "memory"] = Field("terms", description="what answers them")


class Retrieval(Frozen):
    """Terms, an arm's embedding, or both; under a condition, within a radius, for chosen queries or documents."""

    terms: Literal["every", "any"] | None = Field(
        None, description="documents with every, or any, word of the query, in the order of BM25"
    )
    arm: str | None = Field(None, description="documents near the query by this arm's embedding")
    index: str = Field("exact", description="the arm's index that is searched")
    near: Literal["top", "radius"] = Field("top", description="the K nearest, or those of them within the radius")
    radius: float | Literal["model", "query"] = Field(
        "model",
        description="a cosine distance; or one that keeps 95 % of the validation targets: the same for all queries of "
        "a model, or that far beyond each query's nearest document (after pEBR 2024)",
    )
    fuse: Literal["rrf", "union"] = Field(
        "rrf", description="reciprocal ranks summed, or the terms' documents followed by the others"
    )
    where: str | None = Field(None, description="a condition that every document meets, such as kind = person")
    documents: DocumentFilter | None = None
    trigger: Trigger | None = None

    @model_validator(mode="after")
    def _something_to_do(self) -> Retrieval:
        if self.terms is None and self.arm is None:
            raise ValueError("give terms, an arm, or both: neither retrieves nothing")
        if self.trigger is not None and (self.arm is None or (self.terms is None and self.trigger.instead == "terms")):
            raise ValueError("a trigger spares an arm's embedding and lets terms answer: give both, or instead: memory")
        if isinstance(self.radius, float | int) and not 0 <= self.radius <= 2:
            raise ValueError(f"radius: got {self.radius}; a cosine distance lies between 0 and 2")
        if self.where is not None and holds_nn(parse(self.where)):
            raise ValueError("where: nn depends on the query; say near and radius instead")
        return self

    @property
    def sources(self) -> dict[str, str]:
        """The arms that it reads, by the keys that name them."""
        return {} if self.arm is None else {"arm": self.arm}

    @property
    def searched(self) -> tuple[str, ...]:
        """Those of them whose vectors it searches."""
        return tuple(self.sources.values())


class Radius(Frozen):
    """How far a model's targets lie from its queries, in cosine distance. It belongs to the model."""

    model: float = Field(description="the distance within which 95 % of the validation targets lie")
    beyond: float = Field(description="the distance beyond the nearest document within which they lie")
    targets: int = Field(description="validation targets that it was calibrated on")

    def of(self, asked: float | Literal["model", "query"], similarities: Float32) -> Float32 | float:
        """The radius asked for: a number, or one for each query whose similarities (Q, K) begin with its nearest."""
        if asked == "query":
            return np.asarray(1 - similarities[:, :1] + self.beyond, np.float32)
        return self.model if asked == "model" else asked


def calibrate(targets: Float32, nearest: Float32, keep: float = KEPT) -> Radius:
    """The smallest radii that keep that share of the targets, of (T,) similarities: theirs, their query's nearest."""
    if len(targets) == 0:
        raise InputError("no validation target was found, so no radius can be calibrated; give radius: a number")
    model = np.quantile(1 - targets, keep, method="higher")
    beyond = np.quantile(nearest - targets, keep, method="higher")
    return Radius(model=float(model), beyond=float(beyond), targets=len(targets))


def within(rows: Int32, similarities: Float32, radius: Float32 | float) -> Int32:
    """rows (Q, K) with −1 for those farther than the radius (one, or (Q, 1))."""
    return np.where(1 - similarities <= radius + 1e-6, rows, -1).astype(np.int32)


def reciprocal_rank_fusion(lists: list[Int32], k: int, constant: int = RRF) -> Int32:
    """(Q, K): the rows with the highest Σ 1 / (constant + rank) over the lists (Q, J), ties by row; −1 behind the last.

    >>> reciprocal_rank_fusion([np.array([[1, 2]]), np.array([[2, 3]])], 2)
    array([[2, 1]], dtype=int32)
    """
    rows = np.concatenate(lists, axis=1).astype(np.int64)
    shares = np.concatenate([1 / (constant + 1 + np.arange(part.shape[1])) for part in lists])
    width = int(rows.max(initial=0)) + 1
    keys = np.arange(len(rows))[:, None] * width + rows
    there = rows >= 0
    fused, place = np.unique(keys[there], return_inverse=True)
    scores = np.bincount(place, np.broadcast_to(shares, rows.shape)[there], minlength=len(fused))
    query, row = fused // width, fused % width
    order = np.lexsort((row, -scores, query))
    query, row = query[order], row[order]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    best = np.full((len(rows), k), -1, np.int32)
    best[query[rank < k], rank[rank < k]] = row[rank < k]
    return best


def fuse(terms: Int32, near: Int32, how: Literal["rrf", "union"], k: int) -> Int32:
    """(Q, K) of two lists (Q, J)."""
    if how == "union":
        return first_distinct(np.concatenate([terms, near], axis=1), k)
    return reciprocal_rank_fusion([terms, near], k)


class Found(NamedTuple):
    """What a search under a condition found."""

    rows: Int32  # (Q, K)
    similarities: Float32  # (Q, K)
    exactly: bool  # whether every document that meets the condition was compared


def search_within(
    searched: DedupedIndex,
    documents: Float32,
    queries: Float32,
    k: int,
    allowed: npt.NDArray[np.bool_] | None,
    typical: float,
) -> Found:
    """The K nearest of the allowed documents (N,): through the index, or exactly where few are allowed.

    typical: the documents that the index scans for a query without a condition. Where no more are allowed, comparing
    all of them costs no more and loses none, so that is done. Else the index looks N / allowed times as far, so that
    it compares as many allowed ones. documents (N, D) are their vectors.
    """
    if allowed is None or allowed.all():
        return Found(*search_index(searched, queries, k), isinstance(innermost(searched.index), faiss.IndexFlat))
    count = int(allowed.sum())
    if count <= max(typical, k) or isinstance(innermost(searched.index), (faiss.IndexFlat, *BY_CODES)):
        there = np.flatnonzero(allowed)
        rows, similarities = search_exact(documents[there], queries, k)
        return Found(np.where(rows >= 0, there[rows], -1).astype(np.int32) if count else rows, similarities, True)
    return Found(*search_index(searched, queries, k, allowed=allowed, widen=len(allowed) / count), False)
