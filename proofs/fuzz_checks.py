"""Checks of an outcome: a refusal must be clear, and the counts of what was read must add up."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow.parquet as pq

from proofs.fuzz_inputs import Input
from proofs.small_logs import FORMS


def unclear_parts(message: str, fuzz_input: Input) -> Iterator[str]:
    """The faults of an error message."""
    places = ("experiment.yaml", "logs", "split", "arms", *FORMS[fuzz_input.layout], "searches", "results", "documents")
    if not any(place in message for place in places):
        yield "names no file, table or key"
    if "Traceback" in message or "INTERNAL" in message:
        yield "holds a traceback"
    if message.count("\n") > 60 or len(message) > 20_000:
        yield "is long"


# The report's name of each table of the user. A table that is missing here is made of several.
READ_AS = {
    "ubi": {"queries": "searches", "events": "events", "documents": "documents", "judgements": "judgements"},
    "esci": {"examples": "results", "products": "documents"},
    "beir": {"corpus": "documents"},
}


def wrong_counts(fuzz_input: Input, text: str) -> Iterator[str]:
    """The faults of what was read: counts that do not add up, and texts that were not in the log."""
    if not text:
        yield "check prints nothing"
    folders = list((fuzz_input.experiment.parent / "home" / "artifacts").glob("extract-*"))
    if len(folders) != 1:
        yield f"{len(folders)} extractions"
        return
    report = json.loads((folders[0] / "report.json").read_text())
    tables = report["tables"]
    for name, table in tables.items():
        dropped = sum(reason["rows"] for reason in table["dropped"])
        if table["read"] != table["kept"] + dropped:
            yield f"{name}: read {table['read']}, kept {table['kept']}, dropped {dropped}"
    for name in ("searches", "documents", "results", "edges"):
        written = pq.read_metadata(folders[0] / f"{name}.parquet").num_rows
        if written != tables[name]["kept"]:
            yield f"{name}: kept {tables[name]['kept']}, written {written}"
    names = READ_AS.get(fuzz_input.layout, {name: name for name in tables})
    for name, count in fuzz_input.counts.items():
        if count is not None and name in names and tables[names[name]]["read"] != count:
            yield f"{name}: {count} rows, of which {tables[names[name]]['read']} were read"
    if fuzz_input.layout == "beir" and all(
        fuzz_input.counts[name] is not None for name in ("train_qrels", "test_qrels")
    ):
        count = sum(fuzz_input.counts[name] or 0 for name in ("train_qrels", "test_qrels"))
        if tables["results"]["read"] != count:
            yield f"qrels: {count} rows, of which {tables['results']['read']} were read"
    for name, value_counts in fuzz_input.value_counts.items():
        for column, count in report["columns"].get(name, {}).items():
            if tables[name]["kept"] == tables[name]["read"] and count != value_counts.get(column, 0):
                yield f"{name}.{column}: {value_counts.get(column, 0)} values, of which {count} were read"
    for name, column in (("documents", "document_id"), ("queries", "query")):
        texts_out = set(pq.read_table(folders[0] / f"{name}.parquet")[column].to_pylist())
        texts_in = (fuzz_input.texts or {}).get(name, texts_out)
        invented = {entry.strip() for entry in texts_out} - {entry.strip() for entry in texts_in}
        if fuzz_input.layout == "esci" and name == "documents":  # locale:product
            invented = {
                entry for entry in invented if not any(entry.endswith(f":{value_counts}") for value_counts in texts_in)
            }
        if invented:
            yield f"{name}: {sorted(invented)[:3]} were not in the log"
