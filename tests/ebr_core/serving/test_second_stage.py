"""Bundles that reorder answer like a loop over the documents that the first towers retrieve."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import lightgbm
import numpy as np
import pytest
from pydantic import ValidationError

from ebr_core.errors import InputError
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.ranker_features import OrdinaryInputs, Ranker
from ebr_core.serving.known_context import unknown_context
from ebr_core.serving.model_bundle import Bundle, open_bundle, seal
from ebr_core.serving.query_answer import answer
from ebr_core.serving.query_towers import embed_query_table
from ebr_core.serving.search_query import SearchQuery, queries_as_table
from ebr_core.serving.second_stage import (
    SECOND,
    second_stage_details,
    unknown_features,
    write_ranked_documents,
)
from ebr_core.towers.feature_config import Location
from tests.bundles import CITIES, TITLES, make_bundle

DEPTH = 4
FEATURES = [
    *("bm25", "words_held", "popularity", "kind", "title_length", "query_length", "age_days", "same_city", "cosine")
]
DETAILS = {"arm": "hand", "seed": 0, "mode": "reranked", "k": 3, "depth": 100}


def _open_exact(folder: Path) -> Bundle:
    bundle = open_bundle(folder)
    faiss.extract_index_ivf(bundle.built_index.index).nprobe = 3  # all cells, so the search is exact
    return bundle


@pytest.fixture(scope="module")
def cascade_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade whose second towers have other weights and other dimensions."""
    place = tmp_path_factory.mktemp("cascade")
    folder, other = make_bundle(place / "first"), make_bundle(place / "other", seed=1, d=16)
    (folder / SECOND).mkdir()
    shutil.copytree(other / "towers", folder / SECOND / "towers")
    for name in ("vectors.npy", "canaries.parquet"):
        shutil.copy(other / name, folder / SECOND / name)
    seal(folder, DETAILS | second_stage_details(Cascade(first="hand", then="other", depth=DEPTH)))
    return folder


def test_a_cascade_orders_the_first_documents_by_its_second_towers(cascade_folder: Path) -> None:
    bundle, query = _open_exact(cascade_folder), SearchQuery(query="smiht chess", k=9)
    retrieved = [hit.title for hit in answer(bundle, query.model_copy(update={"mode": "ebr"}))]
    assert bundle.second is not None
    own = embed_query_table(bundle.second.towers, queries_as_table([query]))[0]  # type: ignore[union-attr]
    cosine = dict(zip(TITLES, (bundle.second.vectors @ own).tolist(), strict=True))  # type: ignore[union-attr]
    hits = answer(bundle, query)
    expected = [*sorted(retrieved[:DEPTH], key=lambda title: -cosine[title]), *retrieved[DEPTH:]]
    assert [hit.title for hit in hits] == expected != retrieved
    assert [hit.score for hit in hits[:DEPTH]] == pytest.approx([cosine[t] for t in expected[:DEPTH]], abs=1e-6)
    assert [hit.score for hit in hits[DEPTH:]] == pytest.approx([hit.cosine for hit in hits[DEPTH:]], abs=1e-6)
    assert [hit.near_rank for hit in hits] == [1 + retrieved.index(title) for title in expected]
    persons = [hit.title for hit in answer(bundle, query.model_copy(update={"where": "kind = person"}))]
    assert persons == sorted(persons, key=lambda title: -cosine[title])


def test_the_second_towers_are_checked_by_their_canaries(cascade_folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(cascade_folder, tmp_path / "moved"))
    shutil.copy(cascade_folder / "towers" / "towers.safetensors", moved / SECOND / "towers" / "towers.safetensors")
    shutil.copy(cascade_folder / "towers" / "manifest.json", moved / SECOND / "towers" / "manifest.json")
    seal(moved, json.loads((moved / "manifest.json").read_text()))
    with pytest.raises(InputError, match="canary queries come out"):
        open_bundle(moved)


@pytest.fixture(scope="module")
def ranker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranker of random trees over every ordinary feature and the cosine."""
    folder, rng = make_bundle(tmp_path_factory.mktemp("ranker") / "one"), np.random.default_rng(0)
    (folder / SECOND).mkdir()
    ordinary = OrdinaryInputs(
        clicks=rng.random(len(TITLES)).astype(np.float32),
        kinds=rng.integers(0, 4, len(TITLES)).astype(np.float32),
        searched=None,
        created=np.arange(19_723, 19_723 + len(TITLES), dtype=np.float32),  # from 2024-01-01 on
        title=np.array([len(title) for title in TITLES], np.float32),
        query=np.zeros(0, np.float32),
        places={},
    )
    write_ranked_documents(ordinary, np.arange(len(TITLES), dtype=np.int32), folder / SECOND)
    rows = rng.random((400, len(FEATURES))) * [2, 1, 1, 3, 20, 20, 20, 1, 1]
    rows[:, 7] = np.where(rng.random(400) < 0.3, np.nan, rows[:, 7] > 0.5)
    target = rows[:, 0] + rows[:, 6] / 10 + 2 * np.nan_to_num(rows[:, 7]) + rows[:, 8]
    data = lightgbm.Dataset(rows, target, feature_name=FEATURES)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 20)
    (folder / SECOND / "ranker.txt").write_text(booster.model_to_string())
    (folder / SECOND / "ranker.json").write_text(json.dumps({"features": FEATURES, "bias": "none"}))
    seal(folder, DETAILS | second_stage_details(Ranker(of="hand", depth=6, embedding="cosine")))
    return folder


@pytest.mark.parametrize("context", [{}, {"city": "Lyon"}, {"city": "Atlantis"}, {"searcher_id": "s1"}])
@pytest.mark.parametrize("day", [2, 25])
def test_a_ranker_orders_by_the_features_of_the_query_its_place_and_its_time(
    ranker_folder: Path, context: dict[str, str], day: int
) -> None:
    bundle, searched_at = _open_exact(ranker_folder), datetime(2024, 1, day, tzinfo=UTC)
    query = SearchQuery(query="chess lyon", k=9, searched_at=searched_at, **context)  # type: ignore[arg-type]
    retrieved = answer(bundle, query.model_copy(update={"mode": "ebr"}))
    city = context.get("city") or ("Lyon" if context.get("searcher_id") else None)
    table = bundle.second.documents  # type: ignore[union-attr]
    scores = {}
    for hit in retrieved[:6]:
        row = TITLES.index(hit.title)
        terms = answer(bundle, SearchQuery(query="chess lyon", mode="weighted", k=9, where=f"document_id = d{row}"))[0]
        held, same = len(terms.words), _same(CITIES[row], city)
        age = max(searched_at.timestamp() / 86_400 - float(table["created"][row]), 0)
        ordinary = [float(table[name][row]) for name in ("clicks", "kinds", "title")]
        features = [_bm25(bundle, row), held / 2, *ordinary, 10.0, age, same, hit.cosine]
        scores[hit.title] = bundle.second.model.booster.predict(np.array([features]))[0]  # type: ignore[union-attr]
    hits = answer(bundle, query)
    expected = sorted(scores, key=lambda title: -scores[title])
    assert [hit.title for hit in hits] == [*expected, *(hit.title for hit in retrieved[6:])]
    assert [hit.score for hit in hits[:6]] == pytest.approx([scores[title] for title in expected])


def test_blanks_around_a_query_and_its_place_change_nothing(ranker_folder: Path) -> None:
    bundle, day = _open_exact(ranker_folder), datetime(2024, 1, 2, tzinfo=UTC)
    places: dict[str, dict[str, Any]] = {"": {}, " ": {}, " Lyon ": {"city": "Lyon"}}
    for city, clean in places.items():
        blank = SearchQuery(query="  chess lyon ", k=9, searched_at=day, city=city)
        assert answer(bundle, blank) == answer(bundle, SearchQuery(query="chess lyon", k=9, searched_at=day, **clean))


def _same(of_document: str | None, of_query: str | None) -> float:
    return float("nan") if of_document is None or of_query is None else float(of_document == of_query)


def _bm25(bundle: Bundle, row: int) -> float:
    """BM25 of the document for the words chess and lyon, from the postings."""
    words = bundle.terms.words.to_pylist()
    score = 0.0
    for word in (words.index("chess"), words.index("lyon")):
        first, last = bundle.terms.starts[word], bundle.terms.starts[word + 1]
        for entry in range(first, last):
            score += float(bundle.terms.weights[entry]) * (bundle.terms.documents[entry] == row)
    return score


def test_without_a_time_a_search_is_of_now(ranker_folder: Path) -> None:
    bundle = open_bundle(ranker_folder)
    now = SearchQuery(query="walks", k=9, searched_at=datetime.now(UTC))
    assert answer(bundle, SearchQuery(query="walks", k=9)) == answer(bundle, now)
    assert SearchQuery.model_validate({"query": "x", "searched_at": "2024-01-02T03:04:05"}).searched_at == datetime(
        2024, 1, 2, 3, 4, 5, tzinfo=UTC
    )
    with pytest.raises(ValidationError, match="searched_at"):
        SearchQuery.model_validate({"query": "x", "searched_at": "yesterday"})


def test_a_query_without_a_known_n_gram_finds_nothing(cascade_folder: Path, ranker_folder: Path) -> None:
    for folder in (cascade_folder, ranker_folder):
        assert answer(open_bundle(folder), SearchQuery(query="☃☃☃")) == []


def test_a_bundle_without_a_second_stage_has_no_such_mode(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "one"))
    with pytest.raises(InputError, match="mode: hand has no reranked; its modes are ebr, hybrid, weighted, boolean"):
        answer(bundle, SearchQuery(query="walks", mode="reranked"))


def test_a_feature_that_nobody_can_know_is_named() -> None:
    assert unknown_features([*FEATURES, "hadamard_0", "query_3", "document_3", "position", "same_region"]) == []
    assert unknown_features([*FEATURES, "dwell_time", "history_0", "history_1"]) == ["dwell_time", "history"]


def test_an_unknown_place_is_named(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "one"))
    fields: dict[str, Any] = {"query": "x", "city": "Atlantis", "country": "FR"}  # only a searcher is from FR
    assert unknown_context(bundle, SearchQuery(**fields)) == [
        "city: no document and no searcher of this log has 'Atlantis', so it counts as unknown"
    ]
    assert unknown_context(bundle, SearchQuery(query="x", city="Bonn", language="fr")) == []


def test_a_city_that_a_group_looks_up_by_name_is_known_without_the_log(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "one"))
    places = Location(searches=("city", "country"), documents=("city", "country"), names=True)
    towers: Any = bundle.towers
    features = towers.fitted.features.model_copy(update={"groups": {"place": places}})
    bundle = bundle._replace(towers=towers._replace(fitted=towers.fitted._replace(features=features)))
    assert unknown_context(bundle, SearchQuery(query="x", city="Potsdam", country="DE")) == []
    assert len(unknown_context(bundle, SearchQuery(query="x", city="Atlantis", country="DE"))) == 2
