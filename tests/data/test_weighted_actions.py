"""Several actions on a result: their weights, what is left out, and what training and evaluation read of them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from both_readings import extract_both
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from small_logs import DOCUMENTS, RESULTS, SPLIT, extract_rows, small_log, write_text

from data import extracted_log
from data.experiment.action_weights import target_set_of
from data.experiment.log_config import Impressions, Split, Tables, Ubi
from data.extract import extract
from ebr_core.errors import InputError

WEIGHTS = {"click": 1.0, "cart": 3.0, "purchase": 5.0}
# A row where a result is shown, and a row for each action on it.
ACTED = """\
search_id,document_id,position,clicked,action
1,shoe,1,,
1,shoe,1,,click
1,shoe,4,,purchase
1,shoe,4,,purchase
1,boot,2,,hover
2,boot,1,true,
3,shoe,1,false,impression
3,hat,2,,cart
4,hat,1,true,purchase
5,hat,1,,click
6,boot,1,1,hover
6,hat,2,,
9,hat,2,,click
"""
EXPECTED = {
    ("1", "shoe"): {"click", "purchase"},
    ("2", "boot"): {"click"},  # a true `clicked` is a click
    ("3", "hat"): {"cart"},
    ("4", "hat"): {"click", "purchase"},
    ("5", "hat"): {"click"},
    ("6", "boot"): {"click"},
}


def acted(folder: Path, results: str = ACTED, **changed: Any) -> Tables:
    return small_log(folder, results=results, **{"actions": WEIGHTS, "max_dropped": 0.12} | changed)


def actions_of(tables: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, str], set[str]]:
    """(search, document) → its actions."""
    searches = [row["search_id"] for row in tables["searches"]]
    documents = [row["document_id"] for row in tables["documents"]]
    found = defaultdict(set)
    for row in tables["actions"]:
        assert (row["weight"], row["target_set"]) == (WEIGHTS[row["action"]], target_set_of(row["action"]))
        found[searches[row["search_row"]], documents[row["document_row"]]].add(row["action"])
    return dict(found)


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_actions_of_a_pair_are_one_result(tmp_path: Path) -> None:
    tables = extract_rows(acted(tmp_path / "in"), tmp_path / "out")
    assert actions_of(tables) == EXPECTED
    results = {(row["search"], row["document"]): row for row in tables["results"]}
    assert len(results) == len(tables["results"]) == 9
    assert {pair for pair, row in results.items() if row["clicked"]} == EXPECTED.keys()
    assert not results["1", "boot"]["clicked"]  # hovered over, which has no weight, so it was shown and no more
    assert results["1", "shoe"]["position"] == 1


def test_what_is_left_out_is_counted_and_repeats_are_no_fault(tmp_path: Path) -> None:
    """Of 9 rows with an action one is dropped, which is allowed. Three repeat a pair and do not count against it."""
    extract(acted(tmp_path / "in"), SPLIT, tmp_path / "out")
    report = report_of(tmp_path / "out")
    counts = {row["action"]: (row["weight"], row["rows"], row["results"]) for row in report["actions"]}
    assert counts == {"click": (1, 6, 5), "cart": (3, 1, 1), "purchase": (5, 3, 2), "hover": (None, 2, 0)}
    of_actions = report["tables"]["actions"]
    assert (of_actions["read"], of_actions["kept"]) == (12, 8)
    assert {row["reason"]: (row["rows"], row["examples"]) for row in of_actions["dropped"]} == {
        "no weight in logs.actions": (2, ["hover"]),
        "the same action on the same document again": (1, []),
        "on a result that is dropped, or on none": (1, []),
    }
    assert report["tables"]["results"]["read"] == 13


def test_clicks_alone_with_a_weight_are_clicks(tmp_path: Path) -> None:
    """Every table has the same bytes as without weights, and none is added without them."""
    named = RESULTS.replace("clicked", "action").replace("true", "click").replace("false", "")
    extract(small_log(tmp_path / "a"), SPLIT, tmp_path / "plain")
    extract(small_log(tmp_path / "b", results=named, actions={"click": 2}), SPLIT, tmp_path / "weighted")
    plain, weighted = ({path.name for path in (tmp_path / name).iterdir()} for name in ("plain", "weighted"))
    assert weighted - plain == {"actions.parquet"}
    for name in plain - {"report.json"}:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "weighted" / name).read_bytes()


def test_without_weights_a_column_of_actions_is_not_read(tmp_path: Path) -> None:
    results = "\n".join(f"{line},{'action' if i == 0 else 'cart'}" for i, line in enumerate(RESULTS.splitlines()))
    for name, text in (("plain", RESULTS), ("more", results)):
        extract(small_log(tmp_path / name, results=text), SPLIT, tmp_path / f"{name}-out")
    for path in (tmp_path / "plain-out").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "more-out" / path.name).read_bytes()
    assert not (tmp_path / "more-out" / "actions.parquet").exists()
    assert report_of(tmp_path / "more-out")["unread_columns"] == {"results": ["action"]}
    assert "actions" not in report_of(tmp_path / "more-out")


FLAT = """\
searched_at,q,document_id,searcher_id,position,event
2020-01-01 10:00:00,red,shoe,ann,1,impression
2020-01-01 10:00:00,red,boot,ann,2,impression
2020-01-01 10:01:00,red,boot,ann,2,click
2020-01-01 10:05:00,red,boot,ann,,purchase
2020-01-01 10:06:00,red,hat,ann,,hover
2020-01-02 10:00:00,hat,hat,bob,1,cart
2020-01-03 10:00:00,hat,hat,bob,1,click
"""


def flat(folder: Path, **changed: Any) -> Impressions:
    paths = {"impressions": write_text(folder, "shown.csv", FLAT)}
    paths["documents"] = write_text(folder, "documents.csv", DOCUMENTS)
    columns = {"query": "q", "action": "event"}
    return Impressions(layout="impressions", columns=columns, **paths, **{"actions": WEIGHTS} | changed)


BY_DAY = Split(validation_from="2020-01-02", test_from="2020-01-03")


def test_events_of_one_flat_table(tmp_path: Path) -> None:
    """Without a column of clicks, rows without an action are no clicks."""
    tables = extract_rows(flat(tmp_path / "in"), tmp_path / "out", BY_DAY)
    assert [(row["document"], row["position"], row["clicked"]) for row in tables["results"] if row["search_row"] == 0] \
        == [("hat", None, False), ("boot", 2, True), ("shoe", 1, False)]  # fmt: skip
    assert sorted(map(sorted, actions_of(tables).values())) == [["cart"], ["click"], ["click", "purchase"]]
    assert not any("each row is a click" in note["note"] for note in report_of(tmp_path / "out")["notes"])


def event(action: str, query: str | None, document: str | None) -> str:
    attributes = {"object": {"object_id": document}} if document else {}
    return json.dumps({"action_name": action, "query_id": query, "event_attributes": attributes})


def ubi(folder: Path, **changed: Any) -> Ubi:
    queries = [
        {"query_id": f"q{day}", "user_query": "hat", "timestamp": f"2020-01-0{day}", "query_response_hit_ids": ["hat"]}
        for day in (1, 2, 3)
    ]
    events = [
        event("click", "q1", "hat"), event("purchase", "q1", "hat"), event("purchase", "q1", "hat"),
        event("cart", "q2", "boot"), event("click", "q3", "hat"), event("scroll", "q3", None),
        event("impression", "q3", "shoe"), event("purchase", None, "hat"), event("hover", "q2", "shoe"),
    ]  # fmt: skip
    paths = {"queries": write_text(folder, "q.ndjson", "\n".join(map(json.dumps, queries)))}
    paths |= {"events": write_text(folder, "e.ndjson", "\n".join(events))}
    paths |= {"documents": write_text(folder, "documents.csv", DOCUMENTS)}
    return Ubi(layout="ubi", **paths, **{"actions": WEIGHTS} | changed)


def test_names_of_ubi_events(tmp_path: Path) -> None:
    tables = extract_rows(ubi(tmp_path / "in"), tmp_path / "out", BY_DAY)
    expected = {("q1", "hat"): {"click", "purchase"}, ("q2", "boot"): {"cart"}, ("q3", "hat"): {"click"}}
    assert actions_of(tables) == expected
    assert {(r["search"], r["document"]) for r in tables["results"] if r["clicked"]} == expected.keys()
    assert ("q2", "shoe") not in {(row["search"], row["document"]) for row in tables["results"]}  # only hovered over
    report = report_of(tmp_path / "out")
    assert {row["action"]: (row["rows"], row["results"]) for row in report["actions"]} == {
        "click": (2, 2), "cart": (1, 1), "purchase": (3, 1), "scroll": (1, 0), "hover": (1, 0),
    }  # fmt: skip
    events = report["tables"]["events"]
    assert (events["read"], events["kept"]) == (9, 5)
    assert {row["reason"]: row["rows"] for row in events["dropped"]} == {
        "query_id is missing": 1,
        "neither an impression nor an action with a weight": 2,
        "the same action on the same document again": 1,
    }


@pytest.mark.parametrize("make", [acted, flat, ubi])
def test_nights_read_the_same_actions(tmp_path: Path, make: Any) -> None:
    logs = make(tmp_path / "in")
    raw, parts = extract_both(logs, SPLIT if make is acted else BY_DAY, tmp_path)
    assert raw == parts
    assert "actions.parquet" in raw


def test_actions_on_searches_that_the_split_hides_are_not_counted(tmp_path: Path) -> None:
    split = SPLIT.model_copy(update={"without": (SPLIT.validation_from.date().replace(day=1),)})  # searches 1 and 2
    tables = extract_rows(acted(tmp_path / "in", max_dropped=0.2), tmp_path / "out", split)
    assert actions_of(tables) == {pair: actions for pair, actions in EXPECTED.items() if pair[0] not in "12"}
    counts = {row["action"]: row["rows"] for row in report_of(tmp_path / "out")["actions"]}
    assert counts == {"click": 4, "cart": 1, "purchase": 1, "hover": 1}


def test_the_actions_are_listed_where_none_fits(tmp_path: Path) -> None:
    listed = r"gives weights to buy, and the actions are click 6, purchase 3, hover 2, cart 1\. Give those that count"
    with pytest.raises(InputError, match=listed):
        extract(acted(tmp_path / "a", actions={"buy": 5}), SPLIT, tmp_path / "out")
    elsewhere = ACTED.replace("3,hat,2,,cart", "8,hat,2,,cart")
    with pytest.raises(InputError, match=r"to cart, and none of these is on a result that is kept\. The actions are c"):
        extract(acted(tmp_path / "b", elsewhere, actions={"cart": 5}, max_dropped=1), SPLIT, tmp_path / "out")
    shown = "search_id,document_id,action\n" + "".join(f"{i},shoe,\n" for i in range(1, 7))
    with pytest.raises(InputError, match="and no row has an action"):
        extract(acted(tmp_path / "c", shown), SPLIT, tmp_path / "out")
    with pytest.raises(InputError, match=r"no column 'action'.*If it has another name, write columns: \{action: "):
        extract(acted(tmp_path / "d", RESULTS), SPLIT, tmp_path / "out")


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ({"Impression": 1}, "says that a result was shown"),
        ({"judged": 1}, "the name of another target set"),
        ({" click": 1}, "without blanks around it"),
        ({"click": 0}, "greater than 0"),
        ({"click": float("nan")}, "click"),
        ({"click": 1e7}, "less than or equal"),
    ],
)
def test_weights_that_are_refused(tmp_path: Path, actions: dict[str, float], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        acted(tmp_path, actions=actions)


def test_ubi_takes_one_of_two_settings(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="leave click_actions out"):
        ubi(tmp_path, click_actions=("click",))


def test_target_sets_and_their_grades(tmp_path: Path) -> None:
    """Clicks are graded by the largest weight; the set of a single action is not, nor are all other sets."""
    results = ACTED + "6,shoe,3,,cart\n6,boot,1,,purchase\n"
    extract(acted(tmp_path / "in", results), SPLIT, tmp_path / "log")
    (tmp_path / "sample").mkdir()
    extracted_log.sample(tmp_path / "log", "test", 10, 1, None, tmp_path / "sample")
    documents = pq.read_table(tmp_path / "log/documents.parquet")["document_id"].to_pylist()
    rows = pq.read_table(tmp_path / "sample/targets.parquet").to_pylist()
    assert {(row["targets"], documents[row["document_row"]], row["grade"]) for row in rows} == {
        ("clicked", "boot", 5.0), ("clicked", "shoe", 3.0), ("carted", "shoe", 1.0), ("purchased", "boot", 1.0),
    }  # fmt: skip
    counts = json.loads((tmp_path / "sample/counts.json").read_text())
    assert [row["targets"] for row in counts] == ["clicked", "carted", "purchased"]


def test_weights_of_the_training_window(tmp_path: Path) -> None:
    extract(acted(tmp_path / "in"), SPLIT, tmp_path / "log")
    shown = extracted_log.read_shown(tmp_path / "log")
    searches = pq.read_table(tmp_path / "log/searches.parquet")["search_id"].to_pylist()
    found = {}
    for chosen in ((), ("click",), ("cart", "purchase")):
        weights = extracted_log.read_weights(tmp_path / "log", chosen)
        assert weights is not None
        found[chosen] = {searches[shown.search_rows[at]]: float(weights[at]) for at in np.flatnonzero(weights)}
    assert found == {
        (): {"1": 5, "2": 1, "3": 3, "4": 5},
        ("click",): {"1": 1, "2": 1, "4": 1},
        ("cart", "purchase"): {"1": 5, "3": 3, "4": 5},
    }
    with pytest.raises(InputError, match=r"has the action hug; the actions there are click 3, purchase 2, cart 1\."):
        extracted_log.read_weights(tmp_path / "log", ("hug",))


def test_weights_of_the_lists_that_rankers_learn_from(tmp_path: Path) -> None:
    extract(acted(tmp_path / "in"), SPLIT, tmp_path / "log")
    lists = extracted_log.read(tmp_path / "log", "lists", {"split": "train"}).to_pylist()
    assert sorted(row["weight"] for row in lists) == [0, 0, 1, 3, 5, 5]
    assert all(row["clicked"] == (row["weight"] > 0) for row in lists)


def test_without_weights_all_clicks_count_the_same(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in"), SPLIT, tmp_path / "log")
    assert extracted_log.read_weights(tmp_path / "log", ()) is None
    assert extracted_log.read_recovered(tmp_path / "log").weights is None


rows = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3", "4", "5", "6"]),
        st.sampled_from(["shoe", "boot", "hat"]),
        st.sampled_from(["", "click", "cart", "purchase", "hover", "impression"]),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(rows)
def test_any_rows_give_what_a_loop_gives(given_rows: list[tuple[str, str, str, bool]]) -> None:
    every = [*given_rows, *((search, "hat", "click", False) for search in "456")]  # each part has a click
    expected, read = defaultdict(set), 0
    for search, document, action, clicked in every:
        of_row = {action} - {"", "impression"} | ({"click"} if clicked else set())
        read += len(of_row)
        expected[search, document] |= of_row & WEIGHTS.keys()
    lines = "".join(f"{search},{document},{action},{clicked}\n" for search, document, action, clicked in every)
    with TemporaryDirectory() as folder:
        logs = acted(Path(folder) / "in", "search_id,document_id,action,clicked\n" + lines, max_dropped=0)
        tables = extract_rows(logs, Path(folder) / "out")
        report = report_of(Path(folder) / "out")
    assert actions_of(tables) == {pair: actions for pair, actions in expected.items() if actions}
    assert {(row["search"], row["document"]): row["clicked"] for row in tables["results"]} == {
        pair: bool(actions) for pair, actions in expected.items()
    }
    counted = report["tables"]["actions"]
    assert counted["read"] == read == counted["kept"] + sum(row["rows"] for row in counted["dropped"])
