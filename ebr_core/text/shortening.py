"""Titles as somebody might type them: words left out, and the last word cut short.

How often each happens is assumed: no log shows titles and queries that mean the same document by name alone.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, prange

from ebr_core.parallel import parallel
from ebr_core.text.folding import SEPARATOR, letter_classes
from ebr_core.text.ngram_hashing import _mix
from ebr_core.text.typos import _compact, _decode, _encode, _uniform, utf8_of

WHOLE = 0.5  # share of titles that keep all their words; of the others, each word is kept with probability ½
CUT = 0.25  # share of titles whose last word is cut
SHORTEST = 3  # letters that a cut word keeps at least


def shorten(texts: pa.Array, seed: int) -> pa.Array:
    """The texts with some words left out, at least one kept, and the last word of some cut to its first letters.

    Words are runs of letters, marks and digits. The same seed gives the same texts.

    >>> shorten(pa.array(["Red shoes, size 42", "hat"]), seed=2).to_pylist()
    ['Red size 42', 'hat']
    """
    data, offsets = utf8_of(texts)
    key = np.random.default_rng([seed, 5]).integers(0, 2**63, dtype=np.uint64)
    counts, slots = _shorten(data, offsets, letter_classes(), key)
    ends = np.concatenate([[0], np.cumsum(counts)])
    output = np.empty(ends[-1], np.uint8)
    _compact(slots, offsets[:-1] - offsets[0], ends, output)
    return pc.cast(pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(output)), texts.type)


@parallel("offsets")
def _shorten(data, offsets, classes, key):  # type: ignore[no-untyped-def]
    """(bytes of each text (n,), the texts, each in a slot of its old size)."""
    counts = np.empty(len(offsets) - 1, np.int64)
    slots = np.empty(offsets[-1] - offsets[0], np.uint8)
    for text in prange(len(counts)):
        first, last = offsets[text], offsets[text + 1]
        points = np.empty(last - first, np.int32)
        n = _decode(data[first:last], points)
        state = np.array([_mix(key + np.uint64(text))])
        if _uniform(state) >= WHOLE:
            n = _drop_words(points, n, classes, state)
        if _uniform(state) < CUT:
            n = _cut_last_word(points, n, classes, state)
        slot = first - offsets[0]
        counts[text] = _encode(points[:n], slots[slot : slot + last - first])
    return counts, slots


@njit(cache=True, nogil=True)
def _drop_words(points, n, classes, state):  # type: ignore[no-untyped-def]
    """Leave out words of n code points in place, and return how many code points are left."""
    words = 0
    for at in range(n):
        words += classes[points[at]] != SEPARATOR and (at == 0 or classes[points[at - 1]] == SEPARATOR)
    kept_word = int(_uniform(state) * words)
    written, word, start = 0, 0, 0
    while start < n:
        end = start
        while end < n and classes[points[end]] != SEPARATOR:
            end += 1
        if end > start:
            if (_uniform(state) < 0.5) | (word == kept_word):
                if written:
                    points[written] = 0x20
                    written += 1
                for at in range(start, end):
                    points[written] = points[at]
                    written += 1
            word += 1
        start = max(end, start + 1)
    return written


@njit(cache=True, nogil=True)
def _cut_last_word(points, n, classes, state):  # type: ignore[no-untyped-def]
    """The number of code points up to a cut in the last word; n if the word is too short to be cut."""
    end = n
    while end > 0 and classes[points[end - 1]] == SEPARATOR:
        end -= 1
    start = end
    while start > 0 and classes[points[start - 1]] != SEPARATOR:
        start -= 1
    if end - start <= SHORTEST:
        return n
    return start + SHORTEST + int(_uniform(state) * (end - start - SHORTEST))
