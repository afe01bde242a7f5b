"""Notes of the data report: what of a log was read in another way than it is written, or is out of proportion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb

from data.action_times import action_time_notes
from data.statements import statement
from data.user_columns import in_user_words, user_name

Note = dict[str, str | None]  # note: a sentence without words of the log; example: such words, or null
LARGE_SHARE = 0.1  # of the searches or clicks that one searcher, session, query or document has


def notes_of(con: duckdb.DuckDBPyConnection, layout: str, has_time: bool) -> list[Note]:
    """A note for each finding, of a finished extraction."""
    cursor = con.execute(statement("report/findings"))
    names = [column[0] for column in cursor.description or ()]
    findings = dict(zip(names, cursor.fetchall()[0], strict=True))
    sentences = [*_null_texts(con), *_other_readings(findings), *(_contradictions(con) if has_time else ())]
    sentences += action_time_notes(con, layout)
    sentences = [_in_user_words(con, layout, sentence) for sentence in sentences]
    return [*({"note": sentence, "example": None} for sentence in sentences), *_large_shares(con)]


def _in_user_words(con: duckdb.DuckDBPyConnection, layout: str, sentence: str) -> str:
    """A note with the user's names in its head, `table.column`, and of columns that are no words, as created_at."""
    table, dot, rest = sentence.partition(".")
    if dot and table.isidentifier():
        column, colon, text = rest.partition(":")
        return f"{table}.{user_name(con, layout, table, column)}{colon}{text}"
    return in_user_words(con, layout, table.partition(":")[0], sentence)


def snapshot_notes(snapshots: dict[str, list[dict[str, Any]]]) -> list[Note]:
    """A note for each table that was read from a lake. snapshots: as of `data.pinned_sources`."""
    words = {"delta": "version {} of a Delta table", "iceberg": "snapshot {} of an Iceberg table"}
    return [
        {
            "note": f"{table}: read from {' and '.join(words[p['kind']].format(p['snapshot']) for p in parts)}.",
            "example": None,
        }
        for table, parts in snapshots.items()
    ]


def _null_texts(con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    for table, column, text, rows in con.execute(statement("report/null_texts")).fetchall():
        yield f"{table}.{column}: {rows:,} rows with {text!r}, or another text for no value, are read as null."


def _other_readings(findings: dict[str, Any]) -> Iterator[str]:
    if findings["shift"]:
        yield f"results.position: all {findings['lists']:,} lists begin at 0, so 1 is added to every position."
    if findings["shared_positions"]:
        yield (
            f"results.position: {findings['shared_positions']:,} of {findings['lists']:,} lists have several documents "
            "at one position, as where each page counts from 1. Such positions say nothing about the order of a list."
        )
    if findings["all_clicked"]:
        yield "impressions: there is no column clicked, so each row is a click."
    if findings["by_instant"]:
        yield (
            f"impressions: {findings['by_instant']:,} searches have no search_id, searcher_id or session_id. Only rows "
            "of the same time are one search: later pages and clicks are searches of their own."
        )
    if findings["acted_alone"]:
        yield (
            f"impressions: {findings['acted_alone']:,} of {findings['searches']:,} searches hold actions alone, and no "
            "result that was shown without one. An action in a row of its own, more than search_gap_minutes "
            f"({findings['search_gap']:g}) after the row before it or without a searcher, begins a search: name a "
            "search_id, or write its time as acted_at into the row that shows the result."
        )
    if findings["blank_queries"]:
        yield (
            f"searches.query: {findings['blank_queries']:,} of {findings['searches']:,} searches have no query. They "
            "count as a query of their searcher, and only groups can learn from them."
        )
    if findings["shared_sessions"]:
        yield (
            f"searches.session_id: {findings['shared_sessions']:,} of {findings['session_ids']:,} identities come with "
            "several searchers, each of whom has a session of his or her own."
        )
    if findings["versions"]:
        yield (
            f"documents: {findings['versions']:,} rows are earlier versions of a document. The newest is kept, and the "
            "document has existed since the first."
        )
    if findings["zero_dates"]:
        yield f"documents: {findings['zero_dates']:,} rows have a created_at or removed_at before 1970, read as null."
    if findings["friends"] and findings["known_friends"] * 2 < findings["friends"]:
        yield (
            f"edges: of {findings['friends']:,} searchers at their ends, {findings['known_friends']:,} ever search. "
            "Are identities written alike in both tables?"
        )


def _contradictions(con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    for part, clicks, _, contradicting, _ in con.execute(statement("split/contradictions")).fetchall():
        if contradicting:
            yield (
                f"documents: {contradicting:,} of {clicks:,} clicks in {part} are on documents that did not exist then "
                "by created_at and removed_at."
            )


def _large_shares(con: duckdb.DuckDBPyConnection) -> Iterator[Note]:
    for what, name, rows, total, unit in con.execute(statement("report/large_shares"), [LARGE_SHARE]).fetchall():
        yield {"note": f"One {what} has {rows / total:.0%} of the {unit}, {rows:,} of {total:,}.", "example": name}
