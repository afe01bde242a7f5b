"""The newest list of each query, on a log checked by eye."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from data.latest_lists import latest_lists
from tests.data.small_logs import extract_rows, small_log


def test_the_newest_list_of_each_query_in_its_order(tmp_path: Path) -> None:
    """Nobody gets a list from the test period's future: it is what the engine showed last, shown beside a model."""
    extract_rows(small_log(tmp_path / "files"), tmp_path / "log")
    names = pq.read_table(tmp_path / "log" / "documents.parquet")["document_id"].to_pylist()
    lists = latest_lists(tmp_path / "log", np.arange(len(names), dtype=np.int32))
    shown = {
        query: [names[row] for row in rows if row >= 0]
        for query, rows in zip(lists.queries.to_pylist(), lists.rows, strict=True)
    }
    assert shown == {
        "blue hat": ["hat"],
        "boots": ["boot", "hat"],
        "hat": ["hat"],
        "red boots": ["boot"],
        "red shoes": ["shoe", "hat"],  # of bob's search, which is newer than ann's
    }
    assert lists.searched_at[4].as_py() == datetime(2020, 1, 2, 10)
    gone = latest_lists(tmp_path / "log", np.array([names.index("hat")], np.int32))
    assert gone.rows[gone.queries.to_pylist().index("red shoes")].tolist() == [0] + [-1] * 19


def test_a_log_without_positions_or_with_random_order_has_no_lists(tmp_path: Path) -> None:
    without = "search_id,document_id,clicked\n1,shoe,true\n5,hat,true\n6,boot,true\n"
    extract_rows(small_log(tmp_path / "a", results=without), tmp_path / "log")
    assert len(latest_lists(tmp_path / "log", np.arange(3, dtype=np.int32)).queries) == 0
    rows = "1,shoe,1,true,true\n5,hat,1,true,false\n6,boot,1,true,true\n"
    shuffled = f"search_id,document_id,position,clicked,randomised\n{rows}"
    extract_rows(small_log(tmp_path / "b", results=shuffled), tmp_path / "other")
    assert latest_lists(tmp_path / "other", np.arange(3, dtype=np.int32)).queries.to_pylist() == ["hat"]
