"""Slow and obvious versions of the core: loops, dictionaries and Python's own integers."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ebr_core.arrays import Float64

Float32 = npt.NDArray[np.float32]

WORD = 2**64
SPACELESS = [
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0x20000, 0x3FFFF),
]
BEGIN, END = 0x110000, 0x110001


def mixed(value: int) -> int:
    """The finaliser of splitmix64."""
    value %= WORD
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WORD
    return value ^ (value >> 31)


def hashed(points: Sequence[int], seed: int) -> int:
    value = seed
    for point in points:
        value = mixed(value + 0x9E3779B97F4A7C15 + point)
    return value


def folded(text: str) -> str:
    """NFKD, without combining accents, each character in lower case by itself (no final sigma)."""
    decomposed = unicodedata.normalize("NFKD", text)
    lowered = "".join(character.lower() for character in decomposed)
    return "".join(character for character in lowered if not 0x300 <= ord(character) <= 0x36F)


def in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def spaceless(character: str) -> bool:
    return in_word(character) and any(first <= ord(character) <= last for first, last in SPACELESS)


def runs_of(text: str) -> list[str]:
    """The text split at every character that is not a letter, mark or digit."""
    return "".join(character if in_word(character) else " " for character in folded(text)).split(" ")


def words_of(run: str) -> list[str]:
    """A run split into words. A character of a script without spaces is a word."""
    words: list[str] = []
    in_run = False
    for character in run:
        if spaceless(character) or not in_run:
            words.append(character)
        else:
            words[-1] += character
        in_run = not spaceless(character)
    return words


def bag_of(text: str | None, char_ngrams: Sequence[int], word_ngrams: Sequence[int], buckets: int) -> Counter[int]:
    """The number of times that each bucket is in the bag of a text."""
    bag: Counter[int] = Counter()
    words: list[str] = []
    for run in runs_of(text or ""):
        if run:
            bounded = [BEGIN, *map(ord, run), END]
            for size in char_ngrams:
                ngrams = [bounded[i : i + size] for i in range(len(bounded) - size + 1)] or [bounded]
                bag.update(hashed(ngram, mixed(size)) % buckets for ngram in ngrams)
            words += words_of(run)
    for size in word_ngrams:
        for i in range(len(words) - size + 1):
            value = mixed(0x1000 + size)
            for word in words[i : i + size]:
                value = mixed(value + hashed(list(map(ord, word)), 0x51ED270B))
            bag[value % buckets] += 1
    return bag


def embedded(table: Float64, bag: Sequence[tuple[int, float]]) -> Float64:
    """The weighted sum of a bag's rows, normalised; the zero vector for an empty bag."""
    vector = np.zeros(table.shape[1])
    for row, weight in bag:
        vector = vector + weight * table[row]
    length = math.sqrt(sum(float(x) ** 2 for x in vector))
    return vector / length if length else vector


def adagrad(
    table: Float64, adagrad_sum: Float64, bags: Sequence[Sequence[tuple[int, float]]], gradient: Float64, rate: float
) -> tuple[Float64, Float64]:
    """(table, adagrad_sum) after one row-wise step, from the dense gradient of the whole table."""
    dense = np.zeros(table.shape)
    for bag, bag_gradient in zip(bags, gradient, strict=True):
        for row, weight in bag:
            dense[row] += weight * bag_gradient
    table, adagrad_sum = table.copy(), adagrad_sum.copy()
    for row in range(len(table)):
        if dense[row].any():
            adagrad_sum[row] += (dense[row] ** 2).mean()
            table[row] -= rate * dense[row] / math.sqrt(adagrad_sum[row])
    return table, adagrad_sum


def bm25_scores(corpus: list[list[str]], query: list[str], k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Lucene's BM25, without its constant factor k1 + 1, of every document for one query."""
    average = sum(map(len, corpus)) / len(corpus)
    scores = []
    for document in corpus:
        score = 0.0
        for term in query:
            document_frequency = sum(term in words for words in corpus)
            count = document.count(term)
            if count:
                idf = math.log(1 + (len(corpus) - document_frequency + 0.5) / (document_frequency + 0.5))
                score += idf * count / (count + k1 * (1 - b + b * len(document) / average))
        scores.append(score)
    return scores


def units(n: int, d: int, seed: int) -> Float32:
    """(n, D) random vectors of unit length."""
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(documents: Float32, n: int, seed: int = 1) -> Float32:
    """(n, D) queries near documents, as real queries are."""
    rng = np.random.default_rng(seed)
    queries = documents[:n] + 0.1 * rng.standard_normal((n, documents.shape[1])).astype(np.float32)
    return (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)


def words(text: str, characters: bool) -> list[str]:
    """The words of a text, a character at a time; of a run without spaces, the pairs of neighbours."""
    runs: list[tuple[str, list[str]]] = [("separator", [])]
    for letter in unicodedata.normalize("NFKD", text).lower():
        category, point = unicodedata.category(letter), ord(letter)
        if 0x300 <= point < 0x370:
            continue
        kind = "letter" if category[0] in "LMN" else "separator"
        if kind == "letter" and any(first <= point <= last for first, last in SPACELESS):
            kind = "spaceless"
        if kind != runs[-1][0]:
            runs.append((kind, []))
        if kind == "spaceless" and category[0] == "M" and runs[-1][1]:
            runs[-1][1][-1] += letter
        else:
            runs[-1][1].append(letter)
    found = []
    for kind, letters in runs:
        if kind == "letter":
            found.append("".join(letters))
        elif kind == "spaceless":
            for at, letter in enumerate(letters):
                if at > 0:
                    found.append(letters[at - 1] + letter)
                if characters or len(letters) == 1:
                    found.append(letter)
    return found
