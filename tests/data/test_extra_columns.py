"""Columns that experiments name as features, against the files they come from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.experiment.log_config import Tables
from data.extra_columns import read_columns


def test_a_column_that_joins_the_rows_may_be_named_too(tmp_path: Path) -> None:
    """An identity was read as a list because it was named, and then equalled no row's."""
    documents = pa.table({"document_id": ["b", "a", "c"], "brand": ["x", None, "y"]})
    pq.write_table(documents, tmp_path / "given.parquet")
    known = pa.table({"document_id": ["a", "b", "c"], "document_row": pa.array([0, 1, 2], pa.int32())})
    pq.write_table(known, tmp_path / "documents.parquet")
    given = str(tmp_path / "given.parquet")
    (out := tmp_path / "out").mkdir()
    logs = Tables(layout="tables", searches=given, results=given, documents=given)
    read_columns(logs, tmp_path, {"documents": ["document_id", "brand"]}, out)
    read = pq.read_table(out / "documents.parquet").to_pydict()
    assert read == {"document_id": [["a"], ["b"], ["c"]], "brand": [None, ["x"], ["y"]]}
