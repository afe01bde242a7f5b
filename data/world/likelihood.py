"""P(query | document, searcher's language) by look-up: the titles and topics that a query may stand for.

Every form of every title is listed once under a 64-bit hash of its words. The words meant lie within one edit of the
typed words: two such words share a form with one letter removed. The list of edits gives their probabilities.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.chance import mix
from data.world.documents import TOPIC, TYPE, WIDTH
from data.world.forming import FormList, FormTables, list_forms, list_topic_forms, new_form_list, spell
from data.world.misspelling import MAX_LETTERS, Edits, EditShares, chance_of_words, list_edits, new_edits
from data.world.places import LANGUAGES
from data.world.sessions import MAX_QUERY_BYTES, Titles
from data.world.subroutine import subroutine
from ebr_core.text.typos import SHORTEST

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

ANY_LANGUAGE = len(LANGUAGES)  # every language of a searcher; every city is −1


class Meanings(NamedTuple):
    """All forms of titles and of topics, each in the order of their hashes."""

    form: Hashes  # (F,) of a title's form
    document: npt.NDArray[np.int32]  # (F,)
    language: npt.NDArray[np.int8]  # (F,) of the searcher, or ANY
    p: Floats  # (F,) P(form | document, language)
    topic_form: Hashes  # (G,) of a search for a topic
    topic: npt.NDArray[np.int32]  # (G,)
    city: npt.NDArray[np.int32]  # (G,) of the searcher, or −1
    topic_language: npt.NDArray[np.int8]  # (G,)
    topic_p: Floats  # (G,)


class WordCandidates(NamedTuple):
    """The words that each distinct typed word w may stand for: rows offsets[w] … offsets[w + 1] − 1."""

    offsets: Ints
    word: Hashes  # hash of the word meant
    length: Ints  # letters of the word meant
    same: npt.NDArray[np.bool_]  # the word meant is the word typed
    p: Floats  # P(typed | meant, one edit)


@subroutine
def hash_word(text: np.ndarray, start: int, stop: int, skip: int) -> np.uint64:
    """The hash of letters start … stop − 1 without the letter at `skip` (−1: of all letters)."""
    h = np.uint64(1469598103934665603)
    for i in range(start, stop):
        if i != skip:
            h = mix(h ^ np.uint64(text[i]))
    return h


@subroutine
def join(h: np.uint64, word: np.uint64) -> np.uint64:
    """The hash of a query after one more word."""
    return mix(np.uint64(h * np.uint64(31)) ^ word)


def meanings(forming: FormTables, titles: Titles) -> tuple[Meanings, Hashes, npt.NDArray[np.uint8], Ints]:
    """All forms of all titles and topics, and the hashes, letters and lengths of the distinct words in them."""
    n = _count(forming, titles, new_form_list())
    form, document, language, p = np.zeros(n, np.uint64), np.zeros(n, np.int32), np.zeros(n, np.int8), np.zeros(n)
    _fill(forming, titles, new_form_list(), form, document, language, p)
    order = np.argsort(form, kind="stable")
    topic_forms = len(forming.topics) * len(LANGUAGES) * (1 + 2 * len(forming.cities)) * 2
    topic_form, topic, city = (
        np.zeros(topic_forms, np.uint64),
        np.zeros(topic_forms, np.int32),
        np.zeros(topic_forms, np.int32),
    )
    topic_language, topic_p = np.zeros(topic_forms, np.int8), np.zeros(topic_forms)
    topic_forms = _fill_topics(forming, new_form_list(), topic_form, topic, city, topic_language, topic_p)
    topic_order = np.argsort(topic_form[:topic_forms], kind="stable")
    catalogue = Meanings(
        form[order],
        document[order],
        language[order],
        p[order],
        topic_form[topic_order],
        topic[topic_order],
        city[topic_order],
        topic_language[topic_order],
        topic_p[topic_order],
    )
    letters, length = _vocabulary(forming)
    hashes = _hash_all(letters, length)
    return catalogue, hashes, letters, length


def _vocabulary(f: FormTables) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Letters and lengths of the distinct words that can be meant: whole or cut short, with and without accents."""
    rows = []
    for letters in (f.letters, f.fold[f.letters]):
        for cut in range(1, letters.shape[1] + 1):
            prefixes = letters[f.length >= cut].copy()
            prefixes[:, cut:] = 0
            rows.append(prefixes)
    distinct = np.unique(np.concatenate(rows), axis=0)
    return distinct, np.asarray((distinct > 0).sum(1), dtype=np.int64)


@numba.njit(cache=True)
def _hash_all(letters: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Hashes of whole words."""
    out = np.zeros(len(letters), np.uint64)
    for i in range(len(letters)):
        out[i] = hash_word(letters[i], 0, length[i], -1)
    return out


@subroutine
def _language_count(titles: Titles, d: int) -> int:
    """The number of searcher languages that change the forms of a title: all if it has a word to translate, else 0."""
    for j in range(WIDTH):
        if titles.roles[d, j] == TOPIC or titles.roles[d, j] == TYPE:
            return len(LANGUAGES)
    return 0


@numba.njit(cache=True)
def _count(f: FormTables, titles: Titles, out: FormList) -> int:
    """The number of forms of all titles, with accents and without."""
    n = 0
    for d in range(len(titles.topic)):
        for searcher_language in range(max(1, _language_count(titles, d))):
            n += 2 * list_forms(
                f, titles.words[d], titles.roles[d], titles.topic[d], titles.type[d], titles.language[d],
                searcher_language if _language_count(titles, d) else titles.language[d], out,
            )  # fmt: skip
    return n


@numba.njit(cache=True)
def _fill(
    f: FormTables,
    titles: Titles,
    out: FormList,
    form: np.ndarray,
    document: np.ndarray,
    language: np.ndarray,
    p: np.ndarray,
) -> None:
    """Write the forms of all titles, with accents and without."""
    text, ends = np.zeros(MAX_QUERY_BYTES, np.uint8), np.zeros(WIDTH, np.int64)
    at = 0
    for d in range(len(titles.topic)):
        languages = _language_count(titles, d)
        for searcher_language in range(max(1, languages)):
            k = list_forms(
                f, titles.words[d], titles.roles[d], titles.topic[d], titles.type[d], titles.language[d],
                searcher_language if languages else titles.language[d], out,
            )  # fmt: skip
            for i in range(k):
                for plain in range(2):
                    form[at] = _hash_form(f, out, i, plain == 1, text, ends)
                    document[at], language[at] = d, searcher_language if languages else ANY_LANGUAGE
                    p[at] = out.p[i] * (f.plain if plain else 1 - f.plain)
                    at += 1


@subroutine
def _hash_form(f: FormTables, out: FormList, i: int, plain: bool, text: np.ndarray, ends: np.ndarray) -> np.uint64:
    """The hash of form i of a list. text, ends: scratch arrays."""
    words = spell(f, out, i, plain, text, ends)
    h, start = np.uint64(0), 0
    for j in range(words):
        h = join(h, hash_word(text, start, ends[j], -1))
        start = ends[j]
    return h


@numba.njit(cache=True)
def _fill_topics(
    f: FormTables,
    out: FormList,
    form: np.ndarray,
    topic: np.ndarray,
    city: np.ndarray,
    language: np.ndarray,
    p: np.ndarray,
) -> int:
    """The number of forms of searches for topics; a form without a city is listed once for all cities."""
    text, ends = np.zeros(MAX_QUERY_BYTES, np.uint8), np.zeros(WIDTH, np.int64)
    at = 0
    for t in range(len(f.topics)):
        for searcher_language in range(len(LANGUAGES)):
            for c in range(len(f.cities)):
                k = list_topic_forms(f, t, c, searcher_language, out)
                for i in range(0 if c == 0 else 1, k):
                    for plain in range(2):
                        form[at] = _hash_form(f, out, i, plain == 1, text, ends)
                        topic[at], city[at], language[at] = t, c if i > 0 else -1, searcher_language
                        p[at] = out.p[i] * (f.plain if plain else 1 - f.plain)
                        at += 1
    return at


def words_meant(
    typed_words: Iterable[bytes], typos: EditShares, hashes: Hashes, letters: npt.NDArray[np.uint8], length: Ints
) -> WordCandidates:
    """The words that each distinct typed word equals or comes from by one edit, with P(typed | word, one edit)."""
    rows = np.array(list(typed_words), dtype=f"S{MAX_LETTERS}").view(np.uint8).reshape(-1, MAX_LETTERS)
    lengths = np.asarray((rows > 0).sum(1), dtype=np.int64)
    key, owner = _deletion_keys(letters, length)
    order = np.argsort(key, kind="stable")
    columns = _match_words(rows, lengths, typos, key[order], owner[order], hashes, letters, length, new_edits())
    return WordCandidates(*columns)


@numba.njit(cache=True)
def _deletion_keys(letters: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of every word, whole and with each letter removed, and the word that each hash belongs to."""
    n = length.sum() + len(length)
    key, owner = np.zeros(n, np.uint64), np.zeros(n, np.int64)
    at = 0
    for w in range(len(length)):
        for skip in range(-1, length[w]):
            key[at], owner[at] = hash_word(letters[w], 0, length[w], skip), w
            at += 1
    return key, owner


@numba.njit(cache=True)
def _match_words(
    rows: np.ndarray, lengths: np.ndarray, typos: EditShares, key: np.ndarray, owner: np.ndarray, hashes: np.ndarray,
    letters: np.ndarray, length: np.ndarray, edits: Edits,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The columns of WordCandidates."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    word, size = [np.uint64(0)], [np.int64(0)]
    same, p = [False], [0.0]
    last_row = np.full(len(length), -1, np.int64)  # the typed word that each word was last compared with
    for r in range(len(rows)):
        for skip in range(-1, lengths[r]):
            h = hash_word(rows[r], 0, lengths[r], skip)
            at = np.searchsorted(key, h)
            while at < len(key) and key[at] == h:
                w = owner[at]
                at += 1
                if last_row[w] == r:
                    continue
                last_row[w] = r
                is_same = length[w] == lengths[r] and (letters[w, : length[w]] == rows[r, : length[w]]).all()
                chance = _chance_of_edit(typos, letters[w], length[w], rows[r], lengths[r], edits)
                if is_same or chance > 0:
                    word.append(hashes[w])
                    size.append(length[w])
                    same.append(is_same)
                    p.append(chance)
        offsets[r + 1] = len(word) - 1
    return offsets, np.array(word)[1:], np.array(size)[1:], np.array(same)[1:], np.array(p)[1:]


@subroutine
def _chance_of_edit(t: EditShares, word: np.ndarray, n: int, typed_word: np.ndarray, m: int, edits: Edits) -> float:
    """P(typed | word, one edit), summed over the edits that give it; 0 for words too short to be misspelt."""
    if n < SHORTEST or abs(n - m) > 1:
        return 0.0
    total = 0.0
    for i in range(list_edits(t, word, n, edits)):
        if edits.length[i] == m and (edits.letters[i, :m] == typed_word[:m]).all():
            total += edits.p[i]
    return total


@subroutine
def chance_of_query(n: int, lengths: np.ndarray, same: np.ndarray, p: np.ndarray, rate: float, second: float) -> float:
    """P(n words typed | n words meant), summed over no misspelt word, one, and two, and over which ones they are.

    lengths: of the words meant; same: typed as meant; p: P(typed | meant, one edit). All (n,).
    """
    eligible, mismatches = 0, 0
    for j in range(n):
        eligible += lengths[j] >= SHORTEST
        mismatches += not same[j]
    if eligible == 0:
        rate = 0.0
    if eligible < 2:
        second = 0.0
    total = (1 - rate) if mismatches == 0 else 0.0
    for i in range(n):
        if mismatches - (not same[i]) == 0:
            total += rate * (1 - second) * chance_of_words(lengths, n, i, -1) * p[i] if p[i] > 0 else 0.0
        for j in range(i + 1, n):
            if mismatches - (not same[i]) - (not same[j]) == 0 and p[i] > 0 and p[j] > 0 and second > 0:
                total += rate * second * chance_of_words(lengths, n, i, j) * p[i] * p[j]
    return total
