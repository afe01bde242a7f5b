"""Reads an extracted log: what training sees, and the searches that an evaluation samples."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.experiment.log_config import itself
from ebr_core.arrays import Int32, Int64
from ebr_core.errors import InputError
from ebr_core.rerank.examination import Shuffled
from ebr_core.scratch import IN_RAM, ROWS, Scratch
from ebr_core.text.spelling import near_known
from ebr_core.training.positives import Recovered, Shown

TABLES = ("documents", "queries", "searches", "searchers", "results", "edges", "judgements")


def read(folder: Path, question: str, parameters: dict[str, object] | None = None, halved: bool = False) -> pa.Table:
    """The answer to one of the questions in sql/samples about the extracted log in folder.

    halved: the later half of the validation is a part of its own, "ranking".
    """
    with connect(folder, halved) as connection:
        return ask(connection, question, parameters)


def connect(folder: Path, halved: bool = False, scratch: Scratch = IN_RAM) -> duckdb.DuckDBPyConnection:
    """A connection that knows the extracted log in folder, of its searches only those that may be used.

    With a folder for scratch, what does not fit into a gigabyte is sorted there.
    """
    connection = duckdb.connect()
    if scratch.folder:
        connection.execute(_sql("spill"), [str(scratch.folder)])
    for table in TABLES:
        connection.from_parquet(itself(str(folder / f"{table}.parquet"))).create_view(table)
    connection.from_parquet(itself(str(folder / "searches.parquet"))).create_view("every_search")
    connection.execute(_sql("usable_searches"))
    if halved:
        connection.execute(_sql("halves"))
        if not connection.sql("FROM halves LIMIT 1").fetchall():
            raise InputError(
                "rankers need a validation period of at least two moments, to be cut in halves by time: the first for "
                "early stopping, the second for them; take rankers out, or make split.validation larger"
            )
    return connection


def _sql(question: str) -> str:
    return files("data").joinpath("sql", "samples", f"{question}.sql").read_text()


def ask(connection: duckdb.DuckDBPyConnection, question: str, parameters: dict[str, object] | None = None) -> pa.Table:
    """The answer to one of the questions in sql/samples, on a connection that may know more tables."""
    return connection.sql(_sql(question), params=parameters or None).to_arrow_table()


def know_truth(connection: duckdb.DuckDBPyConnection, truth: Path) -> None:
    """Makes what each search wanted known: truth is the folder of a simulated world's intents."""
    connection.execute(_sql("truth"), {"path": f"{itself(str(truth))}/intents/*/*.parquet"})


def rows(table: pa.Table, column: str) -> Int32:
    """A column of rows as (n,) int32."""
    return np.asarray(table[column].to_numpy(), np.int32)


def read_shown(folder: Path, scratch: Scratch = IN_RAM) -> Shown:
    """What the training window showed, from the extracted log in folder; in scratch, however many rows there are."""
    with connect(folder, scratch=scratch) as connection:
        batches = connection.sql(_sql("shown")).to_arrow_reader(ROWS)
        parts = ([column.to_numpy(zero_copy_only=False) for column in batch.columns] for batch in batches)
        return Shown(*scratch.columns(parts, np.int32, np.int32, np.bool_, np.int32, np.int32))


def read_clicks(folder: Path, documents: int) -> Int64:
    """(N,) clicks of each document in the training window."""
    table = read(folder, "clicks")
    clicks = np.zeros(documents, np.int64)
    clicks[rows(table, "document_row")] = table["clicks"].to_numpy()
    return clicks


def read_recovered(folder: Path) -> Recovered:
    """The failed searches of the training window with what was clicked after them, from the extracted log in folder."""
    table = read(folder, "recovered")
    return Recovered(*(rows(table, column) for column in ("search_row", "document_row", "query_row", "searcher_row")))


def read_shuffled(folder: Path) -> Shuffled:
    """The lists shown in random order before the test, counted, from the extracted log in folder."""
    table = read(folder, "shuffled")
    return Shuffled(*(table[name].to_numpy() for name in ("position", "length", "shown", "clicked")))


def sample(
    folder: Path, split: str, most: int, judged_from: float, truth: Path | None, into: Path, halved: bool = False
) -> None:
    """Writes the evaluation of a split: up to `most` searches for each target set, and what can be retrieved.

    candidates.parquet: the documents alive in the period. targets.parquet: (targets, search_row, document_row, grade),
    with targets "clicked", "judged", "recovered" or "truth" (see sql/samples/relevant.sql). searches.parquet: the
    searches that have any, with what their slices need; slices.parquet: the same for each target set, about its main
    target. counts.json: for each target set the searches of the period,
    those with a target, those sampled, and the targets that were not alive. truth: the folder of a simulated world's
    intents, for evaluation alone. halved: as in `read`.
    """
    period: dict[str, object] = {"split": split}
    with connect(folder, halved) as connection:
        if truth is None:
            connection.execute(_sql("no_truth"))
        else:
            know_truth(connection, truth)
        connection.execute(_sql("relevant"), {"judged_from": judged_from})
        candidates = ask(connection, "candidates", period)
        connection.register("candidates", candidates)
        targets = ask(connection, "targets", period | {"most": most})
        connection.register("targets", targets)
        connection.execute(_sql("words"))
        connection.register("near_known", _near_known(connection))
        searches = ask(connection, "searches")
        slices = ask(connection, "slices")
        counts = ask(connection, "counts", period)
    for name, table in {
        "candidates": candidates,
        "targets": targets,
        "searches": searches,
        "slices": slices,
    }.items():
        pq.write_table(table, into / f"{name}.parquet")
    (into / "counts.json").write_text(json.dumps(counts.to_pylist(), indent=1))


def _near_known(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The sampled queries with a word that training does not know, but that is near to one it knows."""
    known = ask(connection, "known_words")
    connection.register("known_words", known)
    unknown = ask(connection, "unknown_words")
    words = unknown["word"].combine_chunks().dictionary_encode()
    near = near_known(words.dictionary, known["word"].combine_chunks())
    return unknown.filter(pa.array(near[words.indices.to_numpy()]))


def find_leaks(folder: Path, targets: pa.Table) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """(one entry a rule: what, looked_at, broken; how far the sampled searches repeat the training window's).

    What training is given is asked of the same questions as training asks, and held against the raw tables.
    """
    with connect(folder) as connection:
        given = {"searches": ask(connection, "shown"), "documents": ask(connection, "trainable")}
        given |= {"queries": ask(connection, "training_queries"), "edges": ask(connection, "edges")}
        for name, table in given.items():
            connection.register(f"given_{name}", table)
        connection.register("targets", targets)
        connection.execute(_sql("words"))
        return ask(connection, "leaks").to_pylist(), ask(connection, "repeats").to_pylist()[0]
