"""The data report: the rows read, kept and dropped, the split, and the questions that the logs cannot answer."""

from __future__ import annotations

from typing import Any

import duckdb

from data.data_notes import notes_of, snapshot_notes
from data.experiment.log_config import AnyFiles
from data.statements import statement
from data.user_columns import in_user_words
from data.weighted_actions import count_actions


def build_report(con: duckdb.DuckDBPyConnection, logs: AnyFiles, snapshots: dict[str, Any]) -> dict[str, Any]:
    """The report of a finished extraction, ready for JSON: counts are rows, shares lie in [0, 1], times are UTC.

    `snapshots`: of the tables of a lake, as `data.pinned_sources` gives them; `tables`: rows read, kept and dropped
    with reasons; `time` and `cuts`: null if the layout has no time; `split`: its kind, or the column that gives it;
    `until`: that of the split, or null; `splits`: the contents of each part; `positions`: clicks by position, 1–10;
    `columns`: for each optional column the number of kept rows with a value, 0 if the column is absent;
    `actions`: see `data.weighted_actions.count_actions`, absent where no action has a weight; `unread_columns`: the
    user's other columns of each table; `notes`: see `data.data_notes`; `cannot`: what is missing,
    and what cannot be answered without it.
    """
    totals = _rows(con, "report/totals")[0]
    layout = logs.layout
    has_time = layout not in ("esci", "beir") and not totals["untimed"]
    splits = {row.pop("split"): row for row in _rows(con, "report/splits")}
    filled = _rows(con, "report/filled")[0]
    columns = {table: filled.pop(table) for table in ("searches", "results", "documents", "edges")}
    tables = _tables(con, layout)
    return {
        "layout": layout,
        "snapshots": snapshots,
        "tables": tables,
        "time": {"first": _iso(totals["first_search"]), "last": _iso(totals["last_search"])} if has_time else None,
        "split": totals["split_by"],
        "until": _iso(totals["until"]),
        "cuts": {name: _iso(totals[name]) for name in ("validation_from", "test_from")} if has_time else None,
        "splits": {name: splits[name] for name in ("train", "validation", "test") if name in splits},
        "positions": _rows(con, "report/positions"),
        "signed_in": totals["signed_in"],
        "several_clicks": totals["several_clicks"],
        "columns": columns,
        **({"actions": actions} if (actions := count_actions(con, logs)) else {}),
        "unread_columns": _unread_columns(con),
        "notes": [*snapshot_notes(snapshots), *notes_of(con, layout, has_time)],
        "cannot": _unanswered(has_time, tables, columns, filled, "train" in splits),
    }


def _unread_columns(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """The user's table → its columns that the layout does not read."""
    columns: dict[str, list[str]] = {}
    for row in _rows(con, "report/unread_columns"):
        columns.setdefault(row["table_name"], []).append(row["column_name"])
    return columns


def _rows(con: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    cursor = con.execute(statement(name))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _iso(instant: Any) -> str | None:
    return None if instant is None else f"{instant.isoformat()}Z"


def _tables(con: duckdb.DuckDBPyConnection, layout: str) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    for row in _rows(con, "report/counted"):
        tables[row["table_name"]] = {"read": row["read"], "kept": row["kept"], "dropped": []}
    for row in _rows(con, "report/dropped"):
        examples = list(row["examples"] or ())
        reason = in_user_words(con, layout, row["table_name"], row["reason"])
        dropped = {"reason": reason, "rows": row["rows"], "examples": examples}
        tables[row["table_name"]]["dropped"].append(dropped)
    return tables


def _unanswered(
    has_time: bool, tables: dict[str, Any], columns: dict[str, Any], filled: dict[str, int], has_train: bool
) -> list[dict[str, str]]:
    """The columns or rows that the logs lack ("needs"), with the consequences ("so")."""
    searches, results, edges = columns["searches"], columns["results"], columns["edges"]
    missing = [
        (
            not has_time,
            "searches.searched_at",
            "no time: no split by time, no sessions, and no documents that come and go",
        ),
        (not has_train, "a training part", "nothing can be trained: only baselines that need no training are measured"),
        (
            not (columns["documents"]["title"] or columns["documents"]["body"]),
            "documents.title or body",
            "no document text: BM25 finds nothing, and text towers learn nothing",
        ),
        (
            not filled["not_clicked"],
            "results that were shown and not clicked",
            "no impression negatives and no click rates",
        ),
        (not results["position"], "results.position", "no position bias and no click rate by position"),
        (
            not filled["randomised"],
            "results.randomised",
            "examination by position cannot be estimated apart from relevance",
        ),
        (
            not searches["searcher_id"],
            "searches.searcher_id",
            "nothing about the searcher: no personal or social features",
        ),
        (not tables["edges"]["kept"], "edges", "no social graph: no graph embeddings, no friends' documents"),
        (
            tables["edges"]["kept"] > edges["created_at"],
            "edges.created_at",
            "edges without a date cannot be kept out of the test period: they are used on demand only, and may leak",
        ),
        (
            not filled["placed_searches"],
            "searches.city, region or country",
            "no place of a search by name (coordinates count, too)",
        ),
        (
            not filled["placed_documents"],
            "documents.city, region or country",
            "no place of a document by name (coordinates count, too)",
        ),
        (not tables["judgements"]["kept"], "judgements", "clicks are the only measure: no check against human ratings"),
    ]
    return [{"needs": needs, "so": so} for absent, needs, so in missing if absent]
