"""Logs without times, and logs whose split is a column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from small_logs import RESULTS, SEARCHES, extract_rows, small_log

from data import extracted_log
from data.experiment.log_config import Split, Tables
from data.extract import extract
from data.report_text import describe
from ebr_core.errors import InputError

PARTS = ("train", "Train", " train", "train", "dev", "test")  # of the six searches of the small log


def with_parts(folder: Path, timed: bool, parts: tuple[str, ...] = PARTS, **tables: Any) -> Tables:
    """The small log with a column `fold`, in one session, with or without the times of the searches."""
    lines = ["search_id,query,searcher_id,session_id,fold" + (",searched_at" if timed else "")]
    for row, part in zip(SEARCHES.splitlines()[1:], parts, strict=True):
        search, time, query, searcher = row.split(",")
        lines.append(",".join([search, query, searcher, "s", part, *([time] if timed else [])]))
    return small_log(folder, searches="\n".join(lines), **tables)


def parts_of(rows: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {row["search_id"]: row["split"] for row in rows["searches"]}


@pytest.mark.parametrize("timed", [True, False])
def test_a_column_gives_the_split(tmp_path: Path, timed: bool) -> None:
    rows = extract_rows(with_parts(tmp_path / "in", timed), tmp_path / "log", Split(by="fold"))
    assert parts_of(rows) == dict(zip("1234", ["train"] * 4, strict=True)) | {"5": "validation", "6": "test"}
    sessions = {row["session_row"]: row["split"] for row in rows["searches"]}
    assert len(sessions) == (5 if timed else 6), "a session lies in one part; without times nothing is before or after"
    report = json.loads((tmp_path / "log" / "report.json").read_text())
    assert (report["time"] is not None) == timed
    text = describe(report)
    assert "The split is that of column fold." in text
    assert ("training may see the test's future" in text) == timed
    assert {rule["what"]: rule["broken"] for rule in extracted_log.find_leaks(tmp_path / "log")}["sessions"] == 0


def test_without_times_no_date_counts(tmp_path: Path) -> None:
    """Of a document, or of an edge."""
    logs = with_parts(
        tmp_path / "in",
        False,
        documents="document_id,title,created_at\nshoe,Shoe,2030-01-01\nboot,Boot,\nhat,Hat,2010-01-01\n",
        edges="source_id,target_id,created_at\nann,bob,2010-01-01\n",
    )
    rows = extract_rows(logs, tmp_path / "log", Split(by="fold"))
    assert {row["created_at"] for row in rows["documents"] + rows["edges"]} == {None}


def test_a_random_split_of_a_log_without_times_names_the_leak(tmp_path: Path) -> None:
    lines = "".join(f"{i},query {i},p{i % 5}\n" for i in range(40))
    results = "".join(f"{i},hat,1,true\n" for i in range(40))
    logs = small_log(
        tmp_path / "in",
        searches="search_id,query,searcher_id\n" + lines,
        results="search_id,document_id,position,clicked\n" + results,
    )
    rows = extract_rows(logs, tmp_path / "log", Split(kind="random"))
    assert sorted(parts_of(rows).values()) == ["test"] * 4 + ["train"] * 32 + ["validation"] * 4
    text = describe(json.loads((tmp_path / "log" / "report.json").read_text()))
    assert "carry no times, and the split is at random: training holds searches of the test's days" in text


def test_a_random_split_leaves_out_days_of_a_log_with_times_alone(tmp_path: Path) -> None:
    searches = [f"{i},2024-01-{1 + i % 20:02} 10:00:00,query {i},p{i % 5}" for i in range(60)]
    results = "".join(f"{i},hat,1,true\n" for i in range(60))
    timed, untimed = (
        small_log(
            tmp_path / name,
            searches="\n".join([f"search_id,{time},query,searcher_id", *searches]),
            results="search_id,document_id,position,clicked\n" + results,
        )
        for name, time in (("timed", "searched_at"), ("untimed", "other"))
    )
    split = Split.model_validate({"kind": "random", "until": "2024-01-16", "without": ["2024-01-03"]})
    rows = extract_rows(timed, tmp_path / "log", split)
    assert sorted({row["searched_at"].day for row in rows["searches"]}) == [1, 2, *range(4, 16)]
    assert len(rows["results"]) == len(rows["searches"]) == 42
    with pytest.raises(InputError, match=r"until and without leave out searches by their time, but no search of .*csv"):
        extract(untimed, split, tmp_path / "other")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            ("train", "train", "train", "train", "out", "test"),
            ["'fold'", "'out' in 1 rows", "validation, test"],
        ),
        (("train", "train", "train", "train", "", "test"), ["'fold'", "nothing in 1 rows"]),
        (("train", "train", "train", "train", "test", "test"), ["'fold'", "never holds validation"]),
    ],
)
def test_other_parts_are_refused(tmp_path: Path, parts: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        extract(with_parts(tmp_path / "in", False, parts), Split(by="fold"), tmp_path / "log")
    for word in ["searches.csv", *words]:
        assert word in str(caught.value)


def test_logs_without_times_are_told_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'searched_at'.*split: \{by: COLUMN\}.*kind: random.*leaks"):
        extract(with_parts(tmp_path / "in", False), Split(), tmp_path / "log")
    with pytest.raises(InputError, match="no column 'part'"):
        extract(with_parts(tmp_path / "in", False), Split(by="part"), tmp_path / "log")
    with pytest.raises(ValidationError, match="by takes no kind"):
        Split(by="fold", kind="random")


def test_a_part_without_clicks_is_refused(tmp_path: Path) -> None:
    logs = with_parts(tmp_path / "in", True, results=RESULTS.replace("6,boot,1,true", "6,boot,1,false"))
    with pytest.raises(InputError, match="a part of column 'fold' has no clicked search"):
        extract(logs, Split(by="fold"), tmp_path / "log")


def test_a_wrong_split_column_lists_ten_values(tmp_path: Path) -> None:
    lines = [f"{line},v{i:02}" for i, line in enumerate(SEARCHES.splitlines())]
    lines += [f"{i},2020-01-05 10:00:00,hat,bob,v{i:02}" for i in range(7, 30)]
    logs = small_log(tmp_path, searches="\n".join(lines).replace("searcher_id,v00", "searcher_id,wrong"))
    with pytest.raises(InputError, match=r"'v10' in 1 rows and 19 other values\. Expected train, validation, test"):
        extract(logs, Split(by="wrong"), tmp_path / "out")


ACTED = """\
search_id,document_id,position,clicked,acted_at
1,shoe,1,true,
2,boot,1,true,2020-01-04 09:59:59
3,hat,2,true,2020-01-04 10:00:00
4,hat,1,true,
5,hat,1,true,2020-01-04 11:00:00
5,shoe,2,true,2020-01-06
6,boot,1,true,2020-01-09
"""


def acted_notes(folder: Path, parts: tuple[str, ...], results: str = ACTED) -> str:
    extract(with_parts(folder / "in", True, parts, results=results), Split(by="fold"), folder / "log")
    return "\n".join(note["note"] for note in json.loads((folder / "log" / "report.json").read_text())["notes"])


def test_parts_of_a_column_know_no_later_action_and_it_is_counted(tmp_path: Path) -> None:
    notes = acted_notes(tmp_path, PARTS)
    assert "results.acted_at: 1 of 2 actions in train come after its end" in notes
    assert "results.acted_at: 1 of 2 actions in validation come after its end" in notes
    assert "do not count" not in notes
    known = extracted_log.read(tmp_path / "log", "clicks").to_pylist()
    assert sum(row["clicks"] for row in known) == 3, "of the four clicks on training searches one is too late"


def test_parts_that_are_not_in_order_are_told(tmp_path: Path) -> None:
    notes = acted_notes(tmp_path, ("test", "train", "train", "train", "dev", "train"))
    assert "times of actions do not count: every part knows all actions" in notes
    assert "come after its end" not in notes
    assert sum(row["clicks"] for row in extracted_log.read(tmp_path / "log", "clicks").to_pylist()) == 4


def test_a_part_of_a_column_that_knows_no_action_is_refused(tmp_path: Path) -> None:
    late = ACTED.replace("2020-01-04 11:00:00", "2020-01-05 10:00:00")
    with pytest.raises(InputError, match=r"searches of validation comes at 2020-01-05 10:00:00.*split\.by"):
        acted_notes(tmp_path, PARTS, late)
