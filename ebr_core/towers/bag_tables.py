"""Tables of vectors for bags: the unit-length weighted sum of a bag's rows, and its gradient in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ebr_core.arrays import Float32, Int32
from ebr_core.parallel import parallel
from ebr_core.text.ngram_bags import Bags

UNWEIGHTED = np.empty(0, np.float32)  # token weights of a table whose rows all weigh 1


class Table(NamedTuple):
    """The vectors of a group's ids, and the state of their optimiser. All names but the last are names on disk."""

    table: Float32  # (rows, D)
    scales: Float32  # (rows,) learned weights of the ids; empty if they are not learned
    squares: Float32  # (rows,) sums of row-wise Adagrad
    scale_squares: Float32  # (rows,) sums of the Adagrad over scales, or empty
    scratch_slots: Int32  # (rows,) scratch, all −1


def new_table(rows: int, dimensions: int, learn_weights: bool, rng: np.random.Generator) -> Table:
    """An untrained table: rows of standard normal numbers over √D, of about unit length.

    learn_weights: True if the weights of the ids are learned too.
    """
    table = rng.standard_normal((rows, dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    scales = np.ones(rows if learn_weights else 0, np.float32)
    return make_table(table, scales, np.zeros(rows, np.float32), np.zeros_like(scales))


def make_table(table: Float32, scales: Float32, squares: Float32, scale_squares: Float32) -> Table:
    """The table of these arrays, with the scratch array that a step needs."""
    return Table(table, scales, squares, scale_squares, np.full(len(table), -1, np.int32))


@parallel("rows")
def embed_bags(table, token_weights, offsets, ids, weights, rows, vectors, norms):  # type: ignore[no-untyped-def]
    """Fill vectors (n, D) with the unit-length weighted sums of the bags at rows (n,), norms (n,) with their lengths.

    token_weights (table rows,) multiply the weight of each row; empty for 1. An empty bag gives the zero vector, whose
    cosine with every vector is 0.
    """
    for at in prange(len(rows)):
        vector = vectors[at]
        vector[:] = 0
        for entry in range(offsets[rows[at]], offsets[rows[at] + 1]):
            row, weight = table[ids[entry]], weights[entry]
            if len(token_weights) > 0:
                weight = weight * token_weights[ids[entry]]
            for d in range(len(vector)):
                vector[d] += weight * row[d]
        _to_unit(vector, norms, at)


@njit(cache=True, nogil=True, inline="always")
def _to_unit(vector, norms, at):  # type: ignore[no-untyped-def]
    square = np.float32(0)
    for d in range(len(vector)):
        square += vector[d] * vector[d]
    norms[at] = np.sqrt(square)
    if square > 0:
        scale = np.float32(1) / norms[at]
        for d in range(len(vector)):
            vector[d] *= scale


@parallel("vectors")
def normalize_rows(vectors, norms):  # type: ignore[no-untyped-def]
    """Scale each of the vectors (n, D) to unit length in place, its old length into norms (n,). Zero stays zero."""
    for at in prange(len(vectors)):
        _to_unit(vectors[at], norms, at)


@parallel("norms")
def normalize_backward(gradient, vectors, norms):  # type: ignore[no-untyped-def]
    """Turn ∂L/∂u into ∂L/∂x in place, u = x / ‖x‖: (g − (g·u) u) / ‖x‖. gradient and vectors (n, D), norms (n,)."""
    for at in prange(len(norms)):
        if norms[at] == 0:
            gradient[at] = 0
            continue
        along = np.float32(0)
        for d in range(gradient.shape[1]):
            along += gradient[at, d] * vectors[at, d]
        for d in range(gradient.shape[1]):
            gradient[at, d] = (gradient[at, d] - along * vectors[at, d]) / norms[at]


@njit(cache=True, nogil=True)
def _occurrences(offsets, ids, weights, rows, scratch_slots):  # type: ignore[no-untyped-def]
    """(distinct ids (U,), starts (U + 1,), bag of each occurrence, weight of each occurrence) of a batch.

    Occurrences are grouped by id and in order of bag. scratch_slots (table rows,) is all −1 before and after.
    """
    total = 0
    for row in rows:
        total += offsets[row + 1] - offsets[row]
    distinct, counts, u = np.empty(total, np.int32), np.zeros(total + 1, np.int64), 0
    for row in rows:
        for entry in range(offsets[row], offsets[row + 1]):
            if scratch_slots[ids[entry]] < 0:
                scratch_slots[ids[entry]] = u
                distinct[u] = ids[entry]
                u += 1
            counts[scratch_slots[ids[entry]] + 1] += 1
    starts = np.cumsum(counts[: u + 1])
    fill, bag_of, weight_of = starts.copy(), np.empty(total, np.int32), np.empty(total, np.float32)
    for at in range(len(rows)):
        for entry in range(offsets[rows[at]], offsets[rows[at] + 1]):
            pos = fill[scratch_slots[ids[entry]]]
            bag_of[pos], weight_of[pos] = at, weights[entry]
            fill[scratch_slots[ids[entry]]] += 1
    for at in range(u):
        scratch_slots[distinct[at]] = -1
    return distinct[:u], starts, bag_of, weight_of


@parallel("distinct")
def _update(table, adagrad_sum, token_weights, weight_adagrad_sum, rate, gradient, distinct, starts, bag_of, weight_of):  # type: ignore[no-untyped-def]
    """Row-wise Adagrad: one accumulator per row, of the mean squared gradient over its D coordinates.

    With token weights, a row's gradient is multiplied by its token weight, which takes an Adagrad step of its own.
    """
    for u in prange(len(distinct)):
        total, row = np.zeros(table.shape[1], np.float32), table[distinct[u]]
        for at in range(starts[u], starts[u + 1]):
            by_bag, weight = gradient[bag_of[at]], weight_of[at]
            for d in range(len(total)):
                total[d] += weight * by_bag[d]
        if len(token_weights) > 0:
            by_weight, token_weight = np.float32(0), token_weights[distinct[u]]
            for d in range(len(total)):
                by_weight += total[d] * row[d]
                total[d] *= token_weight
            if by_weight != 0:
                weight_adagrad_sum[distinct[u]] += by_weight * by_weight
                token_weights[distinct[u]] -= np.float32(rate) * by_weight / np.sqrt(weight_adagrad_sum[distinct[u]])
        square = np.float32(0)
        for d in range(len(total)):
            square += total[d] * total[d]
        if square > 0:
            adagrad_sum[distinct[u]] += square / np.float32(len(total))
            step = np.float32(rate) / np.sqrt(adagrad_sum[distinct[u]])
            for d in range(len(total)):
                row[d] -= step * total[d]


def embed(table: Float32, bags: Bags, rows: Int32 | None = None, token_weights: Float32 = UNWEIGHTED) -> Float32:
    """(n, D) unit vectors of the bags at rows, of all bags if rows is None."""
    rows = np.arange(len(bags), dtype=np.int32) if rows is None else rows
    vectors = np.empty((len(rows), table.shape[1]), np.float32)
    norms = np.empty(len(rows), np.float32)
    embed_bags(table, token_weights, bags.offsets, bags.ids, bags.weights, rows, vectors, norms)
    return vectors


def adagrad_step(
    table: Float32,
    adagrad_sum: Float32,
    scratch_slots: Int32,
    bags: Bags,
    rows: Int32,
    gradient: Float32,
    rate: float,
    token_weights: Float32 = UNWEIGHTED,
    weight_adagrad_sum: Float32 = UNWEIGHTED,
) -> None:
    """Take one step of row-wise Adagrad on the table rows of the bags at rows; the same bytes for any thread count.

    gradient (n, D) is ∂L/∂(the bag's sum); adagrad_sum (table rows,) accumulates; scratch_slots (table rows,) is all
    −1. token_weights and weight_adagrad_sum (table rows,) are given if the rows' weights are learned too.
    """
    occurrences = _occurrences(bags.offsets, bags.ids, bags.weights, rows, scratch_slots)
    _update(table, adagrad_sum, token_weights, weight_adagrad_sum, rate, gradient, *occurrences)
