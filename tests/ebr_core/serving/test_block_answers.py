"""Many queries at once get the answers that each gets alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ebr_core.errors import InputError
from ebr_core.serving.block_answers import answer_block
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.own_data import OwnSettings
from ebr_core.serving.query_answer import answer
from ebr_core.serving.query_block import as_lists, read_block
from ebr_core.serving.search_query import SearchQuery
from tests.bundles import SERVED, make_bundle, with_own_columns

QUERIES: list[dict[str, Any]] = [
    {"query": "smith anna"},
    {"query": "  chess club ", "city": "Lyon", "country": "FR"},
    {"query": "walks", "searcher_id": "s1"},
    {"query": "walks", "searcher_id": "s1", "city": "Bonn"},
    {"query": "☃☃☃"},
    {"query": "jazz night smith smith", "city": " ", "lat": 45.75, "lon": 4.85},
    {"query": "chess", "lat": 0.0, "lon": 0.0},
]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"k": 3},
    {"where": "kind = group AND NOT city = Lyon"},
    {"where": "price < 20"},
    {"where": "nn(k=2) OR term:jazz"},
    {"where": "price < 0"},
    {"radius": "model"},
    {"radius": 0.8},
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = make_bundle(tmp_path_factory.mktemp("bundle") / "own")
    with_own_columns(folder, {"arm": "hand", "seed": 0, **SERVED}, OwnSettings(show=("Price",)))
    return open_bundle(folder)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as a table with the columns of all of them."""
    names = {name: None for row in rows for name in row}
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def alone(bundle: Bundle, row: dict[str, Any], settings: dict[str, Any]) -> SearchQuery:
    """The query of a row with these settings."""
    fields = {name: row[name] for name in ("lat", "lon") if name in row}
    return SearchQuery.model_validate({k: v for k, v in row.items() if k not in fields} | settings | {"fields": fields})


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("mode", ["ebr", "hybrid", "weighted", "boolean"])
def test_a_block_has_the_answers_of_its_queries(bundle: Bundle, mode: str, settings: dict[str, Any]) -> None:
    own = {**settings, "mode": mode}
    block, problems = read_block(bundle, table_of(QUERIES))
    assert problems.null_count == len(QUERIES)
    answers = answer_block(bundle, block, SearchQuery.model_validate({"query": "?", **own}))
    ids = np.array(bundle.documents["document_id"].to_pylist())
    for at, row in enumerate(QUERIES):
        hits = answer(bundle, alone(bundle, row, own))
        count = (answers.rows[at] >= 0).sum()
        assert ids[answers.rows[at, :count]].tolist() == [hit.document_id for hit in hits]
        assert answers.scores[at, :count] == pytest.approx([hit.score for hit in hits], abs=1e-6)
        assert answers.cosines[at, :count] == pytest.approx([hit.cosine for hit in hits], abs=1e-6)
        known = [np.nan if hit.distance_km is None else hit.distance_km for hit in hits]
        assert answers.kilometres[at, :count] == pytest.approx(known, nan_ok=True)


def test_a_condition_on_the_place_is_that_of_each_query(bundle: Bundle) -> None:
    rows = [{"query": "walks", "city": "Lyon"}, {"query": "walks", "city": "Bonn"}]
    block, _ = read_block(bundle, table_of(rows))
    answers = answer_block(bundle, block, SearchQuery(query="?", where="within 5 km"))
    for at, row in enumerate(rows):
        expected = {hit.title for hit in answer(bundle, alone(bundle, row, {"where": "within 5 km"}))}
        found = answers.rows[at][answers.rows[at] >= 0]
        assert expected
        assert set(bundle.documents["title"].take(found).to_pylist()) == expected


def test_the_problem_of_a_row_is_its_own(bundle: Bundle) -> None:
    rows = [
        {"query": "walks", "searcher_id": None},
        {"query": " ", "searcher_id": None},
        {"query": None, "searcher_id": None},
        {"query": "x" * 501, "searcher_id": None},
        {"query": "walks", "searcher_id": "nobody"},
        {"query": "walks", "city": "y" * 201},
        {"query": "walks", "lat": "91", "lon": "4"},
        {"query": "walks", "lat": "45"},
        {"query": "walks", "searched_at": "yesterday"},
        {"query": "walks", "searched_at": "2026-11-30T09:30:00"},
    ]
    names = ("query", "searcher_id", "city", "lat", "lon", "searched_at")
    table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
    block, problems = read_block(bundle, table)
    assert block.table["query"].to_pylist() == ["walks", "walks"]
    assert len(block.places) == len(block.searched_at) == 2
    assert [problem and problem[:40] for problem in problems.to_pylist()] == [
        None,
        "query: the query is empty",
        "query: the query is empty",
        "query: more than 500 characters",
        "no searcher nobody in the logs of this m",
        "city: more than 200 characters",
        "fields.lat: expected the latitude of the",
        "fields.lon: expected the longitude of th",
        "searched_at: expected a time such as 202",
        None,
    ]
    assert str(block.searched_at[1]) == "2026-11-30 09:30:00+00:00"


def test_columns_that_are_no_texts_or_times_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"city: got a column of struct<a: int64>; expected texts"):
        read_block(bundle, pa.table({"query": ["walks"], "city": [{"a": 1}]}))
    with pytest.raises(InputError, match="searched_at: got a column of int64; expected timestamps"):
        read_block(bundle, pa.table({"query": ["walks"], "searched_at": [5]}))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None]), [["1"], None]),
        (pa.array([3.0, 0.5]), [["3.0"], ["0.5"]]),
        (pa.array([True, False]), [["true"], ["false"]]),
        (pa.array([["a", "b"], None, []]), [["a", "b"], None, []]),
        (pa.array([[9], None, [1, 2]]).slice(1), [None, ["1", "2"]]),
    ],
)
def test_values_of_a_request_are_lists_of_texts(values: pa.Array, expected: list[list[str] | None]) -> None:
    assert as_lists(pa.chunked_array([values])).to_pylist() == expected
