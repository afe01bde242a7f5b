"""Columns of the user's tables that no layout knows: they are read if an experiment names them as features."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.experiment.log_config import LONGEST_ID, AnyFiles, Impressions, escape_glob
from data.layouts import LAYOUTS, SIDES, Columns, Kind, sources
from data.reading import open_table
from data.renamed_columns import renames_of
from data.sql_result import read_path
from data.statements import identifier, literal, set_variable, statement
from ebr_core.errors import InputError


def read_columns(logs: AnyFiles, log: Path, names: dict[str, list[str]], folder: Path) -> None:
    """Write `<side>.parquet`: the named columns of "searches" or "documents", a list of texts or null for each row.

    log: the folder of the extracted log, whose rows define the order. Raises InputError if a column is missing.
    """
    with TemporaryDirectory(prefix=".columns-", dir=folder) as scratch, closing(duckdb.connect()) as con:
        con.execute(statement("read/macros"))
        for side, columns in names.items():
            if columns:
                pq.write_table(_read_side(con, logs, log, side, columns, Path(scratch)), folder / f"{side}.parquet")


def _read_side(
    con: duckdb.DuckDBPyConnection, logs: AnyFiles, log: Path, side: str, columns: list[str], scratch: Path
) -> pa.Table:
    table, identity, keys = _table_of(logs, side)
    known, _ = LAYOUTS[logs.layout][table]
    extra: dict[str, Kind] = dict.fromkeys((column for column in columns if column.lower() not in keys), "values")
    required = {**{key: kind for key, kind in keys.items() if key in known}, **extra}
    try:
        renames = renames_of(logs, table).among(keys)
        with read_path(table, sources(logs)[table], logs.memory_limit, scratch) as path:
            open_table(con, table, path, required, keys, renames)
    except InputError as error:
        raise InputError(f"groups name a column of the {side} that cannot be read. {error}") from error
    if isinstance(logs, Impressions) and side == "searches":
        set_variable(con, "search_gap", logs.search_gap_minutes)
        set_variable(con, "until", json.loads((log / "report.json").read_text(encoding="utf-8"))["until"])
        con.execute(statement("layouts/impression_searches"))
        table = "searched"  # the view of the same rows with the searches that they belong to
    singular = side.removesuffix("s") if side == "documents" else "search"
    values = con.sql(
        statement(
            "write/columns",
            identity=identity,
            columns=", ".join(f"min({_as_list(column, keys)}) AS {identifier(column)}" for column in columns),
            names=", ".join(f"given.{identifier(column)}" for column in columns),
            table=table,
            log=literal(escape_glob(str(log / f"{side}.parquet"))),
            id=f"{singular}_id",
            row=f"{singular}_row",
        )
    ).to_arrow_table()
    for column in values.column_names:
        if (longest := pc.max(pc.utf8_length(pc.list_flatten(values[column]))).as_py() or 0) > LONGEST_ID:
            raise InputError(
                f"{table}: column {column!r} holds a value of {longest:,} characters. Expected at most {LONGEST_ID:,}: "
                "a group takes short values, not texts"
            )
    return values


def _table_of(logs: AnyFiles, side: str) -> tuple[str, str, Columns]:
    """The table with the columns of a side, its identity in SQL, and the columns that this is made of."""
    if isinstance(logs, Impressions) and side == "documents" and logs.documents is None:
        return "impressions", "document_id", {"document_id": "id"}
    return SIDES[logs.layout][side]


def _as_list(column: str, keys: Columns) -> str:
    """The SQL of a column's values as a list: key columns, which rows are joined by, hold a single value."""
    return f"[{identifier(column)}]" if column.lower() in keys else identifier(column)
