"""What a searcher wants before typing: P(document | searcher, day), a mixture drawn from here, summed by the oracle."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.chance import choose, draw
from data.world.documents import EVENT, FOREVER, PERSON, TOPIC, Documents
from data.world.places import Places
from data.world.society import TASTE, Society
from data.world.world_config import World

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LANGUAGE_ROOM = 16  # topic × LANGUAGE_ROOM + language is a cell of interest
RIGHT = 5  # right answers of a search for a topic, at most; assumed
FEWEST = 2  # right answers that a city must have, or the country is meant; assumed
TASTES = (float(TASTE[0]), float(TASTE[1]), float(TASTE[2]))


class Wanting(NamedTuple):
    """All that a want depends on and that no day changes."""

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
    taste_starts: Ints  # (T · LANGUAGE_ROOM + 1,)
    answers: Ints  # groups, pages, events by topic and city, the most popular first
    answer_starts: Ints  # (T · C + 1,)
    wide_answers: Ints  # the same by topic and country
    wide_starts: Ints  # (T · countries + 1,)


class Day(NamedTuple):
    """The popularity of one day, as running sums in each order; 0 for what is not there."""

    day: int
    there: npt.NDArray[np.bool_]  # (N,)
    every: Floats  # (N + 1,)
    by_city: Floats  # (N + 1,)
    by_taste: Floats


def wanting(world: World, places: Places, documents: Documents, society: Society, topics: int) -> Wanting:
    """The parts of P(document | searcher, day) that last."""
    x = world.wants
    weights = np.array([x.graph, x.place, x.interest, x.popularity], float)
    other = np.flatnonzero(documents.kind != PERSON)
    topic = documents.topic[other].astype(np.int64)
    city = documents.city[other].astype(np.int64)
    codes = {c: i for i, c in enumerate(dict.fromkeys(places.country))}
    country = np.array([codes[c] for c in places.country])
    by_city = np.argsort(documents.city, kind="stable")
    taste = topic * LANGUAGE_ROOM + documents.language[other]
    order, starts = _sorted_cells(taste, np.zeros(len(other)), topics * LANGUAGE_ROOM)
    said = (documents.roles[other] == TOPIC).any(1)  # a right answer names its topic
    near, near_starts = _sorted_cells(
        (topic * len(country) + city)[said], -documents.popularity[other][said], topics * len(country)
    )
    wide, wide_starts = _sorted_cells(
        (topic * len(codes) + country[city])[said], -documents.popularity[other][said], topics * len(codes)
    )
    return Wanting(
        weights / weights.sum(), x.topic, x.second_hand, documents.people,
        np.pad(np.cumsum(places.reach, axis=1), ((0, 0), (1, 0))),
        documents.city[: documents.people].astype(np.int64), country, len(codes), society.language.astype(np.int64),
        society.interests.astype(np.int64), society.switches.astype(np.int64),
        society.friends.offsets, society.friends.target, society.friends.day,
        society.linked.offsets, society.linked.target, society.linked.day,
        by_city, np.searchsorted(documents.city[by_city], np.arange(len(country) + 1)),
        other[order], starts, other[said][near], near_starts, other[said][wide], wide_starts,
    )  # fmt: skip


def _sorted_cells(cell: Ints, then: Floats, cells: int) -> tuple[Ints, Ints]:
    """Order of rows by cell and `then`, and where each cell starts (cells + 1,)."""
    order = np.lexsort((then, cell))
    return order, np.searchsorted(cell[order], np.arange(cells + 1))


def trends(world: World, topics: int, rng: np.random.Generator) -> Floats:
    """(days, topics) log popularity of each topic: random walks from 0."""
    steps = world.trend * rng.standard_normal((world.days, topics))
    steps[0] = 0
    return np.asarray(np.cumsum(steps, axis=0))


def popularity_of_day(world: World, documents: Documents, trend: Floats, day: int) -> Floats:
    """(N,) popularity on a day: lasting × trend of the topic × freshness × nearness of the event; 0 if not there."""
    there = (documents.born < day) & (documents.gone > day)
    age = np.maximum(day - documents.born.astype(float), 0)
    p = documents.popularity * np.exp(np.concatenate([trend, [0.0]])[documents.topic])
    p *= 1 + world.fresh * np.exp(-age / 7)
    ahead = np.abs(np.where(documents.happens < FOREVER, documents.happens.astype(float) - day, 0))
    return np.asarray(np.where(there, p * np.where(documents.kind == EVENT, 3 * np.exp(-ahead / 7), 1), 0))


def day_of(want: Wanting, popularity: Floats, day: int) -> Day:
    def running(p: Floats) -> Floats:
        return np.concatenate([[0.0], np.cumsum(p)])

    return Day(
        day, popularity > 0, running(popularity), running(popularity[want.by_city]), running(popularity[want.by_taste])
    )


@numba.njit(cache=True)
def known(day: np.ndarray, start: int, stop: int, today: int) -> int:
    """How many of the edges start … stop − 1, the oldest first, are older than today."""
    left, right = start, stop
    while left < right:
        middle = (left + right) // 2
        if day[middle] < today:
            left = middle + 1
        else:
            right = middle
    return left - start


@numba.njit(cache=True)
def pick_taste(w: Wanting, searcher: int, day: int, u: float) -> int:
    """A topic of the searcher's interests of that day."""
    later = 1 if day >= w.switches[searcher] else 0
    which = 0 if u < TASTES[0] else 1 if u < TASTES[0] + TASTES[1] else 2
    return int(w.interests[searcher, later, which])


@numba.njit(cache=True)
def draw_document(w: Wanting, d: Day, searcher: int, state: np.ndarray) -> int:
    """One document wanted. What comes to nothing (no friend, a document that is gone) becomes a want by popularity."""
    u = draw(state)
    found = -1
    if u < w.weights[0]:
        found = _from_graph(w, d, searcher, state)
    elif u < w.weights[0] + w.weights[1]:
        city = choose(w.reach[w.home[searcher]], 0, len(w.country), draw(state))
        at = choose(d.by_city, w.city_starts[city], w.city_starts[city + 1], draw(state))
        found = w.by_city[at] if at >= 0 else -1
    elif u < w.weights[0] + w.weights[1] + w.weights[2]:
        cell = pick_taste(w, searcher, d.day, draw(state)) * LANGUAGE_ROOM + w.language[searcher]
        at = choose(d.by_taste, w.taste_starts[cell], w.taste_starts[cell + 1], draw(state))
        found = w.by_taste[at] if at >= 0 else -1
    if found >= 0 and d.there[found]:
        return found
    return choose(d.every, 0, len(d.every) - 1, draw(state))


@numba.njit(cache=True)
def _from_graph(w: Wanting, d: Day, searcher: int, state: np.ndarray) -> int:
    """A document one step away, or one step away from a friend; each known edge alike."""
    node = searcher
    if draw(state) < w.second_hand:
        start = w.friend_offsets[searcher]
        count = known(w.friend_day, start, w.friend_offsets[searcher + 1], d.day)
        if count == 0:
            return -1
        node = w.friend[start + int(draw(state) * count)]
    start = w.link_offsets[node]
    count = known(w.link_day, start, w.link_offsets[node + 1], d.day)
    return w.link[start + int(draw(state) * count)] if count > 0 else -1


@numba.njit(cache=True)
def right_answers(w: Wanting, there: np.ndarray, topic: int, city: int, out: np.ndarray) -> int:
    """How many documents answer a search for a topic from a city, written to `out` (RIGHT,).

    They are the most popular of the topic in the city; where it has fewer than FEWEST, in the country.
    """
    cell = topic * len(w.country) + city
    n = _first_there(w.answers, w.answer_starts[cell], w.answer_starts[cell + 1], there, out)
    if n >= FEWEST:
        return n
    cell = topic * w.countries + w.country[city]
    return _first_there(w.wide_answers, w.wide_starts[cell], w.wide_starts[cell + 1], there, out)


@numba.njit(cache=True)
def _first_there(documents: np.ndarray, start: int, stop: int, there: np.ndarray, out: np.ndarray) -> int:
    n = 0
    for i in range(start, stop):
        if there[documents[i]]:
            out[n] = documents[i]
            n += 1
            if n == RIGHT:
                break
    return n
