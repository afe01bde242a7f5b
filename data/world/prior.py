"""P(document | what is seen of the searcher, day): the mixture of wants.py summed instead of drawn.

The mixture is linear in the searcher, so what is not seen is marginalised by adding searchers up, each with its weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.documents import Documents
from data.world.society import TASTE
from data.world.wants import LANGUAGE_ROOM, RIGHT, Day, Wanting, known, right_answers

Floats = npt.NDArray[np.float64]
TASTES = (float(TASTE[0]), float(TASTE[1]), float(TASTE[2]))


class Belief(NamedTuple):
    """Wants of L groups of searchers on one day, as parts that are put together for the documents asked for."""

    language: npt.NDArray[np.int64]  # (L,) that a group speaks
    graph: Floats  # (L, N) mass of each document from the graph
    city: Floats  # (L, C) mass of each city from place
    cell: Floats  # (L, T · LANGUAGE_ROOM) mass of each cell from interest
    rest: Floats  # (L,) mass left to popularity
    topic: Floats  # (L, T, C) mass of searches for a topic from a city


class DayFacts(NamedTuple):
    """What a belief reads of the documents on one day."""

    p: Floats  # (N,) popularity
    of_city: npt.NDArray[np.int32]  # (N,)
    of_cell: npt.NDArray[np.int64]  # (N,) −1 for people
    city_total: Floats
    cell_total: Floats
    total: float
    answers: npt.NDArray[np.int64]  # (T, C, RIGHT) right answers, −1 after the last
    right: npt.NDArray[np.int64]  # (T, C) how many


def facts_of(documents: Documents, want: Wanting, day: Day, popularity: Floats, topics: int) -> DayFacts:
    cell = np.where(documents.topic >= 0, documents.topic.astype(np.int64) * LANGUAGE_ROOM + documents.language, -1)
    answers = np.full((topics, len(want.country), RIGHT), -1, np.int64)
    right = _answer_all(want, day.there, answers)
    return DayFacts(
        popularity, documents.city, cell,
        day.by_city[want.city_starts[1:]] - day.by_city[want.city_starts[:-1]],
        day.by_taste[want.taste_starts[1:]] - day.by_taste[want.taste_starts[:-1]],
        float(day.every[-1]), answers, right,
    )  # fmt: skip


@numba.njit(cache=True)
def _answer_all(w: Wanting, there: np.ndarray, answers: np.ndarray) -> np.ndarray:
    right = np.zeros(answers.shape[:2], np.int64)
    for t in range(answers.shape[0]):
        for c in range(answers.shape[1]):
            right[t, c] = right_answers(w, there, t, c, answers[t, c])
    return right


def new_belief(groups: int, n: int, cities: int, topics: int) -> Belief:
    return Belief(
        np.zeros(groups, np.int64), np.zeros((groups, n)), np.zeros((groups, cities)),
        np.zeros((groups, topics * LANGUAGE_ROOM)), np.zeros(groups), np.zeros((groups, topics, cities)),
    )  # fmt: skip


@numba.njit(cache=True)
def believe(
    w: Wanting, d: Day, f: DayFacts, b: Belief, group: int, language: int, members: np.ndarray, weights: np.ndarray
) -> None:
    """Replace a group's wants by those of its members, each with a weight."""
    b.language[group] = language
    b.graph[group] = 0
    b.city[group] = 0
    b.cell[group] = 0
    b.rest[group] = 0
    b.topic[group] = 0
    for i in range(len(members)):
        if weights[i] > 0:
            _add_searcher(w, d, f, b, group, members[i], weights[i])


@numba.njit(cache=True)
def _add_searcher(w: Wanting, d: Day, f: DayFacts, b: Belief, group: int, s: int, weight: float) -> None:
    """Add the wants of searcher s on that day, `weight` in all."""
    home, later = w.home[s], 1 if d.day >= w.switches[s] else 0
    single = 1.0
    for i in range(3):
        t = w.interests[s, later, i]
        if f.right[t, home] > 0:
            b.topic[group, t, home] += weight * w.topic * TASTES[i]
            single -= w.topic * TASTES[i]
    weight *= single
    used = _add_graph(w, d, b.graph[group], s, weight * w.weights[0])
    for c in range(len(f.city_total)):
        if f.city_total[c] > 0:
            part = weight * w.weights[1] * (w.reach[home, c + 1] - w.reach[home, c]) / w.reach[home, -1]
            b.city[group, c] += part
            used += part
    for i in range(3):
        cell = w.interests[s, later, i] * LANGUAGE_ROOM + w.language[s]
        if f.cell_total[cell] > 0:
            b.cell[group, cell] += weight * w.weights[2] * TASTES[i]
            used += weight * w.weights[2] * TASTES[i]
    b.rest[group] += weight - used


@numba.njit(cache=True)
def _add_graph(w: Wanting, d: Day, graph: np.ndarray, s: int, weight: float) -> float:
    """Add the wants from the graph; how much of `weight` fell on documents that are there."""
    used = _add_links(w, d, graph, s, weight * (1 - w.second_hand))
    start = w.friend_offsets[s]
    count = known(w.friend_day, start, w.friend_offsets[s + 1], d.day)
    for i in range(start, start + count):
        used += _add_links(w, d, graph, w.friend[i], weight * w.second_hand / count)
    return used


@numba.njit(cache=True)
def _add_links(w: Wanting, d: Day, graph: np.ndarray, node: int, weight: float) -> float:
    start = w.link_offsets[node]
    count = known(w.link_day, start, w.link_offsets[node + 1], d.day)
    used = 0.0
    for i in range(start, start + count):
        if d.there[w.link[i]]:
            graph[w.link[i]] += weight / count
            used += weight / count
    return used


@numba.njit(cache=True)
def of_document(f: DayFacts, b: Belief, group: int, d: int) -> float:
    """Mass of d as the one document that a group wants."""
    p = f.p[d]
    if p <= 0:
        return 0.0
    c, cell = f.of_city[d], f.of_cell[d]
    total = b.graph[group, d] + b.city[group, c] * p / f.city_total[c] + b.rest[group] * p / f.total
    return float(total + (b.cell[group, cell] * p / f.cell_total[cell] if cell >= 0 else 0.0))
