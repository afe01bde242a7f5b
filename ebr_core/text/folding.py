"""The folding of texts, the same for towers, BM25 and the identity of a query.

The rule: Unicode NFKD, combining accents U+0300–U+036F dropped, lower case. Letters, marks and digits make words,
everything else separates them. In scripts that are written without spaces (Han, Kana, Thai, Lao, Khmer, Burmese) runs
of characters have no words of their own: each reader says what it cuts them into.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

SEPARATOR, LETTER, DROPPED, SPACELESS = 0, 1, 2, 3

_SPACELESS_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Kana
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0x20000, 0x3FFFF),  # Han, further extensions
)
ACCENTS = "[\u0300-\u036f]+"
_SEPARATORS = r"[^\pL\pM\pN]+"


@functools.cache
def letter_classes() -> npt.NDArray[np.uint8]:
    """The class of every code point, (0x110000,)."""
    classes = np.zeros(0x110000, dtype=np.uint8)
    for point in range(0x110000):
        if unicodedata.category(chr(point))[0] in "LMN":
            classes[point] = LETTER
    for first, last in _SPACELESS_RANGES:
        span = classes[first : last + 1]
        span[span == LETTER] = SPACELESS
    classes[0x0300:0x0370] = DROPPED
    return classes


@njit(cache=True, inline="always")
def decode_point(text, at):  # type: ignore[no-untyped-def]
    """(the code point that begins at byte `at` of a UTF-8 text, the byte after it)."""
    byte = text[at]
    if byte < 0x80:
        return np.int32(byte), at + 1
    if byte < 0xE0:
        return np.int32((byte & 0x1F) << 6 | (text[at + 1] & 0x3F)), at + 2
    if byte < 0xF0:
        return np.int32((byte & 0x0F) << 12 | (text[at + 1] & 0x3F) << 6 | (text[at + 2] & 0x3F)), at + 3
    point = np.int32((byte & 0x07) << 18 | (text[at + 1] & 0x3F) << 12)
    return np.int32(point | (text[at + 2] & 0x3F) << 6 | (text[at + 3] & 0x3F)), at + 4


def decompose(texts: pa.Array) -> pa.Array:
    """The texts in NFKD and lower case, accents kept. ASCII texts are returned unchanged: kernels lower them."""
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    if len(data) == 0 or data.max() < 0x80:
        return texts
    return pc.utf8_lower(pc.utf8_normalize(texts, "NFKD"))


def drop_accents(texts: pa.Array) -> pa.Array:
    """The texts in NFKD without combining accents."""
    return pc.replace_substring_regex(pc.utf8_normalize(texts, "NFKD"), ACCENTS, "")


def fold_queries(queries: pa.Array) -> pa.Array:
    """What identifies each query: its folded words. A query without any is identified by its text.

    >>> fold_queries(pa.array(["Café-Bar", " cafe  BAR!", "🎂"])).to_pylist()
    ['cafe bar', 'cafe bar', '🎂']
    """
    folded = pc.utf8_lower(drop_accents(queries))
    words = pc.utf8_trim(pc.replace_substring_regex(folded, _SEPARATORS, " "), " ")
    return pc.if_else(pc.equal(words, ""), queries, words)
