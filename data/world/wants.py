"""Wants before a word is typed: P(document | searcher, day), a mixture that sessions draw from and the oracle sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.world.chance import choose, draw
from data.world.documents import EVENT, FOREVER, PERSON, TOPIC, Documents
from data.world.places import Places
from data.world.society import TASTE, Society
from data.world.subroutine import subroutine
from data.world.world_config import World

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LANGUAGE_SLOTS = 16  # topic × LANGUAGE_SLOTS + language is a cell of interest
MAX_ANSWERS = 5  # right answers of a search for a topic; assumed
MIN_CITY_ANSWERS = 2  # right answers that a city must have; with fewer, the whole country is meant; assumed
TASTES = (float(TASTE[0]), float(TASTE[1]), float(TASTE[2]))


class WantTables(NamedTuple):
    """The facts that wants depend on and that do not change from day to day."""

    weights: Floats  # (4,) graph, place, interest, popularity; sum to 1
    topic: float
    second_hand: float
    people: int
    reach: Floats  # (C, C + 1) running sums of each row, from 0
    home: Ints  # (S,)
    country: Ints  # (C,)
    countries: int
    language: Ints  # (S,)
    interests: Ints  # (S, 2, 3)
    switches: Ints  # (S,)
    friend_offsets: Ints
    friend: npt.NDArray[np.int32]
    friend_day: npt.NDArray[np.int16]
    link_offsets: Ints
    link: npt.NDArray[np.int32]
    link_day: npt.NDArray[np.int16]
    by_city: Ints  # (N,) documents city by city
    city_starts: Ints  # (C + 1,)
    by_taste: Ints  # groups, pages, events by cell of interest
    taste_starts: Ints  # (T · LANGUAGE_SLOTS + 1,)
    answers: Ints  # groups, pages, events by topic and city, the most popular first
    answer_starts: Ints  # (T · C + 1,)
    wide_answers: Ints  # the same by topic and country
    wide_starts: Ints  # (T · countries + 1,)


class Day(NamedTuple):
    """The popularity of one day, as running sums in each order; 0 for documents that are not alive."""

    day: int
    alive: npt.NDArray[np.bool_]  # (N,)
    overall: Floats  # (N + 1,)
    by_city: Floats  # (N + 1,)
    by_taste: Floats


def build_want_tables(world: World, places: Places, documents: Documents, society: Society, topics: int) -> WantTables:
    """The parts of P(document | searcher, day) that do not change from day to day."""
    x = world.wants
    weights = np.array([x.graph, x.place, x.interest, x.popularity], float)
    joinable = np.flatnonzero(documents.kind != PERSON)
    topic = documents.topic[joinable].astype(np.int64)
    city = documents.city[joinable].astype(np.int64)
    codes = {c: i for i, c in enumerate(dict.fromkeys(places.country))}
    country = np.array([codes[c] for c in places.country])
    by_city = np.argsort(documents.city, kind="stable")
    taste = topic * LANGUAGE_SLOTS + documents.language[joinable]
    order, starts = _sorted_cells(taste, np.zeros(len(joinable)), topics * LANGUAGE_SLOTS)
    names_topic = (documents.roles[joinable] == TOPIC).any(1)  # a right answer has its topic in the title
    near, near_starts = _sorted_cells(
        (topic * len(country) + city)[names_topic], -documents.popularity[joinable][names_topic], topics * len(country)
    )
    wide, wide_starts = _sorted_cells(
        (topic * len(codes) + country[city])[names_topic],
        -documents.popularity[joinable][names_topic],
        topics * len(codes),
    )
    return WantTables(
        weights / weights.sum(), x.topic, x.second_hand, documents.people,
        np.pad(np.cumsum(places.reach, axis=1), ((0, 0), (1, 0))),
        documents.city[: documents.people].astype(np.int64), country, len(codes), society.language.astype(np.int64),
        society.interests.astype(np.int64), society.switches.astype(np.int64),
        society.friends.offsets, society.friends.target, society.friends.day,
        society.linked.offsets, society.linked.target, society.linked.day,
        by_city, np.searchsorted(documents.city[by_city], np.arange(len(country) + 1)),
        joinable[order], starts, joinable[names_topic][near], near_starts, joinable[names_topic][wide], wide_starts,
    )  # fmt: skip


def _sorted_cells(cell: Ints, tiebreak: Floats, cells: int) -> tuple[Ints, Ints]:
    """The order of rows by cell and `tiebreak`, and the start of each cell (cells + 1,)."""
    order = np.lexsort((tiebreak, cell))
    return order, np.searchsorted(cell[order], np.arange(cells + 1))


def trends(world: World, topics: int, rng: np.random.Generator) -> Floats:
    """(days, topics) log popularity of each topic: random walks from 0."""
    steps = world.trend * rng.standard_normal((world.days, topics))
    steps[0] = 0
    return np.asarray(np.cumsum(steps, axis=0))


def popularity_of_day(world: World, documents: Documents, trend: Floats, day: int) -> Floats:
    """(N,) popularity on a day: lasting × trend of the topic × freshness × nearness of the event; 0 if not alive."""
    alive = (documents.born < day) & (documents.gone > day)
    age = np.maximum(day - documents.born.astype(float), 0)
    p = documents.popularity * np.exp(np.concatenate([trend, [0.0]])[documents.topic])
    p *= 1 + world.fresh * np.exp(-age / 7)
    ahead = np.abs(np.where(documents.happens < FOREVER, documents.happens.astype(float) - day, 0))
    return np.asarray(np.where(alive, p * np.where(documents.kind == EVENT, 3 * np.exp(-ahead / 7), 1), 0))


def day_of(want: WantTables, popularity: Floats, day: int) -> Day:
    """The running sums of a day. popularity (N,): of that day."""

    def running(p: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum(p)])

    return Day(
        day, popularity > 0, running(popularity), running(popularity[want.by_city]), running(popularity[want.by_taste])
    )


@subroutine
def count_earlier(day: np.ndarray, start: int, stop: int, today: int) -> int:
    """The number of edges start … stop − 1, the oldest first, that are older than today."""
    left, right = start, stop
    while left < right:
        middle = (left + right) // 2
        if day[middle] < today:
            left = middle + 1
        else:
            right = middle
    return left - start


@subroutine
def pick_taste(w: WantTables, searcher: int, day: int, u: float) -> int:
    """A topic from the searcher's interests on that day."""
    period = 1 if day >= w.switches[searcher] else 0
    rank = 0 if u < TASTES[0] else 1 if u < TASTES[0] + TASTES[1] else 2
    return int(w.interests[searcher, period, rank])


@subroutine
def draw_document(w: WantTables, d: Day, searcher: int, state: np.ndarray) -> int:
    """One wanted document. A draw that fails (no friend, a document that is not alive) becomes a want by popularity."""
    u = draw(state)
    document = -1
    if u < w.weights[0]:
        document = _from_graph(w, d, searcher, state)
    elif u < w.weights[0] + w.weights[1]:
        city = choose(w.reach[w.home[searcher]], 0, len(w.country), draw(state))
        at = choose(d.by_city, w.city_starts[city], w.city_starts[city + 1], draw(state))
        document = w.by_city[at] if at >= 0 else -1
    elif u < w.weights[0] + w.weights[1] + w.weights[2]:
        cell = pick_taste(w, searcher, d.day, draw(state)) * LANGUAGE_SLOTS + w.language[searcher]
        at = choose(d.by_taste, w.taste_starts[cell], w.taste_starts[cell + 1], draw(state))
        document = w.by_taste[at] if at >= 0 else -1
    if document >= 0 and d.alive[document]:
        return document
    return choose(d.overall, 0, len(d.overall) - 1, draw(state))


@subroutine
def _from_graph(w: WantTables, d: Day, searcher: int, state: np.ndarray) -> int:
    """A document one step away, or one step away from a friend, drawn uniformly from the edges so far; −1 if none."""
    node = searcher
    if draw(state) < w.second_hand:
        start = w.friend_offsets[searcher]
        count = count_earlier(w.friend_day, start, w.friend_offsets[searcher + 1], d.day)
        if count == 0:
            return -1
        node = w.friend[start + int(draw(state) * count)]
    start = w.link_offsets[node]
    count = count_earlier(w.link_day, start, w.link_offsets[node + 1], d.day)
    return w.link[start + int(draw(state) * count)] if count > 0 else -1


@subroutine
def right_answers(w: WantTables, alive: np.ndarray, topic: int, city: int, out: np.ndarray) -> int:
    """The number of documents that answer a search for a topic from a city; they are written to `out` (MAX_ANSWERS,).

    They are the most popular of the topic in the city, or in the country if the city has fewer than MIN_CITY_ANSWERS.
    """
    cell = topic * len(w.country) + city
    n = _first_alive(w.answers, w.answer_starts[cell], w.answer_starts[cell + 1], alive, out)
    if n >= MIN_CITY_ANSWERS:
        return n
    cell = topic * w.countries + w.country[city]
    return _first_alive(w.wide_answers, w.wide_starts[cell], w.wide_starts[cell + 1], alive, out)


@subroutine
def _first_alive(documents: np.ndarray, start: int, stop: int, alive: np.ndarray, out: np.ndarray) -> int:
    """The number of documents written to `out`: the first MAX_ANSWERS of start … stop − 1 that are alive."""
    n = 0
    for i in range(start, stop):
        if alive[documents[i]]:
            out[n] = documents[i]
            n += 1
            if n == MAX_ANSWERS:
                break
    return n
