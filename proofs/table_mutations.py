"""Changes to a table of a log: its types, columns, values and rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from proofs.small_logs import START, Rng


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


OF_TABLES: tuple[Callable[[pa.Table, Rng], pa.Table], ...] = (wrong_type, columns, nulls, values, rows)
