"""The Bayes-optimal answer: the K documents of the largest expected recall under the world's own P(targets | query, …).

recall@K = |top K ∩ T| / |T|, so the expected recall of a list is the sum over its documents of E[1{d ∈ T} / |T|], and
the K largest terms are the best list. The oracle sees one query and its day, never the hour or the session's other
queries; it knows which try of its session a search is, and with it the rate of misspelling. For the first search of a
session that is the exact posterior. A later one was made because an earlier one failed, which the oracle does not use.

It sees the query alone (`text`), the searcher's city and language too (`place`), or who searches (`everything`), and
marginalises the rest over the searchers who were there, each as often as they search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.world import prior, wants
from data.world.documents import WIDTH
from data.world.likelihood import ANY, Meanings, Words, chance_of_query, join, meanings, words_meant
from data.world.places import LANGUAGES
from data.world.simulate import build, document_ids
from data.world.world_config import Sees, World
from ebr_core.errors import InputError

Ints = npt.NDArray[np.int64]


class _OracleQueries(NamedTuple):
    """The searches to answer, in the order given."""

    words: Ints  # (Q, WIDTH) into Words, −1 after the last
    day: Ints  # (Q,)
    searcher: Ints  # (Q,)
    rate: npt.NDArray[np.float64]  # (Q,) of misspelling


class _Room(NamedTuple):
    """Scratch space of one query, all 0 between queries."""

    likelihood: npt.NDArray[np.float64]  # (N, languages + 1)
    score: npt.NDArray[np.float64]  # (N,)
    touched: npt.NDArray[np.int64]  # (N,) documents with either
    marked: npt.NDArray[np.bool_]  # (N,)
    size: npt.NDArray[np.int64]  # (1,) how many
    total: npt.NDArray[np.float64]  # (1,) P(query and all it may mean)


def oracle(
    world: World,
    folder: Path,
    search_ids: Sequence[int] | npt.NDArray[np.integer[Any]],
    k: int,
    sees: Sees,
    days_old: int = 0,
) -> pa.Table:
    """search_id, position (from 1), document_id, expected: up to k documents a search, the best first.

    `expected` is E[1{d ∈ T} / |T| | what is seen]: summed over a list, its expected recall. Documents that could not
    have been meant are left out. With `days_old` it knows the world of so many days before each search: what it
    loses by that is the drift. `folder` is what `simulate(world, …)` wrote. Raises InputError if it is not, or if a
    search is not in it.
    """
    if sees not in get_args(Sees):
        raise InputError(f"sees must be one of {', '.join(get_args(Sees))}, got {sees!r}")
    if k < 1 or days_old < 0:
        raise InputError(f"k must be at least 1 and days_old at least 0, got {k} and {days_old}")
    ids = np.asarray(search_ids, dtype=np.int64)
    scene = build(_written(world, folder))
    asked, typed = _read(world, folder, ids)
    known, hashes, letters, length = meanings(scene.form, scene.titles)
    meant = words_meant(typed, scene.typos, hashes, letters, length)
    rows, expected = np.full((len(ids), k), -1, np.int64), np.zeros((len(ids), k))
    n, cities, topics = len(scene.documents.kind), len(scene.places.city), len(scene.language.topics)
    room = _Room(
        np.zeros((n, ANY + 1)),
        np.zeros(n),
        np.zeros(n, np.int64),
        np.zeros(n, np.bool_),
        np.zeros(1, np.int64),
        np.zeros(1),
    )
    belief = prior.new_belief(len(LANGUAGES) if sees == "text" else 1, n, cities, topics)
    home = scene.want.home * len(LANGUAGES) + scene.want.language
    group = {"text": np.zeros_like(home), "place": home, "everything": np.arange(len(home))}[sees]
    by_group = np.argsort(group, kind="stable")
    for day in np.unique(asked.day):
        known_day = max(0, int(day) - days_old)
        popularity = wants.popularity_of_day(world, scene.documents, scene.trend[known_day], known_day)
        today = wants.day_of(scene.want, popularity, known_day)
        facts = prior.facts_of(scene.documents, scene.want, today, popularity, topics)
        active = scene.society.activity * today.there[: len(home)]
        queries = np.flatnonzero(asked.day == day)
        for g, of_group in _grouped(group[asked.searcher[queries]]):
            members = by_group[slice(*np.searchsorted(group[by_group], [g, g + 1]))]
            for at in range(len(belief.language)):
                spoken = at if sees == "text" else int(scene.want.language[members[0]])
                there = members[scene.want.language[members] == spoken]
                prior.believe(
                    scene.want,
                    today,
                    facts,
                    belief,
                    at,
                    spoken,
                    there,
                    active[there] / max(active[members].sum(), 1e-300),
                )
            _answer(
                queries[of_group], asked, known, meant, facts, belief, world.misspelling.second, room, rows, expected
            )
    return _table(ids, rows, expected)


def _grouped(key: Ints) -> Iterator[tuple[int, Ints]]:
    """Each distinct key with the rows that have it."""
    order = np.argsort(key, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(rows):
            yield int(key[rows[0]]), rows


def _written(world: World, folder: Path) -> World:
    """The world, once it is sure that it wrote the folder."""
    path = folder / "truth" / "world.json"
    if not path.exists():
        raise InputError(f"{path} does not exist: the oracle needs a folder that `simulate` wrote")
    if World.model_validate_json(path.read_text()) != world:
        raise InputError(f"{folder} was written by another world: its parameters stand in {path}")
    return world


def _read(world: World, folder: Path, ids: Ints) -> tuple[_OracleQueries, list[bytes]]:
    """The searches asked for, and the distinct words typed in them."""
    wanted = pc.field("search_id").isin(pa.array(np.unique(ids)))
    columns = ["search_id", "searched_at", "query", "searcher_id"]
    found = pq.read_table(folder / "searches", columns=columns, filters=wanted)
    truth = pq.read_table(folder / "truth" / "intents", columns=["search_id", "attempt"], filters=wanted)
    number = found["search_id"].to_numpy()
    order = np.argsort(number)
    at = np.searchsorted(number[order], ids)
    if len(number) == 0 or (at >= len(number)).any() or (number[order][np.minimum(at, len(number) - 1)] != ids).any():
        missing = np.setdiff1d(ids, number)
        raise InputError(f"{folder} has no search {missing[:5].tolist()}: {len(missing)} of {len(ids)} are not in it")
    row = order[at]
    typed: dict[bytes, int] = {}
    words = np.full((len(ids), WIDTH), -1, np.int64)
    for q, text in enumerate(found["query"].take(pa.array(row)).to_pylist()):
        for j, word in enumerate(text.encode("latin-1").split(b" ")):
            words[q, j] = typed.setdefault(word, len(typed))
    day = (found["searched_at"].to_numpy()[row] - np.datetime64(world.start)) // np.timedelta64(1, "D")
    searcher = pc.cast(pc.utf8_slice_codeunits(found["searcher_id"], 1), pa.int64()).to_numpy()[row]
    tries = np.zeros(int(ids.max(initial=0)) + 1, np.int64)
    tries[truth["search_id"].to_numpy()] = truth["attempt"].to_numpy()
    rate = np.where(tries[ids] == 1, world.misspelling.rate, world.misspelling.retyped)
    return _OracleQueries(words, day.astype(np.int64), searcher, rate), list(typed)


@numba.njit(cache=True)
def _answer(
    queries: np.ndarray, asked: _OracleQueries, known: Meanings, meant: Words, facts: prior.DayFacts,
    belief: prior.Belief,
    second: float, room: _Room, rows: np.ndarray, expected: np.ndarray,
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
def _keep_best(room: _Room, rows: np.ndarray, expected: np.ndarray) -> None:
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
    belief: prior.Belief, room: _Room,
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
    belief: prior.Belief, room: _Room,
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
def _touch(room: _Room, d: int) -> None:
    if not room.marked[d]:
        room.marked[d] = True
        room.touched[room.size[0]] = d
        room.size[0] += 1


@numba.njit(cache=True)
def _add_topic(
    topic: int, city: int, g: int, chance: float, facts: prior.DayFacts, belief: prior.Belief, room: _Room
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


def _table(ids: Ints, rows: Ints, expected: npt.NDArray[np.float64]) -> pa.Table:
    query, position = np.nonzero(rows >= 0)
    return pa.table(
        {
            "search_id": ids[query],
            "position": (position + 1).astype(np.int32),
            "document_id": document_ids(rows[query, position]),
            "expected": expected[query, position],
        }
    )
