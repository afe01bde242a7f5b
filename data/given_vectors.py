"""Vectors that users bring: columns of the log's tables, or files beside the log, in the order of the log's rows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.damaged import is_unreadable, unreadable_message
from data.experiment.log_config import AnyFiles
from data.experiment.source_config import escape_glob
from data.extra_columns import open_side, rows_of_side, table_of_side
from data.layouts import Columns
from data.reading import open_table
from data.statements import identifier, literal, statement
from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.text.folding import fold_queries

VectorSide = Literal["searches", "documents"]
_AT_ONCE = 8192  # vectors that are read together
_KEYS: dict[VectorSide, Columns] = {"searches": {"query": "text"}, "documents": {"document_id": "id"}}


class VectorsOfSide(NamedTuple):
    """The vectors of all queries, or of all documents, of a log."""

    vectors: Float32  # (n, D); zero where there is none
    given: int  # rows with a vector that is not zero
    zeros: int  # rows whose vector is zero, which counts as none
    differing: int  # queries whose searches, or rows, have several vectors, of which one counts


def read_column(logs: AnyFiles, log: Path, side: VectorSide, column: str, folder: Path) -> VectorsOfSide:
    """The vectors in a column of the searches or documents; a query has that of its first search.

    log: the folder of the extracted log; folder: of temporary files. Raises InputError as `_read` does, and if the
    column is missing.
    """
    with TemporaryDirectory(prefix=".vectors-", dir=folder) as scratch, closing(duckdb.connect()) as con:
        con.execute(statement("read/macros"))
        table, _ = open_side(con, logs, log, side, {column: "vector"}, Path(scratch), "groups name")
        query = statement(
            f"vectors/{side}",
            identity=table_of_side(logs, side)[1],
            column=identifier(column),
            table=rows_of_side(logs, side, table),
            log=literal(escape_glob(str(log / f"{side}.parquet"))),
        )
        return _read(con, query, f"{table}: column {column!r}", _rows(log, side))


def read_file(path: str, column: str, key: str, log: Path, side: VectorSide) -> VectorsOfSide:
    """The vectors of queries (column `query`) or documents (column `document_id`) in a file beside the log.

    key: the name of the file's setting, for messages. Texts that are the same query are matched. Raises InputError as
    `_read` does, and if the file cannot be read.
    """
    table = "queries" if side == "searches" else "documents"
    with closing(duckdb.connect()) as con:
        con.execute(statement("read/macros"))
        where = {
            "column": identifier(column),
            "table": key,
            "log": literal(escape_glob(str(log / f"{table}.parquet"))),
        }
        try:
            open_table(con, key, path, {**_KEYS[side], column: "vector"}, {})
            if side == "searches":
                con.register("given_forms", _forms(con, statement("vectors/texts", table=key)))
                con.register("log_forms", _forms(con, statement("vectors/log_queries", log=where["log"])))
                query = statement("vectors/queries", **where)
            else:
                query = statement("vectors/documents", identity="document_id", **where)
            return _read(con, query, f"{key}: {path}: column {column!r}", _rows(log, side))
        except duckdb.Error as error:
            if not is_unreadable(error):
                raise
            raise InputError(unreadable_message(key, path, error)) from error


def _forms(con: duckdb.DuckDBPyConnection, texts: str) -> pa.Table:
    """The texts that an SQL statement gives, each with the form by which it is the same query as others."""
    table = con.sql(texts).to_arrow_table()
    folded = fold_queries(table["query"].combine_chunks().cast(pa.large_string()))
    return pa.table({"query": table["query"], "form": folded})


def _rows(log: Path, side: VectorSide) -> int:
    table = "queries" if side == "searches" else "documents"
    return int(pq.read_metadata(log / f"{table}.parquet").num_rows)


def _read(con: duckdb.DuckDBPyConnection, query: str, where: str, rows: int) -> VectorsOfSide:
    """The vectors that an SQL statement gives (row, id, vector, differs), for that many rows.

    Raises InputError if vectors differ in length, one holds no finite number, or there is none.
    """
    vectors, given, zeros, differing, first = np.empty((0, 0), np.float32), 0, 0, 0, ""
    for batch in con.sql(query).to_arrow_reader(_AT_ONCE):
        if not len(batch):
            continue
        values = batch["vector"]
        lengths = values.value_lengths().to_numpy(zero_copy_only=False)
        if not vectors.size:
            vectors, first = np.zeros((rows, int(lengths[0])), np.float32), str(batch["id"][0])
        if len(other := np.flatnonzero(lengths != vectors.shape[1])):
            at = int(other[0])
            raise InputError(
                f"{where}: the vector of {batch['id'][at]} has {lengths[at]} numbers, that of {first} has "
                f"{vectors.shape[1]}. Expected one length, of at least 1, for all"
            )
        part = values.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
        finite = np.isfinite(part.astype(np.float32)).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{where}: the vector of {batch['id'][int(np.argmin(finite))]} holds NaN, an infinity or nothing in "
                "place of a number. Expected finite numbers; a row without a vector may be null"
            )
        vectors[batch["row"].to_numpy()] = part
        nonzero = int(part.any(axis=1).sum())
        given, zeros = given + nonzero, zeros + len(batch) - nonzero
        differing += int(batch["differs"].to_numpy(zero_copy_only=False).sum())
    if not given:
        raise InputError(
            f"{where} has no vector for any row of the log{' but zeros' if zeros else ''}. Expected lists of numbers, "
            "and the identities or texts of the log"
        )
    return VectorsOfSide(vectors, given, zeros, differing)
