"""faiss indexes over unit vectors, inner product throughout. [EBR §4]"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import faiss
import numpy as np
from pydantic import Field

from ebr_core.bags import Float32
from ebr_core.config import Frozen, InputError

FEWEST_FOR_PQ = 256  # as many as a byte has centroids
POINTS_A_LIST = 39  # training vectors that faiss wants for each centroid before it warns


class Exact(Frozen):
    """Every document is compared with every query."""

    kind: Literal["exact"] = "exact"


class IvfPq(Frozen):
    """A coarse quantiser of nlist cells of which nprobe are scanned, residuals in pq_bytes bytes. [EBR §4.1]"""

    kind: Literal["ivfpq"] = "ivfpq"
    nlist: int | None = Field(None, ge=1, description="cells; default: 4·√N, at most N/39, so that each can be trained")
    nprobe: int = Field(16, ge=1, description="cells scanned for a query")
    pq_bytes: int = Field(32, ge=1, description="bytes of a compressed vector; must divide the dimensions [EBR: d/4]")


Index = Annotated[Exact | IvfPq, Field(discriminator="kind")]


def build(vectors: Float32, spec: Exact | IvfPq) -> faiss.Index:
    """A trained and filled index over vectors (N, D). Errors: no or too few vectors, NaN, not of unit length."""
    _check_vectors(vectors)
    index = faiss.IndexFlatIP(vectors.shape[1]) if isinstance(spec, Exact) else _ivfpq(vectors, spec)
    index.add(np.ascontiguousarray(vectors))
    return index


def _check_vectors(vectors: Float32) -> None:
    if len(vectors) == 0:
        raise InputError("the corpus is empty: no document is alive in the period, so there is nothing to index")
    if not np.isfinite(vectors).all():
        raise InputError(
            "the embeddings hold values that are not numbers; train the arm again with a lower learning_rate"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = (np.abs(lengths - 1) > 1e-3) & (lengths != 0)  # a document without a known n-gram has the zero vector
    if wrong.any():
        raise InputError(f"{wrong.sum()} of {len(vectors)} embeddings are not of unit length: normalise them first")


def _ivfpq(vectors: Float32, spec: IvfPq) -> faiss.Index:
    n, d = vectors.shape
    if d % spec.pq_bytes:
        raise InputError(f"pq_bytes {spec.pq_bytes} does not divide the {d} dimensions; try {max(1, d // 4)}")
    nlist = spec.nlist or max(1, min(int(4 * np.sqrt(n)), n // POINTS_A_LIST))
    if n < FEWEST_FOR_PQ:
        raise InputError(
            f"ivfpq needs at least 256 documents to train its 256 centroids a byte, got {n}; use kind: exact"
        )
    if n < nlist:
        raise InputError(f"ivfpq: nlist {nlist} is more than the {n} documents; lower it, or leave it out")
    # np: no polysemous training, an annealing that costs 20 times the rest and serves Hamming search alone
    index = faiss.index_factory(d, f"IVF{nlist},PQ{spec.pq_bytes}np", faiss.METRIC_INNER_PRODUCT)
    cells: Any = index  # an IndexIVFPQ, which the factory's type does not say
    cells.cp.min_points_per_centroid = cells.pq.cp.min_points_per_centroid = 1  # few documents: less exact, not wrong
    index.train(np.ascontiguousarray(vectors))
    cells.nprobe = min(spec.nprobe, nlist)
    return index
