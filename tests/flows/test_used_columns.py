"""The user's own columns from a hand-written log to retrievals, slices and models, by plain loops; refusals of unknown
ones."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError
from ebr_core.measure.value_slices import DISTANCES, EMPTY
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.search.index_specs import Exact
from ebr_core.serving.own_data import read_own_data
from ebr_core.text.bm25_config import Bm25
from flows.app.check import describe_experiment
from flows.evaluated_lists import slice_searches
from flows.sources import Source, extract_log, with_own_data
from tasks.artifacts import Artifact
from tasks.bm25_stages import tune_bm25
from tasks.bundle_stages import tabulate
from tasks.eval_sets import read_sample
from tasks.evaluation_stage import EvaluatedList, evaluate
from tasks.hybrid_stages import retrieve_hybrid
from tasks.kinds import EvalSet, TunedBm25, Vectors
from tasks.log_stages import sample
from tasks.own_column_stages import own_table, too_long
from tasks.own_slices import read_own_slices
from tasks.ranker_inputs import ordinary_inputs
from tasks.retrieval_stages import build_index
from tasks.retrieved import load_retrieved
from tests.csv_experiments import write_csv_experiment

CITIES = [(45.75, 4.85), (50.73, 7.1), (48.85, 2.35)]
BRANDS = ["Acme", "Zett", "Orbit"]
N, S, K = 30, 90, 12
DOCUMENTS = [
    {
        "document_id": f"d{i:02}", "title": f"thing {i} {BRANDS[i % 3]}", "price": "" if i % 7 == 0 else 3 * i + 0.5,
        "Brand": "" if i % 11 == 0 else BRANDS[i % 3], "flag": str(i % 2 == 0).lower(), "code": f"00{i}",
        "released": f"2024-01-{i + 1:02}", "tags": '["a","b"]' if i % 5 == 0 else '["c"]', "story": "x" * 300,
        "lat": "" if i % 6 == 0 else CITIES[i % 3][0] + i / 100, "lon": CITIES[i % 3][1], "void": "",
    }
    for i in range(N)
]  # fmt: skip
SEARCHES = [
    {
        "search_id": s, "searched_at": f"2024-02-{1 + s // 4:02} {10 + s % 4}:00:00", "query": f"thing {s % N}",
        "device": ["phone", "phone", "desktop", ""][s % 4], "age": s % 40,
        "lat": "" if s % 5 == 0 else CITIES[s % 3][0], "lon": "" if s % 5 == 0 else CITIES[s % 3][1],
    }
    for s in range(S)
]  # fmt: skip
NUMBERS = [{"document_id": row["document_id"], "title": row["title"], "count": i} for i, row in enumerate(DOCUMENTS)]
RESULTS = [
    {"search_id": s, "document_id": f"d{(s + step) % N:02}", "clicked": str(step == 0).lower()}
    for s in range(S)
    for step in range(3)
]
SLICES = ["device", "price", "brand", "flag", "age"]
ROWS = {"searches": SEARCHES, "results": RESULTS, "documents": DOCUMENTS}


class Shop(NamedTuple):
    source: Source
    test: EvalSet
    vectors: Vectors
    bm25: TunedBm25


def _write(folder: Path, **sections: Any) -> Path:
    """An experiment on the log above."""
    split = {"test_from": "2024-02-10", "validation_from": "2024-02-08"}
    return write_csv_experiment(folder, ROWS, split, {}, sections)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    path = _write(tmp_path_factory.mktemp("shop"), evaluation={"slices": SLICES, "ks": [1, 3], "main_k": 3})
    spec = load_experiment(path)
    source = with_own_data(spec, extract_log(spec))
    test = sample.fn(source.log, "test", 100, 1)
    rng, vectors = np.random.default_rng(0), Vectors(Artifact(stage="embed_texts", digest="own-columns"))
    vectors.folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("documents", N), ("queries", len(read_sample(test).searches["search_row"]))):
        drawn = rng.normal(size=(rows, 8)).astype(np.float32)
        np.save(vectors.folder / f"{name}.npy", drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
    return Shop(source, test, vectors, tune_bm25.fn(source.log, None, Bm25(k1=1.2, b=0.75), 3))


def _searches_of(shop: Shop) -> list[dict[str, Any]]:
    """The sampled searches as they were written."""
    ids = pq.read_table(shop.test.folder / "searches.parquet")["search_id"].to_pylist()
    return [SEARCHES[int(search_id)] for search_id in ids]


def _documents_of(shop: Shop) -> list[dict[str, Any]]:
    """The documents by row, as they were written."""
    ids = pq.read_table(shop.source.log.folder / "documents.parquet")["document_id"].to_pylist()
    return [DOCUMENTS[int(document_id[1:])] for document_id in ids]


def _km(a: dict[str, Any], b: dict[str, Any]) -> float | None:
    """By the angle between two directions from the centre of the globe; None without a place."""
    if "" in (a["lat"], b["lat"]):
        return None
    lat, lon, other_lat, other_lon = (math.radians(row[name]) for row in (a, b) for name in ("lat", "lon"))
    cosine = math.sin(lat) * math.sin(other_lat) + math.cos(lat) * math.cos(other_lat) * math.cos(lon - other_lon)
    return 6371 * math.acos(max(-1, min(1, cosine)))


def _is_cheap(_: dict[str, Any], document: dict[str, Any]) -> bool:
    return document["price"] != "" and document["price"] < 40 and document["Brand"] in ("Acme", "Zett")


def _is_near(search: dict[str, Any], document: dict[str, Any]) -> bool:
    km = _km(search, document)
    return document["flag"] == "true" or (km is not None and km <= 25)


def _is_far_or_young(search: dict[str, Any], document: dict[str, Any]) -> bool:
    km = _km(search, document)
    return not (km is not None and km <= 300) and document["released"] >= "2024-01-10"


CONDITIONS = {
    "price < 40 AND brand IN ('Acme', Zett)": _is_cheap,
    "flag = true OR within 25 km": _is_near,
    "NOT within 300 km AND released >= 2024-01-10": _is_far_or_young,
}


@pytest.mark.parametrize("where", CONDITIONS)
def test_a_retrieval_under_a_condition_is_the_whole_list_of_what_meets_it(shop: Shop, where: str) -> None:
    """By its embedding, by terms, and both fused by union: by a loop over searches and documents."""
    index = build_index.fn(shop.vectors, shop.test, Exact(), 1)
    own = shop.source.own
    lists = {}
    for name, settings in {
        "near": {"arm": "a"},
        "terms": {"terms": "any"},
        "all": {"terms": "any", "arm": "a"},
    }.items():
        retrieval = Retrieval.model_validate({**settings, "where": where, "fuse": "union"})
        embedding = (shop.vectors, index) if "arm" in settings else (None, None)
        inputs = shop.source.log, shop.test, shop.bm25, retrieval, K, 1, *embedding
        made = load_retrieved(retrieve_hybrid.fn(*inputs, own=own.documents, places=own.places))
        assert not isinstance(made, str)
        lists[name] = made.rows
        assert made.returned is not None
        assert made.returned.tolist() == (made.rows >= 0).sum(1).tolist()
    vectors, queries = (np.load(shop.vectors.folder / f"{name}.npy") for name in ("documents", "queries"))
    documents, holds, sizes = _documents_of(shop), CONDITIONS[where], set()
    for s, search in enumerate(_searches_of(shop)):
        allowed = [row for row, document in enumerate(documents) if holds(search, document)]
        sizes.add(len(allowed))
        by_cosine = sorted(allowed, key=lambda row: -float(vectors[row] @ queries[s]))[:K]
        assert lists["near"][s].tolist() == by_cosine + [-1] * (K - len(by_cosine))
        by_terms = [row for row in lists["terms"][s].tolist() if row >= 0]
        with_word = {row for row in allowed if set(search["query"].split()) & set(documents[row]["title"].split())}
        assert set(by_terms) <= with_word
        assert len(by_terms) == min(K, len(with_word))
        both = list(dict.fromkeys([*by_terms, *by_cosine]))[:K]
        assert lists["all"][s].tolist() == both + [-1] * (K - len(both))
    assert sizes != {N}


def test_searches_are_divided_by_their_columns_and_by_those_of_what_was_wanted(shop: Shop) -> None:
    slices = read_own_slices(slice_searches(shop.source, shop.test), "clicked")
    searches, targets = read_sample(shop.test).for_targets("clicked")
    ids = pq.read_table(shop.source.log.folder / "searches.parquet")["search_id"].to_pylist()
    documents = _documents_of(shop)
    by_search = [SEARCHES[int(ids[row])] for row in searches["search_row"].tolist()]
    wanted = [documents[row] for row in targets.documents.tolist()]
    named = {name: [part.labels[code] for code in part.codes.tolist()] for name, part in slices.items()}
    assert list(named) == ["device", "price", "Brand", "flag", "age", "distance"]
    assert named["device"] == [search["device"] or EMPTY for search in by_search]
    assert named["Brand"] == [document["Brand"] or EMPTY for document in wanted]
    assert named["flag"] == [document["flag"] for document in wanted]
    edges = sorted({document["price"] for document in wanted} - {""})
    assert len(edges) > 8
    for name, document in zip(named["price"], wanted, strict=True):
        assert (name == EMPTY) == (document["price"] == "")
    counts = Counter(named["price"])
    assert len(counts) == 5
    for name, search, document in zip(named["distance"], by_search, wanted, strict=True):
        km = _km(search, document)
        at = None if km is None else sum(km >= edge for edge in DISTANCES)
        assert slices["distance"].labels.index(name) == (len(DISTANCES) + 1 if at is None else at)


def test_the_results_have_a_row_with_n_for_each_slice(shop: Shop) -> None:
    spec = load_experiment(_write(Path(shop.source.files.searches).parent, evaluation={"ks": [1, 3], "main_k": 3}))  # type: ignore[union-attr, arg-type]
    retrieval = Retrieval.model_validate({"terms": "any"})
    made = retrieve_hybrid.fn(shop.source.log, shop.test, shop.bm25, retrieval, 3, 1)
    lists = [EvaluatedList(arm="terms", seed=None, index="none", rows=made)]
    results = evaluate.fn(shop.test, lists, {}, spec.evaluation, None, slice_searches(shop.source, shop.test))
    rows = pq.read_table(results.folder / "results.parquet").to_pylist()
    measured = {row["slice"]: row["n"] for row in rows if (row["metric"], row["k"]) == ("recall", 3)}
    whole = measured["all"]
    for column in ("device", "price", "Brand", "flag", "age", "distance"):
        parts = {name: n for name, n in measured.items() if name.startswith(f"{column}: ")}
        assert len(parts) > 1
        assert sum(parts.values()) == whole


def test_rankers_read_the_distance(shop: Shop) -> None:
    searched = read_sample(shop.test)
    ordinary, missing = ordinary_inputs(shop.source.log, searched, shop.source.own.distances)
    assert "distance_km" not in missing
    assert ordinary.located is not None
    origins, places = ordinary.located
    known = [search["lat"] != "" for search in _searches_of(shop)]
    assert np.isfinite(origins).all(1).tolist() == known
    assert np.isfinite(places).all(1).tolist() == [document["lat"] != "" for document in _documents_of(shop)]
    assert ordinary_inputs(shop.source.log, searched, None)[1]["distance_km"].startswith(
        "searches or documents have no"
    )


@pytest.mark.parametrize(
    ("serving", "columns", "left_out"),
    [
        ({}, "Brand code flag lat lon price released tags", "story void"),
        ({"columns": ["price", "story"]}, "price story", "Brand code flag lat lon released tags void"),
        ({"columns": [], "show": ["brand"]}, "Brand", "code flag lat lon price released story tags void"),
    ],
)
def test_short_columns_travel_with_a_model_or_those_that_serving_names(
    shop: Shop, tmp_path: Path, serving: dict[str, Any], columns: str, left_out: str
) -> None:
    spec = load_experiment(_write(tmp_path, serving=serving))
    own = with_own_data(spec, shop.source).own
    tables = tabulate.fn(shop.source.log, shop.test, shop.bm25, own.documents, own.places, spec.serving)
    documents = pq.read_table(tables.folder / "documents.parquet")
    layout = {
        "title",
        "body",
        "document_id",
        "kind",
        "city",
        "region",
        "country",
        "language",
        "created_at",
        "removed_at",
    }
    assert sorted(set(documents.column_names) - layout, key=str.lower) == columns.split()
    data = read_own_data(tables.folder)
    assert data.places is not None
    assert data.settings.place == ("lat", "lon")
    assert data.settings.show == (("Brand",) if "show" in serving else ())
    assert set(data.settings.left_out) == set(left_out.split())
    if not serving:
        types = {name: str(documents.schema.field(name).type) for name in columns.split()}
        assert types == {
            "Brand": "string", "code": "string", "flag": "bool", "lat": "double", "lon": "double", "price": "double",
            "released": "timestamp[us]", "tags": "list<element: string>",
        }  # fmt: skip
        prices = {row["document_id"]: row["price"] for row in documents.to_pylist()}
        assert prices == {document["document_id"]: document["price"] or None for document in DOCUMENTS}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"evaluation": {"slices": ["devise"]}},
            r"slices: no column 'devise' \(did you mean device\?\)\. Searches have ",
        ),
        ({"evaluation": {"slices": ["lat"]}}, r"both have a column 'lat'\. Write searches\.lat or documents\.lat"),
        ({"evaluation": {"slices": ["documents.device"]}}, r"no column 'documents\.device'"),
        ({"evaluation": {"slices": ["tags"]}}, "tags of the documents holds lists"),
        (
            {"evaluation": {"slices": ["story"]}},
            "story of the documents cannot divide searches: it holds texts of up to 300",
        ),
        ({"serving": {"show": ["prize"]}}, r"serving\.show: no column 'prize' \(did you mean price\?\)"),
        ({"serving": {"columns": ["prize"]}}, r"serving\.columns: no column 'prize'"),
        ({"retrievals": {"r": {"terms": "any", "where": "prize < 3"}}}, r"retrievals\.r\.where: no column 'prize'"),
        (
            {"retrievals": {"r": {"terms": "any", "where": "price < x"}}},
            r"retrievals\.r\.where: .* price holds numbers",
        ),
    ],
)
def test_a_column_that_is_not_there_ends_the_run_before_training(
    shop: Shop, tmp_path: Path, sections: dict[str, Any], message: str
) -> None:
    spec = load_experiment(_write(tmp_path, **sections))
    with pytest.raises(InputError, match=message):
        with_own_data(spec, shop.source)


def test_check_lists_no_column_that_a_slice_a_condition_or_results_use(tmp_path: Path) -> None:
    text = describe_experiment(
        _write(
            tmp_path,
            evaluation={"slices": ["device"], "ks": [1, 3], "main_k": 3},
            serving={"show": ["price"]},
            retrievals={"r": {"terms": "any", "where": "Brand IN (Acme, Acne) AND within 25 km"}},
        )
    )
    (line,) = (line for line in text.splitlines() if "columns that nothing reads" in line)
    assert "searches: age; documents: code, flag, released, story, tags, void" in line
    assert "places: 72 of 90 searches have one, by lat and lon" in text
    assert "places: 25 of 30 documents have one, by lat and lon" in text
    assert "retrievals.r.where: Brand: no document has 'Acne'; similar: Acme." in text
    assert "a run would be refused" not in text
    wrong = describe_experiment(_write(tmp_path, evaluation={"slices": ["devise"], "ks": [1, 3], "main_k": 3}))
    assert "a run would be refused: evaluation.slices: no column 'devise'" in wrong


def test_a_catalogue_with_records_is_read_without_them(tmp_path: Path) -> None:
    """A run that names no such column has the others, and says why a model lacks it."""
    path = _write(tmp_path)
    table = pa.Table.from_pylist([{"record": {"a": i}, **document} for i, document in enumerate(NUMBERS)])
    pq.write_table(table, tmp_path / "documents.parquet")
    content = yaml.safe_load(path.read_text())
    content["logs"]["documents"] = "documents.parquet"
    path.write_text(yaml.safe_dump(content))
    spec = load_experiment(path)
    own = with_own_data(spec, extract_log(spec)).own.documents
    assert own_table(own).column_names == ["count"]
    assert set(too_long(own)) == {"record"}
    path.write_text(yaml.safe_dump(content | {"serving": {"show": ["record"]}}))
    named = load_experiment(path)
    with pytest.raises(InputError, match=r"column 'record' is of type STRUCT"):
        with_own_data(named, extract_log(named))
