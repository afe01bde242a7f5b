"""Misspelt copies of queries: one edit in one word, or in each of two, with the measured mix of mistakes. [B12]

An edit is an omission, an insertion, a substitution or a transposition [Damerau 1964]. A wrong letter is one that lies
beside the right one on a QWERTY keyboard, or another vowel. Texts may be in any script: letters that are not on such a
keyboard are only omitted, doubled or swapped.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, prange
from pydantic import Field, model_validator

from ebr_core.arrays import Int32, Int64
from ebr_core.frozen import Frozen
from ebr_core.parallel import parallel
from ebr_core.text.folding import SEPARATOR, letter_classes
from ebr_core.text.ngram_hashing import _mix

SHORTEST = 3  # words of fewer letters are not misspelt
KEYS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")  # QWERTY for everybody
VOWELS = "aeiou"
OMISSION, INSERTION, SUBSTITUTION, TRANSPOSITION = range(4)
_LATIN = (*range(0x250), *range(0x1E00, 0x1F00))  # code points whose plain letter may be on the keyboard
_GROWTH = 8  # bytes that two edits can add to a text

Rate = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]


class Typos(Frozen):
    """P(letters typed | words meant)."""

    rate: Rate = Field(0.12, description="share of texts that are misspelt: 10–15% of queries [Cucerzan & Brill 2004]")
    second: Rate = Field(
        0.2, description="share of misspelt texts with a second edit, in another word: 80% have one [Damerau 1964]"
    )
    first_letter: Rate = Field(
        0.033, description="share of edits at the first letter of a word [Pollock & Zamora 1984]"
    )
    omission: Weight = Field(0.35, description="weight; most common [order: Pollock & Zamora 1983]; share assumed")
    insertion: Weight = Field(0.27, description="weight; share assumed")
    substitution: Weight = Field(0.25, description="weight; share assumed")
    transposition: Weight = Field(0.13, description="weight; share assumed")
    doubling: Rate = Field(
        0.5,
        description="share of insertions that double a letter, their main cause [Pollock & Zamora 1983]; share assumed",
    )

    @model_validator(mode="after")
    def _some_edit_of_any_letter(self) -> Typos:
        if self.omission + self.insertion + self.transposition <= 0:
            raise ValueError(
                "omission, insertion and transposition are all 0: letters that are on no keyboard could not be "
                "misspelt; give one of them a weight"
            )
        return self


class _Keyboard(NamedTuple):
    """The code points that may be typed in place of each code point."""

    letter_row: Int32  # (0x110000,) row of a code point in substitutes, −1 where it has none
    substitutes: Int32  # (letters, 14) code points
    counts: Int64  # (letters,)


def keys_beside(letter: str) -> set[str]:
    """The letters next to a plain letter on the keyboard and, for a vowel, the other vowels, which are most often
    confused; empty for a character that has no key. [Yannakoudakis & Fawthrop 1983]

    >>> "".join(sorted(keys_beside("k"))), "".join(sorted(keys_beside("é")))
    ('ijlmo', '')
    """
    positions = {c: (row, column + row * 0.5) for row, keys in enumerate(KEYS) for column, c in enumerate(keys)}
    if letter not in positions:
        return set()
    row, column = positions[letter]
    neighbours = {c for c, (r, x) in positions.items() if abs(r - row) <= 1 and abs(x - column) <= 1 and r > 0}
    return (neighbours | set(VOWELS if letter in VOWELS else "")) - {letter}


@functools.cache
def _keyboard() -> _Keyboard:
    """The keyboard: an accented letter has its plain letter and that one's neighbours; a capital has capitals."""
    letter_row = np.full(0x110000, -1, np.int32)
    rows: list[list[int]] = []
    for point in _LATIN:
        letter = chr(point)
        plain = unicodedata.normalize("NFKD", letter)[0]
        keys = keys_beside(plain.lower())
        if not keys:
            continue
        keys |= {plain.lower()} if plain != letter else set()
        letter_row[point] = len(rows)
        rows.append(sorted(ord(key.upper() if plain.isupper() else key) for key in keys))
    substitutes = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, points in enumerate(rows):
        substitutes[row, : len(points)] = points
    return _Keyboard(letter_row, substitutes, np.array([len(points) for points in rows]))


def misspell(texts: pa.Array, typos: Typos, seed: int) -> pa.Array:
    """The texts, of which a share `rate` has one or two words misspelt; the rest, and null, are unchanged.

    Words, as `hash_texts` cuts them, are chosen in proportion to their length. Words under SHORTEST letters are never
    chosen, so a text without a longer word is unchanged. A chosen word always changes. The same seed gives the same
    texts.

    >>> misspell(pa.array(["hello, hello", "a b", None]), Typos(rate=1, second=0), seed=0).to_pylist()
    ['helo, hello', 'a b', None]
    """
    data, offsets = utf8_of(texts)
    shares = np.array([typos.omission, typos.insertion, typos.substitution, typos.transposition])
    mix = (typos.rate, typos.second, typos.first_letter, typos.doubling)
    key = np.random.default_rng([seed, 4]).integers(0, 2**63, dtype=np.uint64)
    counts, slots = _misspell(data, offsets, letter_classes(), _keyboard(), mix, shares, key, _GROWTH)
    ends = np.concatenate([[0], np.cumsum(counts)])
    output = np.empty(ends[-1], np.uint8)
    _compact(slots, offsets - offsets[0] + _GROWTH * np.arange(len(offsets)), ends, output)
    misspelt = pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(output))
    return pc.cast(pc.if_else(pc.is_valid(texts), misspelt, None), texts.type)


def utf8_of(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], Int64]:
    """(the bytes of all texts, offsets (n + 1,) of each text among them); null is an empty text."""
    strings = pc.fill_null(pc.cast(texts, pa.large_string()), "")
    strings = pa.concat_arrays([strings])
    offsets = np.frombuffer(strings.buffers()[1], np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(strings.buffers()[2] or b"", np.uint8), offsets


@parallel("offsets")
def _misspell(data, offsets, classes, keyboard, mix, shares, key, growth):  # type: ignore[no-untyped-def]
    """(bytes of each text (n,), the texts, each in a slot of its old size plus `growth` bytes)."""
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
def _compact(slots, starts, ends, output):  # type: ignore[no-untyped-def]
    for text in prange(len(ends) - 1):
        n = ends[text + 1] - ends[text]
        output[ends[text] : ends[text + 1]] = slots[starts[text] : starts[text] + n]


@njit(cache=True, inline="always")
def _uniform(state):  # type: ignore[no-untyped-def]
    """The next number in [0, 1)."""
    state[0] = state[0] + np.uint64(0x9E3779B97F4A7C15)
    return np.float64(_mix(state[0]) >> np.uint64(11)) * 2.0**-53


@njit(cache=True, nogil=True)
def _decode(text, points):  # type: ignore[no-untyped-def]
    """Write the code points of a UTF-8 text and return their number."""
    n, at = 0, 0
    while at < len(text):
        byte = np.int32(text[at])
        extra = 0 if byte < 0x80 else 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        point = byte if extra == 0 else byte & (0x3F >> extra)
        for step in range(1, extra + 1):
            point = point << 6 | (text[at + step] & 0x3F)
        points[n] = point
        n, at = n + 1, at + 1 + extra
    return n


@njit(cache=True, nogil=True)
def _encode(points, text):  # type: ignore[no-untyped-def]
    """Write code points as UTF-8 and return the number of bytes."""
    n = 0
    for point in points:
        extra = 0 if point < 0x80 else 1 if point < 0x800 else 2 if point < 0x10000 else 3
        text[n] = point if extra == 0 else (0xFF << (7 - extra) & 0xFF) | point >> 6 * extra
        for step in range(extra):
            text[n + 1 + step] = 0x80 | (point >> 6 * (extra - 1 - step) & 0x3F)
        n += 1 + extra
    return n


@njit(cache=True, nogil=True)
def _edit_words(points, n, classes, keyboard, mix, shares, state):  # type: ignore[no-untyped-def]
    """Misspell one word or two in place and return the new number of code points."""
    edits = 2 if _uniform(state) < mix[1] else 1
    edited_from, edited_to = -1, -1  # where the first edit was
    for _ in range(edits):
        target, start = -1.0, 0
        for phase in (0, 1):  # phase 0 counts the letters that may be hit, phase 1 finds the word of the drawn one
            total, start = 0, 0
            while start < n:
                end = start
                while end < n and classes[points[end]] != SEPARATOR:
                    end += 1
                if end - start >= SHORTEST and not (start == edited_from and end == edited_to):
                    total += end - start
                    if phase == 1 and target < total:
                        break
                start = max(end, start + 1)
            if total == 0:
                return n
            if phase == 0:
                target = _uniform(state) * total
        change = _edit_word(points, n, start, end, keyboard, mix, shares, state)
        if edited_from > start:
            edited_from, edited_to = edited_from + change, edited_to + change
        else:
            edited_from, edited_to = start, end + change
        n += change
    return n


@njit(cache=True, nogil=True)
def _edit_word(points, n, start, end, keyboard, mix, shares, state):  # type: ignore[no-untyped-def]
    """Edit the word points[start:end] of n code points once, in place; return how many code points that adds."""
    length = end - start
    at = start
    if _uniform(state) >= mix[2]:
        at = start + 1 + int(_uniform(state) * (length - 1))
    row = keyboard.letter_row[points[at]]
    key_count = 0 if row < 0 else keyboard.counts[row]
    target = _uniform(state) * (shares.sum() - (shares[SUBSTITUTION] if key_count == 0 else 0.0))
    kind = OMISSION
    for kind in (OMISSION, INSERTION, SUBSTITUTION, TRANSPOSITION):
        if kind == SUBSTITUTION and key_count == 0:
            continue
        target -= shares[kind]
        if target < 0:
            break
    letter = points[at]
    if key_count > 0 and (kind == SUBSTITUTION or _uniform(state) >= mix[3]):
        letter = keyboard.substitutes[row, int(_uniform(state) * key_count)]
    if kind == TRANSPOSITION:
        if at == end - 1:
            at = start + 1 + int(_uniform(state) * (length - 2))
        for _ in range(length):  # swapping two equal letters would change nothing
            if at < end - 1 and points[at] != points[at + 1]:
                points[at], points[at + 1] = points[at + 1], points[at]
                return 0
            at = at + 1 if at < end - 2 else start
        kind = OMISSION
    if kind == SUBSTITUTION:
        points[at] = letter
        return 0
    if kind == INSERTION:
        for to in range(n, at, -1):
            points[to] = points[to - 1]
        points[at] = letter
        return 1
    for to in range(at, n - 1):
        points[to] = points[to + 1]
    return -1
