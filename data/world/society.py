"""Friendships, memberships and interests of the searchers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data.world.documents import PERSON, Documents
from data.world.places import Places
from data.world.world_config import World

Ints = npt.NDArray[np.int64]

TASTE = np.array([0.6, 0.3, 0.1])  # share of a searcher's first, second and third interest; assumed

KINDRED_GROUPS = 8  # groups of interests; people of one city and group befriend each other; assumed


class Rows(NamedTuple):
    """Edges by searcher: those of s are rows offsets[s] … offsets[s + 1] − 1, the oldest first."""

    offsets: Ints  # (S + 1,)
    target: npt.NDArray[np.int32]
    day: npt.NDArray[np.int16]


class Society(NamedTuple):
    """S searchers, who are the people among the documents."""

    language: npt.NDArray[np.int8]  # (S,)
    interests: npt.NDArray[np.int16]  # (S, 2, 3) topics before and after `switches`
    switches: npt.NDArray[np.int16]  # (S,) first day of the later interests
    activity: npt.NDArray[np.float64]  # (S,) relative number of searches
    friends: Rows  # searchers, each friendship in both rows
    linked: Rows  # documents one step away: friends' profiles, and memberships


def build_society(world: World, places: Places, documents: Documents, topics: int, rng: np.random.Generator) -> Society:
    """Searchers with languages, interests, friends by circle, interest and distance, and memberships."""
    s = documents.people
    home = documents.city[:s].astype(np.int64)
    minority = rng.random(s) < world.minority_language
    language = np.where(minority, places.minority[home], places.language[home]).astype(np.int8)
    share = 1.0 / (1 + np.arange(topics)) ** 0.7
    interests = rng.choice(topics, (s, 2, 3), p=share / share.sum()).astype(np.int16)
    switches = np.minimum(rng.geometric(max(world.switch, 1e-6), s), 30_000).astype(np.int16)
    activity = np.exp(world.activity_spread * rng.standard_normal(s))
    low, high = draw_friendships(world, places, home, interests[:, 0, 0].astype(np.int64), rng)
    met_day = _draw_days(np.maximum(documents.born[low], documents.born[high]), np.int16(world.days), rng)
    friends = _rows([low, high], [high, low], [met_day, met_day], s)
    member, document = _memberships(world, documents, language, interests, friends, rng)
    last_day = np.minimum(documents.gone[document], world.days).astype(np.int16)
    joined_day = _draw_days(np.maximum(documents.born[member], documents.born[document]), last_day, rng)
    is_valid = joined_day < documents.gone[document]
    linked = _rows(
        [low, high, member[is_valid]], [high, low, document[is_valid]], [met_day, met_day, joined_day[is_valid]], s
    )
    return Society(language, interests, switches, activity, friends, linked)


def draw_friendships(
    world: World, places: Places, home: Ints, interest: Ints, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Distinct pairs of searchers (F,), (F,), the lower first.

    Degrees are lognormal. Circles within a city give the share `circle` of the friendships, and with them the triangles
    (foci, [Feld 1981]); city and interest give `same_interest`; the rest reach any city, ∝ population ·
    distance^-exponent.
    """
    s = len(home)
    degree = np.exp(np.log(max(world.friends_median, 1e-9)) + world.friends_spread * rng.standard_normal(s))
    degree = np.minimum(degree, max(1, s // 4))
    # Circles are filled roughly in the order of degree within a city: people befriend those as sociable as they are.
    order = np.lexsort((np.log(degree) + rng.standard_normal(s), home))
    circle = np.empty(s, dtype=np.int64)
    circle[order] = np.arange(s) // world.circle_size
    circle = circle * (home.max() + 1) + home
    kindred = home * 1_000 + interest % KINDRED_GROUPS
    # A group cannot give more friends than it has members; the other friends live further away.
    circle_degree = np.minimum(degree * world.circle, 0.7 * _group_mates(circle))
    kindred_degree = np.minimum(degree * world.same_interest, 0.7 * _group_mates(kindred))
    pairs = [
        _match_within(circle, circle_degree, rng),
        _match_within(kindred, kindred_degree, rng),
        _match_across(places, home, (degree - circle_degree - kindred_degree) / 2, rng),
    ]
    low = np.concatenate([np.minimum(a, b) for a, b in pairs])
    high = np.concatenate([np.maximum(a, b) for a, b in pairs])
    del pairs
    key = _distinct((low * s + high)[low != high])
    return (key // s).astype(np.int32), (key % s).astype(np.int32)


def _group_mates(group: Ints) -> Ints:
    """(S,) the number of other members of each searcher's group."""
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    return size[number] - 1


def _distinct(key: Ints) -> Ints:
    """The distinct keys in order, by a sort, which is faster here than a hash."""
    key.sort()
    return key[np.concatenate([[True], key[1:] != key[:-1]])] if len(key) else key


def _half_edges(searchers: Ints, expected: npt.NDArray[np.float64], rng: np.random.Generator) -> Ints:
    """Each searcher as often as `expected`, whose fraction is drawn."""
    integer_part = np.floor(expected).astype(np.int64)
    return np.repeat(searchers, integer_part + (rng.random(len(expected)) < expected - integer_part))


def _match_within(group: Ints, expected: npt.NDArray[np.float64], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Pairs within groups: the half-edges of a group in random order, each joined with its neighbour."""
    stub = _half_edges(np.arange(len(group)), expected, rng)
    _, number = np.unique(group, return_inverse=True)
    key = (number[stub].astype(np.int64) << 32) | rng.integers(0, 2**32, len(stub))
    stub = stub[np.argsort(key)]
    a, b = stub[0 : len(stub) // 2 * 2 : 2], stub[1 : len(stub) // 2 * 2 : 2]
    is_same_group = group[a] == group[b]
    return a[is_same_group], b[is_same_group]


def _match_across(
    places: Places, home: Ints, expected: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Pairs whose second member lives in a city drawn by `reach`."""
    order = np.argsort(home, kind="stable")
    start = np.searchsorted(home[order], np.arange(len(places.city) + 1))
    stub = _half_edges(order, expected[order], rng)
    from_city = np.searchsorted(home[stub], np.arange(len(places.city) + 1))
    steps = np.cumsum(places.reach, axis=1)
    goal_city = np.empty(len(stub), dtype=np.int64)
    for c in range(len(places.city)):
        rows = slice(from_city[c], from_city[c + 1])
        goal_city[rows] = np.searchsorted(
            steps[c], rng.random(from_city[c + 1] - from_city[c]) * steps[c, -1], side="right"
        )
    goal_city = np.minimum(goal_city, len(places.city) - 1)
    # Within the city, a friend is drawn in proportion to their expected degree.
    total = np.concatenate([[0.0], np.cumsum(expected[order])])
    aim = total[start[goal_city]] + rng.random(len(stub)) * (total[start[goal_city + 1]] - total[start[goal_city]])
    is_reachable = total[start[goal_city + 1]] > total[start[goal_city]]
    friend = np.clip(np.searchsorted(total, aim[is_reachable], side="right") - 1, 0, len(order) - 1)
    return stub[is_reachable], order[friend]


def _draw_days(
    from_day: npt.NDArray[np.int16], to_day: npt.NDArray[np.int16] | np.int16, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Days uniform in from_day + 1 … to_day − 1, or from_day + 1 if that range is empty."""
    low = from_day.astype(np.int32) + 1
    span = np.maximum(to_day - low, 1)
    return np.asarray(low + rng.random(len(low), dtype=np.float32) * (span - 0.01)).astype(np.int32).astype(np.int16)


def _rows(
    source: list[npt.NDArray[Any]], target: list[npt.NDArray[Any]], day: list[npt.NDArray[np.int16]], n: int
) -> Rows:
    """Edges sorted by source, day, target: one number for each edge sorts ten times faster than three keys."""
    key = np.empty(sum(map(len, source)), np.int64)
    start = 0
    for s, t, d in zip(source, target, day, strict=True):
        part = key[start : start + len(s)]
        part[:] = s
        part <<= 13
        part += d
        part += 2048  # the oldest edge is 1,800 days before the log
        part <<= 25
        part += t
        start += len(s)
    key.sort()
    targets = (key & (2**25 - 1)).astype(np.int32)
    key >>= 25
    days = ((key & (2**13 - 1)) - 2048).astype(np.int16)
    key >>= 13
    return Rows(np.searchsorted(key, np.arange(n + 1)), targets, days)


def _memberships(
    world: World, documents: Documents, language: npt.NDArray[np.int8], interests: npt.NDArray[np.int16],
    friends: Rows, rng: np.random.Generator,
) -> tuple[Ints, Ints]:  # fmt: skip
    """Distinct memberships (searchers, groups or pages or events): by place, by interest, or copied from a friend."""
    s = documents.people
    count = rng.poisson(world.memberships * rng.lognormal(-0.5, 1, s))
    member = np.repeat(np.arange(s), count)
    u = rng.random(len(member))
    joinable = np.flatnonzero(documents.kind != PERSON)
    local_choice = _pick_rows(documents.city[joinable], documents.popularity[joinable], documents.city[member], rng)
    topic = interests[member, 0, rng.choice(3, len(member), p=TASTE)].astype(np.int64)
    cell = documents.topic[joinable].astype(np.int64) * 16 + documents.language[joinable]
    interest_choice = _pick_rows(cell, documents.popularity[joinable], topic * 16 + language[member], rng)
    document = np.where(u < 0.55, local_choice, interest_choice)  # assumed
    document = np.where(document >= 0, joinable[document], -1)
    # A copy: a random membership of a random friend, before any copies.
    degree = np.diff(friends.offsets)[member]
    friend = member.copy()
    mask = degree > 0
    friend[mask] = friends.target[(friends.offsets[member] + rng.random(len(member)) * degree).astype(np.int64)[mask]]
    first = np.concatenate([[0], np.cumsum(count)])
    copied_row = first[friend] + (rng.random(len(member)) * count[friend]).astype(np.int64)
    copies = (u > 0.7) & (degree > 0) & (count[friend] > 0)
    document = np.where(copies, document[np.minimum(copied_row, len(member) - 1)], document)
    mask = document >= 0
    key = _distinct(member[mask] * documents.kind.size + document[mask])
    return key // documents.kind.size, key % documents.kind.size


def _pick_rows(
    cell: npt.NDArray[np.integer], weight: npt.NDArray[np.float64], cells: npt.NDArray[np.integer],
    rng: np.random.Generator,
) -> Ints:  # fmt: skip
    """One row for each of `cells`, with probability ∝ weight; −1 if the cell is empty."""
    order = np.argsort(cell, kind="stable")
    total = np.concatenate([[0], np.cumsum(weight[order])])
    start, stop = np.searchsorted(cell[order], cells), np.searchsorted(cell[order], cells, side="right")
    goal = total[start] + rng.random(len(cells)) * (total[stop] - total[start])
    pick = np.clip(np.searchsorted(total, goal, side="right") - 1, start, np.maximum(stop - 1, start))
    return np.where(stop > start, order[np.minimum(pick, len(order) - 1)], -1)
