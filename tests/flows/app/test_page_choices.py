"""What the search page offers is what the log has and the models read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from ebr_core.serving.own_data import OwnSettings
from flows.app.serve import make_app
from flows.app.service.open_models import ServedModels
from flows.app.service.page_choices import address_columns
from flows.app.service.search_page import page_text
from tests.bundles import SERVED, make_bundle, publish_bundles, with_own_columns

LINKS = pa.array([f"https://shop.test/{number}" for number in range(9)])


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A model that reads cities, over documents with places, columns and addresses under the user's names."""
    folder = make_bundle(tmp_path / "artifacts" / "bundle-own")
    names = {"town": "city"}
    settings = OwnSettings(show=("Price",), search_names=names, document_names=names)
    more = {"page": LINKS, "photo": pa.array([f"{link.as_py()}.jpg" for link in LINKS])}
    with_own_columns(folder, {"arm": "hand", "seed": 0, **SERVED}, settings, more)
    publish_bundles(tmp_path, "mine", {"own": folder}, "own")
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    with TestClient(make_app(ServedModels("mine", ()))) as client:
        yield client


def test_fields_are_what_the_model_reads_and_what_distances_need(client: TestClient) -> None:
    fields = client.get("/choices").json()["fields"]["own"]
    assert [(field["name"], field["label"], field["read"], field["own"]) for field in fields] == [
        ("searcher_id", "searcher_id", True, False),
        ("city", "town", True, False),  # under the user's name
        ("country", "country", False, False),
        ("lat", "lat", False, True),
        ("lon", "lon", False, True),
    ]
    assert fields[1]["values"] == ["Bonn", "Lyon"]


def test_columns_addresses_and_values_are_those_of_the_documents(client: TestClient) -> None:
    choices = client.get("/choices").json()
    assert (choices["link"], choices["picture"], choices["show"]) == ("page", "photo", ["Price"])
    assert choices["filters"]["brand"] == ["Acme", "Orbit", "Zett"]
    assert choices["filters"]["town"] == ["Bonn", "Lyon"]
    assert {"Price", "brand", "released"} <= set(choices["showable"])
    assert not {"page", "photo", "document_id", "city", "town", "body"} & set(choices["showable"])
    assert choices["examples"] == ["anna smith", "chess", "wlaking clb"]
    assert choices["modes"]["own"] == ["ebr", "hybrid", "weighted", "boolean", "bm25"]  # no lists of the log
    assert choices["ratings"].endswith("rated/mine.csv")
    for field in choices["showable"]:
        assert client.get("/search", params={"query": "walks", "show": field}).status_code == 200
    for name, values in choices["filters"].items():
        where = f'"{name}" = "{values[0]}"'
        assert client.get("/search", params={"query": "walks", "where": where}).json()["hits"]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("site", ["https://a.test/1", None], ("site", None)),
        ("site", ["http://a.test/1.PNG?x=1"], (None, "site")),
        ("Thumbnail", ["https://cdn.test/abc"], (None, "Thumbnail")),
        ("site", ["https://a.test/1", "none"], (None, None)),
        ("site", ["javascript:alert(1)"], (None, None)),
        ("site", ["see https://a.test"], (None, None)),
        ("image", [None], (None, None)),
        ("image", [7.5], (None, None)),
        ("title", ["https://a.test/1"], (None, None)),
    ],
)
def test_addresses_are_recognised_by_all_of_their_values(
    column: str, values: list[object], expected: tuple[str | None, str | None]
) -> None:
    typed = pa.array(values, pa.string() if values[0] is None else None)
    assert address_columns(pa.table({column: typed})) == expected


def test_the_page_needs_no_other_file() -> None:
    page = page_text()
    assert "$css" not in page
    assert "$script" not in page
    assert not [part for part in ("src=", '<link rel="stylesheet', "@import", "https://") if part in page]
