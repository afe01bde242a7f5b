"""The input of a number: a small log with one defect, or a sound log under a mutated experiment file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import yaml

from proofs.byte_mutations import BYTE_MUTATIONS, odd_json
from proofs.experiment_mutations import EXPERIMENT_MUTATIONS
from proofs.path_mutations import strange_path
from proofs.small_logs import FORMS, Rng, rows_in, small_log, write
from proofs.table_mutations import TABLE_MUTATIONS

ARMS = Path(__file__).parent.parent / "experiments" / "smoke.yaml"


class Input(NamedTuple):
    """An experiment file with its log."""

    layout: str
    mutation: str
    experiment: Path
    texts: dict[str, set[str]] | None  # identities and queries of the log; None if bytes were changed
    counts: dict[str, int | None]  # table → rows
    value_counts: dict[str, dict[str, int]]  # table → lower-case column → values, if only columns were changed


def make_input(number: int, folder: Path) -> Input:
    """The input of this number; its files are written into `folder`."""
    rng = np.random.default_rng(number)
    layout = list(FORMS)[number % len(FORMS)]
    forms = FORMS[layout]
    tables = {name: table for name, table in small_log(layout).items() if name in forms}
    target = list(tables)[rng.integers(len(tables))]
    mutation, texts = "experiment", _texts(tables)
    choice = rng.random()
    if layout != "experiment" and choice < 0.5:
        change = TABLE_MUTATIONS[rng.integers(len(TABLE_MUTATIONS))]
        tables[target], mutation = change(tables[target], rng), change.__name__
        texts = _texts(tables)
    paths = {table: folder / f"{table}.{forms[table]}" for table in tables}
    for table, path in paths.items():
        write(tables[table], path)
    references: dict[str, str] = {table: str(path) for table, path in paths.items()}
    if mutation == "experiment" and layout != "experiment":
        if choice < 0.85:
            as_json = forms[target] in ("ndjson", "jsonl") and rng.random() < 0.4
            spoil = odd_json if as_json else BYTE_MUTATIONS[rng.integers(len(BYTE_MUTATIONS))]
            paths[target].write_bytes(spoil(paths[target].read_bytes(), rng))
            mutation, texts = spoil.__name__, {}
        else:
            references[target], mutation, texts = strange_path(paths[target], rng), "strange_path", {}
    counts = {table: rows_in(Path(path)) if mutation != "strange_path" else None for table, path in references.items()}
    content = _content(layout, references, rng)
    text = yaml.safe_dump(content)
    if layout == "experiment":
        change_text = EXPERIMENT_MUTATIONS[rng.integers(len(EXPERIMENT_MUTATIONS))]
        text, mutation, texts = change_text(content, rng), change_text.__name__, {}
        counts = {}
    experiment = folder / "experiment.yaml"
    experiment.write_text(text, encoding="utf-8")
    if layout == "experiment" and rng.random() < 0.15:
        spoil = BYTE_MUTATIONS[rng.integers(len(BYTE_MUTATIONS))]
        experiment.write_bytes(spoil(experiment.read_bytes(), rng))
        mutation = spoil.__name__
    value_counts = _value_counts(tables) if mutation == "columns" and layout.startswith("tables") else {}
    return Input(layout, mutation, experiment, texts or None, counts, value_counts)


def _content(layout: str, references: dict[str, str], rng: Rng) -> dict[str, Any]:
    """A sound experiment file, whose limit of dropped rows is the default or 1."""
    max_dropped = float(rng.choice([0.05, 1.0]))
    logs = {
        "layout": layout.split(",")[0],
        **references,
        "max_dropped": max_dropped,
        "memory_limit": "1GB",
        "threads": 1,
    }
    if layout != "experiment":
        return {"logs": logs}
    content: dict[str, Any] = yaml.safe_load(ARMS.read_text())
    return content | {"logs": logs | {"layout": "tables"}, "split": {"test": 0.2}, "nightly": {"arm": "random"}}


def _texts(tables: dict[str, pa.Table]) -> dict[str, set[str]]:
    """The texts of all tables: identities of documents and queries. Empty if a column is missing or is no text."""
    names = {"documents": ("document_id", "_id", "product_id"), "queries": ("query", "user_query", "text")}
    texts: dict[str, set[str]] = {}
    for kind, columns in names.items():
        parts = [
            table.column(i)
            for table in tables.values()
            for i, c in enumerate(table.column_names)
            if c.lower() in columns
        ]
        if not parts or any(not pa.types.is_string(part.type) for part in parts):
            return {}
        texts[kind] = {str(text).strip() for part in parts for text in part.to_pylist() if text is not None}
    return texts


def _value_counts(tables: dict[str, pa.Table]) -> dict[str, dict[str, int]]:
    """The number of values of each column, for tables whose column names differ by more than case."""
    unambiguous = {
        name: table
        for name, table in tables.items()
        if len({c.lower() for c in table.column_names}) == table.num_columns
    }
    return {
        name: {c.lower(): len(table) - table.column(c).null_count for c in table.column_names}
        for name, table in unambiguous.items()
    }
