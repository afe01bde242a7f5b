"""Tables of vectors under bags: the weighted sum of a bag's rows, unit length, and the way back in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ebr_core.arrays import Float32, Int32
from ebr_core.parallel import parallel
from ebr_core.text.ngram_bags import Bags

UNSCALED = np.empty(0, np.float32)  # in place of scales where every row weighs 1


class Table(NamedTuple):
    """The vectors of a group's ids, and what the optimiser keeps."""

    table: Float32  # (rows, D)
    scales: Float32  # (rows,) learned weights of the ids; empty where they are not learned
    squares: Float32  # (rows,) of row-wise Adagrad
    scale_squares: Float32  # (rows,) or empty
    slot: Int32  # (rows,) scratch, all −1


def new_table(rows: int, dimensions: int, scaled: bool, rng: np.random.Generator) -> Table:
    """A table that has learned nothing: rows of standard normal numbers over √D, about of unit length.

    scaled: whether the weights of the ids are learned too.
    """
    table = rng.standard_normal((rows, dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    scales = np.ones(rows if scaled else 0, np.float32)
    return table_of(table, scales, np.zeros(rows, np.float32), np.zeros_like(scales))


def table_of(table: Float32, scales: Float32, squares: Float32, scale_squares: Float32) -> Table:
    """The table of those arrays, with the scratch that a step needs."""
    return Table(table, scales, squares, scale_squares, np.full(len(table), -1, np.int32))


@parallel("rows")
def embed_bags(table, scales, offsets, ids, weights, rows, vectors, norms):  # type: ignore[no-untyped-def]
    """Fills vectors (n, D) with the unit-length weighted sums of the bags at rows (n,), norms (n,) with their lengths.

    scales (table rows,), or empty for 1: what the weight of each row is multiplied with. An empty bag gives the zero
    vector, which is as far from everything as from nothing: cosine 0.
    """
    for at in prange(len(rows)):
        vector = vectors[at]
        vector[:] = 0
        for entry in range(offsets[rows[at]], offsets[rows[at] + 1]):
            row, weight = table[ids[entry]], weights[entry]
            if len(scales) > 0:
                weight = weight * scales[ids[entry]]
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
def to_units(vectors, norms):  # type: ignore[no-untyped-def]
    """Scales each of vectors (n, D) to unit length in place; norms (n,) takes what it was. Zero stays zero."""
    for at in prange(len(vectors)):
        _to_unit(vectors[at], norms, at)


@parallel("norms")
def normalize_backward(gradient, vectors, norms):  # type: ignore[no-untyped-def]
    """Turns ∂L/∂u into ∂L/∂x in place, u = x / ‖x‖: (g − (g·u) u) / ‖x‖; all (n, D) or (n,)."""
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
def _occurrences(offsets, ids, weights, rows, slot):  # type: ignore[no-untyped-def]
    """Turns the batch inside out: for each distinct id the bags that hold it, in order.

    slot (table rows,) comes and goes as −1.

    Returns (distinct ids (U,), starts (U + 1,), bag of each occurrence, weight of each occurrence).
    """
    total = 0
    for row in rows:
        total += offsets[row + 1] - offsets[row]
    distinct, counts, u = np.empty(total, np.int32), np.zeros(total + 1, np.int64), 0
    for row in rows:
        for entry in range(offsets[row], offsets[row + 1]):
            if slot[ids[entry]] < 0:
                slot[ids[entry]] = u
                distinct[u] = ids[entry]
                u += 1
            counts[slot[ids[entry]] + 1] += 1
    starts = np.cumsum(counts[: u + 1])
    fill, bag_of, weight_of = starts.copy(), np.empty(total, np.int32), np.empty(total, np.float32)
    for at in range(len(rows)):
        for entry in range(offsets[rows[at]], offsets[rows[at] + 1]):
            place = fill[slot[ids[entry]]]
            bag_of[place], weight_of[place] = at, weights[entry]
            fill[slot[ids[entry]]] += 1
    for at in range(u):
        slot[distinct[at]] = -1
    return distinct[:u], starts, bag_of, weight_of


@parallel("distinct")
def _update(table, squares, scales, scale_squares, rate, gradient, distinct, starts, bag_of, weight_of):  # type: ignore[no-untyped-def]
    """Row-wise Adagrad: one accumulator a row, of the mean squared gradient over its D coordinates.

    With scales, a row takes its gradient times its scale, and the scale takes a step of Adagrad of its own.
    """
    for u in prange(len(distinct)):
        total, row = np.zeros(table.shape[1], np.float32), table[distinct[u]]
        for at in range(starts[u], starts[u + 1]):
            part, weight = gradient[bag_of[at]], weight_of[at]
            for d in range(len(total)):
                total[d] += weight * part[d]
        if len(scales) > 0:
            by_scale, scale = np.float32(0), scales[distinct[u]]
            for d in range(len(total)):
                by_scale += total[d] * row[d]
                total[d] *= scale
            if by_scale != 0:
                scale_squares[distinct[u]] += by_scale * by_scale
                scales[distinct[u]] -= np.float32(rate) * by_scale / np.sqrt(scale_squares[distinct[u]])
        square = np.float32(0)
        for d in range(len(total)):
            square += total[d] * total[d]
        if square > 0:
            squares[distinct[u]] += square / np.float32(len(total))
            step = np.float32(rate) / np.sqrt(squares[distinct[u]])
            for d in range(len(total)):
                row[d] -= step * total[d]


def embed(table: Float32, bags: Bags, rows: Int32 | None = None, scales: Float32 = UNSCALED) -> Float32:
    """(n, D) unit vectors of the bags at rows (all, where rows is None)."""
    rows = np.arange(len(bags), dtype=np.int32) if rows is None else rows
    vectors = np.empty((len(rows), table.shape[1]), np.float32)
    norms = np.empty(len(rows), np.float32)
    embed_bags(table, scales, bags.offsets, bags.ids, bags.weights, rows, vectors, norms)
    return vectors


def adagrad_step(
    table: Float32,
    squares: Float32,
    slot: Int32,
    bags: Bags,
    rows: Int32,
    gradient: Float32,
    rate: float,
    scales: Float32 = UNSCALED,
    scale_squares: Float32 = UNSCALED,
) -> None:
    """One step of row-wise Adagrad on the table rows of the bags at rows, the same bytes for any number of threads.

    gradient (n, D) is ∂L/∂(the bag's sum); squares (table rows,) accumulates; slot (table rows,) is scratch, all −1.
    scales and scale_squares (table rows,), where the rows' weights are learnt too.
    """
    inside_out = _occurrences(bags.offsets, bags.ids, bags.weights, rows, slot)
    _update(table, squares, scales, scale_squares, rate, gradient, *inside_out)
