"""Actions with a time of their own: what the log keeps, what each part knows of them, and contradictions."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from both_readings import extract_both
from small_logs import RESULTS, SEARCHES, SPLIT, extract_rows, small_log, write_text

from data import extracted_log
from data.experiment.log_config import Impressions, Split, Ubi
from data.extract import extract
from ebr_core.errors import InputError

# The searches of small_logs: ann on the 1st (1, 2), bob on the 2nd (3), nobody on the 3rd (4); validation from the 4th
# (5), test from the 5th (6).
LATE = """\
search_id,document_id,position,clicked,acted_at
1,shoe,1,true,2020-01-01 10:00:00
1,boot,2,false,2020-01-09
2,boot,1,true,2020-01-02 12:00:00
3,shoe,1,false,
3,hat,2,true,2020-01-04 09:59:59
4,hat,1,true,2020-01-04 10:00:00
5,hat,1,true,2020-01-05 10:00:00
5,shoe,2,true,2020-01-05 09:59:59
6,boot,1,true,2020-01-09
6,hat,2,false,
"""
CUTS = Split(validation_from="2020-01-04 10:00:00", test_from="2020-01-05 10:00:00")
NIGHT = Split(validation_from="2020-01-02", test_from="2020-01-04 10:00:00", until="2020-01-05 10:00:00")
WEIGHTS = {"click": 1.0, "cart": 3.0, "purchase": 5.0}
BOUGHT = """\
search_id,document_id,position,clicked,action,acted_at
1,shoe,1,,,
1,shoe,1,,click,
1,shoe,1,,cart,2020-01-02
1,shoe,1,,purchase,2020-01-04
2,boot,1,,purchase,2020-01-06
3,hat,2,,cart,2020-01-03
3,hat,2,,cart,2020-01-02 11:00:00
4,hat,1,,purchase,2020-01-05
5,hat,1,,purchase,2020-01-04 12:00:00
6,boot,1,,click,
6,boot,1,,purchase,2020-02-01
"""


def times_of(folder: Path) -> dict[tuple[str, str, str], str]:
    """(search, document, action) → its time, of the actions that are later than their search."""
    file = folder / "action_times.parquet"
    if not file.exists():
        return {}
    searches = pq.read_table(folder / "searches.parquet")["search_id"].to_pylist()
    documents = pq.read_table(folder / "documents.parquet")["document_id"].to_pylist()
    return {
        (searches[row["search_row"]], documents[row["document_row"]], row["action"]): str(row["acted_at"])
        for row in pq.read_table(file).to_pylist()
    }


def read(folder: Path, query: str, parameters: dict[str, object] | None = None) -> list[dict[str, Any]]:
    """The rows of a query of sql/samples, with identities beside the row numbers."""
    searches = pq.read_table(folder / "searches.parquet")["search_id"].to_pylist()
    documents = pq.read_table(folder / "documents.parquet")["document_id"].to_pylist()
    rows = extracted_log.read(folder, query, parameters).to_pylist()
    for row in rows:
        if "search_row" in row:
            row["search"] = searches[row["search_row"]]
        row["document"] = documents[row["document_row"]]
    return rows


def notes_of(folder: Path) -> str:
    return "\n".join(note["note"] for note in json.loads((folder / "report.json").read_text())["notes"])


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_log_keeps_the_times_that_are_later_than_the_search(tmp_path: Path) -> None:
    rows = extract_rows(small_log(tmp_path / "in", results=LATE), tmp_path / "log", CUTS)
    assert times_of(tmp_path / "log") == {
        ("2", "boot", "click"): "2020-01-02 12:00:00",
        ("3", "hat", "click"): "2020-01-04 09:59:59",
        ("4", "hat", "click"): "2020-01-04 10:00:00",
        ("5", "hat", "click"): "2020-01-05 10:00:00",
        ("5", "shoe", "click"): "2020-01-05 09:59:59",
        ("6", "boot", "click"): "2020-01-09 00:00:00",
    }
    shoe = RESULTS.replace("6,boot", "5,shoe,2,true\n6,boot")
    plain = extract_rows(small_log(tmp_path / "plain", results=shoe), tmp_path / "none", CUTS)
    assert rows["results"] == plain["results"], "the table of results is the same"


@pytest.mark.parametrize("value", ["", "NULL", "{searched_at}", "1970-01-01"])
def test_without_later_times_the_bytes_are_those_of_before(tmp_path: Path, value: str) -> None:
    times = {line.split(",")[0]: line.split(",")[1] for line in SEARCHES.splitlines()}
    head, *lines = RESULTS.splitlines()
    timed = [f"{head},acted_at", *(f"{x},{value.format(searched_at=times[x.split(',')[0]])}" for x in lines)]
    extract(small_log(tmp_path / "in", results="\n".join(timed)), SPLIT, tmp_path / "log")
    extract(small_log(tmp_path / "plain"), SPLIT, tmp_path / "none")
    assert bytes_of(tmp_path / "log") == bytes_of(tmp_path / "none")


def test_training_knows_what_had_happened_before_the_validation_began(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in", results=LATE), CUTS, tmp_path / "log")
    shown = {(row["search"], row["document"]): row["clicked"] for row in read(tmp_path / "log", "shown")}
    assert shown == {
        ("1", "shoe"): True,
        ("1", "boot"): False,
        ("2", "boot"): True,
        ("3", "shoe"): False,
        ("3", "hat"): True,  # a second before the validation
        ("4", "hat"): False,  # at its first instant: shown, and not clicked yet
    }
    pairs = {row["document"]: row["clicks"] for row in read(tmp_path / "log", "clicks")}
    assert pairs == {"shoe": 1, "boot": 1, "hat": 1}
    popular = {row["document"]: row["clicks"] for row in read(tmp_path / "log", "candidates", {"split": "test"})}
    assert popular == pairs
    queries = pq.read_table(tmp_path / "log/queries.parquet")["query"].to_pylist()
    known = {(row["document"], queries[row["query_row"]]) for row in read(tmp_path / "log", "clicked_queries")}
    assert known == {("shoe", "red shoes"), ("boot", "red boots"), ("hat", "red shoes")}
    owned = {row["document"] for row in read(tmp_path / "log", "clicked_pairs")}
    assert owned == {"shoe", "boot", "hat"}


@pytest.mark.parametrize(("split", "targets"), [("validation", {("5", "shoe")}), ("test", {("6", "boot")})])
def test_the_validation_knows_what_came_before_the_test_and_the_test_all(
    tmp_path: Path, split: str, targets: set[tuple[str, str]]
) -> None:
    extract(small_log(tmp_path / "in", results=LATE), CUTS, tmp_path / "log")
    out = tmp_path / "sample"
    out.mkdir()
    extracted_log.sample(tmp_path / "log", split, 10, 1.0, None, out)
    searches = pq.read_table(tmp_path / "log/searches.parquet")["search_id"].to_pylist()
    documents = pq.read_table(tmp_path / "log/documents.parquet")["document_id"].to_pylist()
    rows = pq.read_table(out / "targets.parquet").to_pylist()
    assert {(searches[row["search_row"]], documents[row["document_row"]]) for row in rows} == targets


def test_a_refit_knows_what_came_before_the_test(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in", results=LATE), CUTS, tmp_path / "log")
    for name in [*extracted_log.TABLES, "action_times"]:
        (tmp_path / "log" / f"{name}.parquet").rename(tmp_path / f"{name}.parquet")
    (tmp_path / "refit").mkdir()
    extracted_log.join_validation(tmp_path, tmp_path / "refit")
    for name in {*extracted_log.TABLES, "action_times"} - {"searches"}:
        (tmp_path / "refit" / f"{name}.parquet").symlink_to(tmp_path / f"{name}.parquet")
    clicked = {(row["search"], row["document"]) for row in read(tmp_path / "refit", "shown") if row["clicked"]}
    assert clicked == {("1", "shoe"), ("2", "boot"), ("3", "hat"), ("4", "hat"), ("5", "shoe")}, (
        "5 hat is clicked as the test begins"
    )


def test_an_action_has_the_largest_weight_of_those_that_had_happened(tmp_path: Path) -> None:
    logs = small_log(tmp_path / "in", results=BOUGHT, actions=WEIGHTS)
    extract(logs, SPLIT, tmp_path / "log")
    assert times_of(tmp_path / "log") == {
        ("1", "shoe", "cart"): "2020-01-02 00:00:00",
        ("1", "shoe", "purchase"): "2020-01-04 00:00:00",
        ("2", "boot", "purchase"): "2020-01-06 00:00:00",
        ("3", "hat", "cart"): "2020-01-02 11:00:00",  # the first of two
        ("4", "hat", "purchase"): "2020-01-05 00:00:00",
        ("5", "hat", "purchase"): "2020-01-04 12:00:00",
        ("6", "boot", "purchase"): "2020-02-01 00:00:00",
    }
    shown = read(tmp_path / "log", "shown")
    weights = read_weights(tmp_path / "log")
    assert {(row["search"], row["document"]): w for row, w in zip(shown, weights, strict=True)} == {
        ("1", "shoe"): 3.0,  # clicked, put into the cart, and bought in the validation
        ("3", "hat"): 3.0,
    }, "in a log without a result that nobody acted on, a late action leaves nothing behind"
    known = extracted_log.read(tmp_path / "log", "training_actions").to_pylist()
    assert {row["action"]: row["results"] for row in known} == {"cart": 2, "click": 1}
    with pytest.raises(InputError, match=r"no result of the training window has the action purchase"):
        extracted_log.read_weights(tmp_path / "log", ("purchase",))
    extracted_log.sample(tmp_path / "log", "test", 10, 1.0, None, tmp_path)
    targets = pq.read_table(tmp_path / "targets.parquet").to_pylist()
    assert {(row["targets"], row["grade"]) for row in targets} == {("clicked", 5.0), ("purchased", 1.0)}


def read_weights(folder: Path) -> list[float]:
    weights = extracted_log.read_weights(folder, ())
    assert weights is not None
    return [float(weight) for weight in weights]


def test_no_rule_finds_a_later_action_in_training(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in", results=BOUGHT, actions=WEIGHTS), SPLIT, tmp_path / "log")
    rules = {rule["what"]: rule for rule in extracted_log.find_leaks(tmp_path / "log")}
    assert (rules["actions"]["looked_at"], rules["actions"]["broken"]) == (2, 0)
    # Had training read the weights of all actions, as the log without times says, the rule would find them.
    with extracted_log.connect(tmp_path / "log") as connection:
        leaking = connection.sql("FROM (FROM logged_actions JOIN searches USING (search_row) WHERE split = 'train')")
        table = leaking.aggregate("search_row, document_row, max(weight)::REAL AS weight").to_arrow_table()
        empty = extracted_log.run_query(connection, "shown").slice(0, 0)
        for name in ("searches", "queries"):
            connection.register(f"given_{name}", empty)
        connection.register("given_actions", table)
        connection.register("given_documents", extracted_log.run_query(connection, "trainable").slice(0, 0))
        connection.register("given_edges", extracted_log.run_query(connection, "edges"))
        found = extracted_log.run_query(connection, "leaks", {"parts": ["train"]}).to_pylist()
    assert {rule["what"]: rule["broken"] for rule in found}["actions"] == 3  # 1 shoe, 2 boot, 4 hat


def test_histories_and_exclusions_go_by_the_time_of_the_action(tmp_path: Path) -> None:
    """Two sessions of ann's interleave: she buys in the first while the second is over."""
    searches = """\
    search_id,searched_at,query,searcher_id,session_id
    1,2020-01-01 10:00:00,a,ann,s1
    2,2020-01-01 11:00:00,b,ann,s2
    3,2020-01-02 10:00:00,a,ann,s3
    4,2020-01-04 10:00:00,a,ann,s4
    5,2020-01-05 10:00:00,b,ann,s5
    """
    results = """\
    search_id,document_id,clicked,acted_at
    1,shoe,true,2020-01-01 12:00:00
    2,boot,true,
    3,hat,true,2020-01-05 10:00:00
    4,hat,true,2020-01-05 09:00:00
    5,boot,true,
    """
    extract(small_log(tmp_path / "in", searches=searches, results=results), CUTS, tmp_path / "log")
    latest = [
        (row["document"], str(row["clicked_at"])) for row in read(tmp_path / "log", "history_clicks", {"latest": True})
    ]
    assert latest == [
        ("boot", "2020-01-01 11:00:00"),
        ("shoe", "2020-01-01 12:00:00"),
        ("hat", "2020-01-05 09:00:00"),
        ("hat", "2020-01-05 10:00:00"),
        ("boot", "2020-01-05 10:00:00"),
    ]
    training = [row["document"] for row in read(tmp_path / "log", "history_clicks", {"latest": False})]
    assert training == ["boot", "shoe"], "the hat was bought when the test began"
    excluded = {row["document"] for row in read(tmp_path / "log", "excluded", {"exclude": True, "split": "test"})}
    assert excluded == {"boot", "shoe", "hat"}
    excluded = {row["document"] for row in read(tmp_path / "log", "excluded", {"exclude": True, "split": "validation"})}
    assert excluded == {"boot", "shoe"}
    later = {row["document"] for row in read(tmp_path / "log", "later_clicks")}
    assert later == {"hat", "boot"}


def test_zones_and_epochs_are_the_same_instants(tmp_path: Path) -> None:
    texts = ["2020-01-02T13:00:00+01:00", "2020-01-02 12:00:00 UTC", "1577966400", "1577966400000000000"]
    for i, text in enumerate(texts):
        results = LATE.replace("2020-01-02 12:00:00", text)
        extract(small_log(tmp_path / f"in{i}", results=results), CUTS, tmp_path / f"log{i}")
        assert times_of(tmp_path / f"log{i}")["2", "boot", "click"] == "2020-01-02 12:00:00"


def test_a_value_that_is_no_time_is_named(tmp_path: Path) -> None:
    results = LATE.replace("acted_at", "bought").replace("2020-01-02 12:00:00", "tomorrow")
    with pytest.raises(InputError) as caught:
        extract(small_log(tmp_path / "in", results=results, columns={"acted_at": "bought"}), CUTS, tmp_path / "log")
    assert "column 'bought' (acted_at) holds 'tomorrow'" in str(caught.value)


def test_an_action_after_2100_is_dropped_and_counted(tmp_path: Path) -> None:
    results = LATE.replace("2020-01-02 12:00:00", "2999-01-01")
    with pytest.raises(InputError, match="acted_at is after 2100: 1"):
        extract(small_log(tmp_path / "in", results=results), CUTS, tmp_path / "log")


def many(count: int, early: int, minutes: int) -> dict[str, str]:
    """A log of that many training searches, of which some have an action that many minutes before them."""
    times = [f"2020-01-{1 + i // 24:02}T{i % 24:02}:30" for i in range(count)]
    acts = [f"2020-01-{1 + i // 24:02}T{i % 24:02}:{30 - minutes:02}" if i < early else "" for i in range(count)]
    searches = "".join(f"{i},{at},shoes\n" for i, at in enumerate(times))
    results = "".join(f"{i},shoe,true,{at}\n" for i, at in enumerate(acts))
    return {
        "searches": f"search_id,searched_at,query\n{searches}v,2020-01-04 10:00,hat\nt,2020-01-05 10:00,hat\n",
        "results": f"search_id,document_id,clicked,acted_at\n{results}v,hat,true,\nt,hat,true,\n",
    }


def test_actions_before_their_search_count_at_its_time(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in", **many(60, 20, 5)), SPLIT, tmp_path / "log")
    assert not times_of(tmp_path / "log")
    assert "20 of 20 actions in train are before their search, and count at its time" in notes_of(tmp_path / "log")


def test_many_actions_long_before_their_search_are_refused(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "few", **many(60, 9, 25)), SPLIT, tmp_path / "log")
    logs = small_log(tmp_path / "in", **many(60, 10, 25), columns={"acted_at": "acted_at"})
    with pytest.raises(InputError) as caught:
        extract(logs, SPLIT, tmp_path / "no")
    for words in (
        "results",
        "10 of 10 actions in train",
        "Document shoe",
        "search 0 of 2020-01-01 00:30",
        "(acted_at)",
    ):
        assert words in str(caught.value)


def test_check_counts_the_actions_that_a_part_does_not_know(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in", results=LATE), CUTS, tmp_path / "log")
    notes = notes_of(tmp_path / "log")
    assert "results.acted_at: 6 of 7 actions with a time are later than their search." in notes
    assert "1 of 4 actions in train come after its end, so that training does not know them" in notes
    assert "1 of 2 actions in validation come after its end" in notes


@pytest.mark.parametrize("results", [LATE, RESULTS])
def test_a_night_knows_no_action_of_a_later_day(tmp_path: Path, results: str) -> None:
    """As if the log had ended then: the files of that day give the same tables."""
    outputs = extract_both(small_log(tmp_path / "in", results=results), NIGHT, tmp_path)
    assert outputs[0] == outputs[1]
    known = results.replace("true,2020-01-05 10:00:00", "false,")
    extract(small_log(tmp_path / "then", results=known), NIGHT, tmp_path / "log")
    assert {name: outputs[0][name] for name in ("results.parquet", "searches.parquet")} == {
        name: (tmp_path / "log" / name).read_bytes() for name in ("results.parquet", "searches.parquet")
    }
    late = {("2", "boot", "click"), ("3", "hat", "click"), ("4", "hat", "click"), ("5", "shoe", "click")}
    assert set(times_of(tmp_path / "raw")) == (late if results == LATE else set())


def test_an_unknown_action_of_a_log_of_actions_alone_leaves_no_result(tmp_path: Path) -> None:
    head, *lines = LATE.splitlines()
    clicks = "\n".join([head, *(line for line in lines if "true" in line)])
    rows = extract_rows(small_log(tmp_path / "in", results=clicks), tmp_path / "log", NIGHT)
    shown = {(row["search"], row["document"]) for row in rows["results"]}
    assert shown == {("1", "shoe"), ("2", "boot"), ("3", "hat"), ("4", "hat"), ("5", "shoe")}


def test_events_of_ubi_have_their_own_time(tmp_path: Path) -> None:
    queries = "".join(
        json.dumps({"query_id": str(i), "user_query": "shoes", "timestamp": f"2020-01-0{i} 10:00:00",
                    "client_id": "ann", "query_response_hit_ids": ["shoe", "hat"]}) + "\n"
        for i in range(1, 5)
    )  # fmt: skip
    at = {1: "2020-01-01T10:00:05Z", 2: "2020-01-04T09:00:00Z", 3: "2020-01-03T09:59:00Z", 4: "2020-01-04T10:01:00Z"}
    events = "".join(
        json.dumps({"action_name": name, "query_id": str(i), "timestamp": time,
                    "event_attributes": {"object": {"object_id": "shoe"}}}) + "\n"
        for i, time in at.items() for name in ("impression", "click")
    )  # fmt: skip
    logs = Ubi(
        layout="ubi",
        queries=write_text(tmp_path, "queries.ndjson", queries),
        events=write_text(tmp_path, "events.ndjson", events),
        documents=write_text(tmp_path, "documents.csv", "document_id,title\nshoe,Shoe\nhat,Hat\n"),
    )
    split = Split(validation_from="2020-01-03", test_from="2020-01-04")
    extract(logs, split, tmp_path / "log")
    assert times_of(tmp_path / "log") == {
        ("1", "shoe", "click"): "2020-01-01 10:00:05",
        ("2", "shoe", "click"): "2020-01-04 09:00:00",
        ("4", "shoe", "click"): "2020-01-04 10:01:00",
    }
    shown = {(row["search"], row["document"]): row["clicked"] for row in read(tmp_path / "log", "shown")}
    assert shown == {("1", "shoe"): True, ("1", "hat"): False, ("2", "shoe"): False, ("2", "hat"): False}
    assert "events.timestamp: 1 of 1 actions in validation are before their search" in notes_of(tmp_path / "log")


def test_a_row_of_impressions_has_its_own_time(tmp_path: Path) -> None:
    """A purchase of the next day, as a row of its own, and as a column."""
    rows = """\
    search_id,searched_at,query,searcher_id,document_id,title,position,action{acted}
    1,2020-01-01 10:00:00,shoes,ann,shoe,Shoe,1,{none}
    1,2020-01-01 10:00:00,shoes,ann,boot,Boot,2,{none}
    1,2020-01-01 10:00:00,shoes,ann,hat,Hat,3,{none}
    1,2020-01-01 10:00:00,shoes,ann,boot,Boot,2,click{none}
    1,{row},shoes,ann,shoe,Shoe,1,purchase{column}
    2,2020-01-03 10:00:00,hat,bob,hat,Hat,1,click{none}
    3,2020-01-04 10:00:00,hat,bob,hat,Hat,1,click{none}
    """
    split = Split(validation_from="2020-01-03", test_from="2020-01-04")
    forms = {
        "row": rows.format(acted="", none="", row="2020-01-03 10:00:00", column=""),
        "column": rows.format(acted=",acted_at", none=",", row="2020-01-01 10:00:00", column=",2020-01-03 10:00:00"),
    }
    for name, text in forms.items():
        path = write_text(tmp_path / name, "log.csv", text)
        logs = Impressions(layout="impressions", impressions=path, actions=WEIGHTS)
        extract(logs, split, tmp_path / name / "log")
        assert times_of(tmp_path / name / "log") == {("1", "shoe", "purchase"): "2020-01-03 10:00:00"}
        shown = {(row["search"], row["document"]): row["clicked"] for row in read(tmp_path / name / "log", "shown")}
        assert shown == {("1", "shoe"): False, ("1", "boot"): True, ("1", "hat"): False}


def test_times_of_actions_do_not_count_where_searches_have_none(tmp_path: Path) -> None:
    searches = "search_id,query,fold\n1,shoes,train\n2,shoes,validation\n3,shoes,test\n"
    results = "search_id,document_id,clicked,acted_at\n1,shoe,1,2020-01-01\n2,shoe,1,2020-01-01\n3,hat,1,\n"
    extract(small_log(tmp_path / "in", searches=searches, results=results), Split(by="fold"), tmp_path / "log")
    assert not times_of(tmp_path / "log")
    assert "results.acted_at: not read, because no search has a time." in notes_of(tmp_path / "log")


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_that_knows_no_action_is_refused(tmp_path: Path, part: str) -> None:
    lines = [line.rpartition(",")[0] for line in LATE.splitlines()[1:]]
    late = "1234" if part == "train" else "5"
    times = ["2020-01-05 10:00:00" if line[0] in late else "" for line in lines]
    results = "\n".join(
        ["search_id,document_id,position,clicked,acted_at", *map(",".join, zip(lines, times, strict=True))]
    )
    with pytest.raises(InputError, match=rf"every click or other action on the searches of {part} comes at") as caught:
        extract(small_log(tmp_path / "in", results=results), CUTS, tmp_path / "log")
    assert "(UTC) or later by acted_at" in str(caught.value)


def test_the_figures_of_a_day_hold_no_later_click(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in", results=LATE), CUTS, tmp_path / "log")
    days = extracted_log.read(tmp_path / "log", "days").to_pylist()
    assert [(row["day"].day, row["click_rate"]) for row in days] == [(1, 0.5), (2, 0), (3, 0), (4, 0), (5, 0)]
    assert datetime(2020, 1, 1).date() == days[0]["day"]
