"""The production engine: Boolean AND of words without accents, the last as a prefix, ranked by popularity and place.

It corrects no spelling and knows no synonyms, nicknames, translations, friends or interests. Its popularity is that of
the first day.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.world.documents import Documents, Language
from data.world.places import Places
from data.world.subroutine import subroutine
from data.world.words import LONGEST

MAX_RESULTS = 20  # of a search
MAX_POSTINGS = 5_000  # of a search: such engines keep postings in order of popularity and cut them; assumed
SAME_CITY, SAME_COUNTRY, WHOLE_WORD = 3.0, 1.0, 1.0  # added to log popularity; assumed

Ints = npt.NDArray[np.int64]


class Engine(NamedTuple):
    """An inverted index whose terms are in alphabetical order, so that a prefix is a range of terms and of postings."""

    terms: npt.NDArray[np.uint8]  # (terms, LONGEST)
    term_of: npt.NDArray[np.int32]  # (N, WIDTH) −1 after the last
    starts: Ints  # (terms + 1,)
    postings: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]  # (N,) log popularity
    city: npt.NDArray[np.int32]  # (N,)
    country: Ints  # (C,)


def build(documents: Documents, language: Language, places: Places) -> Engine:
    """The index over the documents of all days; a search skips those that are not alive on its day."""
    plain = language.fold[language.letters]
    terms, term = np.unique(np.ascontiguousarray(plain).view(f"S{LONGEST}").ravel(), return_inverse=True)
    term_of = np.where(documents.words >= 0, term[documents.words], -1).astype(np.int32)
    rows, columns = np.nonzero(term_of >= 0)
    term_ids = term_of[rows, columns]
    order = np.lexsort((-documents.popularity[rows], term_ids))
    codes = {c: i for i, c in enumerate(dict.fromkeys(places.country))}
    return Engine(
        terms.view(np.uint8).reshape(len(terms), LONGEST), term_of,
        np.searchsorted(term_ids[order], np.arange(len(terms) + 1)), rows[order].astype(np.int32),
        np.log(documents.popularity).astype(np.float32), documents.city,
        np.array([codes[c] for c in places.country]),
    )  # fmt: skip


@subroutine
def _compare(term: np.ndarray, word: np.ndarray, n: int, prefix: bool) -> int:
    """−1, 0, 1 if a term sorts before, matches, or sorts after a word of n letters (or all words that start so)."""
    for i in range(n):
        if i >= LONGEST or term[i] < word[i]:
            return -1
        if term[i] > word[i]:
            return 1
    return 1 if not prefix and n < LONGEST and term[n] > 0 else 0


@subroutine
def term_range(terms: np.ndarray, word: np.ndarray, n: int, prefix: bool) -> tuple[int, int]:
    """The first of the terms that match, and one past the last."""
    left, right = 0, len(terms)
    while left < right:
        middle = (left + right) // 2
        if _compare(terms[middle], word, n, prefix) < 0:
            left = middle + 1
        else:
            right = middle
    start, right = left, len(terms)
    while left < right:
        middle = (left + right) // 2
        if _compare(terms[middle], word, n, prefix) <= 0:
            left = middle + 1
        else:
            right = middle
    return start, left


@subroutine
def search(e: Engine, alive: np.ndarray, text: np.ndarray, ends: np.ndarray, n: int, city: int, out: np.ndarray) -> int:
    """The number of documents that match all n words, up to MAX_RESULTS; `out` (MAX_RESULTS,) has the best first.

    `text` holds letters without accents, word j from ends[j − 1] to ends[j]. The search reads up to MAX_POSTINGS
    postings of the rarest word, the most popular of each term first. Ties go to the lower row.
    """
    low, high = np.empty(n, np.int64), np.empty(n, np.int64)
    rarest, fewest, start = 0, len(e.postings) + 1, 0
    for j in range(n):
        low[j], high[j] = term_range(e.terms, text[start : ends[j]], ends[j] - start, j == n - 1)
        size = e.starts[high[j]] - e.starts[low[j]]
        if size < fewest:
            rarest, fewest = j, size
        if j == n - 1:
            whole_term = term_range(e.terms, text[start : ends[j]], ends[j] - start, False)[0]
        start = ends[j]
    scores = np.empty(MAX_RESULTS, np.float32)
    count = 0
    share = min(1.0, MAX_POSTINGS / max(1, fewest))
    for term in range(low[rarest], high[rarest]):
        first = e.starts[term]
        for at in range(first, first + int(np.ceil(share * (e.starts[term + 1] - first)))):
            document = e.postings[at]
            if not alive[document]:
                continue
            score = e.score[document]
            if e.city[document] == city:
                score += SAME_CITY
            elif e.country[e.city[document]] == e.country[city]:
                score += SAME_COUNTRY
            if count == MAX_RESULTS and score + WHOLE_WORD < scores[MAX_RESULTS - 1]:
                continue
            whole_match = match_words(e.term_of[document], low, high, n, whole_term)
            if whole_match >= 0:
                count = _insert(out, scores, count, document, score + WHOLE_WORD * whole_match)
    return count


@subroutine
def match_words(terms: np.ndarray, low: np.ndarray, high: np.ndarray, n: int, whole_term: int) -> int:
    """−1 if a word is not in the title; 1 if the title has the last word as a whole, 0 if only as a prefix."""
    whole_match = 0
    for j in range(n):
        hit = False
        for t in terms:
            if t < 0:
                break
            if low[j] <= t < high[j]:
                hit = True
                if j == n - 1 and t == whole_term:
                    whole_match = 1
        if not hit:
            return -1
    return whole_match


@subroutine
def _insert(out: np.ndarray, scores: np.ndarray, count: int, document: int, score: float) -> int:
    """The number of results after a document is inserted among the best MAX_RESULTS; each document stays once."""
    if count == MAX_RESULTS and (
        score < scores[MAX_RESULTS - 1] or (score == scores[MAX_RESULTS - 1] and document > out[MAX_RESULTS - 1])
    ):
        return count
    for j in range(count):
        if out[j] == document:
            return count
    j = count if count < MAX_RESULTS else MAX_RESULTS - 1
    while j > 0 and (scores[j - 1] < score or (scores[j - 1] == score and out[j - 1] > document)):
        out[j], scores[j] = out[j - 1], scores[j - 1]
        j -= 1
    out[j], scores[j] = document, score
    return min(count + 1, MAX_RESULTS)
