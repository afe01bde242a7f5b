"""Sessions: a want, a query, results, clicks, and another query after a failure."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.chance import choose, draw, open_stream
from data.world.documents import WIDTH, Documents
from data.world.engine import MAX_RESULTS, Engine, search
from data.world.forming import FormList, FormTables, list_forms, list_topic_forms, new_form_list, spell
from data.world.misspelling import Edits, EditShares, draw_misspelt_words, list_edits, new_edits
from data.world.subroutine import subroutine
from data.world.wants import MAX_ANSWERS, Day, WantTables, draw_document, pick_taste, right_answers
from data.world.world_config import World

MAX_QUERY_BYTES = 192  # of a query
HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 8, 9, 10, 10, 8, 5], float)  # local; assumed
LONGEST_SESSION = 900  # seconds; sessions start early enough to end on their day


class Habits(NamedTuple):
    """Probabilities of clicks, reformulations and misspellings."""

    p_examined: npt.NDArray[np.float64]  # (MAX_RESULTS,)
    p_click_wanted: float
    p_click_namesake: float
    p_click_other: float
    p_stop: float
    p_retry: float
    attempts: int
    p_shuffled: float
    p_misspelt: float
    p_second_edit: float
    p_misspelt_retry: float


class Titles(NamedTuple):
    """The columns of the documents that the kernels read."""

    words: npt.NDArray[np.int32]
    roles: npt.NDArray[np.int8]
    topic: npt.NDArray[np.int16]
    type: npt.NDArray[np.int16]
    language: npt.NDArray[np.int8]


class Log(NamedTuple):
    """Searches (n rows) and their results (m rows), in the order of the sessions."""

    session: npt.NDArray[np.int64]  # (n,) number of the session within its day
    searcher: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]  # second of the day
    attempt: npt.NDArray[np.int8]  # from 1
    query: npt.NDArray[np.uint8]  # (n, MAX_QUERY_BYTES) Latin-1
    form: npt.NDArray[np.int8]
    edits: npt.NDArray[np.int8]
    plain: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.int32]  # (n, MAX_ANSWERS) −1 after the last
    topic: npt.NDArray[np.bool_]  # True for a search for a topic
    shuffled: npt.NDArray[np.bool_]
    results: npt.NDArray[np.int32]  # (n, MAX_RESULTS) −1 after the last
    clicked: npt.NDArray[np.bool_]  # (n, MAX_RESULTS)


def habits_of(world: World) -> Habits:
    """The probabilities of a world."""
    c, m = world.clicking, world.misspelling
    p_examined = np.arange(1, MAX_RESULTS + 1.0) ** -c.examination_exponent
    return Habits(
        p_examined, c.wanted, c.namesake, c.other, c.satisfied, c.reformulate, c.attempts, world.shuffled,
        m.rate, m.second, m.retyped,
    )  # fmt: skip


def titles_of(documents: Documents) -> Titles:
    """The columns of these documents that the kernels read."""
    return Titles(documents.words, documents.roles, documents.topic, documents.type, documents.language)


def empty_log(n: int) -> Log:
    """A log of n searches to be filled in."""
    return Log(
        np.zeros(n, np.int64), np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int8),
        np.zeros((n, MAX_QUERY_BYTES), np.uint8), np.zeros(n, np.int8), np.zeros(n, np.int8), np.zeros(n, np.bool_),
        np.full((n, MAX_ANSWERS), -1, np.int32), np.zeros(n, np.bool_), np.zeros(n, np.bool_),
        np.full((n, MAX_RESULTS), -1, np.int32), np.zeros((n, MAX_RESULTS), np.bool_),
    )  # fmt: skip


def simulate_sessions(
    seed: int, day: Day, first: int, stop: int, activity_sums: npt.NDArray[np.float64], hours: npt.NDArray[np.float64],
    shift: npt.NDArray[np.int64], want: WantTables, forming: FormTables, typos: EditShares, engine: Engine,
    titles: Titles, habits: Habits,
) -> Log:  # fmt: skip
    """The searches of sessions first … stop − 1 of a day; they do not depend on which other sessions are simulated.

    activity_sums (S + 1,): running sums of the searchers' activity; hours (25,): running sums of the day's rhythm;
    shift (C,): hours by which a city's clock is ahead of UTC.
    """
    log = empty_log((stop - first) * habits.attempts)
    n = _run(
        np.uint64(seed), day, first, stop, activity_sums, hours, shift, want, forming, typos, engine, titles, habits,
        new_form_list(), new_edits(), log,
    )  # fmt: skip
    return Log._make(column[:n] for column in log)


@numba.njit(cache=True, nogil=True)
def _run(
    seed: np.uint64, day: Day, first: int, stop: int, activity_sums: np.ndarray, hours: np.ndarray, shift: np.ndarray,
    want: WantTables, forming: FormTables, typos: EditShares, engine: Engine, titles: Titles, habits: Habits,
    listing: FormList, edits: Edits, log: Log,
) -> int:  # fmt: skip
    """The number of searches of the sessions, which are written to `log`."""
    state = np.zeros(1, np.uint64)
    answers = np.empty(MAX_ANSWERS, np.int64)
    n = int(np.int64(0))  # a literal 0 would compile every function that n is given to twice
    for session in range(first, stop):
        open_stream(state, seed, np.uint64(day.day), np.uint64(session))
        searcher = choose(activity_sums, 0, len(activity_sums) - 1, draw(state))
        city = want.home[searcher]
        hour = (choose(hours, 0, 24, draw(state)) - shift[city]) % 24
        second = min(int((hour + draw(state)) * 3600), 86_400 - LONGEST_SESSION)
        topic, answer_count = -1, 0
        if draw(state) < want.topic:
            topic = pick_taste(want, searcher, day.day, draw(state))
            answer_count = right_answers(want, day.alive, topic, city, answers)
        if answer_count == 0:
            topic, answer_count = -1, 1
            answers[0] = draw_document(want, day, searcher, state)
        for attempt in range(habits.attempts):
            rate = habits.p_misspelt if attempt == 0 else habits.p_misspelt_retry
            log.session[n], log.searcher[n], log.second[n], log.attempt[n] = session, searcher, second, attempt + 1
            log.topic[n] = topic >= 0
            for i in range(answer_count):
                log.targets[n, i] = answers[i]
            _write_query(
                n, searcher, city, topic, rate, want, forming, typos, titles, habits, listing, edits, log, state
            )
            _write_results(n, day, city, forming, engine, habits, log, state)
            is_over = _write_clicks(n, answer_count, titles, habits, log, state)
            n += 1
            if is_over or draw(state) >= habits.p_retry:
                break
            second += 10 + int(draw(state) * 110)
    return n


@subroutine
def _write_query(
    n: int, searcher: int, city: int, topic: int, rate: float, want: WantTables, forming: FormTables, typos: EditShares,
    titles: Titles, habits: Habits, listing: FormList, edits: Edits, log: Log, state: np.ndarray,
) -> None:  # fmt: skip
    """Write the query of row n: a form of the title or topic, with or without accents, up to two words misspelt."""
    searcher_language = want.language[searcher]
    if topic >= 0:
        k = list_topic_forms(forming, topic, city, searcher_language, listing)
    else:
        d = log.targets[n, 0]
        k = list_forms(
            forming,
            titles.words[d],
            titles.roles[d],
            titles.topic[d],
            titles.type[d],
            titles.language[d],
            searcher_language,
            listing,
        )
    u = draw(state)
    form = 0
    while form < k - 1 and u >= listing.p[form]:
        u -= listing.p[form]
        form += 1
    log.form[n] = listing.form[form]
    log.plain[n] = draw(state) < forming.plain
    text, ends = np.zeros(MAX_QUERY_BYTES, np.uint8), np.zeros(WIDTH, np.int64)
    words = spell(forming, listing, form, log.plain[n], text, ends)
    lengths, picks = np.empty(words, np.int64), np.full(2, -1, np.int64)
    for j in range(words):
        lengths[j] = ends[j] - (ends[j - 1] if j > 0 else 0)
    if draw(state) < rate:
        count = 2 if draw(state) < habits.p_second_edit else 1
        log.edits[n] = draw_misspelt_words(lengths, words, count, draw(state), draw(state), picks)
    at = 0
    for j in range(words):
        if j > 0:
            log.query[n, at] = 32
            at += 1
        word = text[ends[j] - lengths[j] : ends[j]]
        length = lengths[j]
        if picks[0] == j or picks[1] == j:
            edit_count = list_edits(typos, word, length, edits)
            u = draw(state)
            i = 0
            while i < edit_count - 1 and u >= edits.p[i]:
                u -= edits.p[i]
                i += 1
            word, length = edits.letters[i], edits.length[i]
        for i in range(length):
            log.query[n, at + i] = word[i]
        at += length


@subroutine
def _write_results(
    n: int, day: Day, city: int, forming: FormTables, engine: Engine, habits: Habits, log: Log, state: np.ndarray
) -> None:
    """Write the results of row n, in random order with probability `p_shuffled`."""
    text, ends = np.zeros(MAX_QUERY_BYTES, np.uint8), np.zeros(WIDTH, np.int64)
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
    results = np.empty(MAX_RESULTS, np.int64)
    count = search(engine, day.alive, text, ends, words + 1, city, results)
    log.shuffled[n] = draw(state) < habits.p_shuffled
    if log.shuffled[n]:
        for i in range(count - 1, 0, -1):
            j = int(draw(state) * (i + 1))
            results[i], results[j] = results[j], results[i]
    for i in range(count):
        log.results[n, i] = results[i]


@subroutine
def _same_words(a: np.ndarray, b: np.ndarray) -> bool:
    """True if two titles have the same words."""
    j = 0
    while j < WIDTH and a[j] == b[j]:
        j += 1
    return j == WIDTH


@subroutine
def _write_clicks(n: int, answer_count: int, titles: Titles, habits: Habits, log: Log, state: np.ndarray) -> bool:
    """Write the clicks of row n from the top; True if one of them was on a right answer."""
    has_answer = False
    for r in range(MAX_RESULTS):
        d = log.results[n, r]
        if d < 0:
            break
        is_wanted, is_namesake = False, False
        for i in range(answer_count):
            t = log.targets[n, i]
            is_wanted = is_wanted or t == d
            is_namesake = is_namesake or _same_words(titles.words[t], titles.words[d])
        attraction = (
            habits.p_click_wanted if is_wanted else habits.p_click_namesake if is_namesake else habits.p_click_other
        )
        log.clicked[n, r] = draw(state) < habits.p_examined[r] * attraction
        if is_wanted and log.clicked[n, r]:
            has_answer = True
            if answer_count == 1 or draw(state) < habits.p_stop:
                break
    return has_answer
