"""The columns of each layout's tables: required or optional, and the kind of value that each holds.

A table of a layout has the name of the field in `data.experiment.log_config` that holds its path or its SQL.
"""

from __future__ import annotations

from typing import Literal

from data.experiment.log_config import AnyFiles, weights_of
from data.experiment.source_config import LakeSnapshot, LakeTable, Source, Sql

Kind = Literal["id", "text", "label", "time", "flag", "whole", "number", "object", "list", "type", "values", "vector"]
Columns = dict[str, Kind]

# The DuckDB type of each kind.
TYPES: dict[Kind, str] = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "label": "VARCHAR",  # a short text that is compared, such as a place
    "time": "TIMESTAMP",
    "flag": "BOOLEAN",
    "whole": "BIGINT",
    "number": "DOUBLE",
    "object": "JSON",
    "list": "JSON",
    "type": "VARCHAR",
    "values": "VARCHAR[]",
    "vector": "FLOAT[]",
}

# The values of each kind, as error messages describe them.
EXPECTED: dict[Kind, str] = {
    "id": "an integer or text; a float from 2⁵³ on (2²⁴ in single precision), or a number in powers of ten, has lost "
    "digits",
    "text": "text",
    "label": "text",
    "time": "a timestamp such as 2020-12-31 23:59:59, UTC unless it carries an offset such as +02:00, or seconds, "
    "milliseconds, microseconds or nanoseconds since 1970",
    "flag": "true or false, yes or no, 1 or 0",
    "whole": "a whole number",
    "number": "a finite number",
    "object": 'a nested record, or its JSON such as {"object": {"object_id": "d1"}}',
    "list": 'a list, or its JSON such as ["d1", "d2"]',
    "type": "searcher or document",
    "values": "text, a number, or a list of them",
    "vector": "a list of numbers such as [0.1, -0.2]",
}

# The tables with columns that a layout does not know: layout → side → (table, its identity in SQL, columns of that).
SIDES: dict[str, dict[str, tuple[str, str, Columns]]] = {
    "tables": {
        "searches": ("searches", "search_id", {"search_id": "id"}),
        "documents": ("documents", "document_id", {"document_id": "id"}),
    },
    "ubi": {
        "searches": ("queries", "query_id", {"query_id": "id"}),
        "documents": ("documents", "document_id", {"document_id": "id"}),
    },
    "impressions": {
        "searches": (
            "impressions",
            "search_id",
            {
                "search_id": "id",
                "searched_at": "time",
                "query": "text",
                "searcher_id": "id",
                "session_id": "id",
            },
        ),
        "documents": ("documents", "document_id", {"document_id": "id"}),
    },
    "esci": {
        "searches": ("examples", "query_id", {"query_id": "id"}),
        "documents": (
            "products",
            "product_locale || ':' || product_id",
            {"product_id": "id", "product_locale": "text"},
        ),
    },
    "beir": {"searches": ("queries", "_id", {"_id": "id"}), "documents": ("corpus", "_id", {"_id": "id"})},
}

_PLACE: Columns = {"city": "label", "region": "label", "country": "label", "language": "label"}

_DOCUMENTS: tuple[Columns, Columns] = (
    {"document_id": "id", "title": "text"},
    {"body": "text", "kind": "label", **_PLACE, "created_at": "time", "removed_at": "time"},
)
_EDGES: tuple[Columns, Columns] = (
    {"source_id": "id", "target_id": "id"},
    {"source_type": "type", "target_type": "type", "kind": "label", "weight": "number", "created_at": "time"},
)
_JUDGEMENTS: tuple[Columns, Columns] = (
    {"document_id": "id", "grade": "number"},
    {"search_id": "id", "topic": "label", "query": "text"},
)
_QRELS: tuple[Columns, Columns] = ({"query-id": "id", "corpus-id": "id", "score": "number"}, {})

# layout → table → (required columns, optional columns)
LAYOUTS: dict[str, dict[str, tuple[Columns, Columns]]] = {
    "tables": {
        "searches": (
            {"search_id": "id", "searched_at": "time", "query": "text"},
            {"searcher_id": "id", "session_id": "id", "topic": "label", **_PLACE},
        ),
        "results": (
            {"search_id": "id", "document_id": "id", "clicked": "flag"},
            {"position": "whole", "randomised": "flag", "acted_at": "time"},
        ),
        "documents": _DOCUMENTS,
        "edges": _EDGES,
        "judgements": _JUDGEMENTS,
    },
    "ubi": {
        "queries": (
            {"query_id": "id", "user_query": "text", "timestamp": "time"},
            {"client_id": "id", "query_response_hit_ids": "list", "query_attributes": "object"},
        ),
        "events": (
            {"action_name": "text", "query_id": "id", "event_attributes": "object"},
            {"session_id": "id", "timestamp": "time"},
        ),
        "documents": _DOCUMENTS,
        "judgements": _JUDGEMENTS,
    },
    "impressions": {
        "impressions": (
            {"searched_at": "time", "query": "text", "document_id": "id"},
            {
                "search_id": "id",
                "searcher_id": "id",
                "session_id": "id",
                "position": "whole",
                "clicked": "flag",
                "randomised": "flag",
                "acted_at": "time",
                "title": "text",
                "topic": "label",
                **_PLACE,
            },
        ),
        "documents": _DOCUMENTS,
        "edges": _EDGES,
        "judgements": _JUDGEMENTS,
    },
    "esci": {
        "examples": (
            {
                "query_id": "id",
                "query": "text",
                "product_id": "id",
                "product_locale": "text",
                "esci_label": "text",
                "split": "text",
            },
            {"small_version": "flag", "large_version": "flag"},
        ),
        "products": (
            {"product_id": "id", "product_locale": "text", "product_title": "text"},
            {"product_description": "text", "product_bullet_point": "text"},
        ),
    },
    "beir": {
        "corpus": ({"_id": "id", "text": "text"}, {"title": "text"}),
        "queries": ({"_id": "id", "text": "text"}, {}),
        "train_qrels": _QRELS,
        "validation_qrels": _QRELS,
        "test_qrels": _QRELS,
    },
}


# The table with the column of actions; in UBI it is there anyway.
ACTED: dict[str, str] = {"tables": "results", "impressions": "impressions"}


def acted_table(logs: AnyFiles) -> str | None:
    """The table whose column `action` is read, because `actions` gives weights; None if none is."""
    return ACTED.get(logs.layout) if weights_of(logs) else None


def table_columns(layout: str, table: str, acted: bool) -> tuple[Columns, Columns]:
    """(required columns, optional columns) of a table. acted: `action` is required in place of `clicked`."""
    required, optional = LAYOUTS[layout][table]
    if not acted:
        return required, optional
    others = {column: kind for column, kind in required.items() if column != "clicked"}
    return {**others, "action": "label"}, {"clicked": "flag", **optional}


def tables_of(logs: AnyFiles) -> dict[str, tuple[Columns, Columns]]:
    """Table → (required columns, optional columns), with the column of actions where these have weights."""
    return {table: table_columns(logs.layout, table, table == acted_table(logs)) for table in LAYOUTS[logs.layout]}


def sources(logs: AnyFiles) -> dict[str, Source]:
    """Table → its path, as written, or its SQL, for the tables that the user has."""
    fields = {table: getattr(logs, table) for table in LAYOUTS[logs.layout]}
    return {table: source for table, source in fields.items() if source is not None}


def labels(logs: AnyFiles) -> dict[str, str]:
    """Table → its path, its snapshot in a lake, or the key of its SQL, as messages name it."""
    return {table: label_of(table, source) for table, source in sources(logs).items()}


def label_of(table: str, source: Source) -> str:
    """The name of a table's source in messages."""
    match source:
        case str():
            return source
        case LakeSnapshot():
            return source.label
        case LakeTable():
            return source.table
        case Sql():
            return f"the result of logs.{table}.sql"


def columns_of(logs: AnyFiles, table: str) -> Columns:
    """The columns of a table, the required ones first."""
    required, optional = tables_of(logs)[table]
    return {**required, **optional}
