"""Columns that experiments name as features, compared with the files that they come from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.experiment.log_config import Tables
from data.extra_columns import OwnColumnsOfSide, read_columns, read_own_columns
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
}


def test_columns_of_records_and_bytes_are_left_out_if_nothing_names_them(tmp_path: Path) -> None:
    columns = {"price": pa.array([2, 1, None]), **RECORDS, "brand": pa.array(["x", None, "y"])}
    read = read_own(tmp_path, columns, set(columns))
    assert read.table.to_pydict() == {"price": [1, 2, None], "brand": [None, "x", "y"]}
    assert set(read.longest) == {"price", "brand"}
    assert read.unread == tuple(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_a_column_of_records_or_bytes_is_refused_if_something_names_it(tmp_path: Path, name: str) -> None:
    columns = {"price": pa.array([2, 1, None]), **RECORDS}
    with pytest.raises(InputError, match=rf"{name}.*[Ee]xpected text"):
        read_own(tmp_path, columns, set(columns) - {name})
