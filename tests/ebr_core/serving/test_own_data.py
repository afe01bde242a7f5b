"""Bundles with the user's own columns and with places: conditions, results, distances, against loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import lightgbm
import numpy as np
import pytest

from ebr_core.errors import InputError
from ebr_core.rerank.ranker_features import OrdinaryInputs, Ranker
from ebr_core.serving.known_context import unknown_context
from ebr_core.serving.model_bundle import Bundle, fields_of_bundle, open_bundle
from ebr_core.serving.own_data import OwnSettings
from ebr_core.serving.query_answer import answer, unknown_in_condition
from ebr_core.serving.search_query import SearchQuery
from ebr_core.serving.second_stage import SECOND, second_stage_details, write_ranked_documents
from ebr_core.towers.location_cells import distance_km
from tests.bundles import BRANDS, LYON, PLACES, PRICES, SERVED, TITLES, make_bundle, with_own_columns

IN_LYON: dict[str, Any] = {"fields": {"lat": "45.75", "lon": 4.85}}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = make_bundle(tmp_path_factory.mktemp("own") / "one")
    settings = OwnSettings(show=("Price",), left_out={"story": "it holds texts of up to 4,000 characters"})
    opened = open_bundle(with_own_columns(folder, {"arm": "hand", "seed": 0, **SERVED}, settings))
    faiss.extract_index_ivf(opened.built_index.index).nprobe = 3  # all cells, so the search is exact
    return opened


@pytest.mark.parametrize("mode", ["ebr", "hybrid", "weighted"])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("price < 20", [0, 1, 8]),
        ("price < 20 AND brand = 'Acme' AND NOT released >= 2024-01-09", [0, 1]),
        ("within 10 km", [0, 3, 4, 6]),
        ("within 10 km of Bonn OR price > 60", [1, 5, 7, 8]),
    ],
)
def test_an_answer_has_only_documents_that_meet_the_condition(
    bundle: Bundle, where: str, expected: list[int], mode: str
) -> None:
    query = SearchQuery.model_validate({"query": "walks chess smith", "k": 9, "where": where, "mode": mode, **IN_LYON})
    assert sorted(hit.document_id for hit in answer(bundle, query)) == [f"d{row}" for row in expected]


def test_an_answer_shows_the_columns_that_are_named_and_distances(bundle: Bundle) -> None:
    by_default = answer(bundle, SearchQuery(query="walks", k=9))
    assert {hit.document_id: hit.shown for hit in by_default} == {
        f"d{row}": {"Price": price} for row, price in enumerate(PRICES)
    }
    assert {hit.distance_km for hit in by_default} == {None}  # the search has no place
    query = SearchQuery.model_validate({"query": "walks", "k": 9, "show": "brand, RELEASED,city", **IN_LYON})
    for hit in answer(bundle, query):
        row = int(hit.document_id[1:])
        assert hit.shown == {
            "brand": BRANDS[row], "released": f"2024-01-0{1 + row}T00:00:00Z", "city": hit.city
        }  # fmt: skip
        expected = float(distance_km(*(np.array(degrees) for degrees in (*PLACES[row], *LYON))))
        assert hit.distance_km == pytest.approx(expected, nan_ok=True) or (hit.distance_km is None and row == 2)
    assert answer(bundle, SearchQuery(query="walks", show=[]))[0].shown == {}


def test_the_place_of_a_search_comes_from_its_fields_or_its_city(bundle: Bundle) -> None:
    by_city = answer(bundle, SearchQuery(query="walks", k=9, city="Bonn", country="DE"))
    assert next(hit for hit in by_city if hit.document_id == "d1").distance_km == pytest.approx(0, abs=5)
    assert unknown_context(bundle, SearchQuery(query="walks", city="Potsdam", country="DE")) == []
    searcher = SearchQuery(query="walks", k=9, searcher_id="s1", where="within 10 km")  # of Lyon
    assert {hit.document_id for hit in answer(bundle, searcher)} == {"d0", "d3", "d4", "d6"}
    nowhere = SearchQuery.model_validate({"query": "walks", "k": 9, "fields": {"lat": 0, "lon": 0}})
    assert {hit.distance_km for hit in answer(bundle, nowhere)} == {None}  # logs write 0, 0 for an unknown place
    assert bundle.fields == ("lat", "lon")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"where": "prize < 3"}, r"no column 'prize' \(did you mean Price\?\); there are document_id, kind, city"),
        ({"where": "story = x"}, "'story' of the documents cannot be compared: it holds texts of up to 4,000"),
        ({"where": "price < cheap"}, "Price|price holds numbers; got 'cheap'"),
        ({"where": "within 5 km"}, "within needs the place of the search. Give its fields lat and lon, its city"),
        ({"show": ["prize"]}, "show: the documents of this model have no column 'prize'; they have title"),
        ({"show": ["story"]}, "no column 'story': it holds texts of up to 4,000 characters"),
        ({"fields": {"lat": 45}}, r"fields\.lon: got nothing; expected the longitude of the search in degrees"),
        ({"fields": {"lat": "x", "lon": 3}}, r"fields\.lat: got 'x'"),
        ({"fields": {"lat": 91, "lon": 3}}, r"fields\.lat: got 91; expected a latitude from -90 to 90"),
        ({"fields": {"lat": "nan", "lon": 3}}, r"fields\.lat: got nan"),
    ],
)
def test_what_the_documents_lack_is_refused_with_what_they_have(
    bundle: Bundle, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        answer(bundle, SearchQuery.model_validate({"query": "walks", **given}))


def test_a_value_that_no_document_has_is_named(bundle: Bundle) -> None:
    query = SearchQuery(query="walks", where="brand = Acne OR brand = Zett")
    assert unknown_in_condition(bundle, query) == ["brand: no document has 'Acne'; similar: Acme"]
    assert unknown_in_condition(bundle, SearchQuery(query="walks")) == []


def test_a_bundle_without_own_columns_and_places_answers_as_before(tmp_path: Path) -> None:
    plain = open_bundle(make_bundle(tmp_path / "plain"))
    assert (plain.fields, plain.own.settings.show) == ((), ())
    hit = answer(plain, SearchQuery(query="walks", city="Lyon"))[0]
    assert (hit.shown, hit.distance_km) == ({}, None)
    for where in ("within 5 km of Lyon", "within 5 km"):
        with pytest.raises(InputError, match="within needs places, and the documents have none"):
            answer(plain, SearchQuery(query="walks", where=where))


def test_a_ranker_reads_the_distance_of_the_query(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "one")
    (folder / SECOND).mkdir()
    ordinary = OrdinaryInputs(None, None, None, None, None, np.zeros(0, np.float32), {})
    write_ranked_documents(ordinary, np.arange(len(TITLES), dtype=np.int32), folder / SECOND)
    rng = np.random.default_rng(0)
    rows = np.stack([*rng.random((3, 400)), 700 * rng.random(400)], 1)
    features = ["bm25", "words_held", "query_length", "distance_km"]
    data = lightgbm.Dataset(rows, -rows[:, 3], feature_name=features)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 60)
    (folder / SECOND / "ranker.txt").write_text(booster.model_to_string())
    (folder / SECOND / "ranker.json").write_text(json.dumps({"features": features, "bias": "none"}))
    details = {"arm": "hand", "seed": 0, "mode": "reranked", "k": 9, "depth": 100}
    with_own_columns(folder, details | second_stage_details(Ranker(of="hand", depth=9)), OwnSettings())
    near_first = [hit.distance_km for hit in answer(open_bundle(folder), SearchQuery.model_validate(
        {"query": "smith", "k": 9, "where": "within 2000 km", **IN_LYON}))]  # fmt: skip
    assert [km is not None and km < 100 for km in near_first] == [True] * 5 + [False] * 3
    anywhere = answer(open_bundle(folder), SearchQuery(query="smith", k=9))
    assert len({hit.score for hit in anywhere if not hit.words}) == 1  # without a place, only words tell them apart


def test_a_group_of_names_gives_the_place(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "one")
    settings = OwnSettings(place=("user_city", "user_country"), names=True)
    with_own_columns(folder, {"arm": "hand", "seed": 0, **SERVED}, settings)
    assert fields_of_bundle(folder) == ("user_city", "user_country")
    query = SearchQuery.model_validate({"query": "walks", "k": 9, "fields": {"user_city": "Lyon"}})
    near = {hit.document_id for hit in answer(open_bundle(folder), query) if (hit.distance_km or 99) < 10}
    assert near == {"d0", "d3", "d4", "d6"}
