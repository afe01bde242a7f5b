"""The Bayes-optimal list: the K documents of the largest expected recall under the world's own P(targets | query, …).

recall@K = |top K ∩ T| / |T|, so the expected recall of a list is the sum over its documents of E[1{d ∈ T} / |T|], and
the K largest terms are the best list. The oracle sees one query and its day, never the hour or the session's other
queries. It knows the search's number within its session, and with it the rate of misspelling. For the first search of
a session that is the exact posterior. A later search was made because an earlier one failed; the oracle ignores this.

It sees the query alone (`text`), the searcher's city and language too (`place`), or the searcher (`everything`). It
marginalises the rest over the searchers of that day, each weighted by how often they search.
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
from data.world.likelihood import ANY_LANGUAGE, meanings, words_meant
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
    """(search_id, position from 1, document_id, expected): up to k documents for each search, the best first.

    `expected` is E[1{d ∈ T} / |T| | what the oracle sees]; its sum over a list is the list's expected recall. Documents
    that the searcher cannot have meant are left out. With `days_old` the oracle knows the world as it was that many
    days before each search; the recall that it loses is the drift. `folder` is the folder that `simulate(world, …)`
    wrote. Raises InputError if another world wrote it, or if a search is not in it.
    """
    if sees not in get_args(Sees):
        raise InputError(f"sees must be one of {', '.join(get_args(Sees))}, got {sees!r}")
    if k < 1 or days_old < 0:
        raise InputError(f"k must be at least 1 and days_old at least 0, got {k} and {days_old}")
    ids = np.asarray(search_ids, dtype=np.int64)
    scene = build(_verify_folder(world, folder))
    oracle_queries, typed_words = _read_queries(world, folder, ids)
    catalogue, hashes, letters, length = meanings(scene.form, scene.titles)
    candidates = words_meant(typed_words, scene.typos, hashes, letters, length)
    rows, expected = np.full((len(ids), k), -1, np.int64), np.zeros((len(ids), k))
    n, cities, topics = len(scene.documents.kind), len(scene.places.city), len(scene.language.topics)
    scratch = PosteriorScratch(
        np.zeros((n, ANY_LANGUAGE + 1)),
        np.zeros(n),
        np.zeros(n, np.int64),
        np.zeros(n, np.bool_),
        np.zeros(1, np.int64),
        np.zeros(1),
    )
    belief = prior.new_belief(len(LANGUAGES) if sees == "text" else 1, n, cities, topics)
    home = scene.want.home * len(LANGUAGES) + scene.want.language
    group = {"text": np.zeros_like(home), "place": home, "everything": np.arange(len(home))}[sees]
    group_order = np.argsort(group, kind="stable")
    for day in np.unique(oracle_queries.day):
        visible_day = max(0, int(day) - days_old)
        popularity = wants.popularity_of_day(world, scene.documents, scene.trend[visible_day], visible_day)
        today = wants.day_of(scene.want, popularity, visible_day)
        facts = prior.facts_of(scene.documents, scene.want, today, popularity, topics)
        activity = scene.society.activity * today.alive[: len(home)]
        queries = np.flatnonzero(oracle_queries.day == day)
        for g, rows_of_group in _rows_by_key(group[oracle_queries.searcher[queries]]):
            members = group_order[slice(*np.searchsorted(group[group_order], [g, g + 1]))]
            for slot in range(len(belief.language)):
                language = slot if sees == "text" else int(scene.want.language[members[0]])
                speakers = members[scene.want.language[members] == language]
                prior.set_belief(
                    scene.want,
                    today,
                    facts,
                    belief,
                    slot,
                    language,
                    speakers,
                    activity[speakers] / max(activity[members].sum(), 1e-300),
                )
            answer_queries(
                queries[rows_of_group],
                oracle_queries,
                catalogue,
                candidates,
                facts,
                belief,
                world.misspelling.second,
                scratch,
                rows,
                expected,
            )
    return _table(ids, rows, expected)


def _rows_by_key(key: Ints) -> Iterator[tuple[int, Ints]]:
    """Pairs of a distinct key and the rows that have it."""
    order = np.argsort(key, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(rows):
            yield int(key[rows[0]]), rows


def _verify_folder(world: World, folder: Path) -> World:
    """The same world; raises InputError if it did not write the folder."""
    path = folder / "truth" / "world.json"
    if not path.exists():
        raise InputError(f"{path} does not exist: the oracle needs a folder that `simulate` wrote")
    if World.model_validate_json(path.read_text()) != world:
        raise InputError(f"{folder} was written by another world: its parameters are in {path}")
    return world


def _read_queries(world: World, folder: Path, ids: Ints) -> tuple[OracleQueries, list[bytes]]:
    """The searches of these ids, and the distinct words of their queries."""
    selection = pc.field("search_id").isin(pa.array(np.unique(ids)))
    columns = ["search_id", "searched_at", "query", "searcher_id"]
    searches = pq.read_table(folder / "searches", columns=columns, filters=selection)
    intents = pq.read_table(folder / "truth" / "intents", columns=["search_id", "attempt"], filters=selection)
    number = searches["search_id"].to_numpy()
    order = np.argsort(number)
    places = np.searchsorted(number[order], ids)
    if (
        len(number) == 0
        or (places >= len(number)).any()
        or (number[order][np.minimum(places, len(number) - 1)] != ids).any()
    ):
        missing = np.setdiff1d(ids, number)
        raise InputError(f"{folder} has no search {missing[:5].tolist()}: {len(missing)} of {len(ids)} are not in it")
    row = order[places]
    typed_words: dict[bytes, int] = {}
    words = np.full((len(ids), WIDTH), -1, np.int64)
    for q, text in enumerate(searches["query"].take(pa.array(row)).to_pylist()):
        for j, word in enumerate(text.encode("latin-1").split(b" ")):
            words[q, j] = typed_words.setdefault(word, len(typed_words))
    day = (searches["searched_at"].to_numpy()[row] - np.datetime64(world.start)) // np.timedelta64(1, "D")
    searcher = pc.cast(pc.utf8_slice_codeunits(searches["searcher_id"], 1), pa.int64()).to_numpy()[row]
    attempts = np.zeros(int(ids.max(initial=0)) + 1, np.int64)
    attempts[intents["search_id"].to_numpy()] = intents["attempt"].to_numpy()
    rate = np.where(attempts[ids] == 1, world.misspelling.rate, world.misspelling.retyped)
    return OracleQueries(words, day.astype(np.int64), searcher, rate), list(typed_words)


def _table(ids: Ints, rows: Ints, expected: npt.NDArray[np.float64]) -> pa.Table:
    """The table that `oracle` returns. rows (Q, K): documents, −1 after the last."""
    query, position = np.nonzero(rows >= 0)
    return pa.table(
        {
            "search_id": ids[query],
            "position": (position + 1).astype(np.int32),
            "document_id": document_ids(rows[query, position]),
            "expected": expected[query, position],
        }
    )
