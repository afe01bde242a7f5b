"""UBI, ESCI and BEIR, each on a log that a reader checks by eye."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_logs import DOCUMENTS, extract_rows, write_text

from data.experiment.log_config import Beir, Esci, Split, Ubi
from data.extract import extract
from ebr_core.errors import InputError

QUERIES = [
    {"query_id": "q1", "client_id": "ann", "user_query": "red shoes", "timestamp": "2020-01-01T10:00:00Z",
     "query_response_hit_ids": ["shoe", "boot"], "query_attributes": {"topic": "t"}},
    {"query_id": "q2", "client_id": "ann", "user_query": "boots", "timestamp": "2020-01-01T20:00:00+01:00"},
    {"query_id": "q3", "user_query": "hat", "timestamp": "2020-01-02T10:00:00Z", "query_response_hit_ids": ["hat"],
     "query_attributes": {}},
    {"query_id": "q4", "user_query": "hat", "timestamp": "2020-01-03T10:00:00Z", "query_response_hit_ids": []},
]  # fmt: skip


def event(action: str, query: str | None, document: str | None = None, ordinal: int | None = None) -> dict[str, Any]:
    attributes: dict[str, Any] = {"object": {"object_id": document}} if document else {}
    if ordinal is not None:
        attributes["position"] = {"ordinal": ordinal}
    return {"action_name": action, "query_id": query, "session_id": f"s-{query}", "event_attributes": attributes}


EVENTS = [
    event("impression", "q1", "shoe", 11),  # the page reports 11, whatever the position among the hits
    event("click", "q1", "boot", 7),
    event("click", "q1", "hat", 3),  # was not among the hits: kept, without a position
    event("add_to_cart", "q1", "shoe"),
    event("impression", "q2", "boot", 1),
    event("impression", "q2", "hat", 2),
    event("click", "q2", "hat"),
    event("click", "q2", "hat"),
    event("click", "q3", "hat"),
    event("click", "q4", "boot"),
    event("scroll", "q4"),
    event("click", None, "boot"),
    event("click", "q4"),
]
BY_DAY = Split(validation_from="2020-01-02", test_from="2020-01-03")


def ubi(folder: Path, form: str = "ndjson", **settings: Any) -> Ubi:
    folder.mkdir(parents=True)
    for name, rows in {"queries": QUERIES, "events": EVENTS}.items():
        if form == "ndjson":
            (folder / f"{name}.ndjson").write_text("\n".join(map(json.dumps, rows)))
        elif form == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
        else:
            as_text = [{k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()} for row in rows]
            pq.write_table(pa.Table.from_pylist(as_text), folder / f"{name}.parquet")
    suffix = "ndjson" if form == "ndjson" else "parquet"
    paths = {name: str(folder / f"{name}.{suffix}") for name in ("queries", "events")}
    documents = write_text(folder, "documents.csv", DOCUMENTS)
    return Ubi(layout="ubi", **paths, documents=documents, **settings)


@pytest.mark.parametrize("form", ["ndjson", "parquet", "json in parquet"])
def test_ubi(tmp_path: Path, form: str) -> None:
    tables = extract_rows(ubi(tmp_path / "in", form), tmp_path / "out", BY_DAY)
    assert [(s["search_id"], s["searcher"], s["split"], s["searched_at"].hour) for s in tables["searches"]] == [
        ("q1", "ann", "train", 10),
        ("q2", "ann", "train", 19),
        ("q3", None, "validation", 10),
        ("q4", None, "test", 10),
    ]
    assert sorted((r["search"], r["document"], r["position"], r["clicked"]) for r in tables["results"]) == [
        ("q1", "boot", 2, True),
        ("q1", "hat", None, True),
        ("q1", "shoe", 11, False),
        ("q2", "boot", 1, False),
        ("q2", "hat", 2, True),
        ("q3", "hat", 1, True),
        ("q4", "boot", None, True),
    ]
    counted = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]["events"]
    assert (counted["read"], counted["kept"]) == (13, 8)
    assert {d["reason"]: d["rows"] for d in counted["dropped"]} == {
        "query_id is missing": 1,
        "object_id is missing": 1,
        "neither a click nor an impression": 2,
        "the same action on the same document again": 1,
    }


@pytest.mark.parametrize("named", [True, False])
def test_ubi_does_not_read_events_after_the_end(tmp_path: Path, named: bool) -> None:
    """An event without a time counts."""
    logs = ubi(tmp_path / "in")
    late = [event("click", "q2", "boot") | {"timestamp": "2020-01-03T11:00:00+00:00"} for _ in range(2)]
    before = [event("click", "q1", "shoe") | {"timestamp": "2020-01-03T10:59:59Z"}]
    text = "\n".join(map(json.dumps, [*EVENTS, *late, *before]))
    Path(str(logs.events)).write_text(text if named else text.replace('"timestamp"', '"at"'))
    until = BY_DAY.model_copy(update={"until": datetime(2020, 1, 3, 11)})
    clicked = {
        (row["search"], row["document"])
        for row in extract_rows(logs, tmp_path / "out", until)["results"]
        if row["clicked"]
    }
    assert ("q1", "shoe") in clicked
    assert (("q2", "boot") in clicked) is not named
    counted = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]["events"]
    assert counted["read"] == 13 + (1 if named else 3)


def test_ubi_counts_other_actions_as_clicks(tmp_path: Path) -> None:
    logs = ubi(tmp_path / "in", click_actions=("click", "add_to_cart"))
    tables = extract_rows(logs, tmp_path / "out", BY_DAY)
    assert ("q1", "shoe", True) in [(r["search"], r["document"], r["clicked"]) for r in tables["results"]]


def test_ubi_judgements_by_topic(tmp_path: Path) -> None:
    judgements = write_text(tmp_path, "topics.tsv", "topic\tdocument_id\tgrade\nt\tshoe\t2\nt\tboot\t0\nu\tboot\t1\n")
    tables = extract_rows(ubi(tmp_path / "in", judgements=judgements), tmp_path / "out", BY_DAY)
    assert sorted((j["search"], j["document"], j["grade"]) for j in tables["judgements"]) == [
        ("q1", "boot", 0.0),
        ("q1", "shoe", 2.0),
    ]


def test_ubi_refuses_hits_that_are_not_a_list(tmp_path: Path) -> None:
    logs = ubi(tmp_path / "in")
    (tmp_path / "in" / "queries.ndjson").write_text(json.dumps(QUERIES[0] | {"query_response_hit_ids": "shoe,boot"}))
    with pytest.raises(InputError, match=r"queries\.ndjson: column 'query_response_hit_ids' holds 'shoe,boot'"):
        extract(logs, BY_DAY, tmp_path / "out")


def esci(folder: Path, examples: list[tuple[Any, ...]], **settings: Any) -> Esci:
    names = (
        "query_id",
        "query",
        "product_id",
        "product_locale",
        "esci_label",
        "small_version",
        "large_version",
        "split",
    )
    columns = dict(zip(names, map(list, zip(*examples, strict=True)), strict=True))
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "examples.parquet")
    products = {"product_id": ["p1", "p2", "p3", "p1"], "product_locale": ["us", "us", "us", "jp"]}
    products |= {"product_title": ["Red shoe", "Boot", None, "靴"], "product_bullet_point": ["light", None, None, None]}
    pq.write_table(pa.table(products), folder / "products.parquet")
    return Esci(
        layout="esci", examples=str(folder / "examples.parquet"), products=str(folder / "products.parquet"), **settings
    )


EXAMPLES = [
    (1, "shoes", "p1", "us", "E", 1, 1, "train"),
    (1, "shoes", "p2", "us", "S", 1, 1, "train"),
    (2, "boots", "p2", "us", "E", 1, 1, "train"),
    (3, "靴", "p1", "jp", "E", 1, 1, "test"),
    (4, "sandals", "p3", "us", "E", 0, 1, "test"),
    (4, "sandals", "p2", "us", "C", 0, 1, "test"),
    (4, "sandals", "p1", "us", "I", 0, 1, "test"),
]


def test_esci(tmp_path: Path) -> None:
    tables = extract_rows(esci(tmp_path / "in", EXAMPLES, version="large"), tmp_path / "out", Split())
    searches = {s["search_id"]: s for s in tables["searches"]}
    assert {searches["1"]["split"], searches["2"]["split"]} == {"train", "validation"}  # one of the two is held out
    assert [searches[i]["split"] for i in "34"] == ["test", "test"]
    assert (searches["3"]["country"], searches["3"]["language"], searches["4"]["language"]) == ("jp", "ja", "en")
    assert sorted((r["search"], r["document"], r["clicked"]) for r in tables["results"]) == [
        ("1", "us:p1", True),
        ("1", "us:p2", False),
        ("2", "us:p2", True),
        ("3", "jp:p1", True),
        ("4", "us:p1", False),
        ("4", "us:p2", False),
        ("4", "us:p3", True),
    ]
    assert {
        (j["search"], j["document"]): round(j["grade"], 3) for j in tables["judgements"] if j["search"] in "14"
    } == {
        ("1", "us:p1"): 1,
        ("1", "us:p2"): 0.1,
        ("4", "us:p3"): 1,
        ("4", "us:p2"): 0.01,
        ("4", "us:p1"): 0,
    }
    documents = {d["document_id"]: d for d in tables["documents"]}
    assert (documents["us:p1"]["body"], documents["jp:p1"]["title"], documents["jp:p1"]["country"]) == (
        "light",
        "靴",
        "jp",
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["time"] is None
    assert report["cuts"] is None


def test_esci_versions_and_locales(tmp_path: Path) -> None:
    tables = extract_rows(esci(tmp_path / "in", EXAMPLES), tmp_path / "out", Split())
    assert [s["search_id"] for s in tables["searches"]] == ["1", "2", "3"]
    logs = esci(tmp_path / "in2", EXAMPLES, version="large", locales=("us",))
    tables = extract_rows(logs, tmp_path / "out2", Split())
    assert [s["search_id"] for s in tables["searches"]] == ["1", "2", "4"]
    assert {d["country"] for d in tables["documents"]} == {"us"}


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ([*EXAMPLES, (1, "shoes", "p3", "us", "E", 1, 1, "test")], "queries such as 1 are in two parts"),
        ([*EXAMPLES, (5, "shoes", "p3", "us", "E", 1, 1, "public")], "got public. Expected train, validation or test"),
        ([row for row in EXAMPLES if row[-1] == "train"], "test has no query with a relevant document"),
    ],
)
def test_esci_refuses(tmp_path: Path, examples: list[tuple[Any, ...]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        extract(esci(tmp_path / "in", examples), Split(), tmp_path / "out")


def test_layouts_with_their_own_split_take_no_dates(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="brings its own split"):
        extract(esci(tmp_path / "in", EXAMPLES), BY_DAY, tmp_path / "out")


def beir(folder: Path, **qrels: str) -> Beir:
    corpus = "".join(json.dumps({"_id": f"d{i}", "title": f"T{i}", "text": f"text {i}"}) + "\n" for i in range(5))
    queries = "".join(json.dumps({"_id": f"q{i}", "text": f"query {i}"}) + "\n" for i in range(40))
    files = {
        name: write_text(folder, f"{name}.tsv", f"query-id\tcorpus-id\tscore\n{rows}") for name, rows in qrels.items()
    }
    return Beir(
        layout="beir",
        corpus=write_text(folder, "corpus.jsonl", corpus),
        queries=write_text(folder, "queries.jsonl", queries),
        **files,
    )


def test_beir_with_nothing_to_train_on(tmp_path: Path) -> None:
    tables = extract_rows(
        beir(tmp_path / "in", test_qrels="q1\td1\t2\nq1\td2\t0\nq2\td3\t1\n"), tmp_path / "out", Split()
    )
    assert [(s["search_id"], s["query"], s["split"]) for s in tables["searches"]] == [
        ("q1", "query 1", "test"),
        ("q2", "query 2", "test"),
    ]
    rows = sorted((r["search"], r["document"], r["clicked"]) for r in tables["results"])
    assert rows == [("q1", "d1", True), ("q1", "d2", False), ("q2", "d3", True)]
    grades = sorted((j["search"], j["document"], j["grade"]) for j in tables["judgements"])
    assert grades == [("q1", "d1", 2), ("q1", "d2", 0), ("q2", "d3", 1)]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["splits"]) == ["test"]
    assert "a training part" in {item["needs"] for item in report["cannot"]}


def test_beir_holds_out_a_tenth_of_the_training_queries(tmp_path: Path) -> None:
    train = "".join(f"q{i}\td1\t1\n" for i in range(30))
    tables = extract_rows(
        beir(tmp_path / "in", train_qrels=train, test_qrels="q30\td1\t1\n"), tmp_path / "out", Split()
    )
    splits = [s["split"] for s in tables["searches"]]
    assert (splits.count("train"), splits.count("validation"), splits.count("test")) == (27, 3, 1)


def test_beir_keeps_its_own_validation_part(tmp_path: Path) -> None:
    logs = beir(tmp_path / "in", train_qrels="q1\td1\t1\n", validation_qrels="q2\td1\t1\n", test_qrels="q3\td1\t1\n")
    tables = extract_rows(logs, tmp_path / "out", Split())
    assert [s["split"] for s in tables["searches"]] == ["train", "validation", "test"]


def test_beir_judged_from_decides_what_is_clicked(tmp_path: Path) -> None:
    logs = beir(tmp_path / "in", test_qrels="q1\td1\t2\nq1\td2\t1\n").model_copy(update={"judged_from": 2})
    tables = extract_rows(logs, tmp_path / "out", Split())
    assert {r["document"]: r["clicked"] for r in tables["results"]} == {"d1": True, "d2": False}


def test_beir_refuses_queries_in_two_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="queries such as q1 are in two parts"):
        extract(beir(tmp_path / "in", train_qrels="q1\td1\t1\n", test_qrels="q1\td2\t1\n"), Split(), tmp_path / "out")
