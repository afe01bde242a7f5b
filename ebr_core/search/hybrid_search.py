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
from ebr_core.search.conditions import contains_nn, parse
from ebr_core.search.deduped_index import DedupedIndex
from ebr_core.search.faiss_index import innermost
from ebr_core.search.nearest import search_exact, search_index

RRF = 60  # Cormack et al. 2009
RADIUS_COVERAGE = 0.95  # share of the validation targets within a calibrated radius
CODE_ONLY_INDEXES = (faiss.IndexPQ, faiss.IndexPQFastScan)  # they compare every document and accept no selector


class DocumentFilter(Frozen):
    """The documents in the index: those that meet at least one criterion. [EBR §4.3, index selection]"""

    active: bool = Field(False, description="documents shown or clicked in the training window")
    recent_days: float | None = Field(
        None, gt=0, description="documents created in the period or within this many days before it"
    )
    popular: float | None = Field(
        None, gt=0, le=1, description="share of the clicked documents, the most clicked first"
    )

    @model_validator(mode="after")
    def _check_not_empty(self) -> DocumentFilter:
        if not self.active and self.recent_days is None and self.popular is None:
            raise ValueError("give active, recent_days or popular: without any of them no document is left")
        return self


class Trigger(Frozen):
    """The searches that skip the embedding because terms or click memory answer them. [EBR §4.3, query selection]"""

    refinding: bool = Field(
        True, description="skip searches whose searcher has clicked a result of the same query before"
    )
    navigational: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="skip queries with at least 3 past clicks and at least this share of them on one document",
    )
    instead: Literal["terms", "memory"] = Field("terms", description="the retriever that answers these searches")


class Retrieval(Frozen):
    """Retrieval by terms, an arm's embedding or ranked lists, alone or together; with a condition, within a radius, or
    for chosen queries or documents."""

    terms: Literal["every", "any"] | None = Field(
        None, description="retrieve documents with every word, or any word, of the query, ordered by BM25"
    )
    arm: str | None = Field(None, description="retrieve documents near the query by this arm's embedding")
    index: str = Field("exact", description="the arm's index to search")
    near: Literal["top", "radius"] = Field(
        "top", description="the K nearest documents, or only those of them within the radius"
    )
    radius: float | Literal["model", "query"] = Field(
        "model",
        description="a cosine distance; or a distance that keeps 95% of the validation targets: model, the same "
        "distance for all queries; query, measured from each query's nearest document (after pEBR 2024)",
    )
    lists: tuple[str, ...] = Field(
        (), description="ranked lists to fuse with the others: logged, another baseline, or a list of your own"
    )
    fuse: Literal["rrf", "union"] = Field(
        "rrf",
        description="rrf: the sum of reciprocal ranks; union: one after the other, in the order terms, arm, lists",
    )
    where: str | None = Field(None, description="a condition that every document must meet, such as kind = person")
    documents: DocumentFilter | None = Field(None, description="the documents that can be retrieved; null: all")
    trigger: Trigger | None = Field(None, description="the searches that skip the embedding; null: none")

    @model_validator(mode="after")
    def _check_settings(self) -> Retrieval:
        if self.terms is None and self.arm is None and not self.lists:
            raise ValueError("give terms, an arm, lists, or several of them: without them nothing is retrieved")
        if self.trigger is not None and (self.arm is None or (self.terms is None and self.trigger.instead == "terms")):
            raise ValueError("a trigger spares an arm's embedding and lets terms answer: give both, or instead: memory")
        if isinstance(self.radius, float | int) and not 0 <= self.radius <= 2:
            raise ValueError(f"radius: got {self.radius}; a cosine distance lies between 0 and 2")
        if self.where is not None and contains_nn(parse(self.where)):
            raise ValueError("where: nn depends on the query; use near and radius instead")
        return self

    @property
    def sources(self) -> dict[str, str]:
        """The arms that the retrieval reads, by the keys that name them."""
        return {} if self.arm is None else {"arm": self.arm}

    @property
    def vector_sources(self) -> tuple[str, ...]:
        """The arms whose vectors it searches."""
        return tuple(self.sources.values())


class Radius(Frozen):
    """The cosine distances of a model's targets from its queries, valid for that model only."""

    model: float = Field(description="the distance within which 95% of the validation targets lie")
    beyond: float = Field(description="the distance beyond the query's nearest document within which 95% of them lie")
    targets: int = Field(description="number of validation targets that it was calibrated on")

    def radius_for(self, radius: float | Literal["model", "query"], similarities: Float32) -> Float32 | float:
        """The radius: a number, or (Q, 1) from similarities (Q, K), the nearest document of each query first."""
        if radius == "query":
            return np.asarray(1 - similarities[:, :1] + self.beyond, np.float32)
        return self.model if radius == "model" else radius


def calibrate(targets: Float32, nearest: Float32, keep: float = RADIUS_COVERAGE) -> Radius:
    """The smallest radii that keep the share `keep` of the targets.

    targets (T,) are their similarities, nearest (T,) those of the nearest document of their query. Raises InputError if
    there are no targets.
    """
    if len(targets) == 0:
        raise InputError("no validation target was found, so no radius can be calibrated; give radius: a number")
    model = np.quantile(1 - targets, keep, method="higher")
    beyond = np.quantile(nearest - targets, keep, method="higher")
    return Radius(model=float(model), beyond=float(beyond), targets=len(targets))


def within_radius(rows: Int32, similarities: Float32, radius: Float32 | float) -> Int32:
    """rows (Q, K) with −1 for documents farther than the radius, a number or (Q, 1)."""
    return np.where(1 - similarities <= radius + 1e-6, rows, -1).astype(np.int32)


def reciprocal_rank_fusion(lists: list[Int32], k: int, constant: int = RRF) -> Int32:
    """(Q, K): the rows with the highest Σ 1 / (constant + rank) over the lists (Q, J), ties by row, padded with −1.

    >>> reciprocal_rank_fusion([np.array([[1, 2]]), np.array([[2, 3]])], 2)
    array([[2, 1]], dtype=int32)
    """
    rows = np.concatenate(lists, axis=1).astype(np.int64)
    shares = np.concatenate([1 / (constant + 1 + np.arange(part.shape[1])) for part in lists])
    width = int(rows.max(initial=0)) + 1
    keys = np.arange(len(rows))[:, None] * width + rows
    valid = rows >= 0
    fused, inverse = np.unique(keys[valid], return_inverse=True)
    scores = np.bincount(inverse, np.broadcast_to(shares, rows.shape)[valid], minlength=len(fused))
    query, row = fused // width, fused % width
    order = np.lexsort((row, -scores, query))
    query, row = query[order], row[order]
    rank = np.arange(len(query)) - np.searchsorted(query, query)
    best = np.full((len(rows), k), -1, np.int32)
    best[query[rank < k], rank[rank < k]] = row[rank < k]
    return best


def fuse(lists: list[Int32], method: Literal["rrf", "union"], k: int) -> Int32:
    """(Q, K): lists (Q, J) fused by reciprocal ranks (rrf), or one after the other (union); a single list as it is."""
    if method == "union" or len(lists) == 1:
        return first_distinct(np.concatenate(lists, axis=1), k)
    return reciprocal_rank_fusion(lists, k)


class FilteredResult(NamedTuple):
    """The result of a search under a condition."""

    rows: Int32  # (Q, K)
    similarities: Float32  # (Q, K)
    is_exact: bool  # True if every document that meets the condition was compared


def search_within(
    index: DedupedIndex,
    documents: Float32,
    queries: Float32,
    k: int,
    allowed: npt.NDArray[np.bool_] | None,
    typical: float,
) -> FilteredResult:
    """The K nearest of the allowed documents (N,): through the index, or by exact search if few are allowed.

    typical is the number of documents that the index scans for a query without a condition. If no more are allowed, all
    of them are compared, which costs no more and loses none. Otherwise nprobe or ef is multiplied by N / allowed, so
    that as many allowed documents are compared. documents (N, D) are their vectors.
    """
    if allowed is None or allowed.all():
        return FilteredResult(*search_index(index, queries, k), isinstance(innermost(index.index), faiss.IndexFlat))
    count = int(allowed.sum())
    if count <= max(typical, k) or isinstance(innermost(index.index), (faiss.IndexFlat, *CODE_ONLY_INDEXES)):
        candidates = np.flatnonzero(allowed)
        rows, similarities = search_exact(documents[candidates], queries, k)
        return FilteredResult(
            np.where(rows >= 0, candidates[rows], -1).astype(np.int32) if count else rows, similarities, True
        )
    return FilteredResult(*search_index(index, queries, k, allowed=allowed, widen=len(allowed) / count), False)
