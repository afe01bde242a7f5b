"""The tables layout: the output for a log that a reader checks by eye."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from small_logs import RESULTS, SEARCHES, SPLIT, extract_rows, small_log

from data.experiment.log_config import Tables
from data.extract import OUTPUTS, extract


def test_small_log(tmp_path: Path) -> None:
    tables = extract_rows(small_log(tmp_path / "in"), tmp_path / "out")
    assert [(s["search_id"], s["query"], s["searcher"], s["session_row"], s["split"]) for s in tables["searches"]] == [
        ("1", "red shoes", "ann", 0, "train"),
        ("2", "red boots", "ann", 0, "train"),
        ("3", "red shoes", "bob", 1, "train"),
        ("4", "blue hat", None, 2, "train"),
        ("5", "hat", "ann", 3, "validation"),
        ("6", "boots", "bob", 4, "test"),
    ]
    assert [q["query"] for q in tables["queries"]] == ["blue hat", "boots", "hat", "red boots", "red shoes"]
    assert sorted((r["search"], r["document"], r["position"], r["clicked"]) for r in tables["results"]) == [
        ("1", "boot", 2, False),
        ("1", "shoe", 1, True),
        ("2", "boot", 1, True),
        ("3", "hat", 2, True),
        ("3", "shoe", 1, False),
        ("4", "hat", 1, True),
        ("5", "hat", 1, True),
        ("6", "boot", 1, True),
        ("6", "hat", 2, False),
    ]
    assert {d["document_id"]: d["title"] for d in tables["documents"]} == {
        "shoe": "Red shoe",
        "boot": "Brown boot",
        "hat": "",
    }
    assert tables["edges"] == tables["judgements"] == []


def test_every_output_has_its_schema_and_order(tmp_path: Path) -> None:
    extract_rows(small_log(tmp_path / "in"), tmp_path / "out")
    for name, schema in OUTPUTS.items():
        assert pq.read_schema(tmp_path / "out" / f"{name}.parquet").equals(schema), name
    rows = pq.read_table(tmp_path / "out" / "documents.parquet")["document_row"].to_pylist()
    assert rows == [0, 1, 2]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        [*(f"{n}.parquet" for n in OUTPUTS), "report.json"]
    )


def test_report(tmp_path: Path) -> None:
    extract(small_log(tmp_path / "in"), SPLIT, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["time"] == {"first": "2020-01-01T10:00:00Z", "last": "2020-01-05T10:00:00Z"}
    assert report["cuts"] == {"validation_from": "2020-01-04T00:00:00Z", "test_from": "2020-01-05T00:00:00Z"}
    assert report["splits"]["train"] == {
        "searches": 4,
        "clicked_searches": 4,
        "clicks": 4,
        "impressions": 6,
        "queries": 3,
        "searchers": 2,
        "sessions": 3,
        "after_cut": 0,
    }
    assert report["positions"] == [
        {"position": 1, "shown": 6, "clicks": 5, "click_rate": 5 / 6},
        {"position": 2, "shown": 3, "clicks": 1, "click_rate": 1 / 3},
    ]
    assert report["signed_in"] == 5 / 6
    assert report["several_clicks"] == 0
    assert report["columns"]["searches"]["searcher_id"] == 5
    assert report["columns"]["searches"]["session_id"] == 0
    missing = {item["needs"] for item in report["cannot"]}
    assert {"edges", "judgements", "results.randomised"} <= missing
    assert not {"results.position", "searches.searcher_id", "a training part"} & missing


def test_parquet_of_many_types(tmp_path: Path) -> None:
    """Integers, floats with gaps, zoned and nanosecond times, 0/1 clicks, an all-null column, a dictionary."""
    zone = pa.timestamp("ms", tz="Europe/Paris")
    instants = [datetime(2020, 1, day, 10) for day in range(1, 7)]
    searches = pa.table(
        {
            "search_id": pa.array(range(6)),
            "searched_at": pa.array(instants, pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")).cast(zone),
            "query": pa.array([f"q{i}" for i in range(6)]).dictionary_encode(),
            "searcher_id": pa.array([1.0, 2.0, None, float("nan"), 1.0, 2.0]),
            "session_id": pa.nulls(6),
        }
    )
    results = pa.table(
        {"search_id": pa.array(range(6)), "document_id": pa.array([7] * 6), "clicked": pa.array([1] * 6)}
    )
    documents = pa.table(
        {"document_id": [7], "title": [b"t"], "created_at": pa.array([1_500_000_000_123_456_000], pa.timestamp("ns"))}
    )
    paths = {}
    for name, table in {"searches": searches, "results": results, "documents": documents}.items():
        paths[name] = str(tmp_path / f"{name}.parquet")
        pq.write_table(table, paths[name])
    tables = extract_rows(Tables(layout="tables", **paths), tmp_path / "out")
    assert [s["searched_at"] for s in tables["searches"]] == instants
    assert [s["searcher"] for s in tables["searches"]] == ["1", "2", None, None, "1", "2"]
    assert tables["documents"][0]["created_at"] == datetime(2017, 7, 14, 2, 40, 0, 123456)
    assert all(r["clicked"] and r["position"] is None for r in tables["results"])


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2020-01-01", datetime(2020, 1, 1)),
        ("2020-01-01 10:00:00", datetime(2020, 1, 1, 10)),
        ("2020-01-01T10:00:00.123456", datetime(2020, 1, 1, 10, 0, 0, 123456)),
        ("2020-01-01T10:00:00Z", datetime(2020, 1, 1, 10)),
        ("2020-01-01T10:00:00+02:00", datetime(2020, 1, 1, 8)),
        ("2020-01-01 10:00:00.5-0330", datetime(2020, 1, 1, 13, 30, 0, 500000)),
        ("2020-01-01 10:00:00 UTC", datetime(2020, 1, 1, 10)),
    ],
)
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_times_as_text_become_utc(tmp_path: Path, text: str, utc: datetime, form: str) -> None:
    searches = SEARCHES.replace("2020-01-01 10:00:00", text)
    logs = small_log(tmp_path, searches=searches)
    if form == "ndjson":
        head, *rows = [line.strip().split(",") for line in searches.strip().splitlines()]
        lines = [json.dumps({k: v or None for k, v in zip(head, row, strict=True)}) for row in rows]
        (tmp_path / "searches.ndjson").write_text("\n".join(lines))
        logs = logs.model_copy(update={"searches": str(tmp_path / "searches.ndjson")})
    tables = extract_rows(logs, tmp_path / "out")
    assert {s["search_id"]: s["searched_at"] for s in tables["searches"]}["1"] == utc


def test_identities_stay_as_written(tmp_path: Path) -> None:
    searches = SEARCHES.replace("\n1,", "\n001,")
    results = RESULTS.replace("\n1,", "\n001,")
    tables = extract_rows(small_log(tmp_path / "in", searches=searches, results=results), tmp_path / "out")
    assert tables["searches"][0]["search_id"] == "001"


def test_queries_lose_outer_blanks_and_nothing_else(tmp_path: Path) -> None:
    searches = SEARCHES.replace("red boots", '" \t Red  BOOTS\u00a0"').replace("blue hat", "#hat")
    tables = extract_rows(small_log(tmp_path / "in", searches=searches), tmp_path / "out")
    assert [s["query"] for s in tables["searches"]][1:4:2] == ["Red  BOOTS", "#hat"]


def test_unusable_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    searches = SEARCHES + ",2020-01-01,lost,\n7,,late,\n8,2020-01-01,  ,\n6,2020-01-05 11:00:00,boots,bob\n"
    results = RESULTS + (
        ",hat,1,true\n1,,1,true\n1,hat,,\n8,hat,1,true\n1,glove,1,true\n2,shoe,0,true\n1,boot,7,true\n1,boot,8,true\n"
    )
    documents = (
        "document_id,title,created_at,removed_at\nshoe,Red shoe,2020-01-01,2020-01-01\nboot,Boot,,\n"
        "hat,,,\nhat,Hat,,\n,nothing,,\ncap,Cap,2020-01-02,2020-01-01\n"
    )
    logs = small_log(tmp_path / "in", searches=searches, results=results, documents=documents, max_dropped=0.9)
    tables = extract_rows(logs, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    dropped = {
        name: {d["reason"]: (d["rows"], d["examples"]) for d in table["dropped"]}
        for name, table in report["tables"].items()
    }
    assert dropped["searches"] == {
        "search_id is missing": (1, ["lost"]),
        "searched_at is missing": (1, ["7"]),
        "query is blank": (1, ["8"]),
        "search_id seen before": (1, ["6"]),
    }
    assert dropped["results"] == {
        "search_id is missing": (1, ["hat"]),
        "document_id is missing": (1, ["1"]),
        "clicked is missing": (1, ["1 / hat"]),
        "no such search, or it was dropped": (1, ["8 / hat"]),
        "no such document, or it was dropped": (1, ["1 / glove"]),
        "position is below 1 or absurd": (1, ["2 / shoe"]),
        "the same document again in the same search": (2, ["1 / boot"]),
    }
    assert dropped["documents"] == {
        "document_id is missing": (1, ["nothing"]),
        "document_id seen before": (1, ["hat"]),
        "removed_at is before created_at": (1, ["cap"]),
    }
    assert [
        (r["position"], r["clicked"]) for r in tables["results"] if (r["search"], r["document"]) == ("1", "boot")
    ] == [
        (7, True)  # the click decides, at its own position
    ]
    assert tables["searches"][-1]["searched_at"] == datetime(2020, 1, 5, 10)  # the first of the two


def test_edges_between_both_kinds(tmp_path: Path) -> None:
    edges = """\
        source_id,target_id,source_type,target_type,kind,weight,created_at
        ann,bob,searcher,searcher,friend,,2020-01-01
        ann,eve,searcher,searcher,friend,2,
        ann,hat,searcher,document,likes,0.5,
        hat,boot,document,document,,1,
        ann,glove,searcher,document,likes,1,
        ann,bob,searcher,searcher,friend,0,
        ann,,searcher,searcher,friend,1,
        """
    tables = extract_rows(small_log(tmp_path / "in", edges=edges), tmp_path / "out")
    assert sorted(
        (e["source"], e["target"], e["kind"], e["weight"], e["created_at"]) for e in tables["edges"] if e["kind"]
    ) == [
        ("ann", "bob", "friend", 1.0, datetime(2020, 1, 1)),
        ("ann", "eve", "friend", 2.0, None),
        ("ann", "hat", "likes", 0.5, None),
    ]
    assert [(e["source"], e["target"]) for e in tables["edges"] if not e["kind"]] == [("hat", "boot")]
    assert [s["searcher_id"] for s in tables["searchers"]] == ["ann", "bob", "eve"]  # eve never searched
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {d["reason"]: d["rows"] for d in report["tables"]["edges"]["dropped"]} == {
        "unknown target_id": 1,
        "weight is not above 0": 1,
        "target_id is missing": 1,
    }
    assert "edges.created_at" in {item["needs"] for item in report["cannot"]}


def test_edges_without_types_are_resolved_by_identity(tmp_path: Path) -> None:
    edges = "source_id,target_id\nann,bob\nann,hat\nann,nobody\n"
    tables = extract_rows(small_log(tmp_path / "in", edges=edges), tmp_path / "out")
    assert [(e["source"], e["target"], e["target_type"]) for e in tables["edges"]] == [
        ("ann", "hat", "document"),
        ("ann", "bob", "searcher"),
    ]


def test_judgements_of_searches_topics_and_queries(tmp_path: Path) -> None:
    searches = SEARCHES.replace("searcher_id\n", "searcher_id,topic\n").replace(",ann\n", ",ann,t1\n")
    searches = searches.replace(",bob\n", ",bob,\n").replace("blue hat,\n", "blue hat,,\n")
    judgements = """\
        search_id,topic,query,document_id,grade
        1,,,shoe,3
        ,t1,,shoe,1
        ,t1,,shoe,0
        ,,red shoes,boot,2
        ,,red shoes,glove,2
        9,,,shoe,1
        ,t9,,shoe,1
        1,,,hat,-2
        ,,,hat,1
        """
    tables = extract_rows(small_log(tmp_path / "in", searches=searches, judgements=judgements), tmp_path / "out")
    assert sorted((j["search"], j["document"], j["grade"]) for j in tables["judgements"]) == [
        ("1", "boot", 2.0),
        ("1", "shoe", 3.0),  # of the search itself, before that of its topic
        ("2", "shoe", 1.0),
        ("3", "boot", 2.0),
        ("5", "shoe", 1.0),
    ]
    report = json.loads((tmp_path / "out" / "report.json").read_text())["tables"]["judgements"]
    assert (report["read"], report["kept"]) == (9, 3)
    assert {d["reason"]: d["rows"] for d in report["dropped"]} == {
        "nobody searched it": 2,
        "judged before, as high or higher": 1,
        "no such document, or it was dropped": 1,
        "grade is below 0": 1,
        "no search_id, topic or query": 1,
    }


def test_globs_and_extra_columns(tmp_path: Path) -> None:
    head, *rows = RESULTS.splitlines()
    logs = small_log(tmp_path / "in")
    (tmp_path / "in" / "documents.csv").write_text("document_id,title,price\nshoe,Red shoe,5\nboot,Boot,6\nhat,,7\n")
    for i, part in enumerate((rows[:4], rows[4:])):
        text = "\n".join(line.strip() for line in (head, *part))
        (tmp_path / "in" / f"part-{i}.csv").write_text(text)
    logs = logs.model_copy(update={"results": str(tmp_path / "in" / "part-*.csv")})
    assert len(extract_rows(logs, tmp_path / "out")["results"]) == 9


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_names_of_columns_in_another_case(tmp_path: Path, form: str) -> None:
    """Names in another case must not silently become null, in NDJSON either."""
    documents = pa.table({"DOCUMENT_ID": ["shoe", "boot", "hat"], "Title": ["a", "b", "c"], "City": ["x", "y", "z"]})
    path = tmp_path / f"documents.{form}"
    if form == "ndjson":
        path.write_text("\n".join(map(json.dumps, documents.to_pylist())))
    elif form == "csv":
        csv.write_csv(documents, path)
    else:
        pq.write_table(documents, path)
    logs = small_log(tmp_path / "in").model_copy(update={"documents": str(path)})
    documents_read = extract_rows(logs, tmp_path / "out")["documents"]
    assert {(row["document_id"], row["title"], row["city"]) for row in documents_read} == {
        ("shoe", "a", "x"),
        ("boot", "b", "y"),
        ("hat", "c", "z"),
    }
