"""Losses and their gradients in one pass over the similarities, in place.

They give the same values as `ebr_core.training.losses`, which documents them; tests compare the two. A step has B × M
similarities, and each line of array code over them reads and writes megabytes. Here each row is read while it is in the
first-level cache, and its gradient overwrites it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from ebr_core.arrays import Bool, Float32
from ebr_core.parallel import parallel

# Sums in any order, so that they can be vectorised; the order does not depend on the threads. Not "ninf": the
# infinities of a diverged arm must be preserved.
_FAST = {"reassoc", "contract", "arcp", "nsz", "nnan"}
_LOG2_E, _LN_2 = np.float32(math.log2(math.e)), np.float32(math.log(2))
_LOWEST = np.float32(-87)  # below it, e^x is not a normal float
_SPAN = np.float32(80)  # within this range, the greatest possible logit serves as well as the greatest one


class FusedLoss(NamedTuple):
    """A loss and its gradient; ∂loss/∂(negatives' similarities) has overwritten the similarities."""

    loss: float  # mean over the batch, each pair's times its weight
    active: float  # share of the counted negatives that are active
    negative_cosine: float  # mean over the counted negatives
    by_positive: Float32  # (B,) ∂loss/∂(positive's similarity)


@njit(cache=True, inline="always", fastmath=_FAST)
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x for x ≤ 80, with relative error 3e-6, in operations that vectorise: 2^n e^r, |r| ≤ ln 2 / 2, e^r as a
    series."""
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


@njit(cache=True)
def _times(value, weight):  # type: ignore[no-untyped-def]
    """value · weight, rounded as one product, because a weight of 1 must change no byte: sums in any order could join
    the weight to other factors."""
    return value * weight


@parallel("similarity", fastmath=_FAST)
def _softmax(  # type: ignore[no-untyped-def]
    similarity, positive, negative_mask, negative_logit_shift, positive_logit_shift, scale, weights, stats, by_positive
):
    """Fill stats (B, 4) with each row's loss, active negatives, counted negatives and sum of their similarities."""
    b, m = similarity.shape
    ceiling, floor = _range(negative_logit_shift, positive_logit_shift, scale)
    for i in prange(b):
        row, mask = similarity[i], negative_mask[i]
        positive_logit = positive[i] * scale + positive_logit_shift[i]
        top = ceiling if ceiling - floor < _SPAN else _near_top(row, mask, negative_logit_shift, scale, positive_logit)
        total, cosine_sum, negative_count = np.float32(0), np.float32(0), np.float32(0)
        for j in range(m):
            used = np.float32(1) if mask[j] else np.float32(0)
            negative_count += used
            cosine_sum += used * row[j]
            value = _exp(row[j] * scale + negative_logit_shift[j] - top) if mask[j] else np.float32(0)
            row[j] = value
            total += value
        normaliser = total + _exp(positive_logit - top)
        step = _times(scale / (normaliser * np.float32(b)), weights[i])
        bound, active = np.float32(0.01) * normaliser, np.float32(0)
        for j in range(m):
            active += np.float32(1) if row[j] > bound else np.float32(0)
            row[j] *= step
        stats[i, 0] = _times(np.log(normaliser) + top - positive_logit, weights[i])
        stats[i, 1], stats[i, 2], stats[i, 3] = active, negative_count, cosine_sum
        by_positive[i] = -total * step


@njit(cache=True, fastmath=_FAST)
def _range(negative_logit_shift, positive_logit_shift, scale):  # type: ignore[no-untyped-def]
    """(greatest, least) possible logit of a cosine."""
    greatest, least = np.float32(0), np.float32(0)
    for shifts in (negative_logit_shift, positive_logit_shift):
        for shift in shifts:
            greatest = shift if shift > greatest else greatest
            least = shift if shift < least else least
    return greatest + np.float32(1.01) * scale, least - np.float32(1.01) * scale


@njit(cache=True, inline="always", fastmath=_FAST)
def _near_top(row, mask, negative_logit_shift, scale, positive_logit):  # type: ignore[no-untyped-def]
    """A number within 1 of a row's greatest logit: a maximum of integers, which vectorises."""
    integer = np.int32(positive_logit)
    for j in range(len(row)):
        integer = max(
            integer, np.int32(row[j] * scale + negative_logit_shift[j]) if mask[j] else np.int32(positive_logit)
        )
    return np.float32(integer)


@parallel("similarity", fastmath=_FAST)
def _triplet(similarity, positive, negative_mask, margin, weights, stats, by_positive):  # type: ignore[no-untyped-def]
    b, m = similarity.shape
    for i in prange(b):
        step = _times(np.float32(1) / np.float32(b), weights[i])
        row, mask, bound = similarity[i], negative_mask[i], positive[i] - margin
        loss, active, negative_count, cosine_sum = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for j in range(m):
            used = np.float32(1) if mask[j] else np.float32(0)
            negative_count += used
            cosine_sum += used * row[j]
            violation = used * (row[j] - bound)
            is_active = np.float32(1) if violation > 0 else np.float32(0)
            loss += is_active * violation
            active += is_active
            row[j] = is_active * step
        stats[i, 0] = _times(loss, weights[i])
        stats[i, 1], stats[i, 2], stats[i, 3] = active, negative_count, cosine_sum
        by_positive[i] = -active * step


def softmax_in_place(
    similarity: Float32,
    positive: Float32,
    negative_mask: Bool,
    temperature: float,
    negative_logit_shift: Float32,
    positive_logit_shift: Float32,
    weights: Float32 | None = None,
) -> FusedLoss:
    """The result of `losses.softmax` for logits similarity / temperature + shift; the matrix becomes its gradient.

    similarity (B, M), positive (B,), negative_mask (B, M) True for negatives that count; negative_logit_shift (M,) and
    positive_logit_shift (B,) are added to the logits: zeros, or −α log q [Yi et al. 2019]. weights (B,): of the pairs.
    """
    stats, by_positive = np.empty((len(positive), 4), np.float32), np.empty(len(positive), np.float32)
    _softmax(
        similarity, positive, negative_mask, negative_logit_shift, positive_logit_shift, np.float32(1 / temperature),
        _given(weights, len(positive)), stats, by_positive,
    )  # fmt: skip
    return _mean_loss(stats, by_positive)


def triplet_in_place(
    similarity: Float32, positive: Float32, negative_mask: Bool, margin: float, weights: Float32 | None = None
) -> FusedLoss:
    """The result of `losses.triplet`; the matrix (B, M) becomes its gradient. weights (B,): of the pairs."""
    stats, by_positive = np.empty((len(positive), 4), np.float32), np.empty(len(positive), np.float32)
    _triplet(
        similarity, positive, negative_mask, np.float32(margin), _given(weights, len(positive)), stats, by_positive
    )
    return _mean_loss(stats, by_positive)


def _given(weights: Float32 | None, pairs: int) -> Float32:
    """The weights, or weights of 1: a kernel that is compiled once has one rounding."""
    return np.ones(pairs, np.float32) if weights is None else weights


def _mean_loss(stats: Float32, by_positive: Float32) -> FusedLoss:
    loss, active, negative_count, cosine_sum = stats.sum(0, dtype=np.float64)
    negative_count = max(1, negative_count)
    return FusedLoss(
        float(loss / len(stats)), float(active / negative_count), float(cosine_sum / negative_count), by_positive
    )


@parallel("negative_mask")
def choose_in_batch(similarity, allowed, ring, hard, negative_mask):  # type: ignore[no-untyped-def]
    """Fill negative_mask (B, B): the next `ring` documents of the batch, cyclically, and the `hard` nearest, of those
    allowed (B, B). [EBR §6.1.1]

    Of equally near documents the first is taken. With ring = B − 1 the result is `allowed`, and no call is needed.
    """
    b = len(negative_mask)
    for i in prange(b):
        for j in range(b):
            ahead = j - i if j >= i else j - i + b
            negative_mask[i, j] = allowed[i, j] and 0 < ahead <= ring
        best, columns, size = np.empty(hard, np.float32), np.empty(hard, np.int64), 0
        for j in range(b if hard else 0):
            if not allowed[i, j] or (size == hard and similarity[i, j] <= best[hard - 1]):
                continue
            size = min(size + 1, hard)
            pos = size - 1
            while pos > 0 and best[pos - 1] < similarity[i, j]:
                best[pos], columns[pos] = best[pos - 1], columns[pos - 1]
                pos -= 1
            best[pos], columns[pos] = similarity[i, j], j
        for pos in range(size):
            negative_mask[i, columns[pos]] = True
