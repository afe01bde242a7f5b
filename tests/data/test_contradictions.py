"""Rows that contradict each other, and losses that are small in rows and large in what is learnt from."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from shared_cases import case_tables
from small_logs import RESULTS, SEARCHES, SPLIT, extract_rows, small_log, write_text

from data.experiment.log_config import Beir, Split, Ubi
from data.extract import extract
from ebr_core.errors import InputError


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def notes_of(folder: Path) -> str:
    return "\n".join(note["note"] for note in report_of(folder)["notes"])


def refused(logs: Any, folder: Path, split: Split = SPLIT) -> str:
    with pytest.raises(InputError) as caught:
        extract(logs, split, folder)
    return str(caught.value)


# Positions


def test_lists_that_all_begin_at_0_are_shifted(tmp_path: Path) -> None:
    from_zero = RESULTS.replace(",1,", ",0,").replace(",2,", ",1,")
    rows = extract_rows(small_log(tmp_path / "zero", results=from_zero), tmp_path / "log")["results"]
    assert rows == extract_rows(small_log(tmp_path / "one"), tmp_path / "other")["results"]
    assert "all 6 lists begin at 0, so 1 is added" in notes_of(tmp_path / "log")
    assert not notes_of(tmp_path / "other")


def test_lists_that_begin_at_0_beside_others_are_refused(tmp_path: Path) -> None:
    message = refused(small_log(tmp_path / "in", results=RESULTS.replace("4,hat,1,", "4,hat,0,")), tmp_path / "log")
    for words in ("results", "1 of 6 lists", "search 4", "Number all lists from 0 or all from 1"):
        assert words in message


def test_an_unknown_position_is_no_beginning(tmp_path: Path) -> None:
    results = RESULTS.replace(",1,", ",0,").replace(",2,", ",1,").replace("4,hat,0,", "4,hat,,")
    rows = extract_rows(small_log(tmp_path / "in", results=results), tmp_path / "log")["results"]
    assert [row["position"] for row in rows if row["search"] in "34"] in ([1, 2, None], [2, 1, None])


def ubi(folder: Path, ordinals: list[int | None], action: str = "impression", hits: bool = False) -> Ubi:
    """Three searches on three days; each was shown shoe, boot and hat, and the hat was clicked."""
    documents = ["shoe", "boot", "hat"]
    queries = [
        {"query_id": f"q{i}", "user_query": f"query {i}", "timestamp": f"2020-01-0{i}T10:00:00Z"}
        | ({"query_response_hit_ids": documents} if hits else {})
        for i in (1, 2, 3)
    ]
    events = [
        {
            "action_name": name,
            "query_id": query["query_id"],
            "event_attributes": {"object": {"object_id": document}, "position": {"ordinal": ordinal}},
        }
        for query in queries
        for document, ordinal in zip(documents, ordinals, strict=True)
        for name in ([action] if document != "hat" else ["click"] if action == "click" else [action, "click"])
        if action != "click" or document == "hat"
    ]
    rows = {"queries": queries, "events": events}
    paths = {
        name: write_text(folder, f"{name}.ndjson", "\n".join(map(json.dumps, part))) for name, part in rows.items()
    }
    documents_csv = write_text(folder, "documents.csv", "document_id,title\nshoe,a\nboot,b\nhat,c\n")
    return Ubi(layout="ubi", **paths, documents=documents_csv)


BY_DAY = Split(validation_from="2020-01-02", test_from="2020-01-03")


@pytest.mark.parametrize(
    ("logs", "positions"),
    [
        ({"ordinals": [0, 1, 2]}, {1, 2, 3}),
        ({"ordinals": [1, 2, 3]}, {1, 2, 3}),
        ({"ordinals": [None, None, 2], "action": "click", "hits": True}, {1, 2, 3}),  # 0-based clicks on hits
        ({"ordinals": [None, None, 3], "action": "click", "hits": True}, {1, 2, 3}),
    ],
)
def test_positions_of_ubi_begin_at_1(tmp_path: Path, logs: dict[str, Any], positions: set[int]) -> None:
    rows = extract_rows(ubi(tmp_path / "in", **logs), tmp_path / "log", BY_DAY)["results"]
    assert {row["position"] for row in rows} == positions
    assert {row["position"] for row in rows if row["clicked"]} == {3}


# Losses


def test_clicks_count_against_max_dropped(tmp_path: Path) -> None:
    """One of ten rows, but one of six clicks."""
    results = RESULTS + "6,glove,3,true\n"
    message = refused(small_log(tmp_path / "in", results=results, max_dropped=0.12), tmp_path / "log")
    for words in ("results.csv", "1 of 7 clicks", "max_dropped = 0.12", "no such document", "6 / glove"):
        assert words in message


def test_clicked_searches_of_a_part_count_against_max_dropped(tmp_path: Path) -> None:
    """The test has two clicked searches, one of which loses its click."""
    days = "".join(f"{i},2020-01-0{i},query,\n" for i in range(1, 8))
    shown = "".join(f"{i},shoe,1,true\n" for i in range(1, 7)) + "7,gone,1,true\n"
    logs = small_log(
        tmp_path / "in",
        searches="search_id,searched_at,query,searcher_id\n" + days,
        results="search_id,document_id,position,clicked\n" + shown,
        max_dropped=0.2,
    )
    split = Split(validation_from="2020-01-04", test_from="2020-01-06")
    message = refused(logs, tmp_path / "log", split)
    for words in ("results", "1 of 2 clicked searches in test", "max_dropped = 0.2", "(7)"):
        assert words in message


def test_one_identity_of_two_searches_is_of_neither(tmp_path: Path) -> None:
    """An identity that another search has, too; one that a repeated row has; one that returns after a month."""
    searches = SEARCHES + "4,2020-01-03 11:00:00,red shoes,ann\n6,2020-01-05 10:01:00,Boots,bob\n"
    rows = extract_rows(small_log(tmp_path / "in", searches=searches, max_dropped=0.5), tmp_path / "log")
    assert [row["search_id"] for row in rows["searches"]] == ["1", "2", "3", "5", "6"]
    assert {row["search"] for row in rows["results"]} == {"1", "2", "3", "5", "6"}
    reasons = {drop["reason"]: drop["rows"] for drop in report_of(tmp_path / "log")["tables"]["searches"]["dropped"]}
    assert reasons == {"search_id of different searches": 2, "search_id seen before": 1}
    later = SEARCHES + "4,2020-02-03 10:00:00,blue hat,\n"
    assert "search_id of different searches: 2 (4)" in refused(
        small_log(tmp_path / "b", searches=later), tmp_path / "c"
    )


# Sessions


def test_a_session_belongs_to_one_searcher(tmp_path: Path) -> None:
    """s is of two searchers, t of one who signs in within it, u of nobody; of nobody are also two searches of s."""
    owners = {"s": ["ann", "bob", "ann", "", "bob", ""], "t": ["", "eve", "eve"], "u": ["", ""], "": ["ann"]}
    lines = [(session, searcher) for session, searchers in owners.items() for searcher in searchers]
    searches = "".join(f"{i},2020-01-01 10:{i:02},q{i},{who},{key}\n" for i, (key, who) in enumerate(lines))
    searches += "90,2020-01-04,hat,,\n91,2020-01-05,hat,,\n"
    results = "".join(f"{i},hat,1,true\n" for i in (0, 90, 91))
    logs = small_log(
        tmp_path / "in",
        searches="search_id,searched_at,query,searcher_id,session_id\n" + searches,
        results="search_id,document_id,position,clicked\n" + results,
    )
    rows = extract_rows(logs, tmp_path / "log")["searches"]
    sessions: dict[int, list[int]] = {}
    for row in rows:
        sessions.setdefault(row["session_row"], []).append(int(row["search_id"]))
    expected = [[0, 2], [1, 4], [3, 5], [6, 7, 8], [9, 10], [11], [90], [91]]
    assert sorted(map(sorted, sessions.values())) == expected
    assert "1 of 3 identities come with several searchers" in notes_of(tmp_path / "log")


# Documents

DATED = "document_id,title,created_at,removed_at\n"


def test_of_a_document_created_again_the_newest_is_kept_and_both_lives(tmp_path: Path) -> None:
    documents = (
        DATED
        + "shoe,Old shoe,2019-01-01,2020-01-03\nshoe,New shoe,2020-01-03,\n"
        + "boot,New boot,2020-01-02,2020-03-01\nboot,Old boot,,2020-01-02\nhat,Hat,,\n"
    )
    rows = extract_rows(small_log(tmp_path / "in", documents=documents, max_dropped=0), tmp_path / "log")["documents"]
    lives = {row["document_id"]: (row["title"], row["created_at"], row["removed_at"]) for row in rows}
    assert lives == {
        "shoe": ("New shoe", datetime(2019, 1, 1), None),
        "boot": ("New boot", None, datetime(2020, 3, 1)),
        "hat": ("Hat", None, None),
    }
    assert "2 rows are earlier versions" in notes_of(tmp_path / "log")


@pytest.mark.parametrize("zero", ["0000-00-00 00:00:00", "1970-01-01", "1970-01-01 01:00:00", "0001-01-01", "0"])
def test_zero_dates_are_no_dates(tmp_path: Path, zero: str) -> None:
    documents = f"{DATED}shoe,Shoe,{zero},{zero}\nboot,Boot,2019-01-01,{zero}\nhat,Hat,,\n"
    edges = f"source_id,target_id,created_at\nann,bob,{zero}\n"
    rows = extract_rows(small_log(tmp_path / "in", documents=documents, edges=edges), tmp_path / "log")
    assert {row["document_id"]: (row["created_at"], row["removed_at"]) for row in rows["documents"]} == {
        "shoe": (None, None),
        "boot": (datetime(2019, 1, 1), None),
        "hat": (None, None),
    }
    assert [row["created_at"] for row in rows["edges"]] == [None]
    assert "2 rows have a created_at or removed_at before 1970" in notes_of(tmp_path / "log")
    assert "searched_at is before 1970" in refused(
        small_log(tmp_path / "b", searches=SEARCHES.replace("2020-01-03 10:00:00", zero)), tmp_path / "c"
    )


def test_the_end_of_time_is_no_end(tmp_path: Path) -> None:
    documents = DATED + "shoe,Shoe,,9999-12-31\nboot,Boot,,253402300799\nhat,Hat,,253402300799000\n"
    rows = extract_rows(small_log(tmp_path / "in", documents=documents), tmp_path / "log")["documents"]
    assert {row["removed_at"].year for row in rows} == {9999}


def busy_log(folder: Path, documents: str, **settings: Any) -> Any:
    """200 searches, ten an hour from 10 to 19 on each of 20 days; two of three click the hat, the others the shoe."""
    searches = "".join(
        f"{i},2020-01-{1 + i // 10:02} {i % 10 + 10}:00,q{i},{'bot' if i % 2 else f'p{i}'}\n" for i in range(200)
    )
    return small_log(
        folder,
        searches="search_id,searched_at,query,searcher_id\n" + searches,
        results="search_id,document_id,position,clicked\n"
        + "".join(f"{i},{'hat' if i % 3 else 'shoe'},1,true\n" for i in range(200)),
        documents=documents,
        **settings,
    )


@pytest.mark.parametrize(
    ("rows", "clicks", "words"),
    [
        ("shoe,Shoe,,\nhat,Hat,2020-01-03 10:30,\n", 14, "hat was created 2020-01-03 10:30:00"),
        ("shoe,Shoe,,2020-01-15\nhat,Hat,,\n", 7, ""),  # few, in each part
        ("shoe,Shoe,,2020-01-13\nhat,Hat,,\n", 14, "shoe was removed 2020-01-13 00:00:00"),
    ],
)
def test_clicks_on_documents_that_did_not_exist_are_counted_and_refused(
    tmp_path: Path, rows: str, clicks: int, words: str
) -> None:
    """The training is the first 16 days."""
    documents = f"{DATED}boot,Boot,,\n{rows}"
    if words:
        message = refused(busy_log(tmp_path / "in", documents), tmp_path / "log", Split())
        for part in ("documents", f"train {clicks} of 160", "max_dropped = 0.05", words, "(UTC)"):
            assert part in message
    extract(busy_log(tmp_path / "b", documents, max_dropped=0.4 if words else 0.05), Split(), tmp_path / "c")
    assert f"{clicks} of 160 clicks in train are on documents that did not exist then" in notes_of(tmp_path / "c")


# Shares


def test_whoever_has_a_large_share_is_named(tmp_path: Path) -> None:
    logs = busy_log(tmp_path / "in", "document_id,title\nshoe,Shoe\nhat,Hat\n")
    extract(logs, Split(), tmp_path / "log")
    assert [(note["note"], note["example"]) for note in report_of(tmp_path / "log")["notes"]] == [
        ("One searcher has 50% of the searches, 100 of 200.", "bot"),
        ("One document has 66% of the clicks, 133 of 200.", "hat"),
        ("One document has 34% of the clicks, 67 of 200.", "shoe"),
    ]


def test_friends_who_never_search_are_noted(tmp_path: Path) -> None:
    edges = "source_id,target_id,source_type,target_type\n" + "".join(
        f"{a},{b},searcher,searcher\n" for a, b in (("Ann", "Bob"), ("ann", "Cy"), ("Dee", "Eve"))
    )
    extract(small_log(tmp_path / "in", edges=edges), SPLIT, tmp_path / "log")
    assert "edges: of 6 searchers at their ends, 1 ever search" in notes_of(tmp_path / "log")


# Messages


def test_queries_that_are_judged_and_missing(tmp_path: Path) -> None:
    paths = {
        "corpus": write_text(tmp_path, "corpus.jsonl", '{"_id": "d1", "text": "a hat"}\n'),
        "queries": write_text(tmp_path, "queries.jsonl", '{"_id": "q1", "text": "hat"}\n'),
        "test_qrels": write_text(tmp_path, "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t1\n"),
    }
    message = refused(Beir(layout="beir", **paths), tmp_path / "log", Split())
    assert f"queries: {paths['queries']}: 1 of 2 searches would be dropped" in message
    assert "judged, but not in queries: 1 (q2)" in message


def test_actions_that_are_no_clicks_are_named(tmp_path: Path) -> None:
    logs = ubi(tmp_path / "in", [1, 2, 3]).model_copy(update={"click_actions": ("select",)})
    message = refused(logs, tmp_path / "log", BY_DAY)
    for words in ("events.ndjson", "click_actions is select", "impression 9, click 3", "in logs.click_actions"):
        assert words in message


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("13f-queries-missing", ["queries.jsonl", "judged, but not in queries: 10 (q50, q51, q52)"]),
        ("18-created_at-is-the-last-reindex", ["documents", "test 38 of 60", "train 380 of 480", "2025-02-09 20:00"]),
        ("23-search-ids-that-collide", ["searches.csv", "search_id of different searches"]),
        ("33b-ubi-item_click", ["item_click", "click_actions"]),
    ],
)
def test_shared_cases_that_are_refused(tmp_path: Path, case: str, words: list[str]) -> None:
    logs, split = case_tables(case)
    message = refused(logs, tmp_path, split)
    for word in words:
        assert word in message


def test_shared_cases_that_are_read(tmp_path: Path) -> None:
    for case, clicks, note in (
        ("01-zero-based-positions", 60, "all 600 lists begin at 0"),
        ("04-ga4-session-id-shared-by-visitors", 30, "300 of 300 identities come with several searchers"),
        ("17-documents-recreated-under-same-id", 60, "8 rows are earlier versions"),
    ):
        logs, split = case_tables(case)
        extract(logs, split, tmp_path / case)
        assert report_of(tmp_path / case)["splits"]["test"]["clicks"] == clicks
        assert note in notes_of(tmp_path / case)
