"""Who knows whom, who belongs where, and what searchers care about."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data.world.documents import PERSON, Documents
from data.world.places import Places
from data.world.world_config import World

Ints = npt.NDArray[np.int64]

TASTE = np.array([0.6, 0.3, 0.1])  # share of a searcher's first, second and third interest; assumed

KINDRED = 8  # families of interests within which people of a city make friends; assumed


class Rows(NamedTuple):
    """Edges by searcher: those of s are offsets[s] … offsets[s + 1] − 1, the oldest first."""

    offsets: Ints  # (S + 1,)
    target: npt.NDArray[np.int32]
    day: npt.NDArray[np.int16]


class Society(NamedTuple):
    """S searchers, who are the people among the documents."""

    language: npt.NDArray[np.int8]  # (S,)
    interests: npt.NDArray[np.int16]  # (S, 2, 3) topics before and after `switches`
    switches: npt.NDArray[np.int16]  # (S,) day from which the later interests hold
    activity: npt.NDArray[np.float64]  # (S,) relative number of searches
    friends: Rows  # searchers, each friendship in both rows
    linked: Rows  # documents one step away: friends' profiles, and memberships


def gather(world: World, places: Places, documents: Documents, topics: int, rng: np.random.Generator) -> Society:
    """Searchers with languages, interests, friends by circle, interest and distance, and memberships."""
    s = documents.people
    home = documents.city[:s].astype(np.int64)
    minority = rng.random(s) < world.minority_language
    language = np.where(minority, places.minority[home], places.language[home]).astype(np.int8)
    share = 1.0 / (1 + np.arange(topics)) ** 0.7
    interests = rng.choice(topics, (s, 2, 3), p=share / share.sum()).astype(np.int16)
    switches = np.minimum(rng.geometric(max(world.switch, 1e-6), s), 30_000).astype(np.int16)
    activity = np.exp(world.activity_spread * rng.standard_normal(s))
    one, other = befriend(world, places, home, interests[:, 0, 0].astype(np.int64), rng)
    met = _days(np.maximum(documents.born[one], documents.born[other]), np.int16(world.days), rng)
    friends = _rows([one, other], [other, one], [met, met], s)
    who, what = _memberships(world, documents, language, interests, friends, rng)
    until = np.minimum(documents.gone[what], world.days).astype(np.int16)
    joined = _days(np.maximum(documents.born[who], documents.born[what]), until, rng)
    kept = joined < documents.gone[what]
    linked = _rows([one, other, who[kept]], [other, one, what[kept]], [met, met, joined[kept]], s)
    return Society(language, interests, switches, activity, friends, linked)


def befriend(
    world: World, places: Places, home: Ints, interest: Ints, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Distinct pairs of searchers (F,), (F,), the lower first.

    Degrees are lognormal. A circle of one city gives `circle` of them, and with it the triangles (foci, [Feld 1981]);
    city and interest give `same_interest`; the rest reach any city, ∝ population · distance^-exponent.
    """
    s = len(home)
    degree = np.exp(np.log(max(world.friends_median, 1e-9)) + world.friends_spread * rng.standard_normal(s))
    degree = np.minimum(degree, max(1, s // 4))
    # Circles are filled in the order of degree within a city, roughly: people befriend those as sociable as they are.
    order = np.lexsort((np.log(degree) + rng.standard_normal(s), home))
    circle = np.empty(s, dtype=np.int64)
    circle[order] = np.arange(s) // world.circle_size
    circle = circle * (home.max() + 1) + home
    kindred = home * 1_000 + interest % KINDRED
    # A group has no more friends to give than it has members; the rest are found further away.
    inner = np.minimum(degree * world.circle, 0.7 * _others(circle))
    alike = np.minimum(degree * world.same_interest, 0.7 * _others(kindred))
    ways = [
        _matched(circle, inner, rng),
        _matched(kindred, alike, rng),
        _reaching(places, home, (degree - inner - alike) / 2, rng),
    ]
    low = np.concatenate([np.minimum(a, b) for a, b in ways])
    high = np.concatenate([np.maximum(a, b) for a, b in ways])
    del ways
    key = _distinct((low * s + high)[low != high])
    return (key // s).astype(np.int32), (key % s).astype(np.int32)


def _others(group: Ints) -> Ints:
    """How many others are in each one's group."""
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    return size[number] - 1


def _distinct(key: Ints) -> Ints:
    """The distinct keys in order; a sort, which is faster here than a hash."""
    key.sort()
    return key[np.concatenate([[True], key[1:] != key[:-1]])] if len(key) else key


def _stubs(who: Ints, expected: npt.NDArray[np.float64], rng: np.random.Generator) -> Ints:
    """Each of `who` as often as `expected`, the fraction drawn."""
    whole = np.floor(expected).astype(np.int64)
    return np.repeat(who, whole + (rng.random(len(expected)) < expected - whole))


def _matched(group: Ints, expected: npt.NDArray[np.float64], rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Pairs within groups: half-edges of one group in random order, each with its neighbour."""
    stub = _stubs(np.arange(len(group)), expected, rng)
    _, number = np.unique(group, return_inverse=True)
    key = (number[stub].astype(np.int64) << 32) | rng.integers(0, 2**32, len(stub))
    stub = stub[np.argsort(key)]
    a, b = stub[0 : len(stub) // 2 * 2 : 2], stub[1 : len(stub) // 2 * 2 : 2]
    same = group[a] == group[b]
    return a[same], b[same]


def _reaching(
    places: Places, home: Ints, expected: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Pairs of which the second lives where `reach` leads."""
    order = np.argsort(home, kind="stable")
    start = np.searchsorted(home[order], np.arange(len(places.city) + 1))
    stub = _stubs(order, expected[order], rng)
    from_city = np.searchsorted(home[stub], np.arange(len(places.city) + 1))
    steps = np.cumsum(places.reach, axis=1)
    goal = np.empty(len(stub), dtype=np.int64)
    for c in range(len(places.city)):
        here = slice(from_city[c], from_city[c + 1])
        goal[here] = np.searchsorted(steps[c], rng.random(from_city[c + 1] - from_city[c]) * steps[c, -1], side="right")
    goal = np.minimum(goal, len(places.city) - 1)
    # The one found is met in proportion to how sociable they are.
    total = np.concatenate([[0.0], np.cumsum(expected[order])])
    aim = total[start[goal]] + rng.random(len(stub)) * (total[start[goal + 1]] - total[start[goal]])
    some = total[start[goal + 1]] > total[start[goal]]
    found = np.clip(np.searchsorted(total, aim[some], side="right") - 1, 0, len(order) - 1)
    return stub[some], order[found]


def _days(
    after: npt.NDArray[np.int16], before: npt.NDArray[np.int16] | np.int16, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Days uniform in after + 1 … before − 1, or after + 1 where there is none."""
    low = after.astype(np.int32) + 1
    span = np.maximum(before - low, 1)
    return np.asarray(low + rng.random(len(low), dtype=np.float32) * (span - 0.01)).astype(np.int32).astype(np.int16)


def _rows(
    source: list[npt.NDArray[Any]], target: list[npt.NDArray[Any]], day: list[npt.NDArray[np.int16]], n: int
) -> Rows:
    """Edges sorted by source, day, target: as one number each, which sorts ten times faster than three keys."""
    key = np.empty(sum(map(len, source)), np.int64)
    at = 0
    for s, t, d in zip(source, target, day, strict=True):
        part = key[at : at + len(s)]
        part[:] = s
        part <<= 13
        part += d
        part += 2048  # the oldest edge is 1,800 days before the log
        part <<= 25
        part += t
        at += len(s)
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
    """Distinct (searcher, group, page or event): by place, by interest, and some after a friend's example."""
    s = documents.people
    count = rng.poisson(world.memberships * rng.lognormal(-0.5, 1, s))
    who = np.repeat(np.arange(s), count)
    way = rng.random(len(who))
    other = np.flatnonzero(documents.kind != PERSON)
    near = _picked(documents.city[other], documents.popularity[other], documents.city[who], rng)
    taste = interests[who, 0, rng.choice(3, len(who), p=TASTE)].astype(np.int64)
    cell = documents.topic[other].astype(np.int64) * 16 + documents.language[other]
    liked = _picked(cell, documents.popularity[other], taste * 16 + language[who], rng)
    what = np.where(way < 0.55, near, liked)  # assumed
    what = np.where(what >= 0, other[what], -1)
    # After a friend's example: the same row of a random friend's first list.
    degree = np.diff(friends.offsets)[who]
    friend = who.copy()
    some = degree > 0
    friend[some] = friends.target[(friends.offsets[who] + rng.random(len(who)) * degree).astype(np.int64)[some]]
    first = np.concatenate([[0], np.cumsum(count)])
    copied = first[friend] + (rng.random(len(who)) * count[friend]).astype(np.int64)
    can = (way > 0.7) & (degree > 0) & (count[friend] > 0)
    what = np.where(can, what[np.minimum(copied, len(who) - 1)], what)
    some = what >= 0
    key = _distinct(who[some] * documents.kind.size + what[some])
    return key // documents.kind.size, key % documents.kind.size


def _picked(
    cell: npt.NDArray[np.integer], weight: npt.NDArray[np.float64], wanted: npt.NDArray[np.integer],
    rng: np.random.Generator,
) -> Ints:  # fmt: skip
    """For each wanted cell one of its rows, with probability ∝ weight; −1 where the cell is empty."""
    order = np.argsort(cell, kind="stable")
    total = np.concatenate([[0], np.cumsum(weight[order])])
    start, stop = np.searchsorted(cell[order], wanted), np.searchsorted(cell[order], wanted, side="right")
    goal = total[start] + rng.random(len(wanted)) * (total[stop] - total[start])
    pick = np.clip(np.searchsorted(total, goal, side="right") - 1, start, np.maximum(stop - 1, start))
    return np.where(stop > start, order[np.minimum(pick, len(order) - 1)], -1)
