"""Words within edit distance 2 of a known word, which are likely misspellings, found without comparing all pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from ebr_core.arrays import Bool, Int64

LONGEST = 40  # code points; longer strings are not words
_FILTER_BITS = 24


def near_known(words: pa.Array, known_words: pa.Array) -> Bool:
    """(n,) True where a word is within Levenshtein distance 2 of some known word.

    Two words are that near only if deleting at most two characters of each can make them equal. So the words' deletions
    are hashed, each known word's deletions are looked up among them, and the matches are compared in full. A word of
    more than LONGEST code points is near no word.

    >>> near_known(pa.array(["jonh", "qqqq"]), pa.array(["john", "mary"]))
    array([ True, False])
    """
    points, offsets = _code_points(words)
    known_points, known_offsets = _code_points(known_words)
    is_near = np.zeros(len(words), bool)
    if len(words) and len(known_words):
        hashes, owners = _deletions(points, offsets)
        order = np.argsort(hashes, kind="stable")
        _look_up(points, offsets, hashes[order], owners[order], known_points, known_offsets, is_near)
    return is_near


def _code_points(words: pa.Array) -> tuple[npt.NDArray[np.uint32], Int64]:
    """(the code points of all words in a row, offsets (n + 1,) where each word begins)."""
    words = pa.concat_arrays([pc.cast(words, pa.large_string())])
    starts = np.frombuffer(words.buffers()[1], np.int64)[words.offset :]
    text = (words.buffers()[2] or pa.py_buffer(b"")).to_pybytes()[starts[0] : starts[len(words)]].decode()
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return points, np.concatenate([[0], np.cumsum(pc.utf8_length(words).to_numpy())]).astype(np.int64)


@njit(cache=True, inline="always")
def _hash(points, first, last, first_deleted, second_deleted):  # type: ignore[no-untyped-def]
    """The hash of the word points[first:last] without the characters at two positions; first − 1 deletes none."""
    value = np.uint64(1469598103934665603)
    for at in range(first, last):
        if at not in (first_deleted, second_deleted):
            value = (value ^ np.uint64(points[at] + 1)) * np.uint64(1099511628211)
            value ^= value >> np.uint64(29)
    return value


@njit(cache=True, nogil=True)
def _deletions(points, offsets):  # type: ignore[no-untyped-def]
    """(hashes, their words) of every word with none, one or two characters deleted."""
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
        for first_deleted in range(first - 1, last):
            for second_deleted in range(first_deleted, last):  # the same place twice is one deletion
                if first_deleted < first and second_deleted >= first:
                    break  # without a first deletion there is no second
                hashes[n], owners[n] = _hash(points, first, last, first_deleted, second_deleted), word
                n += 1
    return hashes[:n], owners[:n]


@njit(cache=True, nogil=True)
def _look_up(points, offsets, hashes, owners, known_points, known_offsets, is_near):  # type: ignore[no-untyped-def]
    """Mark the words that share a deletion with a known word and are near it."""
    mask = np.uint64((1 << _FILTER_BITS) - 1)
    filter_bits = np.zeros(1 << _FILTER_BITS, np.bool_)  # rejects most deletions of known words without a search
    for value in hashes:
        filter_bits[value & mask] = True
    for word in range(len(known_offsets) - 1):
        first, last = known_offsets[word], known_offsets[word + 1]
        if last - first > LONGEST:
            continue
        for first_deleted in range(first - 1, last):
            for second_deleted in range(first_deleted, last):
                if first_deleted < first and second_deleted >= first:
                    break  # without a first deletion there is no second
                value = _hash(known_points, first, last, first_deleted, second_deleted)
                if not filter_bits[value & mask]:
                    continue
                at = np.searchsorted(hashes, value)
                while at < len(hashes) and hashes[at] == value:
                    owner = owners[at]
                    if not is_near[owner] and _near(
                        points[offsets[owner] : offsets[owner + 1]], known_points[first:last]
                    ):
                        is_near[owner] = True
                    at += 1


@njit(cache=True, nogil=True)
def _near(word, known_word):  # type: ignore[no-untyped-def]
    """True if the Levenshtein distance of two words is at most 2."""
    if abs(len(word) - len(known_word)) > 2:
        return False
    line = np.arange(len(known_word) + 1)
    for i in range(len(word)):
        diagonal, line[0] = line[0], i + 1
        for j in range(len(known_word)):
            above = line[j + 1]
            line[j + 1] = min(min(above, line[j]) + 1, diagonal + (word[i] != known_word[j]))
            diagonal = above
    return line[len(known_word)] <= 2
