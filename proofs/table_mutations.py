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
    """The index of a random column."""
    return int(rng.integers(table.num_columns))


def _put(table: pa.Table, index: int, values: Any) -> pa.Table:
    """The table with the values of a column replaced."""
    return table.set_column(index, table.column_names[index], values)


def _values(kind: int, rows: int) -> Any:
    """A column of an unexpected type; kind is 0 … 19."""
    numbers = range(rows)
    return [
        lambda: pa.array(numbers, pa.int64()),
        lambda: pa.array(numbers, pa.uint8()),
        lambda: pa.array([2**64 - 1 - i for i in numbers], pa.uint64()),
        lambda: pa.array([-(10**37) + i for i in numbers], pa.decimal128(38, 0)),
        lambda: pa.array([i + 0.5 for i in numbers], pa.float64()),
        lambda: pa.array(np.arange(rows, dtype=np.float16)),
        lambda: pa.array([i % 2 == 0 for i in numbers]),
        lambda: pa.array([b"\xff\x00%d" % i for i in numbers], pa.binary()),
        lambda: pa.array([b"%04d" % i for i in numbers], pa.binary(4)),
        lambda: pa.array([[str(i)] * (i % 3) for i in numbers]),
        lambda: pa.array([{"a": i} for i in numbers]),
        lambda: pa.array([[("a", i)] for i in numbers], pa.map_(pa.string(), pa.int64())),
        lambda: pa.array(numbers, pa.int32()).cast(pa.date32()),
        lambda: pa.array(numbers, pa.time64("us")),
        lambda: pa.array([START.replace(tzinfo=UTC) + timedelta(hours=i) for i in numbers]),
        lambda: pa.array([START + timedelta(hours=i) for i in numbers], pa.timestamp("ns", "Asia/Kathmandu")),
        lambda: pa.array([str(i) for i in numbers]).dictionary_encode(),
        lambda: pa.array([str(i) for i in numbers], pa.large_string()),
        lambda: pa.nulls(rows),
        lambda: pa.array(["x"] * rows),
    ][kind]()


def wrong_type(table: pa.Table, rng: Rng) -> pa.Table:
    """The table with a column of another type."""
    return _put(table, _column(table, rng), _values(int(rng.integers(20)), table.num_rows))


def columns(table: pa.Table, rng: Rng) -> pa.Table:
    """The table with a column removed, renamed, in capitals, repeated or moved, or with a hostile name."""
    index, names = _column(table, rng), list(table.column_names)
    hostile = ('a"; DROP TABLE x; --', "'", "a\nb", "select", "", "n" * 5000, "é\u202e", "$name", "a.b", "?", "\0")
    match int(rng.integers(6)):
        case 0:
            return table.remove_column(index)
        case 1:
            return table.rename_columns([*names[:index], names[index] + "s", *names[index + 1 :]])
        case 2:
            return table.rename_columns([name.upper() if rng.random() < 0.4 else name for name in names])
        case 3:
            repeated = names[index] if rng.random() < 0.5 else names[index].upper()
            return table.append_column(repeated, table.column(index).take(rng.permutation(table.num_rows)))
        case 4:
            return table.select([names[i] for i in rng.permutation(len(names))])
        case _:
            return table.append_column(hostile[rng.integers(len(hostile))], table.column(index))


def nulls(table: pa.Table, rng: Rng) -> pa.Table:
    """The table with some or all values of one column, or of all columns, set to null."""
    share = rng.choice([0.05, 0.5, 1.0])
    indexes = range(table.num_columns) if rng.random() < 0.2 else [_column(table, rng)]
    for index in indexes:
        new_values = [None if rng.random() < share else value for value in table.column(index).to_pylist()]
        table = _put(table, index, pa.array(new_values, table.schema.field(index).type))
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
    """The table with some values of a column set to strange numbers, times or texts."""
    index, rows = _column(table, rng), table.num_rows
    kinds = (NUMBERS, TIMES, TEXTS)[rng.integers(3)]
    strange = kinds[rng.integers(len(kinds))]
    is_replaced = rng.random(rows) < rng.choice([1 / rows, 0.04, 1.0])
    old_values = table.column(index).to_pylist()
    if isinstance(strange, float) and pa.types.is_floating(table.schema.field(index).type):
        return _put(
            table,
            index,
            pa.array([strange if h else v for h, v in zip(is_replaced, old_values, strict=True)], pa.float64()),
        )
    if isinstance(strange, float) and pa.types.is_integer(table.schema.field(index).type):
        return _put(
            table, index, pa.array([strange if h else float(v) for h, v in zip(is_replaced, old_values, strict=True)])
        )
    return _put(
        table, index, pa.array([str(strange) if h else _text(v) for h, v in zip(is_replaced, old_values, strict=True)])
    )


def _text(value: Any) -> str | None:
    """A value as text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def rows(table: pa.Table, rng: Rng) -> pa.Table:
    """The table with no, few, repeated or shuffled rows, or with values moved between rows: dangling, repeated ids."""
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
            index = _column(table, rng)
            return _put(table, index, table.column(index).take(rng.integers(table.num_rows, size=table.num_rows)))
        case _:
            index, field = _column(table, rng), table.schema.field(_column(table, rng))
            strange_values = [
                f"?{i}" if rng.random() < 0.04 else _text(v) for i, v in enumerate(table.column(index).to_pylist())
            ]
            return table.set_column(
                index, field.name if rng.random() < 0.1 else table.column_names[index], pa.array(strange_values)
            )


TABLE_MUTATIONS: tuple[Callable[[pa.Table, Rng], pa.Table], ...] = (wrong_type, columns, nulls, values, rows)
