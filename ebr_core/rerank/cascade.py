"""Cascades: one model retrieves documents, another reorders them. [EBR §6.2]"""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from ebr_core.arrays import Float32, Int32
from ebr_core.frozen import Frozen

CELLS = 2**24  # vector components gathered at a time


class Cascade(Frozen):
    """The first documents of one model, in the order of a second model."""

    first: str = Field(description="the arm or ensemble that retrieves")
    index: str = Field("exact", description="the first arm's index to search")
    then: str = Field(description="the arm or ensemble that reorders the retrieved documents")
    depth: int = Field(
        100, ge=1, le=10_000, description="number of documents to reorder; the others follow in the first arm's order"
    )

    @model_validator(mode="after")
    def _check_distinct(self) -> Cascade:
        if self.first == self.then:
            raise ValueError(f"first and then are both {self.then}, which changes nothing; name two")
        return self

    @property
    def sources(self) -> dict[str, str]:
        """The arms that the cascade reads, by the keys that name them."""
        return {"first": self.first, "then": self.then}

    @property
    def vector_sources(self) -> tuple[str, ...]:
        """The arms whose vectors it searches."""
        return self.first, self.then


def rerank(rows: Int32, documents: Float32, queries: Float32, depth: int) -> Int32:
    """rows (Q, K) with the first `depth` of each line sorted by exact cosine with the query; ties keep their order.

    documents are (N, D), queries (Q, D), or (h, Q, D), of which the highest cosine counts. −1 is no document and comes
    last.
    """
    views = queries if queries.ndim == 3 else queries[None]
    ordered, depth = rows.copy(), min(depth, rows.shape[1])
    step = max(1, CELLS // max(1, depth * documents.shape[1]))
    for first in range(0, len(rows), step):
        block_rows = rows[first : first + step, :depth]
        cosines = np.einsum("qkd,hqd->hqk", documents[block_rows], views[:, first : first + step]).max(0)
        cosines[block_rows < 0] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")
        ordered[first : first + step, :depth] = np.take_along_axis(block_rows, order, 1)
    return ordered
