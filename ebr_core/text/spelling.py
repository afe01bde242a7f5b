"""Which words look like a misspelling of a known one: within edit distance 2, without comparing all pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from ebr_core.arrays import Bool, Int64

LONGEST = 40  # code points; what is longer is no word
_FILTER_BITS = 24


def near_known(words: pa.Array, known: pa.Array) -> Bool:
    """(n,): whether each word is within Levenshtein distance 2 of some known word.

    Two words are that near only if deleting at most two characters of each can make them equal, so the words' deletions
    are hashed and each known word's deletions looked up among them; what is found is then compared in full. Words of
    more than LONGEST code points are near to none.

    >>> near_known(pa.array(["jonh", "qqqq"]), pa.array(["john", "mary"]))
    array([ True, False])
    """
    points, offsets = _code_points(words)
    known_points, known_offsets = _code_points(known)
    found = np.zeros(len(words), bool)
    if len(words) and len(known):
        hashes, owners = _deletions(points, offsets)
        order = np.argsort(hashes, kind="stable")
        _look_up(points, offsets, hashes[order], owners[order], known_points, known_offsets, found)
    return found


def _code_points(words: pa.Array) -> tuple[npt.NDArray[np.uint32], Int64]:
    """All words' code points in a row, and where each word begins."""
    words = pa.concat_arrays([pc.cast(words, pa.large_string())])
    starts = np.frombuffer(words.buffers()[1], np.int64)[words.offset :]
    text = (words.buffers()[2] or pa.py_buffer(b"")).to_pybytes()[starts[0] : starts[len(words)]].decode()
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return points, np.concatenate([[0], np.cumsum(pc.utf8_length(words).to_numpy())]).astype(np.int64)


@njit(cache=True, inline="always")
def _hash(points, first, last, one, other):  # type: ignore[no-untyped-def]
    """Of the word points[first:last] without the two places; first − 1 is none."""
    value = np.uint64(1469598103934665603)
    for at in range(first, last):
        if at not in (one, other):
            value = (value ^ np.uint64(points[at] + 1)) * np.uint64(1099511628211)
            value ^= value >> np.uint64(29)
    return value


@njit(cache=True, nogil=True)
def _deletions(points, offsets):  # type: ignore[no-untyped-def]
    """(hashes, words they are of) of every word with none, one or two characters deleted."""
    total = 0
    for word in range(len(offsets) - 1):
        length = offsets[word + 1] - offsets[word]
        if length <= LONGEST:
            total += 1 + length + length * (length - 1) // 2
    hashes, owners, n = np.empty(total, np.uint64), np.empty(total, np.int64), 0
    for word in range(len(offsets) - 1):
        first, last = offsets[word], offsets[word + 1]
        if last - first > LONGEST:
            continue
        for one in range(first - 1, last):
            for other in range(one, last):  # the same place twice is one deletion
                if one < first and other >= first:
                    break  # without a first deletion there is no second
                hashes[n], owners[n] = _hash(points, first, last, one, other), word
                n += 1
    return hashes[:n], owners[:n]


@njit(cache=True, nogil=True)
def _look_up(points, offsets, hashes, owners, known_points, known_offsets, found):  # type: ignore[no-untyped-def]
    """Marks the words that a known word's deletions lead to and that are near it."""
    mask = np.uint64((1 << _FILTER_BITS) - 1)
    there = np.zeros(1 << _FILTER_BITS, np.bool_)  # most deletions of known words are nobody's: see that at a glance
    for value in hashes:
        there[value & mask] = True
    for word in range(len(known_offsets) - 1):
        first, last = known_offsets[word], known_offsets[word + 1]
        if last - first > LONGEST:
            continue
        for one in range(first - 1, last):
            for other in range(one, last):
                if one < first and other >= first:
                    break  # without a first deletion there is no second
                value = _hash(known_points, first, last, one, other)
                if not there[value & mask]:
                    continue
                at = np.searchsorted(hashes, value)
                while at < len(hashes) and hashes[at] == value:
                    owner = owners[at]
                    if not found[owner] and _near(
                        points[offsets[owner] : offsets[owner + 1]], known_points[first:last]
                    ):
                        found[owner] = True
                    at += 1


@njit(cache=True, nogil=True)
def _near(one, other):  # type: ignore[no-untyped-def]
    """Whether the Levenshtein distance of two words is at most 2."""
    if abs(len(one) - len(other)) > 2:
        return False
    line = np.arange(len(other) + 1)
    for i in range(len(one)):
        diagonal, line[0] = line[0], i + 1
        for j in range(len(other)):
            above = line[j + 1]
            line[j + 1] = min(min(above, line[j]) + 1, diagonal + (one[i] != other[j]))
            diagonal = above
    return line[len(other)] <= 2
