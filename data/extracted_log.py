"""Read an extracted log: the rows that training may see, and the searches that an evaluation samples."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.experiment.source_config import escape_glob
from data.judged_grades import refuse_unreached
from data.schemas import ACTION_TIMES_FILE, ACTIONS_FILE
from ebr_core.arrays import Float32, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.rerank.examination import ShuffledCounts
from ebr_core.scratch import BLOCK_ROWS, IN_RAM, Scratch, pieces
from ebr_core.text.spelling import near_known
from ebr_core.training.positives import RecoveredPairs, ShownResults

TABLES = ("documents", "queries", "searches", "searchers", "results", "edges", "judgements")


def read(folder: Path, query: str, parameters: dict[str, object] | None = None, halved: bool = False) -> pa.Table:
    """The result of a query of sql/samples on the extracted log in folder.

    halved: the later half of the validation period is a part of its own, "ranking".
    """
    with connect(folder, halved) as connection:
        return run_query(connection, query, parameters)


def connect(folder: Path, halved: bool = False, scratch: Scratch = IN_RAM) -> duckdb.DuckDBPyConnection:
    """A connection with the tables of the extracted log in folder, of its searches only those that may be used, of the
    actions on their results those that had happened by the end of the search's part.

    If scratch has a folder, sorts that do not fit into a gigabyte of memory use it.
    """
    connection = duckdb.connect()
    if scratch.folder:
        connection.execute(_sql("spill"), [str(scratch.folder)])
    for table in TABLES:
        view = {"searches": "every_search", "results": "logged_results"}.get(table, table)
        connection.from_parquet(escape_glob(str(folder / f"{table}.parquet"))).create_view(view)
    connection.execute(_sql("usable_searches"))
    if halved:
        connection.execute(_sql("halves"))
        if not connection.sql("FROM halves LIMIT 1").fetchall():
            raise InputError(
                "rankers need a validation period of at least two moments, which is cut into halves by time: the first "
                "for early stopping, the second for rankers. Leave the rankers out, or raise split.validation"
            )
    _open_actions(connection, folder)
    return connection


def _open_actions(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Create the views of results and actions: `every_result` and `every_action` with times, and `results`, `actions`
    and `click_weights`, which hold what had happened by the end of a search's part."""
    weighted, timed = ((folder / name).exists() for name in (ACTIONS_FILE, ACTION_TIMES_FILE))
    if weighted:
        connection.from_parquet(escape_glob(str(folder / ACTIONS_FILE))).create_view("logged_actions")
    else:
        connection.execute(_sql("clicks_alone"))
    if timed:
        connection.from_parquet(escape_glob(str(folder / ACTION_TIMES_FILE))).create_view("action_times")
    connection.execute(_sql("known_actions" if timed else "untimed_actions"))
    connection.execute(_sql("weighted_clicks" if weighted else "equal_clicks"))


def _sql(query: str) -> str:
    return files("data").joinpath("sql", "samples", f"{query}.sql").read_text()


def run_query(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: dict[str, object] | None = None
) -> pa.Table:
    """The result of a query of sql/samples on a connection, which may have more tables than the log's."""
    return connection.sql(_sql(query), params=parameters or None).to_arrow_table()


def load_truth(connection: duckdb.DuckDBPyConnection, truth: Path) -> None:
    """Create the table `truth` of what each search wanted. truth: the folder of a simulated world's intents."""
    connection.execute(_sql("truth"), {"path": f"{escape_glob(str(truth))}/intents/*/*.parquet"})


def row_numbers(table: pa.Table, column: str) -> Int32:
    """(n,) int32 row numbers of a column."""
    return np.asarray(table[column].to_numpy(), np.int32)


def read_shown(folder: Path, scratch: Scratch = IN_RAM) -> ShownResults:
    """The results shown in the training window of the extracted log in folder; they are kept in scratch."""
    with connect(folder, scratch=scratch) as connection:
        batches = connection.sql(_sql("shown")).to_arrow_reader(BLOCK_ROWS)
        parts = ([column.to_numpy(zero_copy_only=False) for column in batch.columns] for batch in batches)
        return ShownResults(*scratch.columns(parts, np.int32, np.int32, np.bool_, np.int32, np.int32))


def read_weights(folder: Path, actions: tuple[str, ...], scratch: Scratch = IN_RAM) -> Float32 | None:
    """(R,) the weight of each result of `read_shown`: the largest of its actions, or of those that are named, 0 without
    one. None if the log has clicks alone.

    Raises InputError, which lists the actions, if no result of the training window has one that is named.
    """
    if not (folder / ACTIONS_FILE).exists():
        return None
    with connect(folder, scratch=scratch) as connection:
        batches = connection.sql(_sql("shown_weights"), params={"actions": list(actions)}).to_arrow_reader(BLOCK_ROWS)
        weights = scratch.column((batch["weight"].to_numpy() for batch in batches), np.float32)
        if actions and not any(part.any() for part in pieces(weights)):
            given = run_query(connection, "training_actions").to_pylist()
            listed = ", ".join(f"{row['action']} {row['results']:,}" for row in given)
            raise InputError(
                f"positives.actions: no result of the training window has the action {' or '.join(actions)}; the "
                f"actions there are {listed or 'none'}. Name some of these, or leave positives.actions out"
            )
    return weights


def read_clicks(folder: Path, documents: int) -> Int64:
    """(N,) clicks of each document in the training window."""
    table = read(folder, "clicks")
    clicks = np.zeros(documents, np.int64)
    clicks[row_numbers(table, "document_row")] = table["clicks"].to_numpy()
    return clicks


def read_recovered(folder: Path, actions: tuple[str, ...] = ()) -> RecoveredPairs:
    """The failed searches of the training window and the clicks that followed them, of the extracted log in folder.

    The weights are as in `read_weights`: 0 for a click without one of the named actions.
    """
    table = read(folder, "recovered", {"actions": list(actions)})
    weights = table["weight"].to_numpy() if (folder / ACTIONS_FILE).exists() else None
    rows = [row_numbers(table, column) for column in ("search_row", "document_row", "query_row", "searcher_row")]
    return RecoveredPairs(rows[0], rows[1], rows[2], rows[3], weights)


def read_shuffled(folder: Path) -> ShuffledCounts:
    """Counts of the lists shown in random order before the test, of the extracted log in folder."""
    table = read(folder, "shuffled")
    return ShuffledCounts(*(table[name].to_numpy() for name in ("position", "length", "shown", "clicked")))


def sample(
    folder: Path,
    split: str,
    limit: int,
    judged_from: float,
    truth: Path | None,
    out: Path,
    halved: bool = False,
    exclude: bool = False,
) -> None:
    """Write the evaluation of a split: up to `limit` searches for each target set, and the documents to retrieve from.

    candidates.parquet: the documents alive in the period. targets.parquet: (targets, search_row, document_row, grade),
    where targets is a set of sql/samples/relevant.sql. searches.parquet: the searches with a target and the columns
    that their slices need; slices.parquet: the same for each target set, about its main target. seen.parquet: the
    documents that were shown or judged for their queries. counts.json: for each target set the searches of the period,
    those with a target, those sampled, the targets that were not alive, and those excluded. With exclude also
    excluded.parquet: (searcher_row, document_row), the documents that are no candidates of a searcher.

    truth: the folder of a simulated world's intents, for evaluation alone. halved: see `read`. exclude: what a searcher
    clicked before the part began is excluded. Raises InputError if there are judgements, but none reaches judged_from,
    or if nothing can be excluded because no search has a searcher.
    """
    period: dict[str, object] = {"split": split}
    if exclude and not pq.read_metadata(folder / "searchers.parquet").num_rows:
        raise InputError(
            "evaluation.exclude: no search of these logs has a searcher_id, so nobody has clicked anything before; "
            "leave it out"
        )
    with connect(folder, halved) as connection:
        if truth is None:
            connection.execute(_sql("no_truth"))
        else:
            load_truth(connection, truth)
        refuse_unreached(judged_from, run_query(connection, "grades")["grade"].to_pylist())
        connection.execute(_sql("relevant"), {"judged_from": judged_from})
        candidates = run_query(connection, "candidates", period)
        connection.register("candidates", candidates)
        excluded = run_query(connection, "excluded", period | {"exclude": exclude})
        connection.register("excluded", excluded)
        targets = run_query(connection, "targets", period | {"most": limit})
        connection.register("targets", targets)
        connection.execute(_sql("words"))
        connection.register("near_known", _near_known(connection))
        searches = run_query(connection, "searches")
        slices = run_query(connection, "slices")
        counts = run_query(connection, "counts", period)
        seen = run_query(connection, "seen", period)
    for name, table in {
        "candidates": candidates,
        "targets": targets,
        "searches": searches,
        "slices": slices,
        "seen": seen,
    }.items():
        pq.write_table(table, out / f"{name}.parquet")
    if exclude:
        pq.write_table(excluded, out / "excluded.parquet")
    (out / "counts.json").write_text(json.dumps(counts.to_pylist(), indent=1))


def _near_known(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The sampled queries with a word that is unknown to training, but near to a known one."""
    vocabulary = run_query(connection, "known_words")
    connection.register("known_words", vocabulary)
    unknown = run_query(connection, "unknown_words")
    words = unknown["word"].combine_chunks().dictionary_encode()
    near = near_known(words.dictionary, vocabulary["word"].combine_chunks())
    return unknown.filter(pa.array(near[words.indices.to_numpy()]))


def find_leaks(folder: Path, refit: Path | None = None) -> list[dict[str, Any]]:
    """One entry for each rule: what, looked_at, broken.

    The rows that training sees come from the queries that training itself uses, and are compared with the raw tables.
    refit: the log of join_validation. Its training rows are then compared, with the tables in folder, which join
    nothing: they may come from the training window or the validation.
    """
    with connect(refit or folder) as connection:
        training = {"searches": run_query(connection, "shown"), "documents": run_query(connection, "trainable")}
        training |= {"queries": run_query(connection, "training_queries"), "edges": run_query(connection, "edges")}
        training["actions"] = _learnt_actions(connection, training["searches"], (folder / ACTION_TIMES_FILE).exists())
    with connect(folder) as connection:
        for name, table in training.items():
            connection.register(f"given_{name}", table)
        parts = ["train", "validation"] if refit else ["train"]
        rules: list[dict[str, Any]] = run_query(connection, "leaks", {"parts": parts}).to_pylist()
    return rules


def _learnt_actions(connection: duckdb.DuckDBPyConnection, shown: pa.Table, timed: bool) -> pa.Table:
    """(search_row, document_row, weight) of the results shown, as training takes them: their label times the weight of
    their actions. Empty if no action is later than its search."""
    rows = shown.select(["search_row", "document_row"])
    weights = run_query(connection, "shown_weights", {"actions": []})["weight"] if timed else None
    if weights is None:
        return rows.slice(0, 0).append_column("weight", pa.array([], pa.float32()))
    return rows.append_column("weight", pc.multiply(weights, shown["clicked"].cast(pa.float32())))


def find_history_leaks(folder: Path, given: pa.Table, kind: str, parts: tuple[str, ...]) -> dict[str, Any]:
    """looked_at, broken: how many documents of the histories given (search_row, document_row) are later than they may.

    kind: "history" for clicks, "listed" for a column's lists. parts: those of the split that training may use.
    """
    with connect(folder) as connection:
        connection.register("given", given)
        rules = run_query(connection, f"{kind}_leaks", {"parts": list(parts)}).to_pylist()
    return dict(rules[0])


def count_repeats(folder: Path, targets: pa.Table) -> dict[str, int]:
    """How far the sampled searches, those with targets, repeat the training window's."""
    with connect(folder) as connection:
        connection.register("targets", targets)
        connection.execute(_sql("words"))
        repeats: dict[str, int] = run_query(connection, "repeats").to_pylist()[0]
    return repeats


def join_validation(folder: Path, out: Path) -> None:
    """Write searches.parquet of the extracted log in folder with the validation as a part of the training."""
    with pq.ParquetFile(folder / "searches.parquet") as file:
        schema = file.schema_arrow
        with pq.ParquetWriter(out / "searches.parquet", schema) as writer:
            for batch in file.iter_batches():
                split = batch["split"].cast(pa.string())
                joined = pc.if_else(pc.equal(split, "validation"), "train", split).cast(schema.field("split").type)
                writer.write_batch(batch.set_column(schema.get_field_index("split"), schema.field("split"), joined))
