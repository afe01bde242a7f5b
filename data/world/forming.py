"""From a title to the words typed: every form of a title with its probability, P(form | title, searcher's language).

One function lists the forms; the simulation draws from its list, the oracle reads it.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.documents import CITY, OPTIONAL, TOPIC, TYPE, WIDTH
from data.world.world_config import World

FORMS = ("full", "words", "prefix", "reordered", "short", "translated", "topic")
FULL, WORDS, PREFIX, REORDERED, SHORT, TRANSLATED, OF_TOPIC = range(7)
MOST = 320  # forms of one title, at most: 7 words × (20 prefixes + 6 short forms + …)
COMMON = 0.3  # weight of a city or a type word against a name or a topic, as the word to type alone; assumed
ALONE, TWO, ALL = 0.35, 0.4, 0.25  # `words`: one word, two, or all but the optional; assumed


class Forming(NamedTuple):
    """What listing the forms needs."""

    weights: npt.NDArray[np.float64]  # (6,) of FORMS but the last
    plain: float
    letters: npt.NDArray[np.uint8]  # (V, LONGEST)
    length: npt.NDArray[np.int64]  # (V,)
    fold: npt.NDArray[np.uint8]  # (256,)
    topics: npt.NDArray[np.int64]  # (T, languages)
    types: npt.NDArray[np.int64]
    short_offsets: npt.NDArray[np.int64]
    short_ids: npt.NDArray[np.int64]
    cities: npt.NDArray[np.int64]  # (C, 3)


class Listing(NamedTuple):
    """Room for the forms of one title."""

    tokens: npt.NDArray[np.int64]  # (MOST, WIDTH) word numbers, −1 after the last
    cut: npt.NDArray[np.int64]  # (MOST,) letters kept of the last word; 0: all
    p: npt.NDArray[np.float64]  # (MOST,)
    form: npt.NDArray[np.int64]  # (MOST,)


def weights_of(world: World) -> npt.NDArray[np.float64]:
    f = world.forms
    return np.array([f.full, f.words, f.prefix, f.reordered, f.short, f.translated])


def new_listing() -> Listing:
    return Listing(
        np.full((MOST, WIDTH), -1, dtype=np.int64), np.zeros(MOST, np.int64), np.zeros(MOST), np.zeros(MOST, np.int64)
    )


@numba.njit(cache=True)
def _put(out: Listing, k: int, tokens: np.ndarray, n: int, p: float) -> int:
    """Write form k, whose words are whole; the number of forms then. (Loops, as slices take long to compile.)"""
    for j in range(WIDTH):
        out.tokens[k, j] = tokens[j] if j < n else -1
    out.cut[k], out.p[k] = 0, p
    return k + 1


@numba.njit(cache=True)
def _call(out: Listing, start: int, stop: int, form: int) -> None:
    """Say which form the rows start … stop − 1 are."""
    for k in range(start, stop):
        out.form[k] = form


@numba.njit(cache=True)
def list_forms(
    f: Forming, words: np.ndarray, roles: np.ndarray, topic: int, type_: int, theirs: int, mine: int, out: Listing
) -> int:
    """The number of forms of one title, written to `out` with probabilities that sum to 1.

    words, roles (WIDTH,) of the title; `theirs` its language, `mine` the searcher's. A form that a title does not allow
    (a nickname without one, a translation into its own language) leaves its weight to the others.
    """
    kept = np.empty(WIDTH, np.int64)  # the content words
    role = np.empty(WIDTH, np.int64)
    every = np.empty(WIDTH, np.int64)
    n, m, shorts, foreign = 0, 0, 0, 0
    for j in range(WIDTH):
        if words[j] < 0:
            break
        every[n] = words[j]
        n += 1
        if roles[j] != OPTIONAL:
            kept[m], role[m] = words[j], roles[j]
            m += 1
            if f.short_offsets[words[j] + 1] > f.short_offsets[words[j]]:
                shorts += 1
            if roles[j] == TOPIC or roles[j] == TYPE:
                foreign += 1
    may = f.weights.copy()
    if m < 2:
        may[REORDERED] = 0
    if shorts == 0:
        may[SHORT] = 0
    if foreign == 0 or theirs == mine:
        may[TRANSLATED] = 0
    may /= may.sum()
    k = 0
    if may[FULL] > 0:
        k = _put(out, k, every, n, may[FULL])
    _call(out, 0, k, FULL)
    start = k
    if may[WORDS] > 0:
        k = _list_words(kept, role, m, may[WORDS], out, k)
    _call(out, start, k, WORDS)
    start = k
    if may[PREFIX] > 0:
        k = _list_prefixes(f, kept, m, may[PREFIX], out, k)
    token = np.empty(WIDTH, np.int64)
    _call(out, start, k, PREFIX)
    start = k
    if may[REORDERED] > 0:
        for turn in range(1, m):
            for j in range(m):
                token[j] = kept[(j + turn) % m]
            k = _put(out, k, token, m, may[REORDERED] / (m - 1))
    _call(out, start, k, REORDERED)
    start = k
    if may[SHORT] > 0:
        for j in range(m):
            low, high = f.short_offsets[kept[j]], f.short_offsets[kept[j] + 1]
            for i in range(low, high):
                for word in range(m):
                    token[word] = kept[word]
                token[j] = f.short_ids[i]
                k = _put(out, k, token, m, may[SHORT] / shorts / (high - low))
    _call(out, start, k, SHORT)
    start = k
    if may[TRANSLATED] > 0:
        for j in range(m):
            token[j] = kept[j]
            if role[j] == TOPIC:
                token[j] = f.topics[topic, mine]
            elif role[j] == TYPE:
                token[j] = f.types[type_, mine]
        k = _put(out, k, token, m, may[TRANSLATED])
    _call(out, start, k, TRANSLATED)
    return k


@numba.njit(cache=True)
def _list_words(kept: np.ndarray, role: np.ndarray, m: int, mass: float, out: Listing, k: int) -> int:
    """One content word, two in order, or all of them; a word of a city or a type is COMMON and seldom chosen."""
    one, two, whole = ALONE, (TWO if m >= 2 else 0.0), (ALL if m >= 3 else 0.0)
    scale = mass / (one + two + whole)
    weight = np.ones(m)
    for j in range(m):
        if role[j] == CITY or role[j] == TYPE:
            weight[j] = COMMON
    total = weight.sum()
    pairs = (total * total - (weight * weight).sum()) / 2
    token = np.empty(WIDTH, np.int64)
    for j in range(m):
        token[0] = kept[j]
        k = _put(out, k, token, 1, scale * one * weight[j] / total)
        for i in range(j + 1, m):
            token[1] = kept[i]
            k = _put(out, k, token, 2, scale * two * weight[j] * weight[i] / pairs)
    if whole > 0:
        k = _put(out, k, kept, m, scale * whole)
    return k


@numba.njit(cache=True)
def _list_prefixes(f: Forming, kept: np.ndarray, m: int, mass: float, out: Listing, k: int) -> int:
    """The first j content words, the last cut to 3 … length − 1 letters (as far as it has them), all equally likely."""
    for j in range(m):
        length = f.length[kept[j]]
        low = min(3, length - 1)
        if length < 2:
            k = _put(out, k, kept, j + 1, mass / m)
            continue
        for cut in range(low, length):
            k = _put(out, k, kept, j + 1, mass / m / (length - low))
            out.cut[k - 1] = cut
    return k


@numba.njit(cache=True)
def list_topic_forms(f: Forming, topic: int, city: int, mine: int, out: Listing) -> int:
    """The forms of a search for a topic: its word alone ½, before the city's name ¼, after it ¼; assumed."""
    name = np.empty(WIDTH, np.int64)
    n = 0
    while n < 3 and f.cities[city, n] >= 0:
        name[n] = f.cities[city, n]
        n += 1
    token = np.empty(WIDTH, np.int64)
    token[0] = f.topics[topic, mine]
    k = _put(out, 0, token, 1, 0.5)
    for j in range(n):
        token[j + 1] = name[j]
    k = _put(out, k, token, n + 1, 0.25)
    for j in range(n):
        token[j] = name[j]
    token[n] = f.topics[topic, mine]
    k = _put(out, k, token, n + 1, 0.25)
    _call(out, 0, k, OF_TOPIC)
    return k


@numba.njit(cache=True)
def spell(f: Forming, out: Listing, k: int, plain: bool, text: np.ndarray, ends: np.ndarray) -> int:
    """The number of words of form k, its letters written to `text` without spaces, word j up to `ends[j]`."""
    at, n = 0, 0
    while n < WIDTH and out.tokens[k, n] >= 0:
        word = out.tokens[k, n]
        length = f.length[word]
        last = n + 1 == WIDTH or out.tokens[k, n + 1] < 0
        if last and out.cut[k] > 0:
            length = out.cut[k]
        for i in range(length):
            c = f.letters[word, i]
            text[at] = f.fold[c] if plain else c
            at += 1
        ends[n] = at
        n += 1
    return n
