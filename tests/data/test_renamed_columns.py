"""Columns under the names of the user's files: the same bytes as under the layout's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from both_readings import extract_both
from small_logs import DOCUMENTS, RESULTS, SEARCHES, SPLIT, extract_rows, small_log, write_text

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Tables
from data.extra_columns import read_columns
from data.extract import extract
from ebr_core.errors import InputError

OWN_SEARCHES = SEARCHES.replace("search_id,searched_at,query,searcher_id", "search_id,ts,Q,user")
OWN_RESULTS = RESULTS.replace("document_id,position,clicked", "sku,rank,is_click")
OWN_DOCUMENTS = DOCUMENTS.replace("document_id,title", "sku,name")
COLUMNS: dict[str, Any] = {
    "searched_at": "ts",
    "query": "q",
    "searcher_id": "user",
    "document_id": "sku",
    "position": "rank",
    "clicked": "is_click",
    "title": "name",
}
OWN = {"searches": OWN_SEARCHES, "results": OWN_RESULTS, "documents": OWN_DOCUMENTS}


def _in_form(logs: Tables, form: str) -> Tables:
    """The CSV files of the logs in another form."""
    paths = {}
    for table in ("searches", "results", "documents"):
        source = Path(getattr(logs, table))
        rows = pyarrow.csv.read_csv(source)
        if form == "parquet":
            pq.write_table(rows, source.with_suffix(".parquet"))
        elif form == "ndjson":
            lines = (json.dumps(row, default=str) + "\n" for row in rows.to_pylist())
            source.with_suffix(".ndjson").write_text("".join(lines))
        paths[table] = str(source.with_suffix(f".{form}"))
    return logs.model_copy(update=paths)


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_renamed_columns_give_the_same_bytes(tmp_path: Path, form: str) -> None:
    plain, _ = extract_both(small_log(tmp_path / "plain"), SPLIT, tmp_path / "a")
    own = _in_form(small_log(tmp_path / "own", **OWN, columns=COLUMNS), form)
    runs, nights = extract_both(own, SPLIT, tmp_path / "b")
    assert len(plain) == 8
    assert runs == plain
    assert nights == plain


def test_a_name_of_one_table(tmp_path: Path) -> None:
    """A name for one table comes before the name for all; a table without that name keeps its own column."""
    documents = DOCUMENTS.replace("document_id", "id")
    columns = COLUMNS | {"documents": {"document_id": "id"}, "title": "name"}
    logs = small_log(tmp_path / "in", **OWN | {"documents": documents.replace("title", "name")}, columns=columns)
    plain, _ = extract_both(small_log(tmp_path / "plain"), SPLIT, tmp_path / "a")
    assert extract_both(logs, SPLIT, tmp_path / "b") == [plain, plain]
    logs = small_log(tmp_path / "in2", results=OWN_RESULTS, columns={k: COLUMNS[k] for k in ("position", "clicked")}
                     | {"document_id": "sku"})  # fmt: skip
    assert extract_both(logs, SPLIT, tmp_path / "c") == [plain, plain]


def test_a_column_that_moves_is_not_read_twice(tmp_path: Path) -> None:
    documents = "document_id,title,body\nshoe,A,Red shoe\nboot,B,Brown boot\nhat,C,\n"
    logs = small_log(tmp_path / "in", documents=documents, columns={"title": "body", "body": "title"})
    rows = extract_rows(logs, tmp_path / "out")["documents"]
    assert {(row["document_id"], row["title"], row["body"]) for row in rows} == {
        ("shoe", "Red shoe", "A"),
        ("boot", "Brown boot", "B"),
        ("hat", "", "C"),
    }
    logs = small_log(tmp_path / "in2", documents=documents, columns={"title": "body"})
    rows = extract_rows(logs, tmp_path / "out2")["documents"]
    assert {(row["title"], row["body"]) for row in rows} == {("Red shoe", None), ("Brown boot", None), ("", None)}


def test_files_of_a_table_that_differ_in_their_names(tmp_path: Path) -> None:
    """Where one file has the name of `columns`, the layout's own name counts in none, in runs and in nights."""
    lines = SEARCHES.splitlines(keepends=True)
    for name, header, rows in (("s1", lines[0].replace("query", "q"), lines[1:]), ("s2", lines[0], lines[1:2])):
        write_text(
            tmp_path / "in", f"{name}.csv", "".join([header, *rows]).replace("\n1,", "\n8," if name == "s2" else "\n1,")
        )
    logs = small_log(tmp_path / "in", columns={"query": "q"}, max_dropped=0.2)
    logs = logs.model_copy(update={"searches": str(tmp_path / "in" / "s?.csv")})
    runs, nights = extract_both(logs, SPLIT, tmp_path / "out")
    assert nights == runs
    dropped = json.loads(runs["report.json"])["tables"]["searches"]["dropped"]
    assert [(part["reason"], part["examples"]) for part in dropped] == [("q (query) is blank", ["8"])]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"results": {"clicked": "is_clck"}},
            r"results: .*results.csv has no column 'is_clck', which logs.columns.results names as clicked. "
            r"Its columns are clicked, document_id, position, search_id",
        ),
        ({"query": "qq"}, r"logs.columns.query: no table has a column 'qq'. The columns are searches: query, search"),
        ({"city": "town"}, r"logs.columns.city: no table has a column 'town'"),
    ],
)
def test_a_name_that_no_file_has_is_refused(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    refusals = extract_both(small_log(tmp_path / "in", columns=columns), SPLIT, tmp_path / "out")
    for refused in refusals:
        with pytest.raises(InputError, match=words):
            raise InputError(str(refused["refused"]))


def test_a_required_column_without_either_name_is_refused(tmp_path: Path) -> None:
    logs = small_log(tmp_path / "in", results=OWN_RESULTS.replace("sku", "item"), columns=COLUMNS | {"title": "title"})
    with pytest.raises(
        InputError, match=r"results: .* neither the column 'sku', .* nor 'document_id'.*results: \{document_id"
    ):
        extract(logs, SPLIT, tmp_path / "out")
    with pytest.raises(InputError, match=r"no column 'searched_at'.*write columns: \{searched_at: …\} under logs"):
        extract(small_log(tmp_path / "in2", searches=OWN_SEARCHES), SPLIT, tmp_path / "out2")


def test_unknown_keys_of_columns_are_problems_of_the_file(tmp_path: Path) -> None:
    text = "logs: {layout: tables, searches: a, results: b, documents: c, columns: "
    for columns, words in (
        ("{ts: searched_at}", r"logs.columns.ts: the layout has no column 'ts' \(did you mean searched_at: ts\?\)"),
        (
            "{edges: {kind: k}}",
            r"logs.columns.edges: these logs have no table 'edges'; allowed: searches, results, doc",
        ),
        ("{results: {title: t}}", r"logs.columns.results.title: the layout has no column 'title'; allowed: search_id"),
    ):
        (tmp_path / "my.yaml").write_text(f"{text}{columns}}}\n")
        with pytest.raises(InputError, match=words):
            load_experiment(tmp_path / "my.yaml")


def test_only_names_that_are_given_count_in_the_name_of_the_artifact(tmp_path: Path) -> None:
    assert "columns" not in small_log(tmp_path).identity_settings()
    assert small_log(tmp_path, columns={"query": "q"}).identity_settings()["columns"] == {"query": "q"}


def test_other_columns_follow_the_renamed_identity(tmp_path: Path) -> None:
    documents = "sku,name,brand\nshoe,Red shoe,Acme\nboot,Brown boot,Zen\nhat,,\n"
    logs = small_log(tmp_path / "in", **OWN | {"documents": documents}, columns=COLUMNS)
    extract(logs, SPLIT, tmp_path / "log")
    (out := tmp_path / "out").mkdir()
    read_columns(logs, tmp_path / "log", {"documents": ["sku", "brand"]}, out)
    rows = pq.read_table(out / "documents.parquet").to_pylist()
    assert sorted(map(str, rows)) == sorted(
        str({"sku": [sku], "brand": brand}) for sku, brand in (("shoe", ["Acme"]), ("boot", ["Zen"]), ("hat", None))
    )


@pytest.mark.parametrize(
    ("table", "changed", "words"),
    [
        ("searches", ("2020-01-02 10:00:00", "then"), "column 'ts' (searched_at) holds 'then'. Expected a timestamp"),
        ("results", ("5,hat,1,true", "5,hat,1,maybe"), "column 'is_click' (clicked) holds 'maybe'"),
        ("searches", ("5,2020-01-04 10:00:00,hat", "5,2020-01-04 10:00:00,"), "  q (query) is blank: 1 (5)"),
        ("results", ("3,hat,2,true", ",hat,2,true"), "  search_id is missing: 1 (hat)"),
        ("results", ("3,hat,2,true", "3,,2,true"), "  sku (document_id) is missing: 1 (3)"),
        ("results", ("true", "false"), "nothing was clicked: is_click (clicked) is false in every row"),
        ("documents", ("boot,Brown boot", ",Brown boot"), "  sku (document_id) is missing: 1 (Brown boot)"),
    ],
)
def test_messages_name_the_columns_of_the_files(
    tmp_path: Path, table: str, changed: tuple[str, str], words: str
) -> None:
    logs = small_log(tmp_path, **(OWN | {table: OWN[table].replace(*changed)}), columns=COLUMNS | {"query": "q"})
    with pytest.raises(InputError) as caught:
        extract(logs, SPLIT, tmp_path / "out")
    assert words in str(caught.value)


def test_reports_name_the_columns_of_the_files(tmp_path: Path) -> None:
    dated = OWN_DOCUMENTS.replace("name\n", "name,since\n").replace("Red shoe", "Red shoe,2020-01-01 10:00:01")
    dated = dated.replace("boot\n", "boot,1969-01-01\n").replace("hat,\n", "hat,,\n")
    texts = OWN | {"documents": dated, "searches": OWN_SEARCHES.replace("hat,\n", "hat,NULL\n")}
    texts["results"] = OWN_RESULTS.replace("3,hat,2,true", "3,,2,true")
    columns = COLUMNS | {"documents": {"document_id": "sku", "created_at": "since", "title": "name"}}
    logs = small_log(tmp_path, **texts, columns=columns, max_dropped=0.5)
    extract(logs, SPLIT, tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["tables"]["results"]["dropped"][0]["reason"] == "sku (document_id) is missing"
    assert [note["note"].split(",")[0] for note in report["notes"][:3]] == [
        "searches.user (searcher_id): 1 rows with 'NULL'",
        "documents: 1 rows have a since (created_at) or removed_at before 1970",
        "documents: 1 of 3 clicks in train are on documents that did not exist then by since (created_at) and "
        "removed_at.",
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("{document_id: sku, title: SKU}", r"logs.columns: 'sku' stands for document_id and title of documents"),
        ("{documents: {title: name}, body: name}", r"'name' stands for (title and body|body and title) of documents"),
        ("{query: text, title: text}", None),  # of two tables
        ("{query: text, documents: {title: text}}", None),
    ],
)
def test_a_column_is_read_as_one(tmp_path: Path, columns: str, words: str | None) -> None:
    logs = f"logs: {{layout: tables, searches: a.csv, results: b.csv, documents: c.csv, columns: {columns}}}\n"
    path = Path(write_text(tmp_path, "my.yaml", logs))
    if words is None:
        load_experiment(path)
        return
    with pytest.raises(InputError, match=words):
        load_experiment(path)
