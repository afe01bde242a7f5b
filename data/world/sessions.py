"""Sessions: a want, a query, results, clicks, and another try where that failed."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.chance import choose, draw, open_stream
from data.world.documents import WIDTH, Documents
from data.world.engine import SHOWN, Engine, search
from data.world.forming import Forming, Listing, list_forms, list_topic_forms, new_listing, spell
from data.world.misspelling import Edits, EditShares, list_edits, new_edits, some_words
from data.world.wants import RIGHT, Day, Wanting, draw_document, pick_taste, right_answers
from data.world.world_config import World

QUERY = 192  # bytes of a query, at most
HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 8, 9, 10, 10, 8, 5], float)  # local; assumed
LONGEST_SESSION = 900  # seconds; sessions start early enough to end on their day


class Habits(NamedTuple):
    """Rates of clicking, trying again and mistyping."""

    examined: npt.NDArray[np.float64]  # (SHOWN,)
    wanted: float
    namesake: float
    other: float
    satisfied: float
    reformulate: float
    attempts: int
    shuffled: float
    misspelt: float
    second: float
    retyped: float


class Titles(NamedTuple):
    """What a kernel reads of the documents."""

    words: npt.NDArray[np.int32]
    roles: npt.NDArray[np.int8]
    topic: npt.NDArray[np.int16]
    type: npt.NDArray[np.int16]
    language: npt.NDArray[np.int8]


class Log(NamedTuple):
    """Searches (n rows) and their results (m rows), in the order of the sessions."""

    session: npt.NDArray[np.int64]  # (n,) number of the session within its day
    searcher: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]  # of the day
    attempt: npt.NDArray[np.int8]  # from 1
    query: npt.NDArray[np.uint8]  # (n, QUERY) Latin-1
    form: npt.NDArray[np.int8]
    edits: npt.NDArray[np.int8]
    plain: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.int32]  # (n, RIGHT) −1 after the last
    topic: npt.NDArray[np.bool_]  # a search for a topic
    shuffled: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.int32]  # (n, SHOWN) −1 after the last
    clicked: npt.NDArray[np.bool_]  # (n, SHOWN)


def habits_of(world: World) -> Habits:
    c, m = world.clicking, world.misspelling
    examined = np.arange(1, SHOWN + 1.0) ** -c.examination_exponent
    return Habits(
        examined, c.wanted, c.namesake, c.other, c.satisfied, c.reformulate, c.attempts, world.shuffled,
        m.rate, m.second, m.retyped,
    )  # fmt: skip


def titles_of(documents: Documents) -> Titles:
    return Titles(documents.words, documents.roles, documents.topic, documents.type, documents.language)


def empty_log(n: int) -> Log:
    """Room for n searches."""
    return Log(
        np.zeros(n, np.int64), np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int8),
        np.zeros((n, QUERY), np.uint8), np.zeros(n, np.int8), np.zeros(n, np.int8), np.zeros(n, np.bool_),
        np.full((n, RIGHT), -1, np.int32), np.zeros(n, np.bool_), np.zeros(n, np.bool_),
        np.full((n, SHOWN), -1, np.int32), np.zeros((n, SHOWN), np.bool_),
    )  # fmt: skip


def sessions(
    seed: int, day: Day, first: int, stop: int, active: npt.NDArray[np.float64], hours: npt.NDArray[np.float64],
    shift: npt.NDArray[np.int64], want: Wanting, forming: Forming, typos: EditShares, engine: Engine, titles: Titles,
    habits: Habits,
) -> Log:  # fmt: skip
    """The searches of sessions first … stop − 1 of a day, whatever sessions are asked for beside them.

    active (S + 1,) running sums of the searchers' activity; hours (25,) of the day's rhythm; shift (C,) hours by which
    a city's clock is ahead.
    """
    log = empty_log((stop - first) * habits.attempts)
    n = _run(
        np.uint64(seed), day, first, stop, active, hours, shift, want, forming, typos, engine, titles, habits,
        new_listing(), new_edits(), log,
    )  # fmt: skip
    return Log._make(column[:n] for column in log)


@numba.njit(cache=True, nogil=True)
def _run(
    seed: np.uint64, day: Day, first: int, stop: int, active: np.ndarray, hours: np.ndarray, shift: np.ndarray,
    want: Wanting, forming: Forming, typos: EditShares, engine: Engine, titles: Titles, habits: Habits,
    listing: Listing, edits: Edits, log: Log,
) -> int:  # fmt: skip
    """Write the sessions' searches to `log`; how many."""
    state = np.zeros(1, np.uint64)
    answers = np.empty(RIGHT, np.int64)
    n = 0
    for session in range(first, stop):
        open_stream(state, seed, np.uint64(day.day), np.uint64(session))
        searcher = choose(active, 0, len(active) - 1, draw(state))
        city = want.home[searcher]
        hour = (choose(hours, 0, 24, draw(state)) - shift[city]) % 24
        second = min(int((hour + draw(state)) * 3600), 86_400 - LONGEST_SESSION)
        topic, right = -1, 0
        if draw(state) < want.topic:
            topic = pick_taste(want, searcher, day.day, draw(state))
            right = right_answers(want, day.there, topic, city, answers)
        if right == 0:
            topic, right = -1, 1
            answers[0] = draw_document(want, day, searcher, state)
        for attempt in range(habits.attempts):
            rate = habits.misspelt if attempt == 0 else habits.retyped
            log.session[n], log.searcher[n], log.second[n], log.attempt[n] = session, searcher, second, attempt + 1
            log.topic[n] = topic >= 0
            for i in range(right):
                log.targets[n, i] = answers[i]
            _type(n, searcher, city, topic, rate, want, forming, typos, titles, habits, listing, edits, log, state)
            _show(n, day, city, forming, engine, habits, log, state)
            done = _click(n, right, titles, habits, log, state)
            n += 1
            if done or draw(state) >= habits.reformulate:
                break
            second += 10 + int(draw(state) * 110)
    return n


@numba.njit(cache=True)
def _type(
    n: int, searcher: int, city: int, topic: int, rate: float, want: Wanting, forming: Forming, typos: EditShares,
    titles: Titles, habits: Habits, listing: Listing, edits: Edits, log: Log, state: np.ndarray,
) -> None:  # fmt: skip
    """Write the query of row n: a form of the title or topic, accents or none, then up to two misspelt words."""
    mine = want.language[searcher]
    if topic >= 0:
        k = list_topic_forms(forming, topic, city, mine, listing)
    else:
        d = log.targets[n, 0]
        k = list_forms(
            forming,
            titles.words[d],
            titles.roles[d],
            titles.topic[d],
            titles.type[d],
            titles.language[d],
            mine,
            listing,
        )
    u = draw(state)
    form = 0
    while form < k - 1 and u >= listing.p[form]:
        u -= listing.p[form]
        form += 1
    log.form[n] = listing.form[form]
    log.plain[n] = draw(state) < forming.plain
    text, ends = np.zeros(QUERY, np.uint8), np.zeros(WIDTH, np.int64)
    words = spell(forming, listing, form, log.plain[n], text, ends)
    lengths, chosen = np.empty(words, np.int64), np.full(2, -1, np.int64)
    for j in range(words):
        lengths[j] = ends[j] - (ends[j - 1] if j > 0 else 0)
    if draw(state) < rate:
        count = 2 if draw(state) < habits.second else 1
        log.edits[n] = some_words(lengths, words, count, draw(state), draw(state), chosen)
    at = 0
    for j in range(words):
        if j > 0:
            log.query[n, at] = 32
            at += 1
        word = text[ends[j] - lengths[j] : ends[j]]
        length = lengths[j]
        if chosen[0] == j or chosen[1] == j:
            many = list_edits(typos, word, length, edits)
            u = draw(state)
            i = 0
            while i < many - 1 and u >= edits.p[i]:
                u -= edits.p[i]
                i += 1
            word, length = edits.typed[i], edits.length[i]
        for i in range(length):
            log.query[n, at + i] = word[i]
        at += length


@numba.njit(cache=True)
def _show(
    n: int, day: Day, city: int, forming: Forming, engine: Engine, habits: Habits, log: Log, state: np.ndarray
) -> None:
    """Write the results of row n, now and then in random order."""
    text, ends = np.zeros(QUERY, np.uint8), np.zeros(WIDTH, np.int64)
    at, words = 0, 0
    for c in log.query[n]:
        if c == 0:
            break
        if c == 32:
            ends[words] = at
            words += 1
        else:
            text[at] = forming.fold[c]
            at += 1
    ends[words] = at
    shown = np.empty(SHOWN, np.int64)
    count = search(engine, day.there, text, ends, words + 1, city, shown)
    log.shuffled[n] = draw(state) < habits.shuffled
    if log.shuffled[n]:
        for i in range(count - 1, 0, -1):
            j = int(draw(state) * (i + 1))
            shown[i], shown[j] = shown[j], shown[i]
    for i in range(count):
        log.shown[n, i] = shown[i]


@numba.njit(cache=True)
def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two titles have the same words."""
    j = 0
    while j < WIDTH and one[j] == other[j]:
        j += 1
    return j == WIDTH


@numba.njit(cache=True)
def _click(n: int, right: int, titles: Titles, habits: Habits, log: Log, state: np.ndarray) -> bool:
    """Write the clicks of row n, from the top; whether a right answer was among them."""
    done = False
    for r in range(SHOWN):
        d = log.shown[n, r]
        if d < 0:
            break
        wanted, namesake = False, False
        for i in range(right):
            t = log.targets[n, i]
            wanted = wanted or t == d
            namesake = namesake or _alike(titles.words[t], titles.words[d])
        attraction = habits.wanted if wanted else habits.namesake if namesake else habits.other
        log.clicked[n, r] = draw(state) < habits.examined[r] * attraction
        if wanted and log.clicked[n, r]:
            done = True
            if right == 1 or draw(state) < habits.satisfied:
                break
    return done
