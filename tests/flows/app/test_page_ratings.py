"""Ratings given on the search page: refused or kept in a file, which the import of ratings reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from data import rating_files
from flows.app.serve import make_app
from flows.app.service import page_ratings
from flows.app.service.open_models import ServedModels
from tests.data.small_logs import extract_rows, small_log
from tests.services import make_home

KEY = {"x-api-key": "k3y"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EBR_HOME", str(make_home(tmp_path / "home", "softmax", "walks")))
    return tmp_path / "home"


@pytest.fixture
def client(home: Path) -> Iterator[TestClient]:
    with TestClient(make_app(ServedModels("mine", ()))) as client:
        yield client


def _rows(home: Path) -> list[dict[str, str]]:
    with (home / "rated" / "mine.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_rating_is_kept_with_what_was_rated(client: TestClient, home: Path) -> None:
    rating = {"query": " Anna,  Smith ", "document_id": "d0", "grade": 2, "rank": 3, "shown_by": "softmax:"}
    assert client.post("/ratings", json=rating).json() == {"remark": "kept"}
    assert client.post("/ratings", json={**rating, "grade": None}).json() == {"remark": "taken back"}
    unasked = client.post("/ratings", json={"query": '=a "quoted"\nquery', "document_id": "d1", "grade": 0})
    assert "no arm learns from it yet" in unasked.json()["remark"]
    first, second, third = _rows(home)
    assert {name: first[name] for name in ("search_id", "document_id", "grade", "query", "title", "rank")} == {
        "search_id": "", "document_id": "d0", "grade": "2", "query": "Anna, Smith", "title": "Anna Schmidt", "rank": "3"
    }  # fmt: skip
    assert (second["grade"], third["grade"], third["query"]) == ("", "0", '=a "quoted" query')
    assert first["rated_at"] <= second["rated_at"] <= third["rated_at"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grade": 4}, "less than or equal to 3"),
        ({"grade": 1.5}, "valid integer"),
        ({"query": "  "}, "the query is empty"),
        ({"query": "x" * 501}, "at most 500"),
        ({"document_id": "d99"}, "this model has no document 'd99'"),
        ({"searcher_id": "nobody"}, "no searcher 'nobody'"),
        ({"rank": 0}, "greater than or equal to 1"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_a_rating_that_cannot_be_used_is_refused(
    client: TestClient, home: Path, change: dict[str, object], message: str
) -> None:
    refused = client.post("/ratings", json={"query": "anna", "document_id": "d0", "grade": 1, **change})
    assert refused.status_code == 422
    assert message in refused.text
    assert not (home / "rated").exists()


def test_a_rating_needs_the_key_and_a_body_of_json(home: Path) -> None:
    """A page of another site can make a browser send a text, but not JSON, to this one."""
    rating = {"query": "anna", "document_id": "d0", "grade": 1}
    with TestClient(make_app(ServedModels("mine", ()), key="k3y")) as client:
        assert client.post("/ratings", json=rating).status_code == 401
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            headers = {**KEY, **({"content-type": kind} if kind else {})}
            assert client.post("/ratings", content=json.dumps(rating), headers=headers).status_code == 422
        assert client.post("/ratings", content=b" " * 20_000, headers=KEY).status_code == 413
        assert not (home / "rated").exists()
        assert client.post("/ratings", json=rating, headers=KEY).status_code == 200
    assert len(_rows(home)) == 1


def test_a_service_without_a_key_beyond_loopback_keeps_none(home: Path) -> None:
    with TestClient(make_app(ServedModels("mine", ()), rates=False)) as client:
        assert client.get("/choices").json()["ratings"] is None
        refused = client.post("/ratings", json={"query": "anna", "document_id": "d0", "grade": 1})
    assert (refused.status_code, (home / "rated").exists()) == (403, False)


def test_a_full_file_and_a_folder_that_cannot_be_written_are_said(
    client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rating = {"query": "anna", "document_id": "d0", "grade": 1}
    assert client.post("/ratings", json=rating).status_code == 200
    monkeypatch.setattr(page_ratings, "LARGEST_FILE_BYTES", 10)
    full = client.post("/ratings", json=rating)
    assert (full.status_code, len(_rows(home))) == (422, 1)
    assert "import it with ebr ratings import, then move it away" in full.json()["detail"]
    (home / "rated" / "mine.csv").unlink()
    (home / "rated").rmdir()
    (home / "rated").write_text("a file in place of the folder")
    assert client.post("/ratings", json=rating).status_code == 503


def test_the_import_reads_what_the_page_wrote(tmp_path: Path, client: TestClient, home: Path) -> None:
    """The documents of the bundle are those of a log in which people searched for the same words."""
    documents = "document_id,title\n" + "".join(f"d{number},a title\n" for number in range(9))
    results = "search_id,document_id,position,clicked\n" + "".join(f"{s},d{s},1,true\n" for s in range(1, 7))
    searches = (
        "search_id,searched_at,query,searcher_id\n1,2020-01-01 10:00:00,anna smith,s1\n"
        "2,2020-01-02 10:00:00,chess,\n3,2020-01-03 10:00:00,Anna Smith,\n4,2020-01-03 12:00:00,walks,\n"
        "5,2020-01-04 10:00:00,jazz,\n6,2020-01-05 10:00:00,jazz,\n"
    )
    logs = small_log(tmp_path / "files", documents=documents, results=results, searches=searches)
    extract_rows(logs, tmp_path / "log")
    given = [("anna  smith", "d0", 3, None), ("anna smith", "d1", 0, "s1"), ("Chess", "d5", 2, None)]
    given += [("Chess", "d5", 1, None), ("walks", "d6", 2, None), ("walks", "d6", None, None), ("jazz", "d8", 3, None)]
    for query, document, grade, searcher in given:
        rating = {"query": query, "document_id": document, "grade": grade, "searcher_id": searcher}
        assert client.post("/ratings", json=rating).status_code == 200
    table, unasked = rating_files.read_csv(home / "rated" / "mine.csv", tmp_path / "log")
    kept = {(row["search_id"], row["document_id"]): row["grade"] for row in table.to_pylist()}
    assert kept == {("3", "d0"): 3.0, ("1", "d1"): 0.0, ("2", "d5"): 1.0}
    assert unasked == ["jazz"]  # which only the validation and the test asked
    rated = rating_files.to_rated_rows(table, tmp_path / "log", 1)
    assert rated["good"].to_pylist() == [False, True, True]
    names = pq.read_table(tmp_path / "log" / "searches.parquet")["search_id"]
    assert names.take(rated["search_row"].combine_chunks().cast(pa.int64())).to_pylist() == ["1", "2", "3"]
