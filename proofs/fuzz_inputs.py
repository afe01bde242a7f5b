"""The input of a number: a small log with one thing wrong in it, under an experiment file that may be wrong itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import yaml

from proofs.byte_mutations import OF_BYTES, odd_json
from proofs.experiment_mutations import OF_EXPERIMENTS
from proofs.path_mutations import strange_path
from proofs.small_logs import FORMS, Rng, rows_in, small_log, write
from proofs.table_mutations import OF_TABLES

ARMS = Path(__file__).parent.parent / "experiments" / "smoke.yaml"


class Input(NamedTuple):
    """An experiment file with its log."""

    layout: str
    mutation: str
    experiment: Path
    known: dict[str, set[str]] | None  # identities and queries that may come out; None: bytes were changed
    counts: dict[str, int | None]  # table → rows
    filled: dict[str, dict[str, int]]  # table → column in small letters → values, where only columns were changed


def made(number: int, folder: Path) -> Input:
    """The input of this number, written into folder."""
    rng = np.random.default_rng(number)
    layout = list(FORMS)[number % len(FORMS)]
    forms = FORMS[layout]
    tables = {name: table for name, table in small_log(layout).items() if name in forms}
    target = list(tables)[rng.integers(len(tables))]
    mutation, known = "experiment", _known(tables)
    choice = rng.random()
    if layout != "experiment" and choice < 0.5:
        change = OF_TABLES[rng.integers(len(OF_TABLES))]
        tables[target], mutation = change(tables[target], rng), change.__name__
        known = _known(tables)
    paths = {table: folder / f"{table}.{forms[table]}" for table in tables}
    for table, path in paths.items():
        write(tables[table], path)
    named: dict[str, str] = {table: str(path) for table, path in paths.items()}
    if mutation == "experiment" and layout != "experiment":
        if choice < 0.85:
            as_json = forms[target] in ("ndjson", "jsonl") and rng.random() < 0.4
            spoil = odd_json if as_json else OF_BYTES[rng.integers(len(OF_BYTES))]
            paths[target].write_bytes(spoil(paths[target].read_bytes(), rng))
            mutation, known = spoil.__name__, {}
        else:
            named[target], mutation, known = strange_path(paths[target], rng), "strange_path", {}
    counts = {table: rows_in(Path(path)) if mutation != "strange_path" else None for table, path in named.items()}
    content = _content(layout, named, rng)
    text = yaml.safe_dump(content)
    if layout == "experiment":
        change_text = OF_EXPERIMENTS[rng.integers(len(OF_EXPERIMENTS))]
        text, mutation, known = change_text(content, rng), change_text.__name__, {}
        counts = {}
    experiment = folder / "experiment.yaml"
    experiment.write_text(text, encoding="utf-8")
    if layout == "experiment" and rng.random() < 0.15:
        spoil = OF_BYTES[rng.integers(len(OF_BYTES))]
        experiment.write_bytes(spoil(experiment.read_bytes(), rng))
        mutation = spoil.__name__
    filled = _filled(tables) if mutation == "columns" and layout.startswith("tables") else {}
    return Input(layout, mutation, experiment, known or None, counts, filled)


def _content(layout: str, named: dict[str, str], rng: Rng) -> dict[str, Any]:
    """The experiment file: sound, with the most that may be dropped sometimes as it is, sometimes everything."""
    most = float(rng.choice([0.05, 1.0]))
    logs = {"layout": layout.split(",")[0], **named, "max_dropped": most, "memory_limit": "1GB", "threads": 1}
    if layout != "experiment":
        return {"logs": logs}
    content: dict[str, Any] = yaml.safe_load(ARMS.read_text())
    return content | {"logs": logs | {"layout": "tables"}, "split": {"test": 0.2}, "nightly": {"arm": "random"}}


def _known(tables: dict[str, pa.Table]) -> dict[str, set[str]]:
    """Texts of all tables, by what they are."""
    names = {"documents": ("document_id", "_id", "product_id"), "queries": ("query", "user_query", "text")}
    known: dict[str, set[str]] = {}
    for what, columns in names.items():
        parts = [
            table.column(i)
            for table in tables.values()
            for i, c in enumerate(table.column_names)
            if c.lower() in columns
        ]
        if not parts or any(not pa.types.is_string(part.type) for part in parts):
            return {}
        known[what] = {str(text).strip() for part in parts for text in part.to_pylist() if text is not None}
    return known


def _filled(tables: dict[str, pa.Table]) -> dict[str, dict[str, int]]:
    """How many values each column has, of the tables in which no name stands twice, in whatever letters."""
    once = {name: its for name, its in tables.items() if len({c.lower() for c in its.column_names}) == its.num_columns}
    return {
        name: {c.lower(): len(its) - its.column(c).null_count for c in its.column_names} for name, its in once.items()
    }
