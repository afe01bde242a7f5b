"""P(document | what the oracle sees of the searcher, day): the mixture of wants.py, summed instead of drawn.

The mixture is linear in the searcher. What the oracle does not see is therefore marginalised by a weighted sum over
searchers.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.documents import Documents
from data.world.society import TASTE
from data.world.subroutine import subroutine
from data.world.wants import LANGUAGE_SLOTS, MAX_ANSWERS, Day, WantTables, count_earlier, right_answers

Floats = npt.NDArray[np.float64]
TASTES = (float(TASTE[0]), float(TASTE[1]), float(TASTE[2]))


class Belief(NamedTuple):
    """Wants of L groups of searchers on one day, as parts that `document_mass` adds up for single documents."""

    language: npt.NDArray[np.int64]  # (L,) language of each group
    graph: Floats  # (L, N) mass of each document from the graph
    city: Floats  # (L, C) mass of each city from place
    cell: Floats  # (L, T · LANGUAGE_SLOTS) mass of each cell from interest
    rest: Floats  # (L,) mass left to popularity
    topic: Floats  # (L, T, C) mass of searches for a topic from a city


class DayFacts(NamedTuple):
    """The facts about the documents of one day that a belief needs."""

    p: Floats  # (N,) popularity
    city: npt.NDArray[np.int32]  # (N,)
    cell: npt.NDArray[np.int64]  # (N,) −1 for people
    city_total: Floats  # (C,) popularity of each city
    cell_total: Floats  # (T · LANGUAGE_SLOTS,) popularity of each cell
    total: float  # popularity of all documents
    answers: npt.NDArray[np.int64]  # (T, C, MAX_ANSWERS) right answers, −1 after the last
    answer_count: npt.NDArray[np.int64]  # (T, C) number of right answers


def facts_of(documents: Documents, want: WantTables, day: Day, popularity: Floats, topics: int) -> DayFacts:
    """The facts of a day. popularity (N,): of that day; topics: their number."""
    cell = np.where(documents.topic >= 0, documents.topic.astype(np.int64) * LANGUAGE_SLOTS + documents.language, -1)
    answers = np.full((topics, len(want.country), MAX_ANSWERS), -1, np.int64)
    answer_count = _list_answers(want, day.alive, answers)
    return DayFacts(
        popularity, documents.city, cell,
        day.by_city[want.city_starts[1:]] - day.by_city[want.city_starts[:-1]],
        day.by_taste[want.taste_starts[1:]] - day.by_taste[want.taste_starts[:-1]],
        float(day.overall[-1]), answers, answer_count,
    )  # fmt: skip


@numba.njit(cache=True)
def _list_answers(w: WantTables, alive: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(T, C) numbers of right answers; the answers are written to `answers`."""
    answer_count = np.zeros(answers.shape[:2], np.int64)
    for t in range(answers.shape[0]):
        for c in range(answers.shape[1]):
            answer_count[t, c] = right_answers(w, alive, t, c, answers[t, c])
    return answer_count


def new_belief(groups: int, n: int, cities: int, topics: int) -> Belief:
    """An empty belief for so many groups, documents, cities and topics."""
    return Belief(
        np.zeros(groups, np.int64), np.zeros((groups, n)), np.zeros((groups, cities)),
        np.zeros((groups, topics * LANGUAGE_SLOTS)), np.zeros(groups), np.zeros((groups, topics, cities)),
    )  # fmt: skip


@numba.njit(cache=True)
def set_belief(
    w: WantTables, d: Day, f: DayFacts, b: Belief, group: int, language: int, members: np.ndarray, weights: np.ndarray
) -> None:
    """Set a group's wants to the weighted sum of those of its members."""
    b.language[group] = language
    b.graph[group] = 0
    b.city[group] = 0
    b.cell[group] = 0
    b.rest[group] = 0
    b.topic[group] = 0
    for i in range(len(members)):
        if weights[i] > 0:
            _add_searcher(w, d, f, b, group, members[i], weights[i])


@subroutine
def _add_searcher(w: WantTables, d: Day, f: DayFacts, b: Belief, group: int, s: int, weight: float) -> None:
    """Add the wants of searcher s on that day; their masses sum to `weight`."""
    home, period = w.home[s], 1 if d.day >= w.switches[s] else 0
    single_share = 1.0
    for i in range(3):
        t = w.interests[s, period, i]
        if f.answer_count[t, home] > 0:
            b.topic[group, t, home] += weight * w.topic * TASTES[i]
            single_share -= w.topic * TASTES[i]
    weight *= single_share
    mass_used = _add_graph(w, d, b.graph[group], s, weight * w.weights[0])
    for c in range(len(f.city_total)):
        if f.city_total[c] > 0:
            part = weight * w.weights[1] * (w.reach[home, c + 1] - w.reach[home, c]) / w.reach[home, -1]
            b.city[group, c] += part
            mass_used += part
    for i in range(3):
        cell = w.interests[s, period, i] * LANGUAGE_SLOTS + w.language[s]
        if f.cell_total[cell] > 0:
            b.cell[group, cell] += weight * w.weights[2] * TASTES[i]
            mass_used += weight * w.weights[2] * TASTES[i]
    b.rest[group] += weight - mass_used


@subroutine
def _add_graph(w: WantTables, d: Day, graph: np.ndarray, s: int, weight: float) -> float:
    """Add the wants from the graph; return the part of `weight` that fell on documents that are alive."""
    mass_used = _add_links(w, d, graph, s, weight * (1 - w.second_hand))
    start = w.friend_offsets[s]
    count = count_earlier(w.friend_day, start, w.friend_offsets[s + 1], d.day)
    for i in range(start, start + count):
        mass_used += _add_links(w, d, graph, w.friend[i], weight * w.second_hand / count)
    return mass_used


@subroutine
def _add_links(w: WantTables, d: Day, graph: np.ndarray, node: int, weight: float) -> float:
    """Add the wants one step from a node; return the part of `weight` that fell on documents that are alive."""
    start = w.link_offsets[node]
    count = count_earlier(w.link_day, start, w.link_offsets[node + 1], d.day)
    mass_used = 0.0
    for i in range(start, start + count):
        if d.alive[w.link[i]]:
            graph[w.link[i]] += weight / count
            mass_used += weight / count
    return mass_used


@subroutine
def document_mass(f: DayFacts, b: Belief, group: int, d: int) -> float:
    """The mass of d as the one document that a group wants."""
    p = f.p[d]
    if p <= 0:
        return 0.0
    c, cell = f.city[d], f.cell[d]
    total = b.graph[group, d] + b.city[group, c] * p / f.city_total[c] + b.rest[group] * p / f.total
    return float(total + (b.cell[group, cell] * p / f.cell_total[cell] if cell >= 0 else 0.0))
