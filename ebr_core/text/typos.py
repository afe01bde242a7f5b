"""Misspelt copies of queries: one letter of one word wrong, or of each of two, by the measured mix of mistakes. [B12]

An edit is an omission, an insertion, a substitution or a transposition [Damerau 1964]. What is struck in place of a
letter lies beside it on a QWERTY keyboard, or is another vowel. Any script: letters that lie on no such keyboard are
left out, doubled or swapped alone.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, prange
from pydantic import Field, model_validator

from ebr_core.arrays import Int32, Int64
from ebr_core.frozen import Frozen
from ebr_core.parallel import parallel
from ebr_core.text.ngram_hashing import SEPARATOR, _classes, _mix

SHORTEST = 3  # words of fewer letters are not misspelt
KEYS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")  # QWERTY for everybody
VOWELS = "aeiou"
OMISSION, INSERTION, SUBSTITUTION, TRANSPOSITION = range(4)
_LATIN = (*range(0x250), *range(0x1E00, 0x1F00))  # code points whose plain letter may lie on the keyboard
_GROWTH = 8  # bytes that two edits add to a text, at most

Rate = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]


class Typos(Frozen):
    """P(letters typed | words meant)."""

    rate: Rate = Field(0.12, description="texts that are misspelt: 10–15 % of queries [Cucerzan & Brill 2004]")
    second: Rate = Field(0.2, description="of the misspelt, with two edits, in two words: 80 % have one [Damerau 1964]")
    first_letter: Rate = Field(0.033, description="edits at the first letter of a word [Pollock & Zamora 1984]")
    omission: Weight = Field(0.35, description="weight; commonest [order: Pollock & Zamora 1983]; share assumed")
    insertion: Weight = Field(0.27, description="weight; share assumed")
    substitution: Weight = Field(0.25, description="weight; share assumed")
    transposition: Weight = Field(0.13, description="weight; share assumed")
    doubling: Rate = Field(
        0.5, description="of insertions, a doubled letter, their main cause [Pollock & Zamora 1983]; share assumed"
    )

    @model_validator(mode="after")
    def _some_edit_of_any_letter(self) -> Typos:
        if self.omission + self.insertion + self.transposition <= 0:
            raise ValueError(
                "omission, insertion and transposition are all 0: letters that lie on no keyboard could not be "
                "misspelt; give one of them a weight"
            )
        return self


class _Keyboard(NamedTuple):
    """What may be struck in place of each code point."""

    place: Int32  # (0x110000,) row of a code point in struck, −1 where it has none
    struck: Int32  # (letters, 14) code points
    counts: Int64  # (letters,)


def keys_beside(letter: str) -> set[str]:
    """The keys beside a plain letter's, and for a vowel the other vowels, which are most often confused; none for what
    lies on no key. [Yannakoudakis & Fawthrop 1983]

    >>> "".join(sorted(keys_beside("k"))), "".join(sorted(keys_beside("é")))
    ('ijlmo', '')
    """
    place = {c: (row, column + row * 0.5) for row, keys in enumerate(KEYS) for column, c in enumerate(keys)}
    if letter not in place:
        return set()
    row, column = place[letter]
    found = {c for c, (r, x) in place.items() if abs(r - row) <= 1 and abs(x - column) <= 1 and r > 0}
    return (found | set(VOWELS if letter in VOWELS else "")) - {letter}


@functools.cache
def _keyboard() -> _Keyboard:
    """An accented letter has the neighbours of its plain one, and that one; a capital letter has capitals."""
    place = np.full(0x110000, -1, np.int32)
    rows: list[list[int]] = []
    for point in _LATIN:
        letter = chr(point)
        plain = unicodedata.normalize("NFKD", letter)[0]
        found = keys_beside(plain.lower())
        if not found:
            continue
        found |= {plain.lower()} if plain != letter else set()
        place[point] = len(rows)
        rows.append(sorted(ord(key.upper() if plain.isupper() else key) for key in found))
    struck = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, points in enumerate(rows):
        struck[row, : len(points)] = points
    return _Keyboard(place, struck, np.array([len(points) for points in rows]))


def misspell(texts: pa.Array, typos: Typos, seed: int) -> pa.Array:
    """The texts, of which a share `rate` has one or two words misspelt; the rest, and null, as they are.

    Words, as `hash_texts` sees them, are chosen by their length, those under SHORTEST letters never, so that a text
    without a longer one stays. A chosen word always changes. The same seed gives the same texts.

    >>> misspell(pa.array(["hello, hello", "a b", None]), Typos(rate=1, second=0), seed=0).to_pylist()
    ['helo, hello', 'a b', None]
    """
    whole = pc.fill_null(pc.cast(texts, pa.large_string()), "")
    whole = pa.concat_arrays([whole])
    offsets = np.frombuffer(whole.buffers()[1], np.int64)[whole.offset : whole.offset + len(whole) + 1]
    data = np.frombuffer(whole.buffers()[2] or b"", np.uint8)
    shares = np.array([typos.omission, typos.insertion, typos.substitution, typos.transposition])
    mix = (typos.rate, typos.second, typos.first_letter, typos.doubling)
    key = np.random.default_rng([seed, 4]).integers(0, 2**63, dtype=np.uint64)
    counts, slots = _misspell(data, offsets, _classes(), _keyboard(), mix, shares, key, _GROWTH)
    ends = np.concatenate([[0], np.cumsum(counts)])
    typed = np.empty(ends[-1], np.uint8)
    _compact(slots, offsets - offsets[0] + _GROWTH * np.arange(len(offsets)), ends, typed)
    found = pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(typed))
    return pc.cast(pc.if_else(pc.is_valid(texts), found, None), texts.type)


@parallel("offsets")
def _misspell(data, offsets, classes, keyboard, mix, shares, key, growth):  # type: ignore[no-untyped-def]
    """(bytes of each text (n,), the texts, each in a slot of its bytes and `growth` more)."""
    counts = np.empty(len(offsets) - 1, np.int64)
    slots = np.empty(offsets[-1] - offsets[0] + growth * len(counts), np.uint8)
    for text in prange(len(counts)):
        first, last = offsets[text], offsets[text + 1]
        points = np.empty(last - first + 2, np.int32)
        n = _decode(data[first:last], points)
        state = np.array([_mix(key + np.uint64(text))])
        if _uniform(state) < mix[0]:
            n = _edit_words(points, n, classes, keyboard, mix, shares, state)
        slot = first - offsets[0] + growth * text
        counts[text] = _encode(points[:n], slots[slot : slot + last - first + growth])
    return counts, slots


@parallel("ends")
def _compact(slots, starts, ends, typed):  # type: ignore[no-untyped-def]
    for text in prange(len(ends) - 1):
        n = ends[text + 1] - ends[text]
        typed[ends[text] : ends[text + 1]] = slots[starts[text] : starts[text] + n]


@njit(cache=True, inline="always")
def _uniform(state):  # type: ignore[no-untyped-def]
    """The next number in [0, 1)."""
    state[0] = state[0] + np.uint64(0x9E3779B97F4A7C15)
    return np.float64(_mix(state[0]) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def _decode(text, points):  # type: ignore[no-untyped-def]
    """Writes the code points of a UTF-8 text; returns how many."""
    n, at = 0, 0
    while at < len(text):
        byte = np.int32(text[at])
        more = 0 if byte < 0x80 else 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        point = byte if more == 0 else byte & (0x3F >> more)
        for step in range(1, more + 1):
            point = point << 6 | (text[at + step] & 0x3F)
        points[n] = point
        n, at = n + 1, at + 1 + more
    return n


@njit(cache=True, nogil=True)
def _encode(points, text):  # type: ignore[no-untyped-def]
    """Writes code points as UTF-8; returns how many bytes."""
    n = 0
    for point in points:
        more = 0 if point < 0x80 else 1 if point < 0x800 else 2 if point < 0x10000 else 3
        text[n] = point if more == 0 else (0xFF << (7 - more) & 0xFF) | point >> 6 * more
        for step in range(more):
            text[n + 1 + step] = 0x80 | (point >> 6 * (more - 1 - step) & 0x3F)
        n += 1 + more
    return n


@njit(cache=True, nogil=True)
def _edit_words(points, n, classes, keyboard, mix, shares, state):  # type: ignore[no-untyped-def]
    """Misspells one word or two, in place; returns the number of code points then."""
    edits = 2 if _uniform(state) < mix[1] else 1
    done_from, done_to = -1, -1  # where the first edit was
    for _ in range(edits):
        goal, start = -1.0, 0
        for look in (0, 1):  # first all letters that may be hit are counted, then the word of the drawn one is found
            total, start = 0, 0
            while start < n:
                end = start
                while end < n and classes[points[end]] != SEPARATOR:
                    end += 1
                if end - start >= SHORTEST and not (start == done_from and end == done_to):
                    total += end - start
                    if look == 1 and goal < total:
                        break
                start = max(end, start + 1)
            if total == 0:
                return n
            if look == 0:
                goal = _uniform(state) * total
        change = _edit_word(points, n, start, end, keyboard, mix, shares, state)
        if done_from > start:
            done_from, done_to = done_from + change, done_to + change
        else:
            done_from, done_to = start, end + change
        n += change
    return n


@njit(cache=True, nogil=True)
def _edit_word(points, n, start, end, keyboard, mix, shares, state):  # type: ignore[no-untyped-def]
    """One edit of the word points[start:end] of n code points, in place; returns how many code points it adds."""
    length = end - start
    at = start
    if _uniform(state) >= mix[2]:
        at = start + 1 + int(_uniform(state) * (length - 1))
    row = keyboard.place[points[at]]
    near = 0 if row < 0 else keyboard.counts[row]
    goal = _uniform(state) * (shares.sum() - (shares[SUBSTITUTION] if near == 0 else 0.0))
    kind = OMISSION
    for kind in (OMISSION, INSERTION, SUBSTITUTION, TRANSPOSITION):
        if kind == SUBSTITUTION and near == 0:
            continue
        goal -= shares[kind]
        if goal < 0:
            break
    struck = points[at]
    if near > 0 and (kind == SUBSTITUTION or _uniform(state) >= mix[3]):
        struck = keyboard.struck[row, int(_uniform(state) * near)]
    if kind == TRANSPOSITION:
        if at == end - 1:
            at = start + 1 + int(_uniform(state) * (length - 2))
        for _ in range(length):  # two equal letters swapped would be no mistake
            if at < end - 1 and points[at] != points[at + 1]:
                points[at], points[at + 1] = points[at + 1], points[at]
                return 0
            at = at + 1 if at < end - 2 else start
        kind = OMISSION
    if kind == SUBSTITUTION:
        points[at] = struck
        return 0
    if kind == INSERTION:
        for to in range(n, at, -1):
            points[to] = points[to - 1]
        points[at] = struck
        return 1
    for to in range(at, n - 1):
        points[to] = points[to + 1]
    return -1
