"""Losses and their gradients in one pass over the similarities, in place.

The same values as `ebr_core.training.losses`, which says what they mean, and where tests compare them. A step has B × M
similarities; each line of array code over them reads and writes megabytes. Here a row of them is read while it lies in
the first-level cache, and a row's gradient takes its place.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ebr_core.arrays import Bool, Float32
from ebr_core.parallel import parallel

# Sums in any order, so that they can be vectorised; the order does not depend on the threads. Not "ninf": a diverged
# arm's infinities have to come out as such.
_FAST = {"reassoc", "contract", "arcp", "nsz", "nnan"}
_LOG2_E, _LN_2 = np.float32(math.log2(math.e)), np.float32(math.log(2))
_LOWEST = np.float32(-87)  # e^x of less is no normal float
_SPAN = np.float32(80)  # where logits lie closer together, their greatest possible value serves as well as the greatest


class Pushed(NamedTuple):
    """A loss, and where it leads; ∂loss/∂(negatives' similarities) stands where the similarities stood."""

    loss: float  # mean over the batch
    active: float  # share of the counted negatives that push
    negative_cosine: float  # mean of the counted negatives
    by_positive: Float32  # (B,) ∂loss/∂(positive's similarity)


@njit(cache=True, inline="always", fastmath=_FAST)
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x for x ≤ 80, to 3e-6 of itself, in operations that vectorise: 2^n e^r, |r| ≤ ln 2 / 2, e^r by its series."""
    x = x if x > _LOWEST else _LOWEST
    twos = x * _LOG2_E
    exponent = np.int32(twos + np.float32(127.5))  # n + 127 > 0, rounded
    r = (twos - np.float32(exponent - np.int32(127))) * _LN_2
    series = np.float32(1 / 720)
    series = series * r + np.float32(1 / 120)
    series = series * r + np.float32(1 / 24)
    series = series * r + np.float32(1 / 6)
    series = series * r + np.float32(1 / 2)
    series = series * r + np.float32(1)
    series = series * r + np.float32(1)
    return series * np.int32(exponent << np.int32(23)).view(np.float32)


@parallel("similarity", fastmath=_FAST)
def _softmax(similarity, positive, counts, offsets, own_offsets, scale, told, by_positive):  # type: ignore[no-untyped-def]
    """told (B, 4) gets each row's loss, active and counted negatives and the sum of their similarities."""
    b, m = similarity.shape
    ceiling, floor = _range(offsets, own_offsets, scale)
    for i in prange(b):
        row, count = similarity[i], counts[i]
        own = positive[i] * scale + own_offsets[i]
        top = ceiling if ceiling - floor < _SPAN else _near_top(row, count, offsets, scale, own)
        total, shown, counted = np.float32(0), np.float32(0), np.float32(0)
        for j in range(m):
            here = np.float32(1) if count[j] else np.float32(0)
            counted += here
            shown += here * row[j]
            value = _exp(row[j] * scale + offsets[j] - top) if count[j] else np.float32(0)
            row[j] = value
            total += value
        kept = total + _exp(own - top)
        step, bound, active = scale / (kept * np.float32(b)), np.float32(0.01) * kept, np.float32(0)
        for j in range(m):
            active += np.float32(1) if row[j] > bound else np.float32(0)
            row[j] *= step
        told[i, 0] = np.log(kept) + top - own
        told[i, 1], told[i, 2], told[i, 3] = active, counted, shown
        by_positive[i] = -total * step


@njit(cache=True, fastmath=_FAST)
def _range(offsets, own_offsets, scale):  # type: ignore[no-untyped-def]
    """(most, least) that a logit of a cosine can be."""
    most, least = np.float32(0), np.float32(0)
    for some in (offsets, own_offsets):
        for offset in some:
            most = offset if offset > most else most
            least = offset if offset < least else least
    return most + np.float32(1.01) * scale, least - np.float32(1.01) * scale


@njit(cache=True, inline="always", fastmath=_FAST)
def _near_top(row, count, offsets, scale, own):  # type: ignore[no-untyped-def]
    """A number within 1 of a row's greatest logit: the maximum of integers is what vectorises."""
    whole = np.int32(own)
    for j in range(len(row)):
        whole = max(whole, np.int32(row[j] * scale + offsets[j]) if count[j] else np.int32(own))
    return np.float32(whole)


@parallel("similarity", fastmath=_FAST)
def _triplet(similarity, positive, counts, margin, told, by_positive):  # type: ignore[no-untyped-def]
    b, m = similarity.shape
    push = np.float32(1) / np.float32(b)
    for i in prange(b):
        row, count, bound = similarity[i], counts[i], positive[i] - margin
        loss, active, counted, shown = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for j in range(m):
            here = np.float32(1) if count[j] else np.float32(0)
            counted += here
            shown += here * row[j]
            violation = here * (row[j] - bound)
            pushes = np.float32(1) if violation > 0 else np.float32(0)
            loss += pushes * violation
            active += pushes
            row[j] = pushes * push
        told[i, 0], told[i, 1], told[i, 2], told[i, 3] = loss, active, counted, shown
        by_positive[i] = -active * push


def softmax_in_place(
    similarity: Float32, positive: Float32, counts: Bool, temperature: float, offsets: Float32, own_offsets: Float32
) -> Pushed:
    """What `losses.softmax` gives for logits similarity / temperature + offsets; the matrix becomes its gradient.

    similarity (B, M), positive (B,), counts (B, M) which negatives count; offsets (M,) and own_offsets (B,) are added
    to the logits of the negatives and of the positives: zeros, or −α log q [Yi et al. 2019].
    """
    told, by_positive = np.empty((len(positive), 4), np.float32), np.empty(len(positive), np.float32)
    _softmax(similarity, positive, counts, offsets, own_offsets, np.float32(1 / temperature), told, by_positive)
    return _summed(told, by_positive)


def triplet_in_place(similarity: Float32, positive: Float32, counts: Bool, margin: float) -> Pushed:
    """What `losses.triplet` gives; the matrix (B, M) becomes its gradient."""
    told, by_positive = np.empty((len(positive), 4), np.float32), np.empty(len(positive), np.float32)
    _triplet(similarity, positive, counts, np.float32(margin), told, by_positive)
    return _summed(told, by_positive)


def _summed(told: Float32, by_positive: Float32) -> Pushed:
    loss, active, counted, shown = told.sum(0, dtype=np.float64)
    counted = max(1, counted)
    return Pushed(float(loss / len(told)), float(active / counted), float(shown / counted), by_positive)


@parallel("counts")
def choose_in_batch(similarity, allowed, ring, hard, counts):  # type: ignore[no-untyped-def]
    """Fills counts (B, B): the next `ring` documents of the batch, round its end, and the `hard` nearest, of those
    allowed (B, B). [EBR §6.1.1]

    Of equally near ones the first. Where every other document serves, ring = B − 1, counts is allowed: nothing to call.
    """
    b = len(counts)
    for i in prange(b):
        for j in range(b):
            ahead = j - i if j >= i else j - i + b
            counts[i, j] = allowed[i, j] and 0 < ahead <= ring
        best, columns, found = np.empty(hard, np.float32), np.empty(hard, np.int64), 0
        for j in range(b if hard else 0):
            if not allowed[i, j] or (found == hard and similarity[i, j] <= best[hard - 1]):
                continue
            found = min(found + 1, hard)
            at = found - 1
            while at > 0 and best[at - 1] < similarity[i, j]:
                best[at], columns[at] = best[at - 1], columns[at - 1]
                at -= 1
            best[at], columns[at] = similarity[i, j], j
        for at in range(found):
            counts[i, columns[at]] = True
