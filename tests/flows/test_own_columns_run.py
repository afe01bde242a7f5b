"""A run on a log with columns of its own: retrievals under conditions, slices, and a ranker that reads distances, up
to the answers of its models."""

from __future__ import annotations

import csv
import random
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from ebr_core.rerank.pair_features import read_ranker
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import SearchQuery
from flows.ebr import ebr
from tasks.artifacts import artifacts
from tasks.eval_sets import read_sample
from tasks.served_models import bundle_of, models_of
from tasks.tracking.runs import Outcome

pytestmark = pytest.mark.more
PLACES = [(45.75, 4.85), (50.73, 7.1), (48.85, 2.35)]
K = 5
COLOURS = ("red", "blue", "green", "black")
THINGS = ("shoe", "boot", "hat", "lamp", "chair", "table", "bike", "pen", "bag", "coat")
EXPERIMENT: dict[str, Any] = {
    "logs": {"layout": "tables", "searches": "searches.csv", "results": "results.csv", "documents": "documents.csv"},
    "evaluation": {"ks": [1, K], "main_k": K, "slices": ["category", "device"], "resamples": 100},
    "arms": {
        "base": {"towers": {"dimensions": 16}, "training": {"epochs": 1, "batch_size": 64, "patience": None}},
        "softmax": {"loss": {"kind": "softmax"}},
    },
    "retrievals": {
        "cheap": {"terms": "any", "where": "price < 50"},
        "near": {"arm": "softmax", "where": "within 50 km"},
    },
    "rankers": {"ranked": {"of": "softmax", "depth": 20, "embedding": "cosine", "leaf_rows": 5, "trees": 10}},
    "serving": {"show": ["price"]},
}  # fmt: skip


def _log() -> dict[str, list[dict[str, Any]]]:
    """A shop of 40 things: searchers click what is near."""
    rng = random.Random(0)
    documents = [
        {
            "document_id": f"d{i:02}", "title": f"{colour} {thing}", "price": rng.randint(1, 99),
            "category": rng.choice("abc"), "lat": PLACES[i % 3][0] + rng.random() / 10, "lon": PLACES[i % 3][1],
        }
        for i, (colour, thing) in enumerate(product(COLOURS, THINGS))
    ]  # fmt: skip
    searches, results = [], []
    for s in range(600):
        lat, lon = PLACES[s % 3]
        near = [document for document in documents if abs(document["lat"] - lat) < 1]
        wanted = rng.choice(near)
        known = s % 7 > 0
        searches.append(
            {
                "search_id": s, "searched_at": f"2024-{1 + s // 240:02}-{1 + s // 10 % 24:02} {10 + s % 10}:00:00",
                "query": wanted["title"].split()[1], "searcher_id": f"u{s % 60}", "device": rng.choice(["phone", ""]),
                "lat": lat if known else "", "lon": lon if known else "",
            }
        )  # fmt: skip
        shown = {document["document_id"]: document for document in [wanted, *rng.sample(documents, 4)]}
        results += [
            {"search_id": s, "document_id": name, "clicked": str(document is wanted).lower()}
            for name, document in shown.items()
        ]
    return {"documents": documents, "searches": searches, "results": results}


@pytest.fixture(scope="module")
def outcome(own_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("own")
    for name, rows in _log().items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    (folder / "own-columns.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    state = ebr(str(folder / "own-columns.yaml"), return_state=True)
    assert state.is_completed(), state.message
    result = state.result()
    assert isinstance(result, Outcome)
    return result


def test_slices_by_own_columns_are_in_the_results_and_in_the_report(outcome: Outcome) -> None:
    rows = pq.read_table(outcome.results.folder / "results.parquet").to_pylist()
    slices = {row["slice"] for row in rows if row["arm"] == "softmax" and row["split"] == "test"}
    assert {"category: a", "category: b", "category: c", "device: phone", "device: (empty)"} <= slices
    assert any(name.startswith("distance: ") for name in slices)
    page = (outcome.report.folder / "report.html").read_text()
    assert "category: a" in page
    assert {row["arm"] for row in rows} >= {"cheap", "near", "ranked"}


def test_a_ranker_is_served_with_the_distance_of_each_search(outcome: Outcome) -> None:
    """Its answers, with the place of each search, are the list of its row."""
    folder = bundle_of(models_of("own-columns"), "ranked")
    assert "distance_km" in read_ranker(folder / "second").features
    bundle = open_bundle(folder)
    sampled = read_sample(outcome.sample).searches
    ids = pq.read_table(outcome.log.folder / "documents.parquet")["document_id"].to_pylist()
    names = pq.read_table(outcome.log.folder / "searches.parquet")["search_id"].to_pylist()
    searches = {str(search["search_id"]): search for search in _log()["searches"]}
    answered = []
    for row in sampled["search_row"].tolist():
        search = searches[names[row]]
        place = {name: search[name] for name in ("lat", "lon") if search[name] != ""}
        query = {"query": search["query"], "searched_at": search["searched_at"], "fields": place, "k": K}
        hits = answer(bundle, SearchQuery.model_validate({**query, "mode": "reranked"}))
        answered.append([ids.index(hit.document_id) for hit in hits])
        assert all(hit.shown["price"] == bundle.documents["price"][_row_of(bundle, hit)].as_py() for hit in hits)
        assert {hit.distance_km is None for hit in hits} == {not place}
    lists = [
        rows[:, :K]
        for path in artifacts().glob("retrieve_ranked-*/retrieved.npy")
        if len(rows := np.load(path)) == len(answered)
    ]
    assert any(np.array_equal(answered, rows) for rows in lists)


def _row_of(bundle: Any, hit: Any) -> int:
    """The row of a hit among the documents of the bundle."""
    return int(bundle.documents["document_id"].to_pylist().index(hit.document_id))


def test_a_model_answers_under_conditions_without_a_setting(outcome: Outcome) -> None:
    bundle = open_bundle(bundle_of(models_of("own-columns"), "softmax"))
    prices = {document["document_id"]: document["price"] for document in _log()["documents"]}
    hits = answer(bundle, SearchQuery(query="shoe", k=40, where="price < 20", show=["category", "price"]))
    assert {hit.document_id for hit in hits} <= {name for name, price in prices.items() if price < 20}
    assert all(hit.shown["price"] == prices[hit.document_id] for hit in hits)
    assert hits
