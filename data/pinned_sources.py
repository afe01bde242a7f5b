"""The sources of a log with their lake tables pinned to snapshots, so that a run reads one state of each."""

from __future__ import annotations

from contextlib import closing

import duckdb

from data.experiment.log_config import AnyFiles
from data.experiment.source_config import LakeSnapshot, LakeTable, PinnedSql, Source, Sql
from data.lakes import lake_kind, pin_table
from data.layouts import sources
from data.sql_source import parse_sql


def pin(logs: AnyFiles) -> AnyFiles:
    """The logs with a snapshot in place of each table of a lake; what is pinned already stays.

    Raises InputError if a table cannot be opened.
    """
    return logs.model_copy(update={table: pin_source(table, source) for table, source in sources(logs).items()})


def pin_source(table: str, source: Source) -> Source:
    """One source, as `pin` pins it. Raises InputError as that does."""
    match source:
        case str():
            return pin_table(table, LakeTable(table=source)) if lake_kind(source) else source
        case LakeTable():
            return pin_table(table, source)
        case PinnedSql() | LakeSnapshot():
            return source
        case Sql():
            with closing(duckdb.connect()) as con:
                paths = parse_sql(con, table, source).lakes
            if not paths:
                return source
            lakes = {path: pin_table(f"logs.{table}.sql", LakeTable(table=path)) for path in paths}
            return PinnedSql(sql=source.sql, folder=source.folder, lakes=lakes)


def snapshots_of(logs: AnyFiles) -> dict[str, list[dict[str, str | int | None]]]:
    """Table → the kind and the snapshot of each lake table that its rows come from, for the data report."""
    found = {table: _snapshots(source) for table, source in sources(logs).items()}
    return {
        table: [{"kind": snapshot.kind, "snapshot": snapshot.snapshot} for snapshot in snapshots]
        for table, snapshots in found.items()
        if snapshots
    }


def _snapshots(source: Source) -> list[LakeSnapshot]:
    if isinstance(source, LakeSnapshot):
        return [source]
    return list(source.lakes.values()) if isinstance(source, PinnedSql) else []
