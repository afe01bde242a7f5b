"""Simulates a world day by day, and writes its log in the `tables` layout with the truth beside it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.world import engine, forming, misspelling, wants
from data.world.documents import KINDS, Documents, Language, compose, title_text
from data.world.places import LANGUAGES, Places, load_places
from data.world.sessions import HOURS, Log, Titles, empty_log, habits_of, simulate_sessions, titles_of
from data.world.society import Rows, Society, build_society
from data.world.world_config import World
from ebr_core.errors import InputError

BATCH = 50_000  # searchers whose edges are written in one step
CHUNK = 20_000  # sessions of one step; the log does not depend on it
THREADS = 2  # share the sessions of a chunk; the log does not depend on their number

INTENTS = pa.schema(
    [
        pa.field("search_id", pa.int64(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),  # a right answer
        pa.field("grade", pa.float32(), nullable=False),  # 2: the one document wanted; 1: one of several right answers
        pa.field("intent", pa.string(), nullable=False),  # document or topic
        pa.field("form", pa.string(), nullable=False),  # how the title became a query: forming.FORMS
        pa.field("edits", pa.int8(), nullable=False),  # words misspelt, 0 … 2
        pa.field("misspelt", pa.bool_(), nullable=False),  # edits > 0
        pa.field("plain", pa.bool_(), nullable=False),  # typed without accents
        pa.field("attempt", pa.int8(), nullable=False),  # 1: the session's first search; above: a reformulation
    ]
)


class Scene(NamedTuple):
    """Everything of a world that is fixed before its first day."""

    places: Places
    documents: Documents
    language: Language
    society: Society
    want: wants.WantTables
    trend: npt.NDArray[np.float64]  # (days, T)
    form: forming.FormTables
    typos: misspelling.EditShares
    titles: Titles


def build(world: World) -> Scene:
    """The scene of a world; equal worlds give equal scenes."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(world.seed).spawn(3)]
    places = load_places(world.number_of_cities, world.wants.distance_exponent, world.wants.within_city_km)
    documents, language = compose(world, places, streams[0])
    society = build_society(world, places, documents, len(language.topics), streams[1])
    want = wants.build_want_tables(world, places, documents, society, len(language.topics))
    form = forming.FormTables(
        forming.weights_of(world), world.forms.plain, language.letters, language.length, language.fold,
        language.topics, language.types, language.short_offsets, language.short_ids, language.cities,
    )  # fmt: skip
    trend = wants.trends(world, len(language.topics), streams[2])
    typos = misspelling.typos_of(world.misspelling)
    return Scene(places, documents, language, society, want, trend, form, typos, titles_of(documents))


def simulate(world: World, folder: Path, chunk: int = CHUNK) -> Iterator[int]:
    """Yield the number of days done; write searches/, results/, documents, edges and truth/ into a new folder.

    The same world gives the same bytes for every chunk. Raises InputError if the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: a world needs a new folder; remove it or name another one")
    scene = build(world)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "truth").mkdir()
    (folder / "truth" / "world.json").write_text(world.model_dump_json(indent=1))
    _write_documents(world, scene, folder)
    _write_edges(world, scene, folder)
    index = engine.build(scene.documents, scene.language, scene.places)
    starts = _searches_by_day(world)
    for day in range(world.days):
        log = _simulate_day(world, scene, index, day, int(starts[day + 1] - starts[day]), chunk)
        _write_day(world, scene, folder, day, int(starts[day]), log)
        yield day + 1


def _searches_by_day(world: World) -> npt.NDArray[np.int64]:
    """(days + 1,) running sums of the searches of each day, by the rhythm of the week."""
    weight = np.array([world.week[(world.start + timedelta(d)).weekday()] for d in range(world.days)])
    return np.concatenate([[0], np.round(np.cumsum(weight) / weight.sum() * world.searches)]).astype(np.int64)


def _simulate_day(world: World, scene: Scene, index: engine.Engine, day: int, n: int, chunk: int) -> Log:
    """The n searches of a day: sessions in their order until n is reached; the last session is cut short."""
    popularity = wants.popularity_of_day(world, scene.documents, scene.trend[day], day)
    today = wants.day_of(scene.want, popularity, day)
    alive = today.alive[: scene.documents.people]
    if not alive.any():
        raise InputError(
            f"no searcher is alive on day {day} of the world: give it more documents, or lower `born` and `gone`"
        )
    activity_sums = np.concatenate([[0.0], np.cumsum(scene.society.activity * alive)])
    hours = np.concatenate([[0.0], np.cumsum(HOURS)])
    shift = np.round(scene.places.longitude / 15).astype(np.int64)

    def run(first: int, stop: int) -> Log:
        return simulate_sessions(
            world.seed, today, first, stop, activity_sums, hours, shift, scene.want, scene.form, scene.typos, index,
            scene.titles, habits_of(world),
        )  # fmt: skip

    parts = [empty_log(0)]
    count, first = 0, 0
    with ThreadPoolExecutor(THREADS) as threads:
        while count < n:
            bounds = np.linspace(first, first + min(chunk, n - count), THREADS + 1).astype(int)
            for part in threads.map(run, bounds[:-1], bounds[1:]):
                parts.append(Log._make(np.ascontiguousarray(column[: n - count]) for column in part))
                count += len(parts[-1].session)
            first = bounds[-1]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[2], kind="stable")
    return Log._make(column[order] for column in columns)


def document_ids(rows: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """Ids of document rows."""
    return pc.binary_join_element_wise("d", pc.cast(pa.array(rows), pa.string()), "")


def searcher_ids(rows: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """Ids of searcher rows."""
    return pc.binary_join_element_wise("s", pc.cast(pa.array(rows), pa.string()), "")


def _timestamps(
    world: World, days: npt.NDArray[np.integer[Any]], seconds: npt.NDArray[np.integer[Any]] | int
) -> pa.Array:
    """UTC timestamps of days of the world and seconds of the day."""
    start = np.datetime64(world.start, "us")
    return pa.array(start + (days.astype(np.int64) * 86_400 + seconds) * np.timedelta64(1_000_000, "us"))


def _labels(codes: npt.NDArray[np.integer[Any]], names: list[str]) -> pa.Array:
    """The names of codes."""
    return pa.array(names, pa.string()).take(pa.array(codes.astype(np.int32)))


def _write(table: pa.Table, path: Path) -> None:
    """Write a compressed Parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def _write_documents(world: World, scene: Scene, folder: Path) -> None:
    """Write documents.parquet."""
    d, p = scene.documents, scene.places
    n = len(d.kind)
    second = np.arange(n) * 7919 % 86_400
    columns = {
        "document_id": document_ids(np.arange(n)),
        "title": title_text(d, scene.language),
        "kind": _labels(d.kind, list(KINDS)),
        "city": _labels(d.city, p.city),
        "region": _labels(d.city, p.region),
        "country": _labels(d.city, p.country),
        "language": _labels(d.language, list(LANGUAGES)),
        "created_at": _timestamps(world, d.born, second),
        "removed_at": pc.if_else(pa.array(d.gone < world.days), _timestamps(world, d.gone, second), None),
    }
    _write(pa.table(columns), folder / "documents.parquet")


def _write_edges(world: World, scene: Scene, folder: Path) -> None:
    """Write edges.parquet, BATCH searchers at a time, so that memory never holds the text of all ids.

    Kinds: profile is a searcher's own document; friend has each pair once; member, follow and attend are of groups,
    pages and events.
    """
    path = folder / "edges.parquet"
    writer: pq.ParquetWriter | None = None
    for first in range(0, scene.documents.people, BATCH):
        table = _edges_of(world, scene, np.arange(first, min(first + BATCH, scene.documents.people)))
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()


def _edges_of(world: World, scene: Scene, owner: npt.NDArray[np.int64]) -> pa.Table:
    """The edges from the searchers `owner`, a range."""
    d, s = scene.documents, scene.society
    source, friend, met_day = _edges_from(s.friends, owner)
    is_first = (source < friend) & (met_day < world.days)
    member, document, joined_day = _edges_from(s.linked, owner)
    is_membership = (document >= d.people) & (joined_day < world.days)
    source, friend, met_day = source[is_first], friend[is_first], met_day[is_first]
    member, document, joined_day = member[is_membership], document[is_membership], joined_day[is_membership]
    sizes = (len(owner), len(source), len(member))
    return pa.table(
        {
            "source_id": searcher_ids(np.concatenate([owner, source, member])),
            "target_id": pa.concat_arrays([document_ids(owner), searcher_ids(friend), document_ids(document)]),
            "source_type": _labels(np.zeros(sum(sizes), np.int8), ["searcher"]),
            "target_type": _labels(np.repeat([1, 0, 1], sizes), ["searcher", "document"]),
            "kind": _labels(
                np.concatenate([np.repeat([0, 1], sizes[:2]), 1 + d.kind[document]]),
                ["profile", "friend", "member", "follow", "attend"],
            ),
            "weight": pa.array(np.ones(sum(sizes), np.float32)),
            "created_at": _timestamps(world, np.concatenate([d.born[owner], met_day, joined_day]), 86_399),
        }
    )


def _edges_from(
    rows: Rows, owner: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Source, target and day of the edges of a range of searchers."""
    part = slice(rows.offsets[owner[0]], rows.offsets[owner[-1] + 1])
    source = np.repeat(owner, np.diff(rows.offsets[owner[0] : owner[-1] + 2]))
    return source, rows.target[part], rows.day[part]


def _write_day(world: World, scene: Scene, folder: Path, day: int, first: int, log: Log) -> None:
    """Write the searches, results and intents of a day. first: id of its first search."""
    part = f"day={world.start + timedelta(day)}/part.parquet"
    n = len(log.session)
    ids = np.arange(first, first + n)
    _, number = np.unique(log.session, return_inverse=True)
    home = scene.want.home[log.searcher]
    searches = {
        "search_id": ids,
        "searched_at": _timestamps(world, np.full(n, day), log.second),
        "query": pa.array(np.char.decode(log.query.view(f"S{log.query.shape[1]}").ravel(), "latin-1"), pa.string()),
        "searcher_id": searcher_ids(log.searcher),
        "session_id": first + number,
        "city": _labels(home, scene.places.city),
        "region": _labels(home, scene.places.region),
        "country": _labels(home, scene.places.country),
        "language": _labels(scene.want.language[log.searcher], list(LANGUAGES)),
    }
    _write(pa.table(searches), folder / "searches" / part)
    row, position = np.nonzero(log.results >= 0)
    results = {
        "search_id": ids[row],
        "document_id": document_ids(log.results[row, position]),
        "position": (position + 1).astype(np.int32),
        "clicked": log.clicked[row, position],
        "randomised": log.shuffled[row],
    }
    _write(pa.table(results), folder / "results" / part)
    row, target = np.nonzero(log.targets >= 0)
    truth = [
        ids[row], document_ids(log.targets[row, target]), np.where(log.topic[row], 1, 2).astype(np.float32),
        _labels(log.topic[row].astype(np.int8), ["document", "topic"]), _labels(log.form[row], list(forming.FORMS)),
        log.edits[row], log.edits[row] > 0, log.plain[row], log.attempt[row],
    ]  # fmt: skip
    _write(pa.table(truth, schema=INTENTS), folder / "truth" / "intents" / part)
