"""Partitions of the tables that grow by the day: the typed rows of each raw file as Parquet, so that it is read once.

A night reads the rows of old files from their partitions. Documents, edges and judgements are snapshots, which are read
as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import date
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

import duckdb

from data.damaged import is_unreadable, unreadable_message
from data.experiment.log_config import DatedFiles
from data.experiment.source_config import Source, escape_glob
from data.file_digests import DigestCache, Stat, digest_of, stat_of
from data.layouts import TYPES, Columns, acted_table, columns_of, label_of, sources, table_columns
from data.log_fingerprint import digest_source
from data.pinned_sources import pin_source
from data.reading import folder_columns_of, format_of, match_files, note_unread, open_file, share_folder_columns
from data.renamed_columns import NO_RENAMES, Renames, refuse_missing, renames_of
from data.sql_result import read_path
from data.statements import file_list, identifier, literal, statement
from data.user_columns import note_names
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen

# layout → its tables that grow → the columns of identity and time, or None for a table without times.
GROWING: dict[str, dict[str, tuple[str, str] | None]] = {
    "tables": {"searches": ("search_id", "searched_at"), "results": None},
    "impressions": {"impressions": ("query", "searched_at")},
    "ubi": {"queries": ("query_id", "timestamp"), "events": None},
}
ROWS, FACTS = "rows.parquet", "facts.json"


class PartitionFacts(TypedDict, total=False):
    """Facts about a partition, stored beside its rows."""

    columns: list[str]  # of the file, as written
    rows: int
    days: dict[str, int]  # only if the table has times
    null_texts: list[list[str | int]]  # column, text, rows


class RawFile(Frozen):
    """One file of a table that grows."""

    layout: str
    table: str
    digest: str  # of its bytes; for a URL, of its name, size and time of change
    form: str  # parquet, csv, tsv or json
    packed: str  # gz, zst or empty
    places: dict[str, str]  # columns given by its folders, such as city=rome
    placed: bool  # True if folders may give columns
    path: str
    renames: Renames  # of the columns of its table
    source: Source | None = None  # the SQL or the lake's snapshot that gives the rows; null: the file at path
    acted: bool = False  # True if its column `action` is read, because actions have weights
    stat: Stat | None  # when the digest was computed; None: a URL
    threads: int
    memory_limit: str

    def identity_settings(self) -> dict[str, object]:
        """The settings that decide the rows: not the location of the file, nor the speed at which it is read."""
        fields = {"layout", "table", "digest", "form", "packed", "places"}
        settings = {key: value for key, value in self.model_dump(mode="json").items() if key in fields}
        settings |= {"acted": True} if self.acted else {}
        return settings | ({"columns": self.renames.names} if self.renames.names else {})


def list_files(logs: DatedFiles, cache: DigestCache) -> list[RawFile]:
    """All raw files of the tables that grow. cache: digests that are known already; new ones are added.

    Raises InputError if a file is missing, cannot be read, or is of another kind than the other files of its table.
    """
    with closing(duckdb.connect()) as con:
        return [file for table in GROWING[logs.layout] for file in _list_table(con, logs, table, cache)]


def _list_table(con: duckdb.DuckDBPyConnection, logs: DatedFiles, table: str, cache: DigestCache) -> list[RawFile]:
    path = pin_source(table, sources(logs)[table])
    if not isinstance(path, str):
        return [_derived_file(logs, table, path, cache)]
    renames = renames_of(logs, table)
    columns = {*columns_of(logs, table), *(name.lower() for name in renames.names.values())}
    try:
        entries = _file_entries(con, table, path, cache)
    except (duckdb.Error, OSError) as error:
        if not isinstance(error, OSError) and not is_unreadable(error):
            raise
        raise InputError(unreadable_message(table, path, error)) from error
    files = [file for file, _, _ in entries]
    form, placed = format_of(table, path, files), share_folder_columns(files)
    return [
        RawFile(
            layout=logs.layout,
            table=table,
            digest=digest,
            form=form,
            packed=next((end for end in ("gz", "zst") if file.lower().endswith(f".{end}")), ""),
            places={name: value for name, value in folder_columns_of(file).items() if placed and name in columns},
            placed=placed,
            renames=renames,
            path=file,
            stat=stat,
            acted=table == acted_table(logs),
            threads=logs.threads,
            memory_limit=logs.memory_limit,
        )
        for file, digest, stat in entries
    ]


def _derived_file(logs: DatedFiles, table: str, source: Source, cache: DigestCache) -> RawFile:
    """The result of a table's SQL, or a snapshot, as one file, which is read anew when one of the files behind it has
    changed or there is a newer snapshot."""
    return RawFile(
        layout=logs.layout,
        table=table,
        digest=digest_source(table, source, cache),
        form="parquet",
        packed="",
        places={},
        placed=False,
        renames=renames_of(logs, table),
        path=label_of(table, source),
        source=source,
        stat=None,
        acted=table == acted_table(logs),
        threads=logs.threads,
        memory_limit=logs.memory_limit,
    )


def _file_entries(
    con: duckdb.DuckDBPyConnection, table: str, path: str, cache: DigestCache
) -> list[tuple[str, str, Stat | None]]:
    """(file, digest, its properties when the digest was computed) of each file that the path matches."""
    if "://" in path:
        match_files(con, table, path)  # refuses files of a lake
        rows = con.execute(statement("read/remote"), [path]).fetchall()
        return [(row[0], sha256(repr(row).encode()).hexdigest(), None) for row in rows]
    entries = [(file, digest_of(Path(file), cache)) for file in match_files(con, table, path)]
    return [(file, entry.digest, entry.stat) for file, entry in entries]


def read_file(raw: RawFile, folder: Path) -> None:
    """Write `rows.parquet`, the rows of the view `read_<table>` that come from the file, in order, and `facts.json`.

    The facts: the names of the file's columns, the number of rows and, if the table has times, the searches of each day
    (UTC) with an identity and a plausible time. Raises InputError if the file is damaged, or has changed since its
    digest was computed.
    """
    with TemporaryDirectory(prefix=".reading-", dir=folder) as scratch:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": raw.memory_limit,
            "threads": str(raw.threads),
            "temp_directory": scratch,
            "autoinstall_known_extensions": str("://" in raw.path).lower(),
        }
        with closing(duckdb.connect(config=config)) as con:
            try:
                with read_path(raw.table, raw.source or raw.path, raw.memory_limit, Path(scratch)) as path:
                    facts = _read(con, raw, path, folder / ROWS)
            except duckdb.OutOfMemoryException as error:
                raise InputError(
                    f"{raw.table}: {raw.path} needs more memory than logs.memory_limit, {raw.memory_limit}: "
                    f"{error}\nRaise logs.memory_limit, or lower logs.threads"
                ) from error
            except duckdb.Error as error:
                if not is_unreadable(error):
                    raise
                raise InputError(unreadable_message(raw.table, raw.path, error)) from error
    if _has_changed(raw):
        raise InputError(f"{raw.table}: {raw.path} changed while it was read. Start again when the file is complete")
    (folder / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _has_changed(raw: RawFile) -> bool:
    """True if the file, or one behind its SQL or snapshot, has changed since its digest was computed."""
    if raw.source:
        return digest_source(raw.table, raw.source, {}) != raw.digest
    return raw.stat is not None and (not Path(raw.path).exists() or stat_of(Path(raw.path)) != raw.stat)


def _read(con: duckdb.DuckDBPyConnection, raw: RawFile, path: str, out: Path) -> PartitionFacts:
    con.execute(statement("read/macros"))
    required, optional = table_columns(raw.layout, raw.table, raw.acted)
    kinds = {**required, **optional}
    names, rows = open_file(con, raw.table, path, raw.form, kinds, raw.placed, raw.renames)
    con.execute(statement("write/rows", table=raw.table, out=literal(str(out))))
    nulls = con.execute(statement("read/list_null_texts")).fetchall()
    facts = PartitionFacts(columns=names, rows=rows, null_texts=[list(row) for row in nulls])
    if times := GROWING[raw.layout][raw.table]:
        columns = dict(zip(("identity", "time"), map(identifier, times), strict=True))
        query = "read/impression_days" if raw.layout == "impressions" else "read/days"
        days = con.execute(statement(query, rows=literal(escape_glob(str(out))), **columns)).fetchall()
        facts["days"] = {str(day): searches for day, searches in days}
    return facts


def count_days(folders: Iterable[Path]) -> dict[date, int]:
    """Day (UTC) → number of searches, in order, without empty days. folders: partitions of tables that have times."""
    counted: Counter[str] = Counter()
    for folder in folders:
        counted.update(_facts(folder)["days"])
    return {date.fromisoformat(day): searches for day, searches in sorted(counted.items())}


def open_partitions(
    con: duckdb.DuckDBPyConnection,
    table: str,
    path: str,
    folders: Sequence[Path],
    required: Columns,
    optional: Columns,
    renames: Renames = NO_RENAMES,
) -> list[str]:
    """Create the view `read_<table>` over partitions, as `open_table` does over the files that they were read from.

    Returns the columns of those files, as written. path: the path of the files, for messages. Raises InputError if no
    file has rows, or none has a required column.
    """
    facts = [_facts(folder) for folder in folders]
    for column, text, count in (row for part in facts for row in part["null_texts"]):
        con.execute(statement("read/null_text"), [table, column, text, count])
    if not any(part["rows"] for part in facts):
        raise InputError(f"{table}: {path} holds no rows. Expected at least one")
    names = sorted({name for part in facts for name in part["columns"]})
    refuse_missing(table, path, required, names, renames)
    note_unread(con, table, [*required, *optional, *renames.names.values()], names)
    note_names(con, table, renames, names)
    groups: dict[frozenset[str], list[Path]] = {}  # columns that these files have under a name that does not count
    for folder, part in zip(folders, facts, strict=True):
        groups.setdefault(_unused(renames, part["columns"], names), []).append(folder)
    selects = [_select(group, {**required, **optional}, unused) for unused, group in groups.items()]
    con.execute(statement("read/view", table=table, selects="\nUNION ALL\n".join(selects)))
    return names


def _unused(renames: Renames, file_columns: list[str], names: list[str]) -> frozenset[str]:
    """The columns that a file was read for under the layout's name, although other files have the name of `columns`."""
    own, present = set(map(str.lower, file_columns)), set(map(str.lower, names))
    return frozenset(
        column for column, name in renames.names.items() if name.lower() in present and name.lower() not in own
    )


def _select(folders: list[Path], columns: Columns, unused: frozenset[str]) -> str:
    """The SQL of the partitions' rows, null in the unused columns."""
    values = {column: "NULL" if column in unused else identifier(column) for column in columns}
    select_list = ", ".join(
        f"CAST({value} AS {TYPES[columns[column]]}) AS {identifier(column)}" for column, value in values.items()
    )
    reader = statement("read/partitions", files=file_list([str(folder / ROWS) for folder in folders]))
    return statement("read/select", columns=select_list, reader=reader)


def refuse_damaged(con: duckdb.DuckDBPyConnection, table: str, folders: Iterable[Path]) -> None:
    """Raises InputError, which names the partition, if one cannot be read."""
    for folder in folders:
        _facts(folder)
        reader = statement("read/partitions", files=file_list([str(folder / ROWS)]))
        try:
            con.execute(statement("read/whole", reader=reader)).fetchall()
        except duckdb.Error as error:
            raise _damaged(table, folder, error) from error


def _facts(folder: Path) -> PartitionFacts:
    try:
        facts: PartitionFacts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged("logs", folder, error) from error
    return facts


def _damaged(table: str, folder: Path, error: Exception) -> InputError:
    return InputError(
        f"{unreadable_message(table, str(folder), error).rsplit(chr(10), 1)[0]}\nRemove it; its file will be read again"
    )
