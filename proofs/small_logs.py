"""Small sound logs in every layout, and functions that write their tables and count the rows of files."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Rng = np.random.Generator
Tables = dict[str, pa.Table]
SEARCHES, DOCUMENTS, SHOWN = 60, 20, 3
START = datetime(2024, 1, 1)
# The file type of each table, by layout. `experiment` is a sound log under a mutated experiment file.
FORMS = {
    "tables, Parquet": dict.fromkeys(("searches", "results", "documents", "edges", "judgements"), "parquet"),
    "tables, CSV": dict.fromkeys(("searches", "results", "documents", "edges", "judgements"), "csv"),
    "tables, NDJSON": dict.fromkeys(("searches", "results", "documents", "edges", "judgements"), "ndjson"),
    "ubi": {"queries": "ndjson", "events": "ndjson", "documents": "parquet", "judgements": "csv"},
    "esci": {"examples": "parquet", "products": "parquet"},
    "beir": {"corpus": "jsonl", "queries": "jsonl", "train_qrels": "tsv", "test_qrels": "tsv"},
    "experiment": dict.fromkeys(("searches", "results", "documents"), "parquet"),
}
WORDS = ("red shoes", "blue hat", "günstige Stiefel", "長靴", "boots 👢", "hat", "O'Neill", 'a "b" c')


def small_log(layout: str) -> Tables:
    """The tables of a sound log: 60 searches and 20 documents, three shown and one clicked for each search."""
    times = [START + timedelta(hours=5 * i) for i in range(SEARCHES)]
    search = [i for i in range(SEARCHES) for _ in range(SHOWN)]
    shown_documents = [(i * 7 + j) % DOCUMENTS for i in range(SEARCHES) for j in range(SHOWN)]
    texts = [WORDS[i % len(WORDS)] for i in range(SEARCHES)]
    ids, titles = [f"d{i}" for i in range(DOCUMENTS)], [f"{WORDS[i % 8]} {i}" for i in range(DOCUMENTS)]
    documents = pa.table({"document_id": ids, "title": titles, "city": ["Bonn", None] * (DOCUMENTS // 2)})
    if layout.startswith(("tables", "experiment")):
        searchers = [f"u{i % 7}" for i in range(SEARCHES)]
        return {
            "searches": pa.table(
                {
                    "search_id": range(SEARCHES),
                    "searched_at": times,
                    "query": texts,
                    "searcher_id": searchers,
                    "extra": texts,
                }
            ),
            "results": pa.table(
                {
                    "search_id": search,
                    "document_id": [f"d{d}" for d in shown_documents],
                    "position": [1, 2, 3] * SEARCHES,
                    "clicked": [True, False, False] * SEARCHES,
                }
            ),
            "documents": documents,
            "edges": pa.table({"source_id": searchers[:7] * 2, "target_id": ids[:14], "weight": [0.5] * 14}),
            "judgements": pa.table({"query": texts[:8], "document_id": ids[:8], "grade": [1.0, 0.0] * 4}),
        }
    if layout == "ubi":
        hit_lists = [
            json.dumps([f"d{d}" for d in shown_documents[SHOWN * i : SHOWN * i + SHOWN]]) for i in range(SEARCHES)
        ]
        attributes = [{"object": {"object_id": f"d{d}"}, "position": {"ordinal": 1}} for d in shown_documents[::SHOWN]]
        names = [f"q{i}" for i in range(SEARCHES)]
        return {
            "queries": pa.table(
                {"query_id": names, "user_query": texts, "timestamp": times, "query_response_hit_ids": hit_lists}
            ),
            "events": pa.table(
                {
                    "action_name": ["click"] * SEARCHES,
                    "query_id": names,
                    "session_id": names,
                    "event_attributes": attributes,
                }
            ),
            "documents": documents,
            "judgements": pa.table({"query": texts[:8], "document_id": ids[:8], "grade": [1, 0] * 4}),
        }
    if layout == "esci":
        return {
            "examples": pa.table(
                {
                    "query_id": search,
                    "query": [texts[i] for i in search],
                    "product_id": [f"d{d}" for d in shown_documents],
                    "product_locale": ["us"] * len(search),
                    "esci_label": ["E", "S", "I"] * SEARCHES,
                    "split": ["train" if i < 40 else "test" for i in search],
                }
            ),
            "products": pa.table({"product_id": ids, "product_locale": ["us"] * DOCUMENTS, "product_title": titles}),
        }
    names = [f"q{i}" for i in search]
    qrels = pa.table(
        {
            "query-id": names,
            "corpus-id": [f"d{d}" for d in shown_documents],
            "score": [1 if j == 0 else 0 for j in range(3)] * 60,
        }
    )
    return {
        "corpus": pa.table({"_id": ids, "title": titles, "text": titles}),
        "queries": pa.table({"_id": [f"q{i}" for i in range(SEARCHES)], "text": texts}),
        "train_qrels": qrels.slice(0, 120),
        "test_qrels": qrels.slice(120),
    }


def write(table: pa.Table, path: Path) -> None:
    """Write a table in the format of the path's ending: Parquet, CSV, TSV or NDJSON."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, compression="none" if table.num_rows % 2 else "snappy", row_group_size=50)
        return
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        if path.suffix in (".csv", ".tsv"):
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t", lineterminator="\n")
            writer.writerow(table.column_names)
            writer.writerows([_cell(value) for value in row] for row in rows)
        else:
            for row in rows:  # by hand, because a name may occur twice
                pairs = (f"{json.dumps(n)}: {_json(v)}" for n, v in zip(table.column_names, row, strict=True))
                file.write("{" + ", ".join(pairs) + "}\n")


def _cell(value: Any) -> Any:
    """A value for CSV."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _json(value: Any) -> str:
    """A value for NDJSON."""
    return json.dumps(_cell(value), ensure_ascii=False, default=str)


def rows_in(path: Path) -> int | None:
    """The number of rows of a file by readers other than the product's; None if they cannot read it."""
    try:
        if path.suffix == ".parquet":
            return int(pq.ParquetFile(path).metadata.num_rows)
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix in (".csv", ".tsv"):
            delimiter = "," if path.suffix == ".csv" else "\t"
            if "\r" in text or "\0" in text:
                return None  # readers disagree about what a line is
            lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
            return len(lines) - 1 if len({len(row) for row in lines}) == 1 else None
        records = [json.loads(line) for line in text.split("\n") if line.strip()]
        return len(records) if all(isinstance(record, dict) for record in records) else None
    except (OSError, ValueError, csv.Error, RecursionError, pa.ArrowException):
        return None
