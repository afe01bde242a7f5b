"""Columns that experiments name as features, compared with the files that they come from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.experiment.log_config import Tables
from data.extra_columns import MOST_VALUES, OwnColumnsOfSide, read_columns, read_own_columns
from ebr_core.errors import InputError


def test_a_key_column_may_be_named_too(tmp_path: Path) -> None:
    """A named identity must not be read as a list: as a list it would match no row."""
    documents = pa.table({"document_id": ["b", "a", "c"], "brand": ["x", None, "y"]})
    pq.write_table(documents, tmp_path / "given.parquet")
    rows = pa.table({"document_id": ["a", "b", "c"], "document_row": pa.array([0, 1, 2], pa.int32())})
    pq.write_table(rows, tmp_path / "documents.parquet")
    path = str(tmp_path / "given.parquet")
    (out := tmp_path / "out").mkdir()
    logs = Tables(layout="tables", searches=path, results=path, documents=path)
    read_columns(logs, tmp_path, {"documents": ["document_id", "brand"]}, out)
    columns = pq.read_table(out / "documents.parquet").to_pydict()
    assert columns == {"document_id": [["a"], ["b"], ["c"]], "brand": [None, ["x"], ["y"]]}


def read_own(folder: Path, columns: dict[str, pa.Array], optional: set[str]) -> OwnColumnsOfSide:
    """These columns of the documents b, a and c, in the order a, b, c."""
    pq.write_table(pa.table({"document_id": ["b", "a", "c"], **columns}), folder / "given.parquet")
    rows = pa.table({"document_id": ["a", "b", "c"], "document_row": pa.array([0, 1, 2], pa.int32())})
    pq.write_table(rows, folder / "documents.parquet")
    path = str(folder / "given.parquet")
    logs = Tables(layout="tables", searches=path, results=path, documents=path)
    return read_own_columns(logs, folder, "documents", list(columns), folder, optional)


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    names = ["given_id", "own", "document_row", "known", "a'b", 'a"b', "$names", "größe", "min(x); --"]
    read = read_own(tmp_path, {name: pa.array([2, 1, None]) for name in names}, set())
    assert read.table.to_pydict() == {name: [1, 2, None] for name in names}


RECORDS = {
    "record": pa.array([{"a": 1}, None, {"a": 2}]),
    "bytes": pa.array([b"\xff", None, b"x"]),
    "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "records": pa.array([[{"a": 1}, {"a": 2}], None, []]),
    "matrix": pa.array([[[1.0, 2.0]], None, []]),
    "blobs": pa.array([[b"\xff"], None, []]),
    "json": pa.array(['{"a": 1}', None, ' {"b": [2]} ']),
    "json_list": pa.array(['[{"a": 1}, {"a": 2}]', None, "[]"]),
}


def test_columns_of_records_and_bytes_are_left_out_if_nothing_names_them(tmp_path: Path) -> None:
    columns = {"price": pa.array([2, 1, None]), **RECORDS, "brand": pa.array(["x", None, "y"])}
    read = read_own(tmp_path, columns, set(columns))
    assert read.table.to_pydict() == {"price": [1, 2, None], "brand": [None, "x", "y"]}
    assert set(read.longest) == {"price", "brand"}
    assert set(read.unread) == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_column_of_records_or_bytes_is_refused_if_something_names_it(tmp_path: Path, name: str) -> None:
    columns = {"price": pa.array([2, 1, None]), **RECORDS}
    with pytest.raises(InputError, match=rf"(?i){name}.*expected text"):
        read_own(tmp_path, columns, set(columns) - {name})


def test_a_text_in_braces_among_others_is_a_text(tmp_path: Path) -> None:
    read = read_own(tmp_path, {"note": pa.array(["{x}", "plain", None])}, {"note"})
    assert read.table.to_pydict() == {"note": ["plain", "{x}", None]}


@pytest.mark.parametrize("type_", [pa.list_(pa.float32()), pa.list_(pa.float32(), MOST_VALUES + 1)])
def test_long_lists_are_read_only_if_something_names_them(tmp_path: Path, type_: pa.DataType) -> None:
    vectors = [[float(i)] * (MOST_VALUES + 1) for i in range(3)]
    columns = {
        "tags": pa.array([["a"] * MOST_VALUES, ["b"], None]),
        "vector": pa.array(vectors, type_),
        "price": [1, 2, 3],
    }
    by_default = read_own(tmp_path, columns, set(columns))
    assert by_default.table.column_names == ["tags", "price"]
    assert by_default.many == {"vector": MOST_VALUES + 1}
    named = read_own(tmp_path, columns, {"tags", "price"})
    assert named.many == {}
    assert [len(row) for row in named.table["vector"].to_pylist()] == [MOST_VALUES + 1] * 3


def test_a_long_list_behind_the_first_rows_is_found_too(tmp_path: Path) -> None:
    ids = [f"d{i:04}" for i in range(1200)]
    lists = [["a"] * (MOST_VALUES + 9 if i == 1199 else 2) for i in range(1200)]
    pq.write_table(pa.table({"document_id": ids, "long": lists, "short": [["b"]] * 1200}), tmp_path / "given.parquet")
    rows = pa.table({"document_id": ids, "document_row": pa.array(range(1200), pa.int32())})
    pq.write_table(rows, tmp_path / "documents.parquet")
    path = str(tmp_path / "given.parquet")
    logs = Tables(layout="tables", searches=path, results=path, documents=path)
    read = read_own_columns(logs, tmp_path, "documents", ["long", "short"], tmp_path, {"long", "short"})
    assert (read.table.column_names, dict(read.many)) == (["short"], {"long": MOST_VALUES + 9})


def test_infinite_numbers_are_none_and_counted(tmp_path: Path) -> None:
    columns = {"price": pa.array([1.5, float("inf"), float("nan")]), "name": pa.array(["inf", "x", None])}
    read = read_own(tmp_path, columns, set(columns))
    assert read.table.to_pydict() == {"price": [None, 1.5, None], "name": ["x", "inf", None]}
    assert dict(read.infinite) == {"price": 1}


def test_names_that_differ_by_the_case_of_a_letter_beyond_ascii_are_refused(tmp_path: Path) -> None:
    """DuckDB keeps both; here case does not count, so one of them would be lost."""
    with pytest.raises(InputError, match=r"columns 'É' and 'é', which differ by case alone.*RENAME"):
        read_own(tmp_path, {"É": pa.array([1, 2, 3]), "é": pa.array([4, 5, 6])}, set())
