"""Is every broken input either read right or refused with a clear error?

    python -m proofs.fuzz [inputs, default 2000] [number of the first, default 0]

Each input is a small log in some layout with one thing wrong in it, or a sound one under a mutated experiment file; its
number is its seed. It goes through what `ebr check` does, in a process of its own that may take 6 GB and 60 seconds.
Printed: layout × what is wrong × how many were read, refused, and neither. Exit code 1 where any was neither.

Read: the report's counts add up (read = kept + dropped for every table), what was read is what other readers count, the
files written hold what was kept, and no identity or query came out that was not in the log. Refused: an InputError
whose message names a file, a table or a key, is short and holds no traceback.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from proofs.mutations import (
    FORMS,
    OF_BYTES,
    OF_EXPERIMENTS,
    OF_TABLES,
    Rng,
    odd_json,
    rows_in,
    small_log,
    strange_path,
    write,
)
from tasks.home import prepare_environment

LONGEST_S = 60
MOST_BYTES = 6 * 2**30
ARMS = Path(__file__).parent.parent / "experiments" / "smoke.yaml"


class FuzzVerdict(NamedTuple):
    """What became of an input."""

    layout: str
    mutation: str
    verdict: str  # read, refused or bug
    told: str
    counted: bool  # whether other readers counted the rows too


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


def tried(number: int) -> FuzzVerdict:
    """What the product makes of the input of this number."""
    from ebr_core.errors import InputError
    from flows.app.check import describe_experiment

    folder, home = Path(tempfile.mkdtemp(prefix="ebr-fuzz-")), os.environ["EBR_HOME"]
    os.environ["EBR_HOME"] = str(folder / "home")
    layout = list(FORMS)[number % len(FORMS)]
    mutation = "made"
    counted = False
    try:
        given = made(number, folder)
        mutation = given.mutation
        counted = bool(given.counts) and all(count is not None for count in given.counts.values())
        text = describe_experiment(given.experiment)
        wrong = list(_wrong(given, text))
        verdict, told = ("bug", "; ".join(wrong)) if wrong else ("read", "")
    except InputError as error:
        unclear = list(_unclear(str(error), given))
        verdict, told = ("bug", f"{unclear}: {error}") if unclear else ("refused", str(error))
    except BaseException as error:
        verdict, told = (
            "bug",
            f"{type(error).__name__}: {error}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}",
        )
    finally:
        os.environ["EBR_HOME"] = home
        shutil.rmtree(folder, ignore_errors=True)
    return FuzzVerdict(layout, mutation, verdict, told, counted)


def _unclear(message: str, given: Input) -> Iterator[str]:
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


def _wrong(given: Input, text: str) -> Iterator[str]:
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


def _work(pipe: Connection) -> None:
    """Tries the inputs whose numbers come in until none comes."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory(prefix="ebr-fuzz-home-") as folder:
        os.environ["EBR_HOME"] = folder
        prepare_environment()
        while (number := pipe.recv()) is not None:
            pipe.send(tried(number))


def fuzz(numbers: range) -> Iterator[tuple[int, FuzzVerdict]]:
    """The outcomes of the inputs of these numbers; a process that crashes or does not answer is an outcome too."""
    context = multiprocessing.get_context("spawn")
    worker, pipe = None, None
    for number in numbers:
        if worker is None or pipe is None:
            pipe, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs,), daemon=True)
            worker.start()
            theirs.close()
        pipe.send(number)
        layout = list(FORMS)[number % len(FORMS)]
        started = LONGEST_S + (120 if number == numbers[0] else 0)  # the first waits for imports as well
        try:
            if not pipe.poll(started):
                raise TimeoutError
            yield number, pipe.recv()
        except (EOFError, TimeoutError, ConnectionResetError) as error:
            worker.kill()
            worker.join()
            told = f"hung for {LONGEST_S} s" if isinstance(error, TimeoutError) else f"crashed, {worker.exitcode}"
            yield number, FuzzVerdict(layout, "process", "bug", told, False)
            worker = None
    if worker is not None and pipe is not None:
        pipe.send(None)
        worker.join()


def shown(outcomes: list[FuzzVerdict]) -> str:
    """The table, in Markdown: a row a layout, a column a mutation, read / refused / bugs in a cell."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    for one in outcomes:
        for key in ((one.layout, one.mutation), (one.layout, "all"), ("all", one.mutation), ("all", "all")):
            cells.setdefault(key, Counter())[one.verdict] += 1
    mutations = [*dict.fromkeys(sorted(one.mutation for one in outcomes)), "all"]
    lines = ["| what is wrong | " + " | ".join((*FORMS, "all")) + " |", "|---" * (len(FORMS) + 2) + "|"]
    for mutation in mutations:
        row = [cells.get((layout, mutation)) for layout in (*FORMS, "all")]
        texts = [f"{c['read']} / {c['refused']} / {c['bug']}" if c else "" for c in row]
        lines.append(f"| {mutation.replace('_', ' ')} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints the bugs as they come, and the table."""
    many, first = (int(given) for given in [*sys.argv[1:], *("2000", "0")[len(sys.argv) - 1 :]])
    outcomes = []
    for number, outcome in fuzz(range(first, first + many)):
        outcomes.append(outcome)
        if outcome.verdict == "bug" or many == 1:
            print(f"{number}: {outcome.layout}, {outcome.mutation}: {outcome.verdict}: {outcome.told}", flush=True)
    print(shown(outcomes))
    totals, counted = Counter(one.verdict for one in outcomes), sum(one.counted for one in outcomes)
    print(f"{len(outcomes):,} inputs: {totals['read']:,} read, {totals['refused']:,} refused, {totals['bug']} neither")
    read_counted = sum(one.counted and one.verdict == "read" for one in outcomes)
    print(f"Rows counted by other readers too: of {read_counted:,} that were read ({counted:,} of all)")
    if totals["bug"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
