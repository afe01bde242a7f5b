"""Extract search logs of any layout into one folder: Parquet files with the schemas of `data.schemas`, and a report.

The SQL is in `data/sql`: `layouts` turns each layout into the same five raw tables; all layouts share `clean`, `split`
and `write`. DuckDB spills to disk, so the logs may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import assert_never

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data import schemas
from data.action_times import has_later_actions, hide_unknown_actions, keep_action_times
from data.clean_log import clean
from data.damaged import is_unreadable, unreadable_message
from data.data_report import build_report
from data.experiment.log_config import (
    LONGEST_ID,
    LONGEST_QUERY,
    LONGEST_TEXT,
    AnyFiles,
    Beir,
    DatedFiles,
    Esci,
    Impressions,
    Split,
    Tables,
    Ubi,
    weights_of,
)
from data.file_partitions import open_partitions, refuse_damaged
from data.layouts import labels, sources
from data.pinned_sources import pin, snapshots_of
from data.reading import open_absent, open_table
from data.renamed_columns import has_column, refuse_unused, renames_of
from data.split_column import columns_for, open_untimed
from data.split_log import check_given_split, split_searches
from data.sql_result import read_path
from data.statements import set_variable, statement
from data.weighted_actions import keep_actions, name_actions, open_actions
from ebr_core.errors import InputError
from ebr_core.text.folding import fold_queries

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


TablePartitions = Mapping[str, Sequence[Path]]  # table → its partitions, written by data.file_partitions


def extract(logs: AnyFiles, split: Split, folder: Path, partitions: TablePartitions | None = None) -> None:
    """Write documents, queries, searches, searchers, results, edges and judgements `.parquet` and `report.json`.

    The schemas are those of `data.schemas`; edges and judgements are empty if the logs have none. Where `logs.actions`
    gives weights, `actions.parquet` has the actions on the clicked results; where actions are later than their search,
    `action_times.parquet` has their times. The same logs and split give the same bytes, whatever the order of rows and
    files and the number of threads. Relative paths start from the working directory. partitions: the partitions of all
    files of some tables, which are read in place of the files and give the same bytes.

    Raises InputError if a file is missing or damaged, a column is missing or holds other values than expected, more
    than `max_dropped` of a table, of the clicks or of a part's clicked searches would be dropped, more than that share
    of a part's clicks contradicts the documents' dates or the times of the searches, only some lists begin at position
    0, nothing was clicked, or a part of the split would be empty.
    """
    logs = pin(logs)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".extract-", dir=folder) as scratch, closing(_database(logs, Path(scratch))) as con:
        try:
            _read(con, logs, split, partitions or {}, Path(scratch))
            if split.until or split.without:
                _narrow(con, logs, split)
            if isinstance(logs, Esci | Beir):
                check_given_split(con, logs, split)
            clean(con, logs)
            keep_actions(con, logs)
            split_searches(con, logs, split)
            keep_action_times(con, logs, split)
            _fold_queries(con)
            con.execute(statement("write/number"))
            for name, schema in OUTPUTS.items():
                _write(con, f"write/{name}", schema, folder / f"{name}.parquet")
            if weights_of(logs):
                _write(con, "actions/rows", schemas.ACTIONS, folder / schemas.ACTIONS_FILE)
            if has_later_actions(con):
                _write(con, "actions/later", schemas.ACTION_TIMES, folder / schemas.ACTION_TIMES_FILE)
            report = build_report(con, logs, snapshots_of(logs))
        except duckdb.OutOfMemoryException as error:
            raise InputError(
                f"extraction needs more memory than logs.memory_limit, {logs.memory_limit}: {error}\n"
                "Raise logs.memory_limit, or lower logs.threads"
            ) from error
        except duckdb.Error as error:
            if not is_unreadable(error):
                raise
            table, path = _failing_table(con, labels(logs), error)
            refuse_damaged(con, table, (partitions or {}).get(table, ()))
            raise InputError(unreadable_message(table, path, error)) from error
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")


def _database(logs: AnyFiles, scratch: Path) -> duckdb.DuckDBPyConnection:
    remote = any("://" in source for source in sources(logs).values() if isinstance(source, str))
    return duckdb.connect(
        ":memory:",  # tables in a file cost a third more time; these go to temp_directory above memory_limit
        config={
            "memory_limit": logs.memory_limit,
            "threads": str(logs.threads),
            "temp_directory": str(scratch / "spilled"),
            # Local files need no extension; s3:// and https:// do.
            "autoinstall_known_extensions": str(remote).lower(),
        },
    )


def _read(
    con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split, partitions: TablePartitions, scratch: Path
) -> None:
    """Create the five raw tables of the layout."""
    con.execute(statement("read/macros"))
    con.execute(statement("clean/start"))
    for name, limit in (("longest_id", LONGEST_ID), ("longest_query", LONGEST_QUERY), ("longest_text", LONGEST_TEXT)):
        set_variable(con, name, limit)
    names = _open_tables(con, logs, split, partitions, scratch)
    open_actions(con, logs)
    set_variable(con, "first_time", datetime(1970, 1, 1 if isinstance(logs, Esci | Beir) else 2))
    set_variable(con, "keep_blank", logs.blank_queries == "kept")
    set_variable(con, "until", split.until)
    set_variable(con, "without", list(split.without))
    match logs:
        case Impressions():
            _describe_impressions(con, logs, names)
        case Ubi():
            set_variable(con, "click_actions", list(logs.actions or logs.click_actions))
        case Esci():
            set_variable(con, "version", logs.version)
            set_variable(con, "locales", list(logs.locales))
        case Beir():
            set_variable(con, "judged_from", logs.judged_from)
            set_variable(con, "null_query", "judged, but not in queries")
        case Tables():
            pass
        case _:
            assert_never(logs)
    hide_unknown_actions(con, logs, split)
    con.execute(statement(f"layouts/{logs.layout}"))
    name_actions(con, logs)
    open_untimed(con, logs, split)


def _open_tables(
    con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split, partitions: TablePartitions, scratch: Path
) -> dict[str, list[str]]:
    """Create the view `read_<table>` of each table of the layout, without rows for those that the user lacks.

    Returns the columns of the files of each table that the user has, as written.
    """
    given, names = sources(logs), {}
    for table, (required, optional) in columns_for(logs, split).items():
        if table not in given:
            open_absent(con, table, required, optional)
            continue
        renames = renames_of(logs, table)
        if table in partitions:
            label = labels(logs)[table]
            names[table] = open_partitions(con, table, label, partitions[table], required, optional, renames)
            continue
        with read_path(table, given[table], logs.memory_limit, scratch) as path:
            names[table], _ = open_table(con, table, path, required, optional, renames)
    refuse_unused(logs, names)
    return names


def _describe_impressions(con: duckdb.DuckDBPyConnection, logs: Impressions, names: dict[str, list[str]]) -> None:
    """Tell the layout's SQL what its tables have. Raises InputError if no table has titles of documents."""
    renames = renames_of(logs, "impressions")
    if logs.documents is None and not has_column("title", names["impressions"], renames):
        raise InputError(
            f"impressions: {labels(logs)['impressions']} has no column 'title', and there is no table documents. Name "
            "a catalogue with document_id and title as logs.documents, or the column with the title of each result"
        )
    set_variable(con, "has_documents", logs.documents is not None)
    set_variable(con, "has_clicked", bool(logs.actions) or has_column("clicked", names["impressions"], renames))
    set_variable(con, "search_gap", logs.search_gap_minutes)
    con.execute(statement("layouts/impression_searches"))


def _narrow(con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split) -> None:
    """Hide the searches that the split leaves out, and their results."""
    require_times(logs)
    con.execute(statement("read/narrow"))
    if weights_of(logs):
        con.execute(statement("actions/narrow"))


def require_times(logs: AnyFiles) -> DatedFiles:
    """The logs, unchanged. Raises InputError if their layout carries no times, and so has no days."""
    if isinstance(logs, Esci | Beir):
        raise InputError(
            f"logs: the {logs.layout} layout carries no times, so it has no days. Use the layout tables, ubi or "
            "impressions"
        )
    return logs


def _failing_table(con: duckdb.DuckDBPyConnection, table_paths: dict[str, str], error: duckdb.Error) -> tuple[str, str]:
    """(table, path) of the table that cannot be read: the one that the error names, else the first that fails alone."""
    for table, path in table_paths.items():
        if path in str(error):
            return table, path
    for table, path in table_paths.items():
        try:
            con.execute(statement("read/whole", reader=f"read_{table}")).fetchall()
        except duckdb.Error:
            return table, path
    return "logs", ", ".join(table_paths.values())


def _fold_queries(con: duckdb.DuckDBPyConnection) -> None:
    """Create query_forms: each query text with the form that it shares with all texts that towers read alike."""
    con.execute(statement("write/forms"))
    with closing(con.cursor()) as reader:  # reads on while the connection inserts
        for batch in reader.sql(statement("write/texts")).to_arrow_reader(ROWS_PER_GROUP):
            texts = batch.column("query").cast(pa.large_string())
            folded = pa.table({"query": texts, "form": fold_queries(texts)})
            con.from_arrow(folded).insert_into("query_forms")


def _write(con: duckdb.DuckDBPyConnection, query: str, schema: pa.Schema, path: Path) -> None:
    # Not DuckDB's COPY, which declares every column nullable and chooses the row groups itself.
    batches = con.sql(statement(query)).to_arrow_reader(ROWS_PER_GROUP)
    with pq.ParquetWriter(path, schema) as writer:
        for table in _row_groups(batches):
            writer.write_table(table.cast(schema), row_group_size=ROWS_PER_GROUP)


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of ROWS_PER_GROUP, the last shorter; with several threads DuckDB cuts batches short."""
    waiting: list[pa.Table] = []
    for batch in batches:
        rows = pa.concat_tables([*waiting, pa.Table.from_batches([batch])])
        while len(rows) >= ROWS_PER_GROUP:
            yield rows.slice(0, ROWS_PER_GROUP).combine_chunks()
            rows = rows.slice(ROWS_PER_GROUP)
        waiting = [rows] if len(rows) else []
    yield from (rows.combine_chunks() for rows in waiting)
