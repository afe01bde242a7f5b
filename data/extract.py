"""Search logs of any layout → one folder of Parquet files with the schemas of `data.schemas`, and a report.

The SQL stands in `data/sql`: `layouts` brings each layout to the same five raw tables; `clean`, `split` and `write` are
shared by all of them. DuckDB works on disk, so the logs may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data import schemas
from data.damaged import is_unreadable, unreadable
from data.data_report import reported
from data.experiment.log_config import LONGEST_ID, LONGEST_QUERY, LONGEST_TEXT, Beir, Esci, Split, Tables, Ubi
from data.file_partitions import open_partitions, refuse_damaged
from data.layouts import LAYOUTS, paths
from data.reading import open_absent, open_table
from data.statements import statement
from ebr_core.errors import InputError

ROWS_PER_GROUP = 32_768
OUTPUTS = {
    "documents": schemas.DOCUMENTS,
    "queries": schemas.QUERIES,
    "searches": schemas.SEARCHES,
    "searchers": schemas.SEARCHERS,
    "results": schemas.RESULTS,
    "edges": schemas.EDGES,
    "judgements": schemas.JUDGEMENTS,
}


Parts = Mapping[str, Sequence[Path]]  # table → its partitions, as data.file_partitions writes them


def extract(logs: Tables | Ubi | Esci | Beir, split: Split, folder: Path, parts: Parts | None = None) -> None:
    """Writes documents, queries, searches, searchers, results, edges and judgements `.parquet` and `report.json`.

    The schemas are those of `data.schemas`; edges and judgements are empty where the logs have none. The same logs and
    split give the same bytes, whatever the order of rows and files and the number of threads. Relative paths start from
    the working directory. parts: the partitions of all files of some tables, which then are not read; the same bytes
    come out.

    Raises InputError where a file is missing or damaged, a column is missing or holds something else, more than
    `max_dropped` of a table would be dropped, nothing was clicked, or a part of the split would be empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".extract-", dir=folder) as scratch, closing(_database(logs, Path(scratch))) as con:
        try:
            _read(con, logs, parts or {})
            if split.until or split.without:
                _narrow(con, logs, split)
            if isinstance(logs, Esci | Beir):
                _refuse_given_split(con, logs, split)
            _clean(con, logs)
            _split(con, logs, split)
            con.execute(statement("write/number"))
            for name, schema in OUTPUTS.items():
                _write(con, name, schema, folder / f"{name}.parquet")
            report = reported(con, logs.layout)
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"extraction needs more than logs.memory_limit, {logs.memory_limit}: {error}\n"
                "Raise it, or lower logs.threads"
            ) from error
        except duckdb.Error as error:
            if not is_unreadable(error):
                raise
            table, path = _blamed(con, paths(logs), error)
            refuse_damaged(con, table, (parts or {}).get(table, ()))
            raise InputError(unreadable(table, path, error)) from error
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")


def _database(logs: Tables | Ubi | Esci | Beir, scratch: Path) -> duckdb.DuckDBPyConnection:
    remote = any("://" in path for path in paths(logs).values())
    return duckdb.connect(
        str(scratch / "logs.duckdb"),
        config={
            "memory_limit": logs.memory_limit,
            "threads": str(logs.threads),
            "temp_directory": str(scratch / "spilled"),
            # Local files need no extension; s3:// and https:// do.
            "autoinstall_known_extensions": str(remote).lower(),
        },
    )


def _read(con: duckdb.DuckDBPyConnection, logs: Tables | Ubi | Esci | Beir, parts: Parts) -> None:
    """The five raw tables of the layout."""
    con.execute(statement("read/macros"))
    con.execute(statement("clean/start"))
    for name, most in (("longest_id", LONGEST_ID), ("longest_query", LONGEST_QUERY), ("longest_text", LONGEST_TEXT)):
        _set(con, name, most)
    given = paths(logs)
    for table, (required, optional) in LAYOUTS[logs.layout].items():
        if table in parts:
            open_partitions(con, table, given[table], parts[table], required, optional)
        elif table in given:
            open_table(con, table, given[table], required, optional)
        else:
            open_absent(con, table, required, optional)
    match logs:
        case Ubi():
            _set(con, "click_actions", list(logs.click_actions))
        case Esci():
            _set(con, "version", logs.version)
            _set(con, "locales", list(logs.locales))
        case Beir():
            _set(con, "judged_from", logs.judged_from)
        case Tables():
            pass
    con.execute(statement(f"layouts/{logs.layout}"))


def _set(con: duckdb.DuckDBPyConnection, name: str, value: object) -> None:
    con.execute(statement("read/set", name=name), [value])


def _narrow(con: duckdb.DuckDBPyConnection, logs: Tables | Ubi | Esci | Beir, split: Split) -> None:
    """Hides the searches that are not to be read, and their results."""
    timed(logs)
    _set(con, "until", split.until)
    _set(con, "without", list(split.without))
    con.execute(statement("read/narrow"))


def timed(logs: Tables | Ubi | Esci | Beir) -> Tables | Ubi:
    """The logs. Raises InputError where the layout knows no time, so that there are no days."""
    if isinstance(logs, Esci | Beir):
        raise InputError(
            f"logs: the {logs.layout} layout carries no times, so it has no days; days need the layout tables or ubi"
        )
    return logs


def _blamed(con: duckdb.DuckDBPyConnection, given: dict[str, str], error: duckdb.Error) -> tuple[str, str]:
    """The table that cannot be read, and its path: the one that the error names, else the first that fails by
    itself."""
    for table, path in given.items():
        if path in str(error):
            return table, path
    for table, path in given.items():
        try:
            con.execute(statement("read/whole", reader=f"read_{table}")).fetchall()
        except duckdb.Error:
            return table, path
    return "logs", ", ".join(given.values())


def _clean(con: duckdb.DuckDBPyConnection, logs: Tables | Ubi | Esci | Beir) -> None:
    """Drops what cannot be used and counts it; refuses where too much would go, or nothing useful is left."""
    for table in ("searches", "documents", "results"):
        con.execute(statement(f"clean/{table}"))
        _refuse_dropped(con, table, logs.max_dropped)
    if _one(con, "clean/clicks")[0] == 0:
        raise InputError("results: nothing was clicked. Clicks are what is learned from and what is measured against")
    given = paths(logs)
    untyped, shared = _one(con, "clean/shared_ids")
    if untyped and shared:
        raise InputError(
            f"edges: {given['edges']}: {untyped:,} edges lack source_type or target_type, and searchers and documents "
            f"share identities such as {', '.join(shared)}. Give both columns, each searcher or document"
        )
    for table in ("edges", "judgements"):
        con.execute(statement(f"clean/{table}"))
        if table in given:
            _refuse_dropped(con, table, 1.0)


def _refuse_dropped(con: duckdb.DuckDBPyConnection, table: str, allowed: float) -> None:
    read, kept = con.execute(statement("clean/kept"), [table]).fetchall()[0]
    if kept > 0 and (read - kept) / read <= allowed:
        return
    reasons = con.execute(statement("clean/reasons"), [table]).fetchall()
    lines = [f"  {reason}: {rows:,} ({', '.join(examples)})" for reason, rows, examples in reasons]
    way_out = f", above logs.max_dropped = {allowed:g}. Correct the logs, or raise it" if kept else ": none is left"
    raise InputError("\n".join([f"{table}: {read - kept:,} of {read:,} rows would be dropped{way_out}", *lines]))


def _split(con: duckdb.DuckDBPyConnection, logs: Tables | Ubi | Esci | Beir, split: Split) -> None:
    """Every search belongs to train, validation or test."""
    con.execute(statement("split/sessions"))
    if isinstance(logs, Esci | Beir):
        _split_as_given(con)
        return
    _set(con, "validation", split.validation)
    _set(con, "test", split.test)
    if split.kind == "random":
        con.execute(statement("split/at_random"))
    elif split.kind == "last_click":
        con.execute(statement("split/last_click"))
    else:
        _split_by_time(con, split)
    if split.train_share < 1:
        _set(con, "train_share", split.train_share)
        con.execute(statement("split/thin"))
    _refuse_empty_parts(con, split)
    _refuse_dead_parts(con)


def _split_by_time(con: duckdb.DuckDBPyConnection, split: Split) -> None:
    if split.validation_from and split.test_from:
        _set(con, "validation_from", split.validation_from)
        _set(con, "test_from", split.test_from)
        con.execute(statement("split/cuts_by_date"))
    else:
        con.execute(statement("split/cuts_by_share"))
    con.execute(statement("split/by_time"))


def _refuse_empty_parts(con: duckdb.DuckDBPyConnection, split: Split) -> None:
    parts = {name: (searches, clicked) for name, searches, clicked in con.execute(statement("split/parts")).fetchall()}
    validation_from, test_from = _one(con, "split/cuts")
    first, last = _one(con, "split/time_range")
    for name in ("train", "validation", "test"):
        searches, clicked = parts.get(name, (0, 0))
        if clicked:
            continue
        if split.kind != "time":
            raise InputError(f"split: kind {split.kind} leaves no clicked search to {name}; these logs are too small")
        if test_from is None or validation_from is None:
            raise InputError(
                f"split: sessions start at fewer than three instants between {first} and {last} (UTC), so there is no "
                "cut into train, validation and test. Bring logs of a longer time"
            )
        got = f"{searches:,} searches and none of them clicked" if searches else "no search"
        raise InputError(
            f"split: {name} has {got}. Searches run from {first} to {last} (UTC); sessions that start before "
            f"{validation_from} are train, from {test_from} on test. "
            "Set split.validation_from and split.test_from inside that range, or larger split.validation and split.test"
        )


def _refuse_dead_parts(con: duckdb.DuckDBPyConnection) -> None:
    """Where no clicked document of a part was there in its time, nothing is left to train on or to find."""
    for name, clicks, alive in con.execute(statement("split/alive")).fetchall():
        if not alive:
            raise InputError(
                f"documents: none of the documents of the {clicks:,} clicks in {name} was there at that time, by "
                "created_at and removed_at. Correct them, or leave the columns out: a document without them is always "
                "there"
            )


def _refuse_given_split(con: duckdb.DuckDBPyConnection, logs: Esci | Beir, split: Split) -> None:
    """A collection's own split: no dates beside it, three known names, every query in one part."""
    if split.validation_from or split.kind != "time" or split.train_share < 1:
        raise InputError(
            f"split: the {logs.layout} layout brings its own split. Leave out validation_from and test_from, kind and "
            "train_share"
        )
    twice, names = _one(con, "split/two_parts")
    if twice:
        raise InputError(f"split: queries such as {', '.join(twice)} are in two parts of the split. Keep each in one")
    unknown = sorted(set(names) - {"train", "validation", "test"})
    if unknown:
        raise InputError(f"split: got {', '.join(unknown)}. Expected train, validation or test")


def _split_as_given(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(statement("split/as_given"))
    parts = {name: (searches, clicked) for name, searches, clicked in con.execute(statement("split/parts")).fetchall()}
    if not parts.get("test", (0, 0))[1]:
        raise InputError("split: test has no query with a relevant document, so there is nothing to measure against")
    if "validation" in parts and "train" not in parts:
        raise InputError(
            "split: there are validation queries but none to train on. Leave them out, or add training ones"
        )


def _one(con: duckdb.DuckDBPyConnection, name: str) -> tuple[Any, ...]:
    row = con.execute(statement(name)).fetchone()
    assert row is not None  # these statements are aggregates: one row
    return row


def _write(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, path: Path) -> None:
    # Not DuckDB's COPY: that declares every column nullable and decides by itself where a row group ends.
    batches = con.sql(statement(f"write/{name}")).to_arrow_reader(ROWS_PER_GROUP)
    with pq.ParquetWriter(path, schema) as writer:
        for batch in batches:
            table = pa.Table.from_batches([batch]).cast(schema)
            writer.write_table(table, row_group_size=ROWS_PER_GROUP)
