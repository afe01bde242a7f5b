"""Cascades: one model retrieves, another orders what it found. [EBR §6.2]"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from ebr_core.arrays import Float32, Int32
from ebr_core.frozen import Frozen

CELLS = 2**24  # numbers gathered at a time


class Cascade(Frozen):
    """A model's first documents in the order of a second one."""

    first: str = Field(description="the arm or ensemble that retrieves")
    index: str = Field("exact", description="the index that it retrieves through")
    then: str = Field(description="the arm or ensemble that orders what was retrieved")
    depth: int = Field(100, ge=1, le=10_000, description="documents that it orders; behind them the first one's follow")

    @model_validator(mode="after")
    def _two(self) -> Cascade:
        if self.first == self.then:
            raise ValueError(f"first and then are both {self.then}, which changes nothing; name two")
        return self

    @property
    def sources(self) -> dict[str, str]:
        """The arms that it reads, by the keys that name them."""
        return {"first": self.first, "then": self.then}

    @property
    def searched(self) -> tuple[str, ...]:
        """Those of them whose vectors it searches."""
        return self.first, self.then


def rerank(rows: Int32, documents: Float32, queries: Float32, depth: int) -> Int32:
    """rows (Q, K) with the first `depth` of each in the order of their cosine with its query, exactly; ties stay.

    documents (N, D), queries (Q, D), or (h, Q, D), the nearest of which counts. −1 is no document and stays behind.
    """
    views = queries if queries.ndim == 3 else queries[None]
    ordered, depth = rows.copy(), min(depth, rows.shape[1])
    step = max(1, CELLS // max(1, depth * documents.shape[1]))
    for first in range(0, len(rows), step):
        some = rows[first : first + step, :depth]
        cosines = np.einsum("qkd,hqd->hqk", documents[some], views[:, first : first + step]).max(0)
        cosines[some < 0] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")
        ordered[first : first + step, :depth] = np.take_along_axis(some, order, 1)
    return ordered
