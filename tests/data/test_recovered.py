"""Hard positives of failed sessions, on a log that a reader checks by eye."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from data import extracted_log
from data.experiment.log_config import Split, Tables
from data.extract import extract

SEARCHES = """search_id,searched_at,query,searcher_id,session_id
a1,2024-01-01 10:00:00,jon smth,ann,a
a2,2024-01-01 10:01:00,jon smith,ann,a
a3,2024-01-01 10:02:00,john smith,ann,a
a4,2024-01-01 10:03:00,plum,ann,a
b1,2024-01-02 10:00:00,aple,bob,b
c1,2024-01-02 11:00:00,aple,cat,c
d1,2024-01-03 10:00:00,pear,dan,d
d2,2024-01-03 10:01:00,per,dan,d
e1,2024-01-04 23:59:00,aple,eve,e
e2,2024-01-05 00:01:00,apple,eve,e
v1,2024-01-05 00:00:30,apple,ann,v
t1,2024-01-09 10:00:00,aple,ann,t
t2,2024-01-09 10:01:00,apple,ann,t
"""
RESULTS = """search_id,document_id,position,clicked
a2,P,1,false
a3,J,1,true
a3,P,2,true
a4,A,1,true
c1,A,1,true
d1,P,1,true
e2,A,1,true
v1,A,1,true
t2,A,1,true
"""
DOCUMENTS = """document_id,title
J,john smith
P,pear
A,apple
"""


def test_a_failed_search_takes_the_clicks_of_the_next_search_of_its_session_with_a_click(tmp_path: Path) -> None:
    for name, text in (("searches", SEARCHES), ("results", RESULTS), ("documents", DOCUMENTS)):
        (tmp_path / f"{name}.csv").write_text(text)
    paths = {name: str(tmp_path / f"{name}.csv") for name in ("searches", "results", "documents")}
    split = Split.model_validate({"validation_from": "2024-01-05", "test_from": "2024-01-08"})
    extract(Tables(layout="tables", **paths), split, tmp_path / "log")
    recovered = extracted_log.read_recovered(tmp_path / "log")
    search_of = pq.read_table(tmp_path / "log" / "searches.parquet")["search_id"].to_pylist()
    document_of = pq.read_table(tmp_path / "log" / "documents.parquet")["document_id"].to_pylist()
    query_of = pq.read_table(tmp_path / "log" / "queries.parquet")["query"].to_pylist()
    pairs = {
        (search_of[search], document_of[document], query_of[query])
        for search, document, query in zip(
            recovered.search_rows, recovered.document_rows, recovered.query_rows, strict=True
        )
    }
    # a1 and a2 failed; a3 clicked two documents; a4 is not the next. b1 has no successor, and c1 is another session. d2
    # comes after the click. e1 lies in the training window, but e2 comes after its cut. t1 is in the test.
    assert pairs == {
        ("a1", "J", "jon smth"), ("a1", "P", "jon smth"), ("a2", "J", "jon smith"), ("a2", "P", "jon smith"),
    }  # fmt: skip
