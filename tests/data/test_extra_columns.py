"""Columns that experiments name as features, compared with the files that they come from."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.experiment.log_config import Tables
from data.extra_columns import read_columns


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
