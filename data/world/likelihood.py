"""P(query | document, searcher's language) by look-up: which titles and topics a query may stand for, and how likely.

Every form of every title is listed once, keyed by a 64-bit hash of its words. A query leads back to the words meant by
the words within one edit, found by what is left when a letter is removed from either, and weighed by the list of edits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.chance import mix
from data.world.documents import TOPIC, TYPE, WIDTH
from data.world.forming import Forming, Listing, list_forms, list_topic_forms, new_listing, spell
from data.world.misspelling import ROOM, Edits, EditShares, chance_of_words, list_edits, new_edits
from data.world.places import LANGUAGES
from data.world.sessions import QUERY, Titles
from ebr_core.text.typos import SHORTEST

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

ANY = len(LANGUAGES)  # stands for every language of a searcher, and `−1` for every city


class Meanings(NamedTuple):
    """All that can be meant, in the order of the hashes."""

    form: Hashes  # (F,) of a title's form
    document: npt.NDArray[np.int32]  # (F,)
    language: npt.NDArray[np.int8]  # (F,) of the searcher, or ANY
    p: Floats  # (F,) P(form | document, language)
    topic_form: Hashes  # (G,) of a search for a topic
    topic: npt.NDArray[np.int32]  # (G,)
    city: npt.NDArray[np.int32]  # (G,) of the searcher, or −1
    topic_language: npt.NDArray[np.int8]  # (G,)
    topic_p: Floats  # (G,)


class Words(NamedTuple):
    """For each distinct word typed, what was meant: rows offsets[w] … offsets[w + 1] − 1."""

    offsets: Ints
    meant: Hashes  # of the letters meant
    length: Ints  # of the word meant
    same: npt.NDArray[np.bool_]  # it is what was typed
    p: Floats  # P(typed | meant, one edit)


@numba.njit(cache=True)
def hash_word(text: np.ndarray, start: int, stop: int, skip: int) -> np.uint64:
    """Of the letters start … stop − 1 without that at `skip` (−1: all)."""
    h = np.uint64(1469598103934665603)
    for i in range(start, stop):
        if i != skip:
            h = mix(h ^ np.uint64(text[i]))
    return h


@numba.njit(cache=True)
def join(h: np.uint64, word: np.uint64) -> np.uint64:
    """The hash of a query that grows by a word."""
    return mix(np.uint64(h * np.uint64(31)) ^ word)


def meanings(forming: Forming, titles: Titles) -> tuple[Meanings, Hashes, npt.NDArray[np.uint8], Ints]:
    """All forms of all titles and topics; and the distinct words they are made of: hashes, letters, lengths."""
    n = _count(forming, titles, new_listing())
    form, document, language, p = np.zeros(n, np.uint64), np.zeros(n, np.int32), np.zeros(n, np.int8), np.zeros(n)
    _fill(forming, titles, new_listing(), form, document, language, p)
    by = np.argsort(form, kind="stable")
    g = len(forming.topics) * len(LANGUAGES) * (1 + 2 * len(forming.cities)) * 2
    tf, tt, tc = np.zeros(g, np.uint64), np.zeros(g, np.int32), np.zeros(g, np.int32)
    tl, tp = np.zeros(g, np.int8), np.zeros(g)
    g = _fill_topics(forming, new_listing(), tf, tt, tc, tl, tp)
    other = np.argsort(tf[:g], kind="stable")
    known = Meanings(form[by], document[by], language[by], p[by], tf[other], tt[other], tc[other], tl[other], tp[other])
    letters, length = _vocabulary(forming)
    hashes = _hash_all(letters, length)
    return known, hashes, letters, length


def _vocabulary(f: Forming) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Distinct words that can be meant, whole or cut short, with accents and without."""
    rows = []
    for letters in (f.letters, f.fold[f.letters]):
        for cut in range(1, letters.shape[1] + 1):
            long = letters[f.length >= cut].copy()
            long[:, cut:] = 0
            rows.append(long)
    distinct = np.unique(np.concatenate(rows), axis=0)
    return distinct, np.asarray((distinct > 0).sum(1), dtype=np.int64)


@numba.njit(cache=True)
def _hash_all(letters: np.ndarray, length: np.ndarray) -> np.ndarray:
    out = np.zeros(len(letters), np.uint64)
    for i in range(len(letters)):
        out[i] = hash_word(letters[i], 0, length[i], -1)
    return out


@numba.njit(cache=True)
def _spoken(titles: Titles, d: int) -> int:
    """Languages of a searcher that change the forms of a title: all, if a word of it can be translated, or none."""
    for j in range(WIDTH):
        if titles.roles[d, j] == TOPIC or titles.roles[d, j] == TYPE:
            return len(LANGUAGES)
    return 0


@numba.njit(cache=True)
def _count(f: Forming, titles: Titles, out: Listing) -> int:
    n = 0
    for d in range(len(titles.topic)):
        for mine in range(max(1, _spoken(titles, d))):
            n += 2 * list_forms(
                f, titles.words[d], titles.roles[d], titles.topic[d], titles.type[d], titles.language[d],
                mine if _spoken(titles, d) else titles.language[d], out,
            )  # fmt: skip
    return n


@numba.njit(cache=True)
def _fill(
    f: Forming,
    titles: Titles,
    out: Listing,
    form: np.ndarray,
    document: np.ndarray,
    language: np.ndarray,
    p: np.ndarray,
) -> None:
    text, ends = np.zeros(QUERY, np.uint8), np.zeros(WIDTH, np.int64)
    at = 0
    for d in range(len(titles.topic)):
        spoken = _spoken(titles, d)
        for mine in range(max(1, spoken)):
            k = list_forms(
                f, titles.words[d], titles.roles[d], titles.topic[d], titles.type[d], titles.language[d],
                mine if spoken else titles.language[d], out,
            )  # fmt: skip
            for i in range(k):
                for plain in range(2):
                    form[at] = _hash_form(f, out, i, plain == 1, text, ends)
                    document[at], language[at] = d, mine if spoken else ANY
                    p[at] = out.p[i] * (f.plain if plain else 1 - f.plain)
                    at += 1


@numba.njit(cache=True)
def _hash_form(f: Forming, out: Listing, i: int, plain: bool, text: np.ndarray, ends: np.ndarray) -> np.uint64:
    words = spell(f, out, i, plain, text, ends)
    h, start = np.uint64(0), 0
    for j in range(words):
        h = join(h, hash_word(text, start, ends[j], -1))
        start = ends[j]
    return h


@numba.njit(cache=True)
def _fill_topics(
    f: Forming, out: Listing, form: np.ndarray, topic: np.ndarray, city: np.ndarray, language: np.ndarray, p: np.ndarray
) -> int:
    """Forms of searches for topics; the one without a city is listed once for all cities."""
    text, ends = np.zeros(QUERY, np.uint8), np.zeros(WIDTH, np.int64)
    at = 0
    for t in range(len(f.topics)):
        for mine in range(len(LANGUAGES)):
            for c in range(len(f.cities)):
                k = list_topic_forms(f, t, c, mine, out)
                for i in range(0 if c == 0 else 1, k):
                    for plain in range(2):
                        form[at] = _hash_form(f, out, i, plain == 1, text, ends)
                        topic[at], city[at], language[at] = t, c if i > 0 else -1, mine
                        p[at] = out.p[i] * (f.plain if plain else 1 - f.plain)
                        at += 1
    return at


def words_meant(
    typed: Iterable[bytes], typos: EditShares, hashes: Hashes, letters: npt.NDArray[np.uint8], length: Ints
) -> Words:
    """For distinct typed words, every known word that is the same or becomes it by one edit, and how likely."""
    rows = np.array(list(typed), dtype=f"S{ROOM}").view(np.uint8).reshape(-1, ROOM)
    lengths = np.asarray((rows > 0).sum(1), dtype=np.int64)
    key, owner = _without_one(letters, length)
    order = np.argsort(key, kind="stable")
    found = _meant(rows, lengths, typos, key[order], owner[order], hashes, letters, length, new_edits())
    return Words(*found)


@numba.njit(cache=True)
def _without_one(letters: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every word whole and with one letter removed, and whose they are."""
    n = length.sum() + len(length)
    key, owner = np.zeros(n, np.uint64), np.zeros(n, np.int64)
    at = 0
    for w in range(len(length)):
        for skip in range(-1, length[w]):
            key[at], owner[at] = hash_word(letters[w], 0, length[w], skip), w
            at += 1
    return key, owner


@numba.njit(cache=True)
def _meant(
    rows: np.ndarray, lengths: np.ndarray, typos: EditShares, key: np.ndarray, owner: np.ndarray, hashes: np.ndarray,
    letters: np.ndarray, length: np.ndarray, edits: Edits,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    offsets = np.zeros(len(rows) + 1, np.int64)
    meant, size = [np.uint64(0)], [np.int64(0)]
    same, p = [False], [0.0]
    last = np.full(len(length), -1, np.int64)  # the typed word for which a known word was last looked at
    for r in range(len(rows)):
        for skip in range(-1, lengths[r]):
            h = hash_word(rows[r], 0, lengths[r], skip)
            at = np.searchsorted(key, h)
            while at < len(key) and key[at] == h:
                w = owner[at]
                at += 1
                if last[w] == r:
                    continue
                last[w] = r
                equal = length[w] == lengths[r] and (letters[w, : length[w]] == rows[r, : length[w]]).all()
                chance = _chance_of_edit(typos, letters[w], length[w], rows[r], lengths[r], edits)
                if equal or chance > 0:
                    meant.append(hashes[w])
                    size.append(length[w])
                    same.append(equal)
                    p.append(chance)
        offsets[r + 1] = len(meant) - 1
    return offsets, np.array(meant)[1:], np.array(size)[1:], np.array(same)[1:], np.array(p)[1:]


@numba.njit(cache=True)
def _chance_of_edit(t: EditShares, word: np.ndarray, n: int, typed: np.ndarray, m: int, edits: Edits) -> float:
    """P(typed | word, one edit), the sum over the edits that give it; 0 for words too short to be misspelt."""
    if n < SHORTEST or abs(n - m) > 1:
        return 0.0
    total = 0.0
    for i in range(list_edits(t, word, n, edits)):
        if edits.length[i] == m and (edits.typed[i, :m] == typed[:m]).all():
            total += edits.p[i]
    return total


@numba.njit(cache=True)
def chance_of_query(n: int, lengths: np.ndarray, same: np.ndarray, p: np.ndarray, rate: float, second: float) -> float:
    """P(n words typed | n words meant): none misspelt, one, or two, each weighed by which words are.

    lengths of the words meant; same: typed as meant; p: P(typed | meant, one edit). All (n,).
    """
    able, wrong = 0, 0
    for j in range(n):
        able += lengths[j] >= SHORTEST
        wrong += not same[j]
    if able == 0:
        rate = 0.0
    if able < 2:
        second = 0.0
    total = (1 - rate) if wrong == 0 else 0.0
    for i in range(n):
        if wrong - (not same[i]) == 0:
            total += rate * (1 - second) * chance_of_words(lengths, n, i, -1) * p[i] if p[i] > 0 else 0.0
        for j in range(i + 1, n):
            if wrong - (not same[i]) - (not same[j]) == 0 and p[i] > 0 and p[j] > 0 and second > 0:
                total += rate * second * chance_of_words(lengths, n, i, j) * p[i] * p[j]
    return total
