"""Checks of an outcome: a refusal must be clear, and the counts of what was read must add up."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow.parquet as pq

from proofs.fuzz_inputs import Input
from proofs.small_logs import FORMS


def unclear_parts(message: str, given: Input) -> Iterator[str]:
    """What a message lacks that is to help."""
    places = ("experiment.yaml", "logs", "split", "arms", *FORMS[given.layout], "searches", "results", "documents")
    if not any(place in message for place in places):
        yield "names no file, table or key"
    if "Traceback" in message or "INTERNAL" in message:
        yield "holds a traceback"
    if message.count("\n") > 60 or len(message) > 20_000:
        yield "is long"


# What the report counts of each table that the user gave; what is not here is made of several.
READ_AS = {
    "ubi": {"queries": "searches", "events": "events", "documents": "documents", "judgements": "judgements"},
    "esci": {"examples": "results", "products": "documents"},
    "beir": {"corpus": "documents"},
}


def wrong_counts(given: Input, text: str) -> Iterator[str]:
    """What does not add up in what was read."""
    if not text:
        yield "check says nothing"
    folders = list((given.experiment.parent / "home" / "artifacts").glob("extract-*"))
    if len(folders) != 1:
        yield f"{len(folders)} extractions"
        return
    report = json.loads((folders[0] / "report.json").read_text())
    tables = report["tables"]
    for name, of in tables.items():
        dropped = sum(each["rows"] for each in of["dropped"])
        if of["read"] != of["kept"] + dropped:
            yield f"{name}: read {of['read']}, kept {of['kept']}, dropped {dropped}"
    for name in ("searches", "documents", "results", "edges"):
        written = pq.read_metadata(folders[0] / f"{name}.parquet").num_rows
        if written != tables[name]["kept"]:
            yield f"{name}: kept {tables[name]['kept']}, written {written}"
    names = READ_AS.get(given.layout, {name: name for name in tables})
    for name, count in given.counts.items():
        if count is not None and name in names and tables[names[name]]["read"] != count:
            yield f"{name}: {count} rows, of which {tables[names[name]]['read']} were read"
    if given.layout == "beir" and all(given.counts[name] is not None for name in ("train_qrels", "test_qrels")):
        count = sum(given.counts[name] or 0 for name in ("train_qrels", "test_qrels"))
        if tables["results"]["read"] != count:
            yield f"qrels: {count} rows, of which {tables['results']['read']} were read"
    for name, its in given.filled.items():
        for column, count in report["columns"].get(name, {}).items():
            if tables[name]["kept"] == tables[name]["read"] and count != its.get(column, 0):
                yield f"{name}.{column}: {its.get(column, 0)} values, of which {count} were read"
    for name, column in (("documents", "document_id"), ("queries", "query")):
        out = set(pq.read_table(folders[0] / f"{name}.parquet")[column].to_pylist())
        known = (given.known or {}).get(name, out)
        invented = {one.strip() for one in out} - {one.strip() for one in known}
        if given.layout == "esci" and name == "documents":  # locale:product
            invented = {one for one in invented if not any(one.endswith(f":{its}") for its in known)}
        if invented:
            yield f"{name}: {sorted(invented)[:3]} were not in the log"
