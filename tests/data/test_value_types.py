"""The type of a column's values, written by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from data.value_types import typed_values

DAY = datetime(2024, 2, 1)
NOON = datetime(2024, 2, 1, 12)


@pytest.mark.parametrize(
    ("texts", "kind", "values"),
    [
        (["1", None, "-3", "NULL", " "], pa.int64(), [1, None, -3, None, None]),
        (["1.5", "+2", ".5", "1e3", "n/a"], pa.float64(), [1.5, 2, 0.5, 1000, None]),
        (["007", "1"], pa.string(), ["007", "1"]),  # a code, of which a number would lose the zeros
        (["12345678901234567890"], pa.string(), ["12345678901234567890"]),  # nor can one hold so many digits
        (["1e400", "1"], pa.string(), ["1e400", "1"]),
        (["1.5", "inf", "-Infinity", "nan"], pa.float64(), [1.5, None, None, None]),
        (["1", "Inf"], pa.int64(), [1, None]),
        (["inf", "red"], pa.string(), ["inf", "red"]),
        (["inf", None], pa.string(), ["inf", None]),
        (["True", "false", None], pa.bool_(), [True, False, None]),
        (["2024-02-01", "2024-02-01 12:00", "2024-02-01T12:00:00.0"], pa.timestamp("us"), [DAY, NOON, NOON]),
        (["2024-02-01 13:00:00+01", "2024-02-01T12:00Z"], pa.timestamp("us"), [NOON, NOON]),
        (["2024-02-01 12:00:00.000000789", "2024-02-01"], pa.timestamp("us"), [NOON, DAY]),  # nanoseconds are left out
        (["2024-02-01 13:00:00.000000789+01"], pa.timestamp("us"), [NOON]),
        (["2024-02-01 13:00:00+01", "2024-02-01"], pa.string(), ["2024-02-01 13:00:00+01", "2024-02-01"]),
        (["2024-02-31"], pa.string(), ["2024-02-31"]),  # no day of the calendar
        (["none", " red "], pa.string(), ["none", "red"]),  # in a column of texts it is one
        (["3", "on request"], pa.string(), ["3", "on request"]),
        ([None, ""], pa.string(), [None, None]),
        ([None, ["b", "a"], "", ["c", " "], []], pa.list_(pa.string()), [None, ["b", "a"], None, ["c"], None]),
        ([["3"], [], ["4"]], pa.int64(), [3, None, 4]),  # lists of one value each
    ],
)
def test_a_column_has_the_type_that_all_its_values_are_written_in(
    texts: list[Any], kind: pa.DataType, values: list[Any]
) -> None:
    lists = [[text] if isinstance(text, str) else text for text in texts]
    typed = typed_values(pa.chunked_array([pa.array(lists, pa.list_(pa.string()))]))
    assert (typed.type, typed.to_pylist()) == (kind, values)
