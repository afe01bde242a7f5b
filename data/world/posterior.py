"""Kernels of the oracle: the documents of the largest posterior, summed over all that a query's words may mean."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world import prior
from data.world.documents import WIDTH
from data.world.likelihood import ANY, Meanings, Words, chance_of_query, join

Ints = npt.NDArray[np.int64]


class OracleQueries(NamedTuple):
    """The searches to answer, in the order given."""

    words: Ints  # (Q, WIDTH) into Words, −1 after the last
    day: Ints  # (Q,)
    searcher: Ints  # (Q,)
    rate: npt.NDArray[np.float64]  # (Q,) of misspelling


class PosteriorScratch(NamedTuple):
    """Scratch space of one query, all 0 between queries."""

    likelihood: npt.NDArray[np.float64]  # (N, languages + 1)
    score: npt.NDArray[np.float64]  # (N,)
    touched: npt.NDArray[np.int64]  # (N,) documents with either
    marked: npt.NDArray[np.bool_]  # (N,)
    size: npt.NDArray[np.int64]  # (1,) how many
    total: npt.NDArray[np.float64]  # (1,) P(query and all it may mean)


@numba.njit(cache=True)
def answer_queries(
    queries: np.ndarray, asked: OracleQueries, known: Meanings, meant: Words, facts: prior.DayFacts,
    belief: prior.Belief,
    second: float, room: PosteriorScratch, rows: np.ndarray, expected: np.ndarray,
) -> None:  # fmt: skip
    """Write the best documents of the queries, all of which share a belief."""
    for q in queries:
        _interpret(asked.words[q], asked.rate[q], second, known, meant, facts, belief, room)
        for i in range(room.size[0]):
            d = room.touched[i]
            for g in range(len(belief.language)):
                chance = room.likelihood[d, belief.language[g]] + room.likelihood[d, ANY]
                if chance > 0:
                    mass = chance * prior.of_document(facts, belief, g, d)
                    room.score[d] += mass
                    room.total[0] += mass
        _keep_best(room, rows[q], expected[q])
        for i in range(room.size[0]):
            d = room.touched[i]
            room.likelihood[d] = 0
            room.score[d], room.marked[d] = 0, False
        room.size[0], room.total[0] = 0, 0


@numba.njit(cache=True)
def _keep_best(room: PosteriorScratch, rows: np.ndarray, expected: np.ndarray) -> None:
    """The largest scores, of equal ones the lower document."""
    found = 0
    for i in range(room.size[0]):
        d = room.touched[i]
        score = room.score[d]
        if score <= 0:
            continue
        j = found if found < len(rows) else len(rows)
        while j > 0 and (expected[j - 1] < score or (expected[j - 1] == score and rows[j - 1] > d)):
            if j < len(rows):
                rows[j], expected[j] = rows[j - 1], expected[j - 1]
            j -= 1
        if j < len(rows):
            rows[j], expected[j] = d, score
            found = min(found + 1, len(rows))
    if room.total[0] > 0:
        expected[:found] /= room.total[0]


@numba.njit(cache=True)
def _interpret(
    words: np.ndarray, rate: float, second: float, known: Meanings, meant: Words, facts: prior.DayFacts,
    belief: prior.Belief, room: PosteriorScratch,
) -> None:  # fmt: skip
    """Add up the likelihood of documents and the score of searches for a topic over all that may be meant."""
    n = 0
    while n < WIDTH and words[n] >= 0:
        n += 1
    same = np.full(n, -1, np.int64)  # the word meant that is what was typed
    for j in range(n):
        for i in range(meant.offsets[words[j]], meant.offsets[words[j] + 1]):
            if meant.same[i]:
                same[j] = i
    missing = (same < 0).sum()
    choice = same.copy()
    if missing == 0:
        _add_meaning(choice, rate, second, known, meant, facts, belief, room)
    for i in range(n):
        left = missing - (same[i] < 0)
        for a in range(meant.offsets[words[i]], meant.offsets[words[i] + 1]):
            if a == same[i] or meant.p[a] <= 0:
                continue
            choice[i] = a
            if left == 0:
                _add_meaning(choice, rate, second, known, meant, facts, belief, room)
            for j in range(i + 1, n):
                if left - (same[j] < 0) != 0:
                    continue
                for b in range(meant.offsets[words[j]], meant.offsets[words[j] + 1]):
                    if b != same[j] and meant.p[b] > 0:
                        choice[j] = b
                        _add_meaning(choice, rate, second, known, meant, facts, belief, room)
                choice[j] = same[j]
        choice[i] = same[i]


@numba.njit(cache=True)
def _add_meaning(
    choice: np.ndarray, rate: float, second: float, known: Meanings, meant: Words, facts: prior.DayFacts,
    belief: prior.Belief, room: PosteriorScratch,
) -> None:  # fmt: skip
    """Add what one choice of words meant says of titles and of topics."""
    h = np.uint64(0)
    for i in choice:
        h = join(h, meant.meant[i])
    first, other = np.searchsorted(known.form, h), np.searchsorted(known.topic_form, h)
    of_title = first < len(known.form) and known.form[first] == h
    of_topic = other < len(known.topic_form) and known.topic_form[other] == h
    if not of_title and not of_topic:
        return
    chance = chance_of_query(len(choice), meant.length[choice], meant.same[choice], meant.p[choice], rate, second)
    while first < len(known.form) and known.form[first] == h:
        d = known.document[first]
        _touch(room, d)
        room.likelihood[d, known.language[first]] += chance * known.p[first]
        first += 1
    while other < len(known.topic_form) and known.topic_form[other] == h:
        for g in range(len(belief.language)):
            if belief.language[g] == known.topic_language[other]:
                _add_topic(known.topic[other], known.city[other], g, chance * known.topic_p[other], facts, belief, room)
        other += 1


@numba.njit(cache=True)
def _touch(room: PosteriorScratch, d: int) -> None:
    if not room.marked[d]:
        room.marked[d] = True
        room.touched[room.size[0]] = d
        room.size[0] += 1


@numba.njit(cache=True)
def _add_topic(
    topic: int, city: int, g: int, chance: float, facts: prior.DayFacts, belief: prior.Belief, room: PosteriorScratch
) -> None:
    """Add the score of a topic's right answers, from one city, or from all that the belief holds."""
    for c in range(city if city >= 0 else 0, city + 1 if city >= 0 else belief.topic.shape[2]):
        mass = chance * belief.topic[g, topic, c]
        if mass > 0:
            room.total[0] += mass
            for i in range(facts.right[topic, c]):
                d = facts.answers[topic, c, i]
                _touch(room, d)
                room.score[d] += mass / facts.right[topic, c]
