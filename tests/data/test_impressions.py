"""The layout of one flat table: which rows are one search, and what becomes of rows, pages and repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from both_readings import extract_both, write_partitions
from small_logs import DOCUMENTS, extract_rows, write_text

from data.experiment.log_config import Impressions, Split
from data.experiment.source_config import Sql
from data.extra_columns import read_columns
from data.extract import extract
from data.file_partitions import count_days
from ebr_core.errors import InputError

SHOWN = """\
ts,q,user,sku,rank,is_click,device
2020-01-01 10:00:00,red shoes,ann,shoe,1,0,phone
2020-01-01 10:00:00,red shoes,ann,boot,2,0,phone
2020-01-01 10:02:00,Red shoes ,ann,hat,3,1,phone
2020-01-01 10:45:00,red shoes,ann,shoe,1,1,desk
2020-01-01 10:01:00,red shoes,bob,boot,1,1,phone
2020-01-01 10:05:00,hat,ann,hat,1,0,phone
2020-01-01 10:05:30,hat,ann,hat,1,1,phone
2020-01-02 10:00:00,boots,,boot,1,1,phone
2020-01-02 10:00:00,boots,,shoe,2,0,phone
2020-01-02 10:00:01,boots,,boot,1,0,desk
2020-01-03 10:00:00,blue hat,bob,,,0,phone
2020-01-03 10:00:00,hat,bob,hat,1,1,phone
2020-01-04 10:00:00,shoe,bob,shoe,1,1,phone
"""
COLUMNS: dict[str, Any] = {"searched_at": "ts", "query": "q", "document_id": "sku", "searcher_id": "user"}
COLUMNS |= {"position": "rank", "clicked": "is_click"}
BY_DAY = Split(validation_from="2020-01-03", test_from="2020-01-04")


def flat(folder: Path, shown: str = SHOWN, documents: str = DOCUMENTS, **settings: Any) -> Impressions:
    paths = {"impressions": write_text(folder, "shown.csv", shown)}
    if documents:
        paths["documents"] = write_text(folder, "documents.csv", documents)
    return Impressions(layout="impressions", **paths, **{"columns": COLUMNS, "max_dropped": 0.2} | settings)


def searches_of(tables: dict[str, list[dict[str, Any]]]) -> list[tuple[Any, ...]]:
    """(searcher, query, time, its documents with position and click) of each search, in order of time."""
    shown: dict[str, list[tuple[Any, ...]]] = {}
    for row in tables["results"]:
        shown.setdefault(row["search"], []).append((row["document"], row["position"], row["clicked"]))
    return sorted(
        (str(row["searched_at"])[5:16], row["searcher"] or "", row["query"], sorted(shown.get(row["search_id"], [])))
        for row in tables["searches"]
    )


def test_pages_are_one_search_and_repeats_are_another(tmp_path: Path) -> None:
    assert searches_of(extract_rows(flat(tmp_path / "in"), tmp_path / "out", BY_DAY)) == [
        ("01-01 10:00", "ann", "red shoes", [("boot", 2, False), ("hat", 3, True), ("shoe", 1, False)]),
        ("01-01 10:01", "bob", "red shoes", [("boot", 1, True)]),
        ("01-01 10:05", "ann", "hat", [("hat", 1, True)]),
        ("01-01 10:45", "ann", "red shoes", [("shoe", 1, True)]),
        ("01-02 10:00", "", "boots", [("boot", 1, False)]),
        ("01-02 10:00", "", "boots", [("boot", 1, True), ("shoe", 2, False)]),
        ("01-03 10:00", "bob", "blue hat", []),
        ("01-03 10:00", "bob", "hat", [("hat", 1, True)]),
        ("01-04 10:00", "bob", "shoe", [("shoe", 1, True)]),
    ]
    report = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]
    assert (report["impressions"]["read"], report["impressions"]["kept"]) == (13, 11)
    assert {part["reason"]: part["rows"] for part in report["impressions"]["dropped"]} == {
        "sku (document_id) is missing: a search without results": 1,
        "the same result again: on another page, or shown and then clicked": 1,
    }
    assert (report["results"]["read"], report["results"]["dropped"]) == (11, [])


def test_examples_of_repeated_results_differ(tmp_path: Path) -> None:
    rows = ["searched_at,searcher_id,query,document_id,clicked,title"]
    rows += [f"2020-01-0{d} 10:0{m}:00,ann,q{d},d{k},true,t" for d in (1, 2, 3, 4) for k in (1, 2) for m in (0, 1)]
    (tmp_path / "log.csv").write_text("\n".join(rows) + "\n")
    logs = Impressions(layout="impressions", impressions=str(tmp_path / "log.csv"))
    extract_rows(logs, tmp_path / "out", BY_DAY)
    report = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]
    assert [(part["rows"], part["examples"]) for part in report["impressions"]["dropped"]] == [(8, ["d1", "d2"])]


def by_hand(rows: list[tuple[str, str, str]], minutes: float) -> set[frozenset[int]]:
    """The rows of each search, found row by row: (time, searcher, query) in order of time."""
    searches: list[list[int]] = []
    for i, (at, who, query) in enumerate(rows):
        for search in searches:
            last = rows[search[-1]]
            seconds = (int(at[3:5]) - int(last[0][3:5])) * 60 + (int(at[:2]) - int(last[0][:2])) * 3600
            if last[1:] == (who, query) and seconds <= minutes * 60:
                search.append(i)
                break
        else:
            searches.append([i])
    return {frozenset(search) for search in searches}


@pytest.mark.parametrize("minutes", [0, 5, 30, 61])
def test_the_gap_is_that_of_a_loop(tmp_path: Path, minutes: float) -> None:
    rows = [(f"{10 + i * 7 // 60}:{i * 7 % 60:02}", "ab"[i * i % 5 % 2], "xyz"[i * 3 % 7 % 3]) for i in range(60)]
    lines = [f"2020-01-0{1 + i // 20} {at}:00,{q},{who},d{i},1" for i, (at, who, q) in enumerate(rows)]
    shown = "\n".join(["searched_at,query,searcher_id,document_id,clicked", *lines]) + "\n"
    documents = "document_id,title\n" + "".join(f"d{i},t\n" for i in range(60))
    logs = flat(tmp_path / "in", shown, documents, columns={}, search_gap_minutes=minutes)
    tables = extract_rows(logs, tmp_path / "out", Split(validation_from="2020-01-02", test_from="2020-01-03"))
    found: dict[str, set[int]] = {}
    for row in tables["results"]:
        found.setdefault(row["search"], set()).add(int(row["document"][1:]))
    expected = {frozenset(i + 20 * day for i in s) for day in range(3)
                for s in by_hand(rows[20 * day:20 * day + 20], minutes)}  # fmt: skip
    assert {frozenset(search) for search in found.values()} == expected


def test_a_search_id_of_the_log_stays(tmp_path: Path) -> None:
    """It joins rows that are far apart, and parts rows of the same instant; rows without one get a derived one."""
    ids = ["7", "7", "7", "7", "8", "9", "10", "", "", "", "11", "12", "13"]
    header, *lines = SHOWN.splitlines()
    shown = "\n".join([f"search_id,{header}", *(f"{i},{line}" for i, line in zip(ids, lines, strict=True))])
    tables = extract_rows(flat(tmp_path / "in", shown + "\n"), tmp_path / "out", BY_DAY)
    found = [row["search_id"] for row in tables["searches"]]
    assert {row for row in found if len(row) < 3} == {"7", "8", "9", "10", "11", "12", "13"}
    assert len(found) == 9
    rows = [row for row in tables["results"] if row["search"] == "7" and row["document"] == "shoe"]
    assert [(row["position"], row["clicked"]) for row in rows] == [(1, True)]


def test_only_clicks_are_logged(tmp_path: Path) -> None:
    """Without a column of clicks each row is one."""
    rows = [line.rsplit(",", 2)[0] for line in SHOWN.splitlines() if ",1,phone" in line or line.startswith("ts")]
    columns = {column: name for column, name in COLUMNS.items() if column != "clicked"}
    tables = extract_rows(flat(tmp_path / "in", "\n".join(rows) + "\n", columns=columns), tmp_path / "out", BY_DAY)
    assert [row["clicked"] for row in tables["results"]] == [True] * 6
    assert len(tables["searches"]) == 6


def test_a_click_without_a_document_is_a_lost_click(tmp_path: Path) -> None:
    """It is no search without results: above max_dropped the log is refused."""
    shown = SHOWN.replace("boot,1,1,phone", ",1,1,phone")
    with pytest.raises(InputError, match=r"2 of 7 clicks would be dropped.*\n  sku \(document_id\) is missing: 2"):
        extract_rows(flat(tmp_path / "in", shown), tmp_path / "out", BY_DAY)
    extract_rows(flat(tmp_path / "in", shown, max_dropped=0.9), tmp_path / "lax", BY_DAY)
    tables = json.loads((tmp_path / "lax" / "report.json").read_text())["tables"]
    assert [(part["reason"], part["rows"]) for part in tables["results"]["dropped"]] == [
        ("sku (document_id) is missing", 2)
    ]
    assert [part["rows"] for part in tables["impressions"]["dropped"]] == [1, 1]


def test_what_a_flat_log_lacks_is_noted(tmp_path: Path) -> None:
    """Pages that count from 1 again, rows that only their time joins, and no column of clicks."""

    def notes(name: str, shown: str, **settings: Any) -> str:
        extract(flat(tmp_path / name, shown, **settings), BY_DAY, tmp_path / name / "log")
        report = json.loads((tmp_path / name / "log" / "report.json").read_text())
        return "\n".join(note["note"] for note in report["notes"])

    plain, by_time = notes("plain", SHOWN.replace("boots,,", "boots,cay,")), "no search_id, searcher_id or session_id"
    assert not any(words in plain for words in ("at one position", by_time, "each row is a click"))
    by_user = by_time.replace("searcher_id", "user (searcher_id)")
    assert f"impressions: 2 searches have {by_user}" in notes("nobody", SHOWN)
    pages = SHOWN.replace("ann,hat,3", "ann,hat,1")
    assert "1 of 8 lists have several documents at one position" in notes("pages", pages)
    unclicked = {column: name for column, name in COLUMNS.items() if column != "clicked"}
    assert "there is no column clicked, so each row is a click" in notes("clicks", SHOWN, columns=unclicked)


FOLLOWED = """\
ts,q,user,sku,rank,event
2020-01-01 10:00:00,shoes,ann,shoe,1,view
2020-01-01 10:00:00,shoes,ann,boot,2,view
2020-01-01 10:01:00,shoes,ann,shoe,1,click
2020-01-01 10:31:01,shoes,ann,shoe,1,purchase
2020-01-02 10:00:00,hats,bob,hat,1,view
2020-01-02 10:00:30,hats,bob,hat,1,click
2020-01-03 10:00:00,hats,bob,hat,1,view
2020-01-03 10:00:30,hats,bob,hat,1,click
2020-01-04 10:00:00,hats,bob,hat,1,view
2020-01-04 10:30:00,hats,bob,hat,1,purchase
"""


def test_actions_that_stand_alone_are_counted(tmp_path: Path) -> None:
    """A purchase more than the gap after its list is a search of its own, and so is each action without a searcher."""

    def alone(name: str, shown: str, columns: dict[str, str]) -> str | None:
        logs = flat(
            tmp_path / name, shown, columns={**columns, "action": "event"}, actions={"click": 1, "purchase": 5},
            search_gap_minutes=30,
        )  # fmt: skip
        extract(logs, BY_DAY, tmp_path / name / "log")
        notes = json.loads((tmp_path / name / "log" / "report.json").read_text())["notes"]
        return next((note["note"] for note in notes if "hold actions alone" in note["note"]), None)

    named = {column: name for column, name in COLUMNS.items() if column != "clicked"}
    assert str(alone("late", FOLLOWED, named)).startswith("impressions: 1 of 5 searches hold actions alone")
    assert "search_gap_minutes (30)" in str(alone("again", FOLLOWED, named))
    assert alone("within", FOLLOWED.replace("10:31:01", "10:31:00"), named) is None
    nobody = {column: name for column, name in named.items() if column != "searcher_id"}
    assert str(alone("nobody", FOLLOWED, nobody)).startswith("impressions: 5 of 9 searches hold actions alone")
    identified = FOLLOWED.replace("ts,q", "search_id,ts,q").replace("2020-01-0", "s,2020-01-0")
    for day in "1234":
        identified = identified.replace(f"s,2020-01-0{day}", f"s{day},2020-01-0{day}")
    assert alone("identified", identified, named) is None


def test_clicks_alone_are_no_fault_of_a_log_of_clicks(tmp_path: Path) -> None:
    clicks = "\n".join(line for line in SHOWN.splitlines() if line.split(",")[5] != "0") + "\n"
    extract(flat(tmp_path / "in", clicks), BY_DAY, tmp_path / "log")
    assert "hold actions alone" not in (tmp_path / "log" / "report.json").read_text()


def test_documents_of_the_log(tmp_path: Path) -> None:
    """Without a catalogue the documents are those of the log, with their newest title."""
    titles = {"shoe": "Red shoe", "boot": "Boot", "hat": "Hat"}
    lines = [
        f"{line},{'title' if i == 0 else titles.get(line.split(',')[3], '')}"
        for i, line in enumerate(SHOWN.splitlines())
    ]
    lines[-1] = lines[-1].replace("Red shoe", "New shoe")
    logs = flat(tmp_path / "in", "\n".join(lines) + "\n", "")
    tables = extract_rows(logs, tmp_path / "out", BY_DAY)
    assert {row["document_id"]: row["title"] for row in tables["documents"]} == {
        "shoe": "New shoe",
        "boot": "Boot",
        "hat": "Hat",
    }
    with pytest.raises(InputError, match=r"has no column 'title', and there is no table documents"):
        extract(flat(tmp_path / "in2", documents=""), BY_DAY, tmp_path / "out2")


def test_nights_give_the_same_bytes(tmp_path: Path) -> None:
    """A search that runs past the end of a file is one search."""
    logs = flat(tmp_path / "in")
    header, *lines = SHOWN.splitlines(keepends=True)
    for part in range(3):
        write_text(tmp_path / "in", f"part-{part}.csv", "".join([header, *lines[part::3]]))
    parts = logs.model_copy(update={"impressions": str(tmp_path / "in" / "part-*.csv")})
    split = BY_DAY.model_copy(update={"until": None})
    whole = extract_both(logs, split, tmp_path / "a")
    assert len(whole[0]) == 9, "seven tables, the times of later clicks, and the report"
    assert extract_both(parts, split, tmp_path / "b") == whole
    assert whole[0] == whole[1]


def test_columns_of_either_side_are_features(tmp_path: Path) -> None:
    logs = flat(tmp_path / "in", documents="document_id,title,brand\nshoe,Red,Acme\nboot,B,Zen\nhat,,Zen\n")
    tables = extract_rows(logs, tmp_path / "log", BY_DAY)
    (out := tmp_path / "out").mkdir()
    read_columns(logs, tmp_path / "log", {"searches": ["device"], "documents": ["brand"]}, out)
    devices = pq.read_table(out / "searches.parquet")["device"].to_pylist()
    found = {(str(row["searched_at"])[5:19], row["searcher"]): device[0]
             for row, device in zip(tables["searches"], devices, strict=True)}  # fmt: skip
    assert found[("01-01 10:45:00", "ann")] == "desk"
    assert found[("01-02 10:00:01", None)] == "desk"
    assert [device[0] for device in devices].count("phone") == 7
    assert sorted(pq.read_table(out / "documents.parquet")["brand"].to_pylist()) == [["Acme"], ["Zen"], ["Zen"]]


def test_an_empty_clicked_is_explained(tmp_path: Path) -> None:
    """As a left join of impressions with clicks has it; with SQL it is read."""
    lines = ["searched_at,query,searcher_id,document_id,is_click,title"]
    clicks = ["true" if i % 3 else "" for i in range(60)]
    lines += [f"2020-01-{1 + i // 3:02} 10:00:00,shoes,u{i % 5},d{i % 3},{clicks[i]},Shoe" for i in range(60)]
    path = write_text(tmp_path, "shown.csv", "\n".join(lines))
    logs = Impressions(layout="impressions", impressions=path, columns={"clicked": "is_click"})
    with pytest.raises(InputError) as caught:
        extract(logs, Split(), tmp_path / "out")
    assert "20 of 60 results would be dropped" in str(caught.value)
    assert "  is_click (clicked) is missing: 20 (" in str(caught.value)
    advice = str(caught.value).partition("say so by SQL: ")[2].splitlines()[0].removesuffix(" FROM …")
    assert advice == "SELECT * REPLACE (coalesce(is_click, false) AS is_click)"
    sql = Sql(sql=f"{advice} FROM read_csv('{path}')")
    extract(logs.model_copy(update={"impressions": sql}), Split(), tmp_path / "out")
    assert pq.read_table(tmp_path / "out/results.parquet")["clicked"].to_pylist().count(True) == 40


def test_a_log_until_a_time_is_the_log_that_ended_then(tmp_path: Path) -> None:
    """Late pages and clicks of an earlier search are not known either."""
    days = {"until": "2020-01-04 00:01:00", "validation_from": "2020-01-02", "test_from": "2020-01-03"}
    late = SHOWN + "2020-01-03 23:59:00,cap,bob,hat,1,0,phone\n"
    ended = flat(tmp_path / "ended", late + "2020-01-04 00:00:00,cap,bob,boot,2,0,phone\n")
    longer = flat(
        tmp_path / "longer",
        late
        + "2020-01-04 00:00:00,cap,bob,boot,2,0,phone\n2020-01-04 00:01:00,cap,bob,hat,1,1,aaa\n"
        + "2020-01-04 00:02:00,cap,bob,shoe,3,0,phone\n",
    )
    expected = extract_rows(ended, tmp_path / "a", Split.model_validate(days))
    assert [row["document"] for row in expected["results"]][-2:] == ["hat", "boot"]
    read_columns(longer, tmp_path / "a", {"searches": ["device"], "documents": []}, tmp_path)
    assert ["aaa"] not in pq.read_table(tmp_path / "searches.parquet")["device"].to_pylist()
    runs, nights = extract_both(longer, Split.model_validate(days), tmp_path / "b")
    assert runs == nights == {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}


def test_a_late_click_after_midnight_makes_no_day(tmp_path: Path) -> None:
    late = "2020-01-04 23:50:00,hat,ann,hat,1,0,phone\n2020-01-05 00:00:42,Hat,ann,hat,1,1,phone\n"
    given = SHOWN.replace("ts,q", "search_id,ts,q").replace("\n2020", "\n,2020")
    given += "s9,2020-01-04 23:55:00,boot,ann,boot,1,0,phone\ns9,2020-01-06 09:00:00,boot,ann,boot,1,1,phone\n"
    for name, shown in (("derived", SHOWN + late), ("given", given)):
        days = count_days(write_partitions(flat(tmp_path / name, shown), tmp_path / f"{name}-kept")["impressions"])
        assert [day.day for day in days] == [1, 2, 3, 4], name
