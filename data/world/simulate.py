"""A world lived through day by day, and its log written in the `tables` layout, the truth beside it."""

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
from data.world.places import LANGUAGES, Places, settle
from data.world.sessions import HOURS, Log, Titles, empty_log, habits_of, sessions, titles_of
from data.world.society import Rows, Society, gather
from data.world.world_config import World
from ebr_core.errors import InputError

BATCH = 50_000  # searchers whose edges are written at once
CHUNK = 20_000  # sessions run at once; the log is the same for any
THREADS = 2  # the sessions of a chunk are divided among them; the log is the same for any

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
    """Everything of a world that stands before its first day."""

    places: Places
    documents: Documents
    language: Language
    society: Society
    want: wants.Wanting
    trend: npt.NDArray[np.float64]  # (days, T)
    form: forming.Forming
    typos: misspelling.EditShares
    titles: Titles


def build(world: World) -> Scene:
    """The scene of a world, the same for the same parameters."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(world.seed).spawn(3)]
    places = settle(world.number_of_cities, world.wants.distance_exponent, world.wants.within_city_km)
    documents, language = compose(world, places, streams[0])
    society = gather(world, places, documents, len(language.topics), streams[1])
    want = wants.wanting(world, places, documents, society, len(language.topics))
    form = forming.Forming(
        forming.weights_of(world), world.forms.plain, language.letters, language.length, language.fold,
        language.topics, language.types, language.short_offsets, language.short_ids, language.cities,
    )  # fmt: skip
    trend = wants.trends(world, len(language.topics), streams[2])
    typos = misspelling.typos_of(world.misspelling)
    return Scene(places, documents, language, society, want, trend, form, typos, titles_of(documents))


def simulate(world: World, folder: Path, chunk: int = CHUNK) -> Iterator[int]:
    """Yields the number of days done; writes searches/, results/, documents, edges and truth/ into a new folder.

    The same world gives the same bytes, whatever the chunk. Raises InputError if the folder holds anything.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: a world is written into a new folder; remove it or name another")
    scene = build(world)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "truth").mkdir()
    (folder / "truth" / "world.json").write_text(world.model_dump_json(indent=1))
    _write_documents(world, scene, folder)
    _write_edges(world, scene, folder)
    index = engine.build(scene.documents, scene.language, scene.places)
    starts = _searches_by_day(world)
    for day in range(world.days):
        log = _day(world, scene, index, day, int(starts[day + 1] - starts[day]), chunk)
        _write_day(world, scene, folder, day, int(starts[day]), log)
        yield day + 1


def _searches_by_day(world: World) -> npt.NDArray[np.int64]:
    """(days + 1,) running numbers of searches, by the rhythm of the week."""
    weight = np.array([world.week[(world.start + timedelta(d)).weekday()] for d in range(world.days)])
    return np.concatenate([[0], np.round(np.cumsum(weight) / weight.sum() * world.searches)]).astype(np.int64)


def _day(world: World, scene: Scene, index: engine.Engine, day: int, n: int, chunk: int) -> Log:
    """The n searches of a day: sessions in their order until there are enough, the last cut short."""
    popularity = wants.popularity_of_day(world, scene.documents, scene.trend[day], day)
    today = wants.day_of(scene.want, popularity, day)
    alive = today.there[: scene.documents.people]
    if not alive.any():
        raise InputError(f"nobody is there on day {day} of the world: more documents, or a lower `born` and `gone`")
    active = np.concatenate([[0.0], np.cumsum(scene.society.activity * alive)])
    hours = np.concatenate([[0.0], np.cumsum(HOURS)])
    shift = np.round(scene.places.longitude / 15).astype(np.int64)

    def run(first: int, stop: int) -> Log:
        return sessions(
            world.seed, today, first, stop, active, hours, shift, scene.want, scene.form, scene.typos, index,
            scene.titles, habits_of(world),
        )  # fmt: skip

    parts = [empty_log(0)]
    count, first = 0, 0
    with ThreadPoolExecutor(THREADS) as threads:
        while count < n:
            edges = np.linspace(first, first + min(chunk, n - count), THREADS + 1).astype(int)
            for part in threads.map(run, edges[:-1], edges[1:]):
                parts.append(Log._make(np.ascontiguousarray(column[: n - count]) for column in part))
                count += len(parts[-1].session)
            first = edges[-1]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[2], kind="stable")
    return Log._make(column[order] for column in columns)


def document_ids(rows: npt.NDArray[np.integer[Any]]) -> pa.Array:
    return pc.binary_join_element_wise("d", pc.cast(pa.array(rows), pa.string()), "")


def searcher_ids(rows: npt.NDArray[np.integer[Any]]) -> pa.Array:
    return pc.binary_join_element_wise("s", pc.cast(pa.array(rows), pa.string()), "")


def _at(world: World, days: npt.NDArray[np.integer[Any]], seconds: npt.NDArray[np.integer[Any]] | int) -> pa.Array:
    """UTC timestamps."""
    start = np.datetime64(world.start, "us")
    return pa.array(start + (days.astype(np.int64) * 86_400 + seconds) * np.timedelta64(1_000_000, "us"))


def _named(codes: npt.NDArray[np.integer[Any]], names: list[str]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes.astype(np.int32)))


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def _write_documents(world: World, scene: Scene, folder: Path) -> None:
    d, p = scene.documents, scene.places
    n = len(d.kind)
    second = np.arange(n) * 7919 % 86_400
    columns = {
        "document_id": document_ids(np.arange(n)),
        "title": title_text(d, scene.language),
        "kind": _named(d.kind, list(KINDS)),
        "city": _named(d.city, p.city),
        "region": _named(d.city, p.region),
        "country": _named(d.city, p.country),
        "language": _named(d.language, list(LANGUAGES)),
        "created_at": _at(world, d.born, second),
        "removed_at": pc.if_else(pa.array(d.gone < world.days), _at(world, d.gone, second), None),
    }
    _write(pa.table(columns), folder / "documents.parquet")


def _write_edges(world: World, scene: Scene, folder: Path) -> None:
    """profile: a searcher's own document; friend: each pair once; member, follow, attend: groups, pages, events.

    Written BATCH searchers at a time, so that the text of the ids never stands in memory as a whole.
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
    """The edges whose source is one of the searchers `owner`, a range."""
    d, s = scene.documents, scene.society
    source, friend, met = _from(s.friends, owner)
    once = (source < friend) & (met < world.days)
    who, what, joined = _from(s.linked, owner)
    belongs = (what >= d.people) & (joined < world.days)
    source, friend, met = source[once], friend[once], met[once]
    who, what, joined = who[belongs], what[belongs], joined[belongs]
    sizes = (len(owner), len(source), len(who))
    return pa.table(
        {
            "source_id": searcher_ids(np.concatenate([owner, source, who])),
            "target_id": pa.concat_arrays([document_ids(owner), searcher_ids(friend), document_ids(what)]),
            "source_type": _named(np.zeros(sum(sizes), np.int8), ["searcher"]),
            "target_type": _named(np.repeat([1, 0, 1], sizes), ["searcher", "document"]),
            "kind": _named(
                np.concatenate([np.repeat([0, 1], sizes[:2]), 1 + d.kind[what]]),
                ["profile", "friend", "member", "follow", "attend"],
            ),
            "weight": pa.array(np.ones(sum(sizes), np.float32)),
            "created_at": _at(world, np.concatenate([d.born[owner], met, joined]), 86_399),
        }
    )


def _from(rows: Rows, owner: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Source, target and day of the edges of a range of searchers."""
    part = slice(rows.offsets[owner[0]], rows.offsets[owner[-1] + 1])
    source = np.repeat(owner, np.diff(rows.offsets[owner[0] : owner[-1] + 2]))
    return source, rows.target[part], rows.day[part]


def _write_day(world: World, scene: Scene, folder: Path, day: int, first: int, log: Log) -> None:
    part = f"day={world.start + timedelta(day)}/part.parquet"
    n = len(log.session)
    ids = np.arange(first, first + n)
    _, number = np.unique(log.session, return_inverse=True)
    home = scene.want.home[log.searcher]
    searches = {
        "search_id": ids,
        "searched_at": _at(world, np.full(n, day), log.second),
        "query": pa.array(np.char.decode(log.query.view(f"S{log.query.shape[1]}").ravel(), "latin-1"), pa.string()),
        "searcher_id": searcher_ids(log.searcher),
        "session_id": first + number,
        "city": _named(home, scene.places.city),
        "region": _named(home, scene.places.region),
        "country": _named(home, scene.places.country),
        "language": _named(scene.want.language[log.searcher], list(LANGUAGES)),
    }
    _write(pa.table(searches), folder / "searches" / part)
    row, position = np.nonzero(log.shown >= 0)
    results = {
        "search_id": ids[row],
        "document_id": document_ids(log.shown[row, position]),
        "position": (position + 1).astype(np.int32),
        "clicked": log.clicked[row, position],
        "randomised": log.shuffled[row],
    }
    _write(pa.table(results), folder / "results" / part)
    row, which = np.nonzero(log.targets >= 0)
    truth = [
        ids[row], document_ids(log.targets[row, which]), np.where(log.topic[row], 1, 2).astype(np.float32),
        _named(log.topic[row].astype(np.int8), ["document", "topic"]), _named(log.form[row], list(forming.FORMS)),
        log.edits[row], log.edits[row] > 0, log.plain[row], log.attempt[row],
    ]  # fmt: skip
    _write(pa.table(truth, schema=INTENTS), folder / "truth" / "intents" / part)
