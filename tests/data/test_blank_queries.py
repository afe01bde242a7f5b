"""Searches without a query are dropped, or kept where an arm reads something else of them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_logs import SEARCHES, SPLIT, extract_rows, small_log, write_text

from data.experiment.experiment_file import load_experiment
from data.extract import extract
from ebr_core.errors import InputError

# Ann browses twice, Bob once, nobody once.
BLANK = SEARCHES.replace("red boots", "").replace("hat,ann", " ,ann").replace("boots,bob", ",bob")
BLANK = BLANK.replace("blue hat", "")


def test_kept_searches_without_a_query_are_a_query_of_their_searcher(tmp_path: Path) -> None:
    rows = extract_rows(small_log(tmp_path / "in", searches=BLANK, blank_queries="kept"), tmp_path / "log")
    assert [row["query"] for row in rows["searches"]] == ["red shoes", "", "red shoes", "", "", ""]
    queries = {row["search_id"]: row["query_row"] for row in rows["searches"]}
    assert queries["2"] == queries["5"], "both are Ann's"
    assert len({queries[search] for search in "2346"}) == 4
    assert sorted(pq.read_table(tmp_path / "log" / "queries.parquet")["query"].to_pylist()) == ["", "", "", "red shoes"]
    report = json.loads((tmp_path / "log" / "report.json").read_text())
    assert "4 of 6 searches have no query" in report["notes"][0]["note"]


@pytest.mark.parametrize("setting", [None, "dropped"])
def test_dropped_searches_without_a_query_are_refused_with_the_way_out(tmp_path: Path, setting: str | None) -> None:
    with pytest.raises(InputError) as caught:
        extract(small_log(tmp_path / "in", searches=BLANK, blank_queries=setting), SPLIT, tmp_path / "log")
    for words in ("4 of 6 searches", "query is blank: 4", "kept if an arm has a group that reads something else"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ("arms: {text: {}}", None),
        ("arms: {text: {}, place: {groups: {place: {kind: values, searches: [city], documents: [city]}}}}", "kept"),
        ("arms: {titles: {groups: {place: {kind: values, documents: [city]}}}}", None),
        ("arms: {friends: {groups: {friends: {kind: graph}}}}", "kept"),
    ],
)
def test_arms_decide(tmp_path: Path, settings: str, kept: str | None) -> None:
    logs = "logs: {layout: tables, searches: a.csv, results: b.csv, documents: c.csv}\n"
    write_text(tmp_path, "my.yaml", logs + settings)
    assert load_experiment(tmp_path / "my.yaml").logs.blank_queries == kept
    write_text(tmp_path, "my.yaml", logs.replace("tables,", "tables, blank_queries: dropped,") + settings)
    assert load_experiment(tmp_path / "my.yaml").logs.blank_queries == "dropped"
