"""Text → bags of hashed n-grams, in CSR form.

Texts are folded as `ebr_core.text.folding` says. In scripts that are written without spaces each character is a word
of its own, while character n-grams run across the whole run of characters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit, prange

from ebr_core.parallel import parallel
from ebr_core.text.folding import DROPPED, LETTER, SEPARATOR, SPACELESS, decode_point, decompose, letter_classes
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.feature_config import TextFeatures

_BLOCK_BYTES = 2**24  # of text at a time: each byte needs memory for several n-grams
_BEGIN, _END = 0x110000, 0x110001  # beyond the last code point, so that no text can contain them


@njit(cache=True, inline="always")
def _mix(value):  # type: ignore[no-untyped-def]  # numba infers: a uint64 here, an int elsewhere
    """A bijection of 64-bit words that spreads every bit (the finaliser of splitmix64)."""
    value = np.uint64(value)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(cache=True, nogil=True)
def _decode(text, classes, points):  # type: ignore[no-untyped-def]
    """Write the code points of a UTF-8 text into points: ASCII in lower case, separators as 0. Return their number."""
    n, at = 0, 0
    while at < len(text):
        point, at = decode_point(text, at)
        if 65 <= point <= 90:
            point += 32
        kind = classes[point]
        if kind != DROPPED:
            points[n] = point if kind != SEPARATOR else 0
            n += 1
    return n


@njit(cache=True, nogil=True)
def _hash_text(points, n, classes, char_ngrams, word_ngrams, buckets, words, out):  # type: ignore[no-untyped-def]
    """Write the bucket of every n-gram of one text into out and return their number: runs first, then words."""
    count, word_count, start = 0, 0, 0
    while start < n:
        if points[start] == 0:
            start += 1
            continue
        end = start
        while end < n and points[end] != 0:
            end += 1
        length = end - start + 2  # with the two boundary marks
        for size in char_ngrams:
            for first in range(max(1, length - size + 1)):
                value = _mix(np.uint64(size))
                for at in range(first, min(first + size, length)):
                    point = points[start + at - 1]
                    if at == 0:
                        point = _BEGIN
                    elif at == length - 1:
                        point = _END
                    value = _mix(value + np.uint64(0x9E3779B97F4A7C15) + np.uint64(point))
                out[count] = value % np.uint64(buckets)
                count += 1
        at = start
        while at < end:
            value = np.uint64(0x51ED270B)
            first_of_word = at
            while at < end and (at == first_of_word or classes[points[at]] == classes[points[first_of_word]] == LETTER):
                value = _mix(value + np.uint64(0x9E3779B97F4A7C15) + np.uint64(points[at]))
                at += 1
            words[word_count] = value
            word_count += 1
        start = end
    for size in word_ngrams:
        for first in range(word_count - size + 1):
            value = _mix(np.uint64(0x1000 + size))
            for at in range(first, first + size):
                value = _mix(value + words[at])
            out[count] = value % np.uint64(buckets)
            count += 1
    return count


@parallel("offsets")
def _hash_block(data, offsets, classes, char_ngrams, word_ngrams, buckets, ngrams_per_byte):  # type: ignore[no-untyped-def]
    """(counts (texts,), buckets in a slot of r × bytes + r entries for each text), r = ngrams_per_byte."""
    texts = len(offsets) - 1
    counts = np.zeros(texts, np.int64)
    out = np.empty(ngrams_per_byte * (offsets[-1] - offsets[0]) + ngrams_per_byte * texts, np.int32)
    for text in prange(texts):
        first, last = offsets[text], offsets[text + 1]
        points = np.empty(last - first, np.int32)
        words = np.empty(last - first, np.uint64)
        n = _decode(data[first:last], classes, points)
        slot = ngrams_per_byte * (first - offsets[0]) + ngrams_per_byte * text
        end = ngrams_per_byte * (last - offsets[0]) + ngrams_per_byte * (text + 1)
        counts[text] = _hash_text(points, n, classes, char_ngrams, word_ngrams, buckets, words, out[slot:end])
    return counts, out


@parallel("offsets")
def _compact(slots, slot_offsets, offsets, ids):  # type: ignore[no-untyped-def]
    for text in prange(len(offsets) - 1):
        n = offsets[text + 1] - offsets[text]
        ids[offsets[text] : offsets[text + 1]] = slots[slot_offsets[text] : slot_offsets[text] + n]


def _blocks(texts: pa.Array, block: int) -> Iterator[tuple[int, int]]:
    """(first, last) of runs of at most `block` texts and _BLOCK_BYTES, or of a single text that is longer."""
    if len(texts) <= block and texts.nbytes <= _BLOCK_BYTES:
        yield from [(0, len(texts))] if len(texts) else []
        return
    starts = np.concatenate([[0], np.cumsum(pc.binary_length(texts).to_numpy())])
    first = 0
    while first < len(texts):
        fitting = int(np.searchsorted(starts, starts[first] + _BLOCK_BYTES, side="right")) - 1
        last = max(first + 1, min(first + block, fitting))
        yield first, last
        first = last


def hash_texts(texts: pa.Array, features: TextFeatures, block: int = 65_536) -> Bags:
    """The n-grams of each text as buckets 0 … features.buckets − 1; a bag's weights are 1 / its size. [EBR §3.1]

    Each word with its boundary marks gives its character n-grams (a word shorter than n gives itself); sequences of
    words give word n-grams. A repeated n-gram occurs in the bag as often as in the text. An empty text, or null, gives
    an empty bag.

    >>> bags = hash_texts(pa.array(["ab", ""]), TextFeatures(char_ngrams=(3,), word_ngrams=()))
    >>> bags.offsets.tolist()  # ‹ab and ab›
    [0, 2, 2]
    """
    char_ngrams = np.array(features.char_ngrams, np.int64)
    word_ngrams = np.array(features.word_ngrams, np.int64)
    ngrams_per_byte = 2 * len(char_ngrams) + len(word_ngrams)  # that a byte can begin, boundary marks included
    ngrams_per_byte = max(ngrams_per_byte, 1)
    counts_of, ids_of = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
    texts = pc.fill_null(pc.cast(texts, pa.large_string()), "")
    for first, last in _blocks(texts, block):
        part = decompose(pa.concat_arrays([texts.slice(first, last - first)]))
        offsets = np.frombuffer(part.buffers()[1], np.int64)[part.offset : part.offset + len(part) + 1]
        data = np.frombuffer(part.buffers()[2] or b"", np.uint8)
        counts, slots = _hash_block(
            data, offsets, letter_classes(), char_ngrams, word_ngrams, features.buckets, ngrams_per_byte
        )
        compact = np.concatenate([[0], np.cumsum(counts)])
        ids = np.empty(compact[-1], np.int32)
        _compact(slots, ngrams_per_byte * (offsets[:-1] - offsets[0] + np.arange(len(part))), compact, ids)
        counts_of.append(counts)
        ids_of.append(ids)
    counts = np.concatenate(counts_of)
    weights = (1 / np.maximum(counts, 1)).astype(np.float32)[1:]
    return Bags(np.cumsum(counts), np.concatenate(ids_of), np.repeat(weights, counts[1:]))


def written_ngrams(text: str, features: TextFeatures) -> list[str]:
    """The n-grams of one text as strings, in the order of its bag; ‹ and › mark the ends of a run of letters.

    >>> written_ngrams("Ab c", TextFeatures(char_ngrams=(3,), word_ngrams=(1,)))
    ['‹ab', 'ab›', '‹c›', 'ab', 'c']
    """
    folded = decompose(pa.array([text], pa.large_string()))[0].as_py().lower()
    kinds, letters = letter_classes(), [letter for letter in folded if letter_classes()[ord(letter)] != DROPPED]
    runs = "".join(letter if kinds[ord(letter)] != SEPARATOR else " " for letter in letters).split()
    written: list[str] = []
    for run in (f"‹{run}›" for run in runs):
        for size in features.char_ngrams:
            written += [run[at : at + size] for at in range(max(1, len(run) - size + 1))]
    words = [word for run in runs for word in _words(run)]
    for size in features.word_ngrams:
        written += [" ".join(words[at : at + size]) for at in range(len(words) - size + 1)]
    return written


def _words(run: str) -> list[str]:
    """The words of a run of letters: each character of a script without spaces is a word of its own."""
    words: list[str] = []
    joining = False
    for letter in run:
        spaceless = letter_classes()[ord(letter)] == SPACELESS
        if joining and not spaceless:
            words[-1] += letter
        else:
            words.append(letter)
        joining = not spaceless
    return words
