"""Text → the words that BM25 counts: folded and cut as the towers do, in every script.

A run of letters, marks and digits is a word. In a script without spaces, the words are the pairs of neighbouring
characters, each with its marks; a character that stands alone is a word. So that a query of one character finds
something, documents also hold each character as a word of its own.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import Stemmer
from numba import njit, prange

from ebr_core.arrays import Int32, Int64
from ebr_core.parallel import parallel
from ebr_core.text.bm25_config import Language
from ebr_core.text.folding import (
    ACCENTS,
    DROPPED,
    LETTER,
    SEPARATOR,
    SPACELESS,
    decode_point,
    decompose,
    drop_accents,
    letter_classes,
)

MARK = 4  # a mark in a script without spaces: it belongs to the character before it

# Each language's Snowball stemmer, and the name of its stop words in bm25s.
_LANGUAGES: dict[Language, tuple[str, str]] = {
    "da": ("danish", "STOPWORDS_DANISH"),
    "de": ("german", "STOPWORDS_GERMAN"),
    "en": ("english", "STOPWORDS_EN"),
    "es": ("spanish", "STOPWORDS_SPANISH"),
    "fr": ("french", "STOPWORDS_FRENCH"),
    "it": ("italian", "STOPWORDS_ITALIAN"),
    "nl": ("dutch", "STOPWORDS_DUTCH"),
    "no": ("norwegian", "STOPWORDS_NORWEGIAN"),
    "pt": ("portuguese", "STOPWORDS_PORTUGUESE"),
    "ru": ("russian", "STOPWORDS_RUSSIAN"),
    "sv": ("swedish", "STOPWORDS_SWEDISH"),
    "tr": ("turkish", "STOPWORDS_TURKISH"),
}
_LOOSE = re.compile(ACCENTS)  # accents that compose with no letter, such as the dot of a lowered İ
_BLOCK_TEXTS = 2**20  # texts at a time


class WordLists(NamedTuple):
    """Text t holds the words vocabulary[ids[offsets[t]:offsets[t + 1]]], in the order of the text."""

    offsets: Int64  # (T + 1,)
    ids: Int32
    vocabulary: pa.Array  # (V,) distinct words


def cut_words(texts: pa.Array | list[str], language: Language | None, characters: bool = False) -> WordLists:
    """The words of each text, (T,); with characters, also each character of a script without spaces.

    Stop words are dropped and words stemmed only in a language that is named, before accents are dropped, because both
    need them. A text without words, or null, has an empty list.

    >>> words = cut_words(["Red FOX, foxes", "東京都"], None)
    >>> words.vocabulary.take(words.ids).to_pylist()
    ['red', 'fox', 'foxes', '東京', '京都']
    """
    given = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    whole = pc.fill_null(given.cast(pa.large_string()), "")
    counts, ids, written, known = [np.zeros(1, np.int64)], [], [], 0
    for first in range(0, len(whole), _BLOCK_TEXTS):
        counts_of_block, words = _cut_block(whole.slice(first, _BLOCK_TEXTS), characters)
        coded = words.dictionary_encode()
        counts.append(counts_of_block)
        ids.append(coded.indices.to_numpy() + known)
        written.append(coded.dictionary)
        known += len(coded.dictionary)
    offsets = np.cumsum(np.concatenate(counts))
    if not known:
        return WordLists(offsets, np.zeros(0, np.int32), pa.array([], pa.large_string()))
    finished = _finish(pa.concat_arrays(written), language).dictionary_encode()
    word_of = pc.fill_null(finished.indices, -1).to_numpy()
    all_ids = word_of[np.concatenate(ids)]
    kept = np.concatenate([[0], np.cumsum(all_ids >= 0)])
    return WordLists(kept[offsets], all_ids[all_ids >= 0].astype(np.int32), finished.dictionary)


def _finish(words: pa.Array, language: Language | None) -> pa.Array:
    """The words folded; in a language that is named without its stop words, which are null, and stemmed."""
    lower = pc.utf8_lower(words)  # ASCII is not lowered yet
    if language is None:
        return drop_accents(lower)
    from bm25s import stopwords  # takes a second to import

    stemmer, list_name = _LANGUAGES[language]
    composed = [_LOOSE.sub("", unicodedata.normalize("NFC", word)) for word in lower.to_pylist()]
    stems = pa.array(Stemmer.Stemmer(stemmer).stemWords(composed), pa.large_string())
    is_stop_word = pc.is_in(
        pa.array(composed, pa.large_string()), pa.array(getattr(stopwords, list_name), pa.large_string())
    )
    return drop_accents(pc.if_else(is_stop_word, None, stems))


def _cut_block(texts: pa.Array, characters: bool) -> tuple[Int64, pa.Array]:
    """((T,) the number of words of each text, the words as written, in NFKD and, ASCII aside, in lower case)."""
    folded = decompose(pa.concat_arrays([texts]))
    offsets = np.frombuffer(folded.buffers()[1], np.int64)[folded.offset : folded.offset + len(folded) + 1]
    data = np.frombuffer(folded.buffers()[2] or b"", np.uint8)
    counts = np.empty(len(folded), np.int64)
    none = np.zeros(0, np.int64)
    _find_words(offsets, data, _classes(), characters, counts, none, none, none)
    firsts = np.cumsum(counts) - counts
    starts, ends = np.empty(counts.sum(), np.int64), np.empty(counts.sum(), np.int64)
    _find_words(offsets, data, _classes(), characters, counts, firsts, starts, ends)
    word_offsets = np.concatenate([[0], np.cumsum(ends - starts)])
    word_bytes = np.empty(word_offsets[-1], np.uint8)
    _copy_words(starts, ends, data, word_offsets, word_bytes)
    buffers = [None, pa.py_buffer(word_offsets), pa.py_buffer(word_bytes)]
    return counts, pa.Array.from_buffers(pa.large_string(), len(starts), buffers)


@functools.cache
def _classes() -> npt.NDArray[np.uint8]:
    """The class of every code point, (0x110000,): those of the towers, and MARK."""
    classes = letter_classes().copy()
    for point in np.flatnonzero(classes == SPACELESS):
        if unicodedata.category(chr(point))[0] == "M":
            classes[point] = MARK
    return classes


@parallel("offsets")
def _find_words(offsets, data, classes, characters, counts, firsts, starts, ends):  # type: ignore[no-untyped-def]
    """Count the words of each text; if starts has room for them, also write where each starts and ends."""
    for text in prange(len(offsets) - 1):
        slot = firsts[text] if len(firsts) else 0
        counts[text] = _cut(data, offsets[text], offsets[text + 1], classes, characters, starts, ends, slot)


@njit(cache=True, nogil=True)
def _cut(data, first, last, classes, characters, starts, ends, slot):  # type: ignore[no-untyped-def]
    """The number of words in data[first:last]; they are written from starts[slot] on if starts is not empty."""
    write = len(starts) > 0
    count = 0
    word = character = before = -1  # where an open word, an open character and the one before it start
    at = first
    while at <= last:
        kind, after = np.uint8(SEPARATOR), at + 1
        if at < last:
            point, after = decode_point(data, at)
            kind = classes[point]
        if kind == DROPPED or (kind == MARK and character >= 0):
            at = after
            continue
        if kind == MARK:
            kind = np.uint8(SPACELESS)
        if word >= 0 and kind != LETTER:
            if write:
                starts[slot + count], ends[slot + count] = word, at
            count += 1
            word = -1
        if character >= 0:
            if before >= 0:
                if write:
                    starts[slot + count], ends[slot + count] = before, at
                count += 1
            if characters or (before < 0 and kind != SPACELESS):
                if write:
                    starts[slot + count], ends[slot + count] = character, at
                count += 1
            before, character = character, -1
        if kind == SPACELESS:
            character = at
        else:
            before = -1
            if kind == LETTER and word < 0:
                word = at
        at = after
    return count


@parallel("starts")
def _copy_words(starts, ends, data, word_offsets, word_bytes):  # type: ignore[no-untyped-def]
    for word in prange(len(starts)):
        for at in range(ends[word] - starts[word]):
            word_bytes[word_offsets[word] + at] = data[starts[word] + at]
