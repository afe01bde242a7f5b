"""From a title to the typed words: every form of a title with its probability, P(form | title, searcher's language).

One function lists the forms. The simulation draws from its list; the oracle reads it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.world.documents import CITY, OPTIONAL, TOPIC, TYPE, WIDTH
from data.world.subroutine import subroutine
from data.world.world_config import World

FORMS = ("full", "words", "prefix", "reordered", "short", "translated", "topic")
FULL, WORDS, PREFIX, REORDERED, SHORT, TRANSLATED, OF_TOPIC = range(7)
MAX_FORMS = 320  # of one title: 7 words × (20 prefixes + 6 short forms + …)
COMMON_WEIGHT = 0.3  # of a city or a type word, against 1 for a name or a topic, when few words are typed; assumed
ONE_WORD, TWO_WORDS, ALL_WORDS = 0.35, 0.4, 0.25  # `words`: one word, two, or all but the optional ones; assumed


class FormTables(NamedTuple):
    """The tables that the forms of titles and topics are listed from."""

    weights: npt.NDArray[np.float64]  # (6,) of FORMS without the last
    plain: float
    letters: npt.NDArray[np.uint8]  # (V, LONGEST)
    length: npt.NDArray[np.int64]  # (V,)
    fold: npt.NDArray[np.uint8]  # (256,)
    topics: npt.NDArray[np.int64]  # (T, languages)
    types: npt.NDArray[np.int64]
    short_offsets: npt.NDArray[np.int64]
    short_ids: npt.NDArray[np.int64]
    cities: npt.NDArray[np.int64]  # (C, 3)


class FormList(NamedTuple):
    """The forms of one title, up to MAX_FORMS."""

    tokens: npt.NDArray[np.int64]  # (MAX_FORMS, WIDTH) word numbers, −1 after the last
    cut: npt.NDArray[np.int64]  # (MAX_FORMS,) letters that remain of the last word; 0: all
    p: npt.NDArray[np.float64]  # (MAX_FORMS,)
    form: npt.NDArray[np.int64]  # (MAX_FORMS,)


def weights_of(world: World) -> npt.NDArray[np.float64]:
    """(6,) weights of FORMS without the last."""
    f = world.forms
    return np.array([f.full, f.words, f.prefix, f.reordered, f.short, f.translated])


def new_form_list() -> FormList:
    """An empty list of forms."""
    return FormList(
        np.full((MAX_FORMS, WIDTH), -1, dtype=np.int64),
        np.zeros(MAX_FORMS, np.int64),
        np.zeros(MAX_FORMS),
        np.zeros(MAX_FORMS, np.int64),
    )


@subroutine
def _put(out: FormList, k: int, tokens: np.ndarray, n: int, p: float) -> int:
    """k + 1, after form k is written with whole words. (Loops, because slices take long to compile.)"""
    for j in range(WIDTH):
        out.tokens[k, j] = tokens[j] if j < n else -1
    out.cut[k], out.p[k] = 0, p
    return k + 1


@subroutine
def _label(out: FormList, start: int, stop: int, form: int) -> None:
    """Label rows start … stop − 1 with their form."""
    for k in range(start, stop):
        out.form[k] = form


@subroutine
def list_forms(
    f: FormTables,
    words: np.ndarray,
    roles: np.ndarray,
    topic: int,
    type_: int,
    title_language: int,
    searcher_language: int,
    out: FormList,
) -> int:
    """The number of forms of one title, which are written to `out` with probabilities that sum to 1.

    words, roles (WIDTH,): of the title. A form that a title does not allow (a nickname where there is none, a
    translation into its own language) leaves its weight to the others.
    """
    content = np.empty(WIDTH, np.int64)  # words that are not optional
    role = np.empty(WIDTH, np.int64)
    title = np.empty(WIDTH, np.int64)
    n, m, shorts, translatable = 0, 0, 0, 0
    for j in range(WIDTH):
        if words[j] < 0:
            break
        title[n] = words[j]
        n += 1
        if roles[j] != OPTIONAL:
            content[m], role[m] = words[j], roles[j]
            m += 1
            if f.short_offsets[words[j] + 1] > f.short_offsets[words[j]]:
                shorts += 1
            if roles[j] == TOPIC or roles[j] == TYPE:
                translatable += 1
    share = f.weights.copy()
    if m < 2:
        share[REORDERED] = 0
    if shorts == 0:
        share[SHORT] = 0
    if translatable == 0 or title_language == searcher_language:
        share[TRANSLATED] = 0
    share /= share.sum()
    k = 0
    if share[FULL] > 0:
        k = _put(out, k, title, n, share[FULL])
    _label(out, 0, k, FULL)
    start = k
    if share[WORDS] > 0:
        k = _list_words(content, role, m, share[WORDS], out, k)
    _label(out, start, k, WORDS)
    start = k
    if share[PREFIX] > 0:
        k = _list_prefixes(f, content, m, share[PREFIX], out, k)
    token = np.empty(WIDTH, np.int64)
    _label(out, start, k, PREFIX)
    start = k
    if share[REORDERED] > 0:
        for shift in range(1, m):
            for j in range(m):
                token[j] = content[(j + shift) % m]
            k = _put(out, k, token, m, share[REORDERED] / (m - 1))
    _label(out, start, k, REORDERED)
    start = k
    if share[SHORT] > 0:
        for j in range(m):
            low, high = f.short_offsets[content[j]], f.short_offsets[content[j] + 1]
            for i in range(low, high):
                for word in range(m):
                    token[word] = content[word]
                token[j] = f.short_ids[i]
                k = _put(out, k, token, m, share[SHORT] / shorts / (high - low))
    _label(out, start, k, SHORT)
    start = k
    if share[TRANSLATED] > 0:
        for j in range(m):
            token[j] = content[j]
            if role[j] == TOPIC:
                token[j] = f.topics[topic, searcher_language]
            elif role[j] == TYPE:
                token[j] = f.types[type_, searcher_language]
        k = _put(out, k, token, m, share[TRANSLATED])
    _label(out, start, k, TRANSLATED)
    return k


@subroutine
def _list_words(content: np.ndarray, role: np.ndarray, m: int, mass: float, out: FormList, k: int) -> int:
    """k after one content word, two in order, and all are listed; words of cities and types weigh COMMON_WEIGHT."""
    one_share, two_share, all_share = ONE_WORD, (TWO_WORDS if m >= 2 else 0.0), (ALL_WORDS if m >= 3 else 0.0)
    scale = mass / (one_share + two_share + all_share)
    weight = np.ones(m)
    for j in range(m):
        if role[j] == CITY or role[j] == TYPE:
            weight[j] = COMMON_WEIGHT
    total = weight.sum()
    pairs = (total * total - (weight * weight).sum()) / 2
    token = np.empty(WIDTH, np.int64)
    for j in range(m):
        token[0] = content[j]
        k = _put(out, k, token, 1, scale * one_share * weight[j] / total)
        for i in range(j + 1, m):
            token[1] = content[i]
            k = _put(out, k, token, 2, scale * two_share * weight[j] * weight[i] / pairs)
    if all_share > 0:
        k = _put(out, k, content, m, scale * all_share)
    return k


@subroutine
def _list_prefixes(f: FormTables, content: np.ndarray, m: int, mass: float, out: FormList, k: int) -> int:
    """k after the prefixes: the first j content words, the last cut to 3 … length − 1 letters, all equally likely."""
    for j in range(m):
        length = f.length[content[j]]
        low = min(3, length - 1)
        if length < 2:
            k = _put(out, k, content, j + 1, mass / m)
            continue
        for cut in range(low, length):
            k = _put(out, k, content, j + 1, mass / m / (length - low))
            out.cut[k - 1] = cut
    return k


@subroutine
def list_topic_forms(f: FormTables, topic: int, city: int, searcher_language: int, out: FormList) -> int:
    """The number of forms of a search for a topic: its word alone ½, before the city's name ¼, after it ¼; assumed."""
    name = np.empty(WIDTH, np.int64)
    n = 0
    while n < 3 and f.cities[city, n] >= 0:
        name[n] = f.cities[city, n]
        n += 1
    token = np.empty(WIDTH, np.int64)
    token[0] = f.topics[topic, searcher_language]
    k = _put(out, 0, token, 1, 0.5)
    for j in range(n):
        token[j + 1] = name[j]
    k = _put(out, k, token, n + 1, 0.25)
    for j in range(n):
        token[j] = name[j]
    token[n] = f.topics[topic, searcher_language]
    k = _put(out, k, token, n + 1, 0.25)
    _label(out, 0, k, OF_TOPIC)
    return k


@subroutine
def spell(f: FormTables, out: FormList, k: int, plain: bool, text: np.ndarray, ends: np.ndarray) -> int:
    """The number of words of form k; its letters are written to `text` without spaces, word j up to `ends[j]`."""
    at, n = 0, 0
    while n < WIDTH and out.tokens[k, n] >= 0:
        word = out.tokens[k, n]
        length = f.length[word]
        is_last = n + 1 == WIDTH or out.tokens[k, n + 1] < 0
        if is_last and out.cut[k] > 0:
            length = out.cut[k]
        for i in range(length):
            c = f.letters[word, i]
            text[at] = f.fold[c] if plain else c
            at += 1
        ends[n] = at
        n += 1
    return n
