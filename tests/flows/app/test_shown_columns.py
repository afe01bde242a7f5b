"""The user's own columns where people meet them: the service, the command line, files of answers and vectors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from rich.console import Console

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.own_data import OwnSettings
from flows.app.batch_file import answer_file
from flows.app.model_search import export_vectors, show_hits
from flows.app.query_options import validate_query
from flows.app.serve import ServedModels, make_app
from tests.bundles import BRANDS, PRICES, SERVED, make_bundle, publish_bundles, with_own_columns


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one bundle, which shows the price."""
    home = tmp_path_factory.mktemp("home")
    folder = make_bundle(home / "artifacts" / "bundle-own")
    with_own_columns(folder, {"arm": "hand", "seed": 0, **SERVED}, OwnSettings(show=("Price",)))
    publish_bundles(home, "mine", {"own": folder}, "own")
    return home


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("EBR_HOME", str(home))
    with TestClient(make_app(ServedModels("mine", ()))) as client:
        yield client


@pytest.fixture(scope="module")
def bundle(home: Path) -> Bundle:
    return open_bundle(home / "artifacts" / "bundle-own")


def test_the_service_filters_and_shows_own_columns(client: TestClient) -> None:
    query = {"query": "walks smith", "where": "price < 20 AND brand = 'Acme'"}
    answer = client.get("/search", params=query).json()
    assert {hit["document_id"]: hit["shown"] for hit in answer["hits"]} == {
        "d0": {"Price": 5.0}, "d1": {"Price": 15.0}, "d8": {"Price": 7.5}
    }  # fmt: skip
    assert answer["remarks"] == []
    body = client.post("/search", json={**query, "show": ["brand"], "fields": {"lat": 45.75, "lon": 4.85}}).json()
    assert [hit["shown"] for hit in body["hits"]] == [{"brand": "Acme"}] * 3
    assert {hit["document_id"] for hit in body["hits"] if hit["distance_km"] < 1} == {"d0"}
    by_address = client.get("/search", params={**query, "show": "brand, released"}).json()
    assert list(by_address["hits"][0]["shown"]) == ["brand", "released"]


def test_the_service_says_what_there_is(client: TestClient) -> None:
    columns = client.get("/health").json()["columns"]["own"]
    assert {name: columns[name] for name in ("Price", "brand", "released", "city")} == {
        "Price": "number", "brand": "text", "released": "time", "city": "text"
    }  # fmt: skip
    assert client.get("/choices").json()["columns"] == columns
    unknown = client.get("/search", params={"query": "walks", "where": "prize < 20"})
    assert unknown.status_code == 422
    assert "no column 'prize' (did you mean Price?)" in unknown.json()["detail"]
    misspelt = client.get("/search", params={"query": "walks", "where": "brand = Acne OR price > 0"}).json()
    assert misspelt["remarks"] == ["brand: no document has 'Acne'; similar: Acme"]
    nowhere = client.get("/search", params={"query": "walks", "where": "within 5 km"})
    assert "within needs the place of the search" in nowhere.json()["detail"]
    city = client.get("/search", params={"query": "walks", "where": "within 5 km of Bonnnn"})
    assert "no city 'Bonnnn'" in city.json()["detail"][0]["msg"]


def test_the_command_line_shows_columns_and_distances(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    query = validate_query({"query": "walks smith", "show": ["price,brand", "released"], "city": "Lyon", "k": 9})
    show_hits(bundle, query, Console(width=200))
    printed = capsys.readouterr().out
    heading = next(line for line in printed.splitlines() if "title" in line)
    assert [cell.strip() for cell in heading.split("┃")][1:-1] == [
        *("", "title", "kind", "place", "km", "Price", "brand", "released", "score", "cosine", "why")
    ]
    line = next(line for line in printed.splitlines() if "Anna Smith " in line)
    assert [cell.strip() for cell in line.split("│")][6:9] == ["15.0", "Acme", "2024-01-02"]


def test_the_command_line_leaves_out_columns_without_a_value(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    without = {name: pa.nulls(len(bundle.documents), pa.string()) for name in ("kind", "city", "country")}
    documents = bundle.documents
    for name, nulls in without.items():
        documents = documents.set_column(documents.column_names.index(name), name, nulls)
    show_hits(bundle._replace(documents=documents), validate_query({"query": "walks", "show": []}), Console(width=200))
    heading = next(line for line in capsys.readouterr().out.splitlines() if "title" in line)
    assert not {"kind", "place"} & {cell.strip() for cell in heading.split("┃")}
    assert {"title", "score"} <= {cell.strip() for cell in heading.split("┃")}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mode": "ebr", "where": "price < 0"}, "'walks': nothing found; try a wider --where"),
        ({"mode": "hybrid", "where": "price < 0"}, "'walks': nothing found; try --mode ebr or a wider --where"),
    ],
)
def test_nothing_found_names_only_ways_out_that_there_are(
    bundle: Bundle, fields: dict[str, str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_hits(bundle, validate_query({"query": "walks", **fields}), Console(width=200))
    assert capsys.readouterr().out.splitlines()[0] == expected


def test_a_batch_has_the_columns_that_are_shown(bundle: Bundle, tmp_path: Path) -> None:
    queries = pa.table({"query": ["walks", "smith"], "lat": ["45.75", None], "lon": ["4.85", None]})
    pq.write_table(queries, tmp_path / "queries.parquet")
    settings = {"k": 4, "show": ["price", "released"], "where": "price < 50"}
    answer_file(bundle, tmp_path / "queries.parquet", tmp_path / "out.parquet", settings, Console(quiet=True))
    answers = pq.read_table(tmp_path / "out.parquet")
    assert answers.column_names[-6:] == ["distance_km", "Price", "released", "query", "lat", "lon"]
    assert answers.schema.field("released").type == pa.timestamp("us")
    for row in answers.to_pylist():
        document = int(row["document_id"][1:])
        assert row["Price"] == PRICES[document]
        assert row["released"] == datetime(2024, 1, 1 + document)
        assert (row["distance_km"] is None) == (row["query_row"] == 1)
    with pytest.raises(InputError, match="show: the documents of this model have no column 'prize'"):
        answer_file(bundle, tmp_path / "queries.parquet", tmp_path / "no.parquet", {"show": ["prize"]}, Console())
    with pytest.raises(InputError, match="title is a column of every file of answers"):
        answer_file(bundle, tmp_path / "queries.parquet", tmp_path / "no.parquet", {"show": ["title"]}, Console())


def test_exported_documents_have_the_columns_that_are_shown(bundle: Bundle, tmp_path: Path) -> None:
    export_vectors(bundle, tmp_path / "default", None)
    assert pq.read_table(tmp_path / "default" / "documents.parquet")["Price"].to_pylist() == PRICES
    export_vectors(bundle, tmp_path / "named", None, ["brand"])
    named = pq.read_table(tmp_path / "named" / "documents.parquet")
    assert named.column_names == ["document_id", "title", "vector", "brand"]
    assert named["brand"].to_pylist() == BRANDS
