"""What training and evaluation read of an extracted log, on a log that a reader checks by eye."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from data import samples
from data.extract import extract
from data.logs import Split, Tables

SEARCHES = """search_id,searched_at,query,searcher_id,session_id
1,2024-01-01 10:00:00,apple,ann,s1
2,2024-01-02 10:00:00,pear,bob,s2
3,2024-01-11 10:00:00,late apple,ann,s1
4,2024-01-06 10:00:00,plum,ann,s4
5,2024-01-09 10:00:00,apple,ann,s5
6,2024-01-09 10:05:00,aple,ann,s6
7,2024-01-09 10:06:00,apple,ann,s6
"""
RESULTS = """search_id,document_id,position,clicked
1,A,1,true
1,P,2,false
2,P,1,true
3,N,1,true
4,A,1,true
5,A,1,true
6,P,1,false
7,A,1,true
7,G,2,true
"""
DOCUMENTS = """document_id,title,created_at,removed_at
A,apple,,
P,pear,,
N,new apple,2024-01-10 00:00:00,
G,gone apple,,2024-01-08 00:00:00
"""


def _log(folder: Path) -> Path:
    for name, text in (("searches", SEARCHES), ("results", RESULTS), ("documents", DOCUMENTS)):
        (folder / f"{name}.csv").write_text(text)
    paths = {name: str(folder / f"{name}.csv") for name in ("searches", "results", "documents")}
    logs = Tables(layout="tables", **paths)
    split = Split.model_validate({"validation_from": "2024-01-05", "test_from": "2024-01-08"})
    extract(logs, split, folder / "log")
    return folder / "log"


def _ids(log: Path, rows: list[int], table: str = "documents", key: str = "document") -> list[str]:
    names = pq.read_table(log / f"{table}.parquet").to_pylist()
    return sorted(row[f"{key}_id"] for row in names if row[f"{key}_row"] in rows)


def test_training_sees_nothing_from_after_the_cut_even_in_a_long_session(tmp_path: Path) -> None:
    """Session s1 began in the training window and went on after the test had begun: search 3 is of no use."""
    log = _log(tmp_path)
    shown = samples.read_shown(log)
    assert _ids(log, shown.search_rows.tolist(), "searches", "search") == ["1", "2"]
    assert _ids(log, shown.document_rows.tolist()) == ["A", "P"]
    trainable = samples.rows(samples.read(log, "trainable"), "document_row")
    assert _ids(log, trainable.tolist()) == ["A", "G", "P"]  # N was born later
    texts = pq.read_table(log / "queries.parquet").take(
        samples.rows(samples.read(log, "training_queries"), "query_row")
    )
    assert sorted(texts["query"].to_pylist()) == ["apple", "pear"]


def test_the_test_sample(tmp_path: Path) -> None:
    log, into = _log(tmp_path), tmp_path / "sample"
    into.mkdir()
    samples.sample(log, "test", 100, 1, None, into)
    candidates = pq.read_table(into / "candidates.parquet")["document_row"].to_pylist()
    assert _ids(log, candidates) == ["A", "P"]  # N is born after the last test search, G was gone before the first
    searches = {row["search_id"]: row for row in pq.read_table(into / "searches.parquet").to_pylist()}
    assert {name: (row["query_seen"], row["pair_seen"]) for name, row in searches.items()} == {
        "5": (True, True),  # ann typed apple before
        "6": (False, False),
        "7": (True, True),
    }
    targets = {}
    for row in pq.read_table(into / "targets.parquet").to_pylist():
        search = next(name for name, found in searches.items() if found["search_row"] == row["search_row"])
        targets.setdefault((row["targets"], search), []).extend(_ids(log, [row["document_row"]]))
    assert targets == {("clicked", "5"): ["A"], ("clicked", "7"): ["A"], ("recovered", "6"): ["A"]}
    counts = {row["targets"]: row for row in json.loads((into / "counts.json").read_text())}
    assert (counts["clicked"]["searches"], counts["clicked"]["with_target"]) == (3, 2)
    assert counts["clicked"]["targets_not_alive"] == 1  # G, clicked in search 7


def test_the_sample_is_the_same_every_time_and_no_larger_than_asked(tmp_path: Path) -> None:
    log = _log(tmp_path)
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        samples.sample(log, "test", 1, 1, None, tmp_path / name)
        made.append((tmp_path / name / "targets.parquet").read_bytes())
    assert made[0] == made[1]
    sets = pq.read_table(tmp_path / "one" / "targets.parquet").to_pylist()
    assert len({row["search_row"] for row in sets if row["targets"] == "clicked"}) == 1
