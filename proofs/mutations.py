"""Small logs in every layout, and what can be wrong with them: material for `proofs.fuzz` and its test."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

Rng = np.random.Generator
Tables = dict[str, pa.Table]
SEARCHES, DOCUMENTS, SHOWN = 60, 20, 3
START = datetime(2024, 1, 1)
# What each table is written as, by layout; experiment: a sound log under a mutated experiment file.
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
    """The tables of a sound log of this layout: 60 searches, 20 documents, three shown and one clicked a search."""
    at = [START + timedelta(hours=5 * i) for i in range(SEARCHES)]
    search = [i for i in range(SEARCHES) for _ in range(SHOWN)]
    shown = [(i * 7 + j) % DOCUMENTS for i in range(SEARCHES) for j in range(SHOWN)]
    texts = [WORDS[i % len(WORDS)] for i in range(SEARCHES)]
    ids, titles = [f"d{i}" for i in range(DOCUMENTS)], [f"{WORDS[i % 8]} {i}" for i in range(DOCUMENTS)]
    documents = pa.table({"document_id": ids, "title": titles, "city": ["Bonn", None] * (DOCUMENTS // 2)})
    if layout.startswith(("tables", "experiment")):
        who = [f"u{i % 7}" for i in range(SEARCHES)]
        return {
            "searches": pa.table(
                {"search_id": range(SEARCHES), "searched_at": at, "query": texts, "searcher_id": who, "extra": texts}
            ),
            "results": pa.table(
                {
                    "search_id": search,
                    "document_id": [f"d{d}" for d in shown],
                    "position": [1, 2, 3] * SEARCHES,
                    "clicked": [True, False, False] * SEARCHES,
                }
            ),
            "documents": documents,
            "edges": pa.table({"source_id": who[:7] * 2, "target_id": ids[:14], "weight": [0.5] * 14}),
            "judgements": pa.table({"query": texts[:8], "document_id": ids[:8], "grade": [1.0, 0.0] * 4}),
        }
    if layout == "ubi":
        hits = [json.dumps([f"d{d}" for d in shown[SHOWN * i : SHOWN * i + SHOWN]]) for i in range(SEARCHES)]
        attributes = [{"object": {"object_id": f"d{d}"}, "position": {"ordinal": 1}} for d in shown[::SHOWN]]
        names = [f"q{i}" for i in range(SEARCHES)]
        return {
            "queries": pa.table(
                {"query_id": names, "user_query": texts, "timestamp": at, "query_response_hit_ids": hits}
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
                    "product_id": [f"d{d}" for d in shown],
                    "product_locale": ["us"] * len(search),
                    "esci_label": ["E", "S", "I"] * SEARCHES,
                    "split": ["train" if i < 40 else "test" for i in search],
                }
            ),
            "products": pa.table({"product_id": ids, "product_locale": ["us"] * DOCUMENTS, "product_title": titles}),
        }
    names = [f"q{i}" for i in search]
    qrels = pa.table(
        {"query-id": names, "corpus-id": [f"d{d}" for d in shown], "score": [1 if j == 0 else 0 for j in range(3)] * 60}
    )
    return {
        "corpus": pa.table({"_id": ids, "title": titles, "text": titles}),
        "queries": pa.table({"_id": [f"q{i}" for i in range(SEARCHES)], "text": texts}),
        "train_qrels": qrels.slice(0, 120),
        "test_qrels": qrels.slice(120),
    }


def write(table: pa.Table, path: Path) -> None:
    """Writes a table as what the path ends in: Parquet, CSV, TSV or NDJSON."""
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
            for row in rows:  # by hand, so that a name may stand twice
                pairs = (f"{json.dumps(n)}: {_json(v)}" for n, v in zip(table.column_names, row, strict=True))
                file.write("{" + ", ".join(pairs) + "}\n")


def _cell(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _json(value: Any) -> str:
    return json.dumps(_cell(value), ensure_ascii=False, default=str)


# ── what can be wrong with a table ───────────────────────────────────────────────────────────────────────────────────


def _column(table: pa.Table, rng: Rng) -> int:
    return int(rng.integers(table.num_columns))


def _put(table: pa.Table, at: int, values: Any) -> pa.Table:
    return table.set_column(at, table.column_names[at], values)


def _values(kind: int, rows: int) -> Any:
    """A column of some unexpected type."""
    many = range(rows)
    return [
        lambda: pa.array(many, pa.int64()),
        lambda: pa.array(many, pa.uint8()),
        lambda: pa.array([2**64 - 1 - i for i in many], pa.uint64()),
        lambda: pa.array([-(10**37) + i for i in many], pa.decimal128(38, 0)),
        lambda: pa.array([i + 0.5 for i in many], pa.float64()),
        lambda: pa.array(np.arange(rows, dtype=np.float16)),
        lambda: pa.array([i % 2 == 0 for i in many]),
        lambda: pa.array([b"\xff\x00%d" % i for i in many], pa.binary()),
        lambda: pa.array([b"%04d" % i for i in many], pa.binary(4)),
        lambda: pa.array([[str(i)] * (i % 3) for i in many]),
        lambda: pa.array([{"a": i} for i in many]),
        lambda: pa.array([[("a", i)] for i in many], pa.map_(pa.string(), pa.int64())),
        lambda: pa.array(many, pa.int32()).cast(pa.date32()),
        lambda: pa.array(many, pa.time64("us")),
        lambda: pa.array([START.replace(tzinfo=UTC) + timedelta(hours=i) for i in many]),
        lambda: pa.array([START + timedelta(hours=i) for i in many], pa.timestamp("ns", "Asia/Kathmandu")),
        lambda: pa.array([str(i) for i in many]).dictionary_encode(),
        lambda: pa.array([str(i) for i in many], pa.large_string()),
        lambda: pa.nulls(rows),
        lambda: pa.array(["x"] * rows),
    ][kind]()


def wrong_type(table: pa.Table, rng: Rng) -> pa.Table:
    """A column holds values of another type."""
    return _put(table, _column(table, rng), _values(int(rng.integers(20)), table.num_rows))


def columns(table: pa.Table, rng: Rng) -> pa.Table:
    """A column is gone, renamed, in capitals, there twice, at another place, or has a hostile name."""
    at, names = _column(table, rng), list(table.column_names)
    hostile = ('a"; DROP TABLE x; --', "'", "a\nb", "select", "", "n" * 5000, "é\u202e", "$name", "a.b", "?", "\0")
    match int(rng.integers(6)):
        case 0:
            return table.remove_column(at)
        case 1:
            return table.rename_columns([*names[:at], names[at] + "s", *names[at + 1 :]])
        case 2:
            return table.rename_columns([name.upper() if rng.random() < 0.4 else name for name in names])
        case 3:
            twice = names[at] if rng.random() < 0.5 else names[at].upper()
            return table.append_column(twice, table.column(at).take(rng.permutation(table.num_rows)))
        case 4:
            return table.select([names[i] for i in rng.permutation(len(names))])
        case _:
            return table.append_column(hostile[rng.integers(len(hostile))], table.column(at))


def nulls(table: pa.Table, rng: Rng) -> pa.Table:
    """Some or all values of a column, or of all of them, are null."""
    share = rng.choice([0.05, 0.5, 1.0])
    places = range(table.num_columns) if rng.random() < 0.2 else [_column(table, rng)]
    for at in places:
        kept = [None if rng.random() < share else value for value in table.column(at).to_pylist()]
        table = _put(table, at, pa.array(kept, table.schema.field(at).type))
    return table


NUMBERS = (float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e300, 2.0**63, 2.0**31, 1.5, -0.0, 5e-324)
TIMES = (
    *("0001-01-01", "9999-12-31 23:59:59", "2024-02-30", "1969-12-31 23:59:59", "-4000-01-01", "infinity", "epoch"),
    *("294247-01-10 04:00:54.775806", "2024-01-01T00:00:00+14:00", "2024-01-01 00:00:00 Europe/Berlin", "now"),
    *("2024-01-01 24:00:00", "1704067200", "2024-01-01T00:00:00Z", "2024-06-30 23:59:60", "-infinity"),
)
TEXTS = (
    *(
        "",
        " ",
        "\u00a0",
        "a\0b",
        "\0",
        "\ufeffa",
        "\n",
        "a\r\nb",
        "'; DROP TABLE documents; --",
        '"',
        '""',
        "\\",
        "NULL",
    ),
    *("null", "nan", "%s{}$x", "[", '["a"', '{"a":1}', "\u202eabc", "e\u0301" * 300, "x" * 200_000, "=cmd()", "\x1a"),
    *("0", "007", "1e5", "true", "١٢", "𝟙", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")),
)


def values(table: pa.Table, rng: Rng) -> pa.Table:
    """Some values of a column are strange numbers, times or texts."""
    at, rows = _column(table, rng), table.num_rows
    chosen = (NUMBERS, TIMES, TEXTS)[rng.integers(3)]
    odd = chosen[rng.integers(len(chosen))]
    hit = rng.random(rows) < rng.choice([1 / rows, 0.04, 1.0])
    old = table.column(at).to_pylist()
    if isinstance(odd, float) and pa.types.is_floating(table.schema.field(at).type):
        return _put(table, at, pa.array([odd if h else v for h, v in zip(hit, old, strict=True)], pa.float64()))
    if isinstance(odd, float) and pa.types.is_integer(table.schema.field(at).type):
        return _put(table, at, pa.array([odd if h else float(v) for h, v in zip(hit, old, strict=True)]))
    return _put(table, at, pa.array([str(odd) if h else _text(v) for h, v in zip(hit, old, strict=True)]))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def rows(table: pa.Table, rng: Rng) -> pa.Table:
    """No rows, few, all of them twice, in another order, or values moved to other rows: ids that dangle or repeat."""
    everything = np.arange(table.num_rows)
    match int(rng.integers(6)):
        case 0:
            return table.slice(0, 0)
        case 1:
            return table.slice(0, int(rng.integers(1, 4)))
        case 2:
            return table.take(np.concatenate([everything, everything[: int(rng.integers(1, table.num_rows))]]))
        case 3:
            return table.take(rng.permutation(table.num_rows))
        case 4:
            at = _column(table, rng)
            return _put(table, at, table.column(at).take(rng.integers(table.num_rows, size=table.num_rows)))
        case _:
            at, field = _column(table, rng), table.schema.field(_column(table, rng))
            strange = [f"?{i}" if rng.random() < 0.04 else _text(v) for i, v in enumerate(table.column(at).to_pylist())]
            return table.set_column(at, field.name if rng.random() < 0.1 else table.column_names[at], pa.array(strange))


# ── what can be wrong with the bytes of a file ───────────────────────────────────────────────────────────────────────


def flipped(data: bytes, rng: Rng) -> bytes:
    """Some bytes are others."""
    changed = bytearray(data)
    for at in rng.integers(len(data), size=int(rng.choice([1, 1, 1, 4, 64]))):
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def footer(data: bytes, rng: Rng) -> bytes:
    """A byte of the last 2,000, where Parquet says what lies where, is another."""
    changed, at = bytearray(data), -int(rng.integers(1, min(2000, len(data)) + 1))
    changed[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
    return bytes(changed)


def cut(data: bytes, rng: Rng) -> bytes:
    """The file ends early, begins late, lacks a stretch, or is empty."""
    low, high = sorted(rng.integers(len(data) + 1, size=2).tolist())
    return (data[:low], data[low:], data[:low] + data[high:], b"", data[:4], data[:-1])[rng.integers(6)]


def moved(data: bytes, rng: Rng) -> bytes:
    """Two stretches are swapped, one is zero or stands twice, or the file follows itself."""
    a, b, c = sorted(rng.integers(len(data) + 1, size=3).tolist())
    return (
        data[:a] + data[b:c] + data[a:b] + data[c:],
        data[:a] + bytes(b - a) + data[b:],
        data[:b] + data[a:],
        data + data,
    )[rng.integers(4)]


def inserted(data: bytes, rng: Rng) -> bytes:
    """Bytes that are not UTF-8, zero, a byte-order mark, another line end, or random stand in between."""
    at = int(rng.integers(len(data) + 1))
    what = (b"\xff\xfe", b"\0", b"\xc3", b"\r", b"\r\n", b"\n\n\n", b'"', b"\xed\xa0\x80", b"\x1a", rng.bytes(50))
    if rng.random() < 0.2:
        return b"\xef\xbb\xbf" + data
    if rng.random() < 0.1:
        return data.replace(b"\n", b"\r\n" if rng.random() < 0.5 else b"\r")
    return data[:at] + what[rng.integers(len(what))] + data[at:]


def odd_json(data: bytes, rng: Rng) -> bytes:
    """A line is no record, nested without end, of another shape, or another's neighbour on its line."""
    lines = data.splitlines()
    at = int(rng.integers(len(lines)))
    deep = int(rng.choice([50, 2_000, 200_000]))
    odd = (
        *(
            b"[]",
            b"null",
            b"1",
            b'"text"',
            b"{}",
            b"{",
            b"",
            b"[{}]",
            b"//",
            b"nan",
            lines[at][:-1] + b",}",
            b"{'a': 1}",
        ),
        *(lines[at] + lines[at], lines[at][:-1] + b', "more": ' + b"[" * deep + b"]" * deep + b"}"),
        *(b'{"a":' * deep + b"1" + b"}" * deep, b'{"' + b"k" * 100_000 + b'": 1}', lines[at].replace(b": ", b": [", 1)),
        *(lines[at].replace(b'"', b"'"), lines[at][:-1] + b', "x": 1e999999, "y": -0, "z": 123456789012345678901234}'),
        *(lines[at][:-1] + b', "bad": "\\ud800"}', lines[at][:-1] + b', "nul": "\\u0000"}', b"[" * deep),
        b'{"long": "' + b"x" * 17_000_000 + b'"}',
    )
    match int(rng.integers(8)):
        case 0:
            return b"[" + b",\n".join(lines) + b"]"
        case 1:
            return b"".join(lines)
        case 2:
            return b"[" + data + b"]"
        case _:
            lines[at] = odd[rng.integers(len(odd))]
            return b"\n".join(lines) + b"\n"


# ── what can be wrong with a path ────────────────────────────────────────────────────────────────────────────────────


def strange_path(path: Path, rng: Rng) -> str:
    """What an experiment file names in place of path: a folder, a link to nowhere, a pipe, a mixed glob …"""
    other, data = path.with_name(f"other{path.suffix}"), path.read_bytes()
    match int(rng.integers(12)):
        case 0:
            return str(path.parent)
        case 1:
            other.mkdir()
        case 2:
            other.symlink_to(path.parent / "nowhere")
        case 3:
            other.symlink_to(other)
        case 4:
            os.mkfifo(other)
        case 5:  # a glob over files of different columns
            write(pa.table({"different": [1, 2]}), path.with_name(f"{path.stem}-2{path.suffix}"))
            return str(path.with_name(f"{path.stem}*{path.suffix}"))
        case 6:  # a glob over a sound and a broken file
            path.with_name(f"{path.stem}-2{path.suffix}").write_bytes(flipped(data, rng)[: len(data) // 2])
            return str(path.with_name(f"{path.stem}*{path.suffix}"))
        case 7:  # a name that says another kind
            other = path.with_name(("o.csv", "o.parquet", "o.ndjson", "o.txt", "o", "o.csv.gz")[rng.integers(6)])
            other.write_bytes(data)
        case 8:
            other = path.with_name(f"{path.name}.gz")
            packed = gzip.compress(data, mtime=0)
            other.write_bytes(packed if rng.random() < 0.3 else flipped(packed, rng))
        case 9:
            names = (
                "o'; DROP TABLE x; --",
                "a b",
                "[x]",
                "st*r",
                "wh?t",
                "new\nline",
                "ü€",
                "$name",
                '"',
                "%41",
                "{a,b}",
            )
            other = path.with_name(names[rng.integers(len(names))] + path.suffix)
            other.write_bytes(data)
        case 10:
            return ("", "\0", "x" * 5000 + path.suffix, "~", "**", "/dev/null", "file://" + str(path), "[", "/")[
                rng.integers(9)
            ]
        case _:
            return str(path.with_name("missing" + path.suffix))
    return str(other)


# ── what can be wrong with an experiment file ────────────────────────────────────────────────────────────────────────

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\0", "x" * 10_000, [], {}, [[]], {"a": 1}),
    *(
        [None],
        {"kind": "x"},
        {1: 2},
        {None: None},
        ["a", "a"],
        -(10**400),
        START,
        START.date(),
        b"\xff",
        "recall@0",
        {"": 0},
    ),
)
SNIPPETS = (
    *(
        "a: &a [*a]\n",
        "arms: &x {y: *x}\n",
        "x: !!python/object/apply:os.system [true]\n",
        "? [a, b]\n: 1\n",
        "%YAML 9\n",
    ),
    *(
        "---\na: 1\n",
        "seeds: [" + "1" * 5000 + "]\n",
        "split: {until: 2024-99-99}\n",
        "\tx: 1\n",
        "x: \0\n",
        "x: *nobody\n",
    ),
    *(
        "deep: " + "[" * 3000 + "]" * 3000 + "\n",
        "x: !!float abc\n",
        "x: !!int abc\n",
        "<<: 1\n",
        "<<: [{a: 1}]\n",
        "x: 1:99\n",
    ),
    *(
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
        "x: !!binary '%'\n",
        "x: !!timestamp abc\n",
        "x: !!set {a}\n",
    ),
    *(
        "logs: 1\n",
        "seeds: 08\n",
        "seeds: [0b12]\n",
        "? {a: b}\n: 1\n",
        "!!omap: []\n",
        "x: !<tag:yaml.org,2002:map> 3\n",
    ),
    *(
        "arms: {base: {base: {}}}\n",
        "questions: {1: 2}\n",
        "arms: {1: {}}\n",
        "arms: [a]\n",
        "x: 2024-01-01T00:00:00+99:99\n",
    ),
    "bomb: [" + "".join(f"&a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}], " for i in range(9)) + "1]\n",
)


def _places(content: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [before, *(place for key, value in pairs for place in _places(value, (*before, key)))]


def odd_content(content: dict[str, Any], rng: Rng) -> str:
    """The experiment file with values, keys or whole parts that are others, gone or elsewhere."""
    for _ in range(int(rng.integers(1, 4))):
        places = [place for place in _places(content) if place]
        place, source = places[rng.integers(len(places))], places[rng.integers(len(places))]
        inside: Any = content
        held: Any = content
        for key in place[:-1]:
            inside = inside[key]
        for key in source:
            held = held[key]
        change = int(rng.integers(5))
        if change == 0 and isinstance(inside, dict):
            inside[str(place[-1])[::-1] if rng.random() < 0.5 else ODD[rng.integers(8)]] = inside.pop(place[-1])
        elif change == 1:
            del inside[place[-1]]
        elif change == 2:
            inside[place[-1]] = yaml.safe_load(yaml.safe_dump(held))
        else:
            inside[place[-1]] = ODD[rng.integers(len(ODD))]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=bool(rng.random() < 0.5))


def odd_text(content: dict[str, Any], rng: Rng) -> str:
    """The experiment file with a piece of strange YAML, at its end, its beginning or between two lines."""
    lines = yaml.safe_dump(content, sort_keys=False).splitlines(keepends=True)
    lines.insert(int(rng.choice([0, len(lines), int(rng.integers(len(lines)))])), SNIPPETS[rng.integers(len(SNIPPETS))])
    return "".join(lines)


OF_TABLES: tuple[Callable[[pa.Table, Rng], pa.Table], ...] = (wrong_type, columns, nulls, values, rows)
OF_BYTES: tuple[Callable[[bytes, Rng], bytes], ...] = (flipped, footer, cut, moved, inserted)
OF_EXPERIMENTS: tuple[Callable[[dict[str, Any], Rng], str], ...] = (odd_content, odd_content, odd_text)


def rows_in(path: Path) -> int | None:
    """The rows of a file as other readers than the product's count them, None where they cannot read it themselves."""
    try:
        if path.suffix == ".parquet":
            return int(pq.ParquetFile(path).metadata.num_rows)
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix in (".csv", ".tsv"):
            between = "," if path.suffix == ".csv" else "\t"
            if "\r" in text or "\0" in text:
                return None  # readers disagree about what a line is
            lines = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True) if row]
            return len(lines) - 1 if len({len(row) for row in lines}) == 1 else None
        records = [json.loads(line) for line in text.split("\n") if line.strip()]
        return len(records) if all(isinstance(record, dict) for record in records) else None
    except (OSError, ValueError, csv.Error, RecursionError, pa.ArrowException):
        return None
