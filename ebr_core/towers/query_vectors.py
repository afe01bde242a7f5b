"""The vectors that users bring of queries, for a model in use: with a request, or known from the log by their text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float32, Int32
from ebr_core.encoders.vector_store import Digests, text_digests
from ebr_core.errors import InputError
from ebr_core.text.folding import fold_queries


class KnownVectors(NamedTuple):
    """The vectors of the log's queries, by the digest of their folded text."""

    digests: Digests  # (n, 2) by the first number
    vectors: Float32  # (n, D′)


def known_vectors(queries: pa.Array, vectors: Float32) -> KnownVectors:
    """What a model keeps of the vectors (n, D′) of queries: those that are not zero."""
    known = np.flatnonzero(np.asarray(vectors).any(axis=1))
    digests = _digests(queries.take(pa.array(known)))
    order = np.argsort(digests[:, 0], kind="stable")
    return KnownVectors(digests[order], np.asarray(vectors[known[order]], np.float32))


def vectors_of_queries(
    known: KnownVectors, column: str, queries: pa.Array, given: pa.Array | None
) -> tuple[Float32, Int32]:
    """((V, D′) vectors, (n,) the one of each query, −1 for none): the vector that a request brings in the field
    `column`, a list of numbers as texts, or else that of a query of the log with the same text.

    Raises InputError for a vector of another length, or one that holds no finite number.
    """
    at = np.minimum(np.searchsorted(known.digests[:, 0], (digests := _digests(queries))[:, 0]), len(known.digests) - 1)
    rows = np.where((known.digests[at] == digests).all(axis=1), at, -1).astype(np.int32)
    brought = np.flatnonzero(given.is_valid().to_numpy(zero_copy_only=False)) if given is not None else np.empty(0, int)
    if given is None or not len(brought):
        return known.vectors, rows
    width = known.vectors.shape[1]
    vectors = np.stack([_read(column, value.as_py(), width) for value in given.take(pa.array(brought))])
    rows[brought] = np.where(vectors.any(axis=1), len(known.vectors) + np.arange(len(brought)), -1)
    return np.concatenate([known.vectors, vectors]), rows


def _read(column: str, numbers: list[str], width: int) -> Float32:
    """(D′,) the vector of a request."""
    try:
        vector = np.array(numbers, np.float32)
    except (TypeError, ValueError):
        vector = np.full(len(numbers), np.nan, np.float32)
    if len(vector) != width or not np.isfinite(vector).all():
        raise InputError(f"{column}: got {len(vector)} values such as {numbers[:2]}; expected {width} finite numbers")
    return vector


def _digests(queries: pa.Array) -> Digests:
    return text_digests(fold_queries(pc.fill_null(queries, "").cast(pa.large_string())))
