"""Columns of the user's tables that no layout knows: read where an experiment names them as features."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.experiment.log_config import LONGEST_ID, Beir, Esci, Tables, Ubi, itself
from data.layouts import SIDES, Columns, Kind, paths
from data.reading import open_table
from data.statements import identifier, literal, statement
from ebr_core.errors import InputError


def read_columns(logs: Tables | Ubi | Esci | Beir, log: Path, wanted: dict[str, list[str]], folder: Path) -> None:
    """Writes `<side>.parquet`: the columns wanted of "searches" or "documents", a list of texts or null for each row.

    log: the folder of the extracted log, whose rows they follow. Errors: a column that is not there.
    """
    with closing(duckdb.connect()) as con:
        con.execute(statement("read/macros"))
        for side, columns in wanted.items():
            if columns:
                pq.write_table(_read_side(con, logs, log, side, columns), folder / f"{side}.parquet")


def _read_side(
    con: duckdb.DuckDBPyConnection, logs: Tables | Ubi | Esci | Beir, log: Path, side: str, columns: list[str]
) -> pa.Table:
    table, identity, keys = SIDES[logs.layout][side]
    given: dict[str, Kind] = dict.fromkeys((column for column in columns if column.lower() not in keys), "values")
    try:
        open_table(con, table, paths(logs)[table], {**keys, **given}, {})
    except InputError as error:
        raise InputError(f"groups name a column of the {side} that cannot be read. {error}") from error
    singular = side.removesuffix("s") if side == "documents" else "search"
    read = con.sql(
        statement(
            "write/columns",
            identity=identity,
            columns=", ".join(f"min({_listed(column, keys)}) AS {identifier(column)}" for column in columns),
            names=", ".join(f"given.{identifier(column)}" for column in columns),
            table=table,
            log=literal(itself(str(log / f"{side}.parquet"))),
            id=f"{singular}_id",
            row=f"{singular}_row",
        )
    ).to_arrow_table()
    for column in read.column_names:
        if (longest := pc.max(pc.utf8_length(pc.list_flatten(read[column]))).as_py() or 0) > LONGEST_ID:
            raise InputError(
                f"{table}: column {column!r} holds a value of {longest:,} characters. Expected at most {LONGEST_ID:,}: "
                "a group takes values, not texts"
            )
    return read


def _listed(column: str, keys: Columns) -> str:
    """The values of a column as a list; one that rows are joined by was read as a single value."""
    return f"[{identifier(column)}]" if column.lower() in keys else identifier(column)
