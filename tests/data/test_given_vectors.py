"""Vectors that users bring, in every form in which files hold them, and what of them is refused or counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.experiment.log_config import Tables
from data.given_vectors import VectorsOfSide, read_column, read_file
from ebr_core.errors import InputError

GIVEN = {"d2": [0.25, -1.0], "d1": [3.0, 4.0], "d3": None}
IDS = ["d1", "d2", "d3", "d4"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The tables of an extracted log that vectors are matched with."""
    folder = tmp_path / "log"
    folder.mkdir()
    rows = pa.array(range(len(IDS)), pa.int32())
    pq.write_table(pa.table({"document_row": rows, "document_id": IDS}), folder / "documents.parquet")
    queries = pa.table({"query_row": pa.array([0, 1, 2], pa.int32()), "query": ["Red shoes", "café", "boots"]})
    pq.write_table(queries, folder / "queries.parquet")
    searches = pa.table(
        {
            "search_row": pa.array([0, 1, 2], pa.int32()),
            "search_id": ["s1", "s2", "s3"],
            "query_row": pa.array([0, 0, 1], pa.int32()),
        }
    )
    pq.write_table(searches, folder / "searches.parquet")
    return folder


def _read(log: Path, table: pa.Table, side: Any = "documents") -> VectorsOfSide:
    path = str(log.parent / "given.parquet")
    pq.write_table(table, path)
    logs = Tables(layout="tables", searches=path, results=path, documents=path)
    return read_column(logs, log, side, "embedding", log.parent)


def _documents(vectors: list[Any], type_: pa.DataType) -> pa.Table:
    return pa.table({"document_id": list(GIVEN), "embedding": pa.array(vectors, type_)})


@pytest.mark.parametrize(
    "type_",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.list_(pa.float16()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 2),
        pa.list_(pa.int8()),
    ],
)
def test_columns_of_every_type_of_list_are_read(log: Path, type_: pa.DataType) -> None:
    vectors = [None if vector is None else [np.float16(value) for value in vector] for vector in GIVEN.values()]
    if pa.types.is_integer(type_.value_type):
        vectors = [[0, -1], [3, 4], None]
    read = _read(log, _documents(vectors, type_))
    expected = [[3, 4], [0 if pa.types.is_integer(type_.value_type) else 0.25, -1], [0, 0], [0, 0]]
    assert read.vectors.tolist() == expected
    assert (read.vectors.dtype, read.given, read.zeros, read.differing) == (np.float32, 2, 0, 0)


@pytest.mark.parametrize("name", ["vectors.ndjson", "vectors.csv", "vectors.parquet"])
def test_files_beside_the_log_are_read_whatever_their_form(log: Path, name: str) -> None:
    path = log.parent / name
    rows = [{"document_id": key, "vector": value} for key, value in GIVEN.items()]
    if name.endswith("ndjson"):
        path.write_text("\n".join(map(json.dumps, rows)))
    elif name.endswith("csv"):
        path.write_text("document_id,vector\n" + "\n".join(f'{r["document_id"]},"{r["vector"] or ""}"' for r in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    read = read_file(str(path), "vector", "vectors_of_documents", log, "documents")
    assert read.vectors.tolist() == [[3, 4], [0.25, -1], [0, 0], [0, 0]]


def test_the_vector_of_a_query_is_that_of_its_first_search(log: Path) -> None:
    table = pa.table({"search_id": ["s3", "s2", "s1"], "embedding": [[0.0, 0.0], [5.0, 6.0], [1.0, 2.0]]})
    read = _read(log, table, "searches")
    assert read.vectors.tolist() == [[1, 2], [0, 0], [0, 0]]
    assert (read.given, read.zeros, read.differing) == (1, 1, 1)


def test_queries_of_a_file_are_matched_by_their_folded_text(log: Path) -> None:
    path = log.parent / "queries.parquet"
    pq.write_table(
        pa.table({"query": ["CAFE", "red  Shoes!", "other"], "v": [[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]}), path
    )
    read = read_file(str(path), "v", "vectors_of_searches", log, "searches")
    assert read.vectors.tolist() == [[0, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0], [1.0, 2.0, 3.0], None], r"column 'embedding': the vector of d2 has 2 numbers, that of d1 has 3"),
        ([[1.0, 2.0], [], None], r"the vector of d2 has 2 numbers, that of d1 has 0"),
        ([[1.0, float("nan")], [1.0, 2.0], None], r"the vector of d2 holds NaN, an infinity"),
        ([[1.0, 2.0], [1.0, float("inf")], None], r"the vector of d1 holds NaN, an infinity"),
        ([[1.0, None], [1.0, 2.0], None], r"the vector of d2 holds NaN, an infinity or nothing"),
        ([[0.0, 0.0], None, None], r"has no vector for any row of the log but zeros"),
        ([None, None, None], r"has no vector for any row of the log\. Expected lists of numbers"),
    ],
)
def test_what_is_no_vector_is_refused_with_table_column_and_row(log: Path, vectors: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _read(log, _documents(vectors, pa.list_(pa.float32())))


def test_a_column_of_texts_or_numbers_is_refused(log: Path) -> None:
    with pytest.raises(InputError, match=r"'embedding' holds .*red.* Expected a list of numbers"):
        _read(log, pa.table({"document_id": list(GIVEN), "embedding": ["red", "blue", None]}))
    with pytest.raises(InputError, match=r"'embedding' is of type DOUBLE. Expected a list of numbers"):
        _read(log, pa.table({"document_id": list(GIVEN), "embedding": [1.0, 2.0, None]}))


def test_a_column_or_file_that_is_not_there_is_named(log: Path) -> None:
    with pytest.raises(InputError, match=r"groups name a column of the documents that cannot be read.*embedding"):
        _read(log, pa.table({"document_id": list(GIVEN)}))
    with pytest.raises(InputError, match=r"there is no file"):
        read_file(str(log / "nowhere.parquet"), "vector", "vectors_of_documents", log, "documents")
