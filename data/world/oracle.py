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
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.world import prior, wants
from data.world.documents import WIDTH
from data.world.likelihood import ANY, meanings, words_meant
from data.world.places import LANGUAGES
from data.world.posterior import OracleQueries, PosteriorScratch, answer_queries
from data.world.simulate import build, document_ids
from data.world.world_config import Sees, World
from ebr_core.errors import InputError

Ints = npt.NDArray[np.int64]


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
    room = PosteriorScratch(
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
            answer_queries(
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


def _read(world: World, folder: Path, ids: Ints) -> tuple[OracleQueries, list[bytes]]:
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
    return OracleQueries(words, day.astype(np.int64), searcher, rate), list(typed)


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
