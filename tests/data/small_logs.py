"""Small logs, write_text by hand, that a reader checks by eye."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pyarrow.parquet as pq

from data.experiment.log_config import Split, Tables
from data.extract import extract

# Six sessions an hour and more apart; each of the three parts has a click.
SEARCHES = """\
search_id,searched_at,query,searcher_id
1,2020-01-01 10:00:00,red shoes,ann
2,2020-01-01 10:20:00,red boots,ann
3,2020-01-02 10:00:00,red shoes,bob
4,2020-01-03 10:00:00,blue hat,
5,2020-01-04 10:00:00,hat,ann
6,2020-01-05 10:00:00,boots,bob
"""
RESULTS = """\
search_id,document_id,position,clicked
1,shoe,1,true
1,boot,2,false
2,boot,1,true
3,shoe,1,false
3,hat,2,true
4,hat,1,true
5,hat,1,true
6,boot,1,true
6,hat,2,false
"""
DOCUMENTS = """\
document_id,title
shoe,Red shoe
boot,Brown boot
hat,
"""
SPLIT = Split(validation_from="2020-01-04", test_from="2020-01-05")


def write_text(folder: Path, name: str, text: str) -> str:
    """The path of a new file with this text, without its indentation."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(dedent(text), encoding="utf-8")
    return str(folder / name)


def small_log(folder: Path, edges: str = "", judgements: str = "", form: str = "csv", **settings: Any) -> Tables:
    """The log above, with the tables given by name replaced."""
    texts = {"searches": SEARCHES, "results": RESULTS, "documents": DOCUMENTS, "edges": edges, "judgements": judgements}
    texts |= {name: settings.pop(name) for name in tuple(settings) if name in texts}
    paths = {name: write_text(folder, f"{name}.{form}", text) for name, text in texts.items() if text}
    return Tables(layout="tables", **paths, **settings)


def extract_rows(logs: Any, folder: Path, split: Split = SPLIT) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables that extraction writes, with identities in place of row numbers."""
    extract(logs, split, folder)
    tables = {path.stem: pq.read_table(path).to_pylist() for path in sorted(folder.glob("*.parquet"))}
    searches = [row["search_id"] for row in tables["searches"]]
    documents = [row["document_id"] for row in tables["documents"]]
    searchers = [row["searcher_id"] for row in tables["searchers"]]
    queries = [row["query"] for row in tables["queries"]]
    for row in tables["searches"]:
        row["query"] = queries[row["query_row"]]
        row["searcher"] = None if row["searcher_row"] is None else searchers[row["searcher_row"]]
    for row in tables["results"] + tables["judgements"]:
        row["search"], row["document"] = searches[row["search_row"]], documents[row["document_row"]]
    for row in tables["edges"]:
        for end in ("source", "target"):
            names = documents if row[f"{end}_type"] == "document" else searchers
            row[end] = names[row[f"{end}_row"]]
    return tables
