"""Reads an extracted log: what training sees, and the searches that an evaluation samples."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.bags import Int32
from ebr_core.positives import Recovered, Shown

TABLES = ("documents", "queries", "searches", "searchers", "results", "edges", "judgements")


def read(folder: Path, question: str, parameters: dict[str, object] | None = None) -> pa.Table:
    """The answer to one of the questions in sql/samples about the extracted log in folder."""
    with _connect(folder) as connection:
        return _ask(connection, question, parameters)


def _connect(folder: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for table in TABLES:
        connection.from_parquet(str(folder / f"{table}.parquet")).create_view(table)
    connection.from_parquet(str(folder / "searches.parquet")).create_view("every_search")
    connection.execute(_sql("usable_searches"))
    return connection


def _sql(question: str) -> str:
    return files("data").joinpath("sql", "samples", f"{question}.sql").read_text()


def _ask(connection: duckdb.DuckDBPyConnection, question: str, parameters: dict[str, object] | None = None) -> pa.Table:
    return connection.sql(_sql(question), params=parameters or None).to_arrow_table()


def rows(table: pa.Table, column: str) -> Int32:
    """A column of rows as (n,) int32."""
    return np.asarray(table[column].to_numpy(), np.int32)


def read_shown(folder: Path) -> Shown:
    """What the training window showed, from the extracted log in folder."""
    table = read(folder, "shown")
    return Shown(
        rows(table, "search_row"),
        rows(table, "document_row"),
        table["clicked"].to_numpy(),
        rows(table, "query_row"),
        rows(table, "searcher_row"),
    )


def read_recovered(folder: Path) -> Recovered:
    """The failed searches of the training window with what was clicked after them, from the extracted log in folder."""
    table = read(folder, "recovered")
    return Recovered(*(rows(table, column) for column in ("search_row", "document_row", "query_row", "searcher_row")))


def sample(folder: Path, split: str, most: int, judged_from: float, truth: Path | None, into: Path) -> None:
    """Writes the evaluation of a split: up to `most` searches for each target set, and what can be retrieved.

    candidates.parquet: the documents alive in the period. targets.parquet: (targets, search_row, document_row, grade),
    with targets "clicked", "judged", "recovered" or "truth" (see sql/samples/relevant.sql). searches.parquet: the
    searches that have any, with what their slices need. counts.json: for each target set the searches of the period,
    those with a target, those sampled, and the targets that were not alive. truth: the folder of a simulated world's
    intents, for evaluation alone.
    """
    period: dict[str, object] = {"split": split}
    with _connect(folder) as connection:
        if truth is None:
            connection.execute(_sql("no_truth"))
        else:
            connection.execute(_sql("truth"), {"path": str(truth / "intents" / "*" / "*.parquet")})
        connection.execute(_sql("relevant"), {"judged_from": judged_from})
        candidates = _ask(connection, "candidates", period)
        connection.register("candidates", candidates)
        targets = _ask(connection, "targets", period | {"most": most})
        connection.register("targets", targets)
        searches = _ask(connection, "searches")
        counts = _ask(connection, "counts", period)
    for name, table in (("candidates", candidates), ("targets", targets), ("searches", searches)):
        pq.write_table(table, into / f"{name}.parquet")
    (into / "counts.json").write_text(json.dumps(counts.to_pylist(), indent=1))
