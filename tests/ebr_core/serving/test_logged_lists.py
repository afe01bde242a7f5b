"""The lists of a log in a bundle: written and read, looked up, cut by conditions, and answered; BM25 beside them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ebr_core.errors import InputError
from ebr_core.serving.block_answers import answer_block
from ebr_core.serving.logged_lists import LoggedLists, listed_rows, read_logged_lists, shown_at, write_logged_lists
from ebr_core.serving.model_bundle import Bundle, open_bundle, seal
from ebr_core.serving.query_answer import answer, logged_remark
from ebr_core.serving.search_query import QueryBlock, SearchQuery, queries_as_table
from ebr_core.text.terms import rank_documents
from tests.bundles import SERVED, make_bundle

LISTS = LoggedLists(
    pa.array(["anna smith", "chess"]),
    pa.array([datetime(2024, 1, 2), datetime(2024, 3, 4)], pa.timestamp("us")),
    np.array([[2, 0, -1], [7, 5, 1]], np.int32),
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = make_bundle(tmp_path_factory.mktemp("logged") / "one")
    write_logged_lists(LISTS, folder)
    seal(folder, {"arm": "hand", "seed": 0, **SERVED})
    return open_bundle(folder)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_logged_lists(LISTS, tmp_path)
    back = read_logged_lists(tmp_path)
    assert back is not None
    assert (back.queries.to_pylist(), back.searched_at.to_pylist()) == (
        LISTS.queries.to_pylist(),
        LISTS.searched_at.to_pylist(),
    )
    assert back.rows.tolist() == LISTS.rows.tolist()
    write_logged_lists(LoggedLists(*(part[:0] for part in LISTS)), tmp_path / "none")
    assert read_logged_lists(tmp_path / "none") is None


@pytest.mark.parametrize("copies", [1, 20])  # looked up one by one, and together
def test_a_query_finds_its_list_however_it_is_written(copies: int) -> None:
    texts = ["Chess!", "anna  SMITH", "nobody asked"] * copies
    rows = listed_rows(LISTS, texts, 2, None)
    assert rows.tolist() == [[7, 5], [2, 0], [-1, -1]] * copies
    allowed = np.ones(9, bool)
    allowed[[7, 2]] = False
    assert listed_rows(LISTS, texts, 5, allowed)[:2].tolist() == [[5, 1, -1, -1, -1], [0, -1, -1, -1, -1]]
    assert shown_at(LISTS, "CHESS") == datetime(2024, 3, 4)
    assert shown_at(LISTS, "nobody asked") is None


def test_a_model_answers_with_the_list_of_the_log_and_says_of_when(bundle: Bundle) -> None:
    query = SearchQuery(query="Chess", mode="logged")
    hits = answer(bundle, query)
    assert [(hit.document_id, hit.why.split(";")[0]) for hit in hits] == [
        ("d7", "shown 1st by today's engine"),
        ("d5", "shown 2nd by today's engine"),
        ("d1", "shown 3rd by today's engine"),
    ]
    assert logged_remark(bundle, query) == [
        "as the engine of the log showed it on 2024-03-04; documents that are gone are left out"
    ]
    unasked = SearchQuery(query="knitting", mode="logged")
    assert answer(bundle, unasked) == []
    assert "nobody asked for this query" in logged_remark(bundle, unasked)[0]
    people = SearchQuery(query="chess", mode="logged", where="kind = person")
    assert [hit.document_id for hit in answer(bundle, people)] == ["d1"]


@pytest.mark.parametrize("mode", ["bm25", "logged"])
def test_a_block_answers_as_single_queries_do(bundle: Bundle, mode: str) -> None:
    settings = SearchQuery.model_validate({"query": "?", "mode": mode, "k": 4})
    queries = [settings.model_copy(update={"query": text}) for text in ("chess club", "chess", "anna smith", "zzz")]
    block = QueryBlock(queries_as_table(queries), pa.nulls(4), np.full((4, 2), np.nan))
    answers = answer_block(bundle, block, settings)
    for query, rows, scores in zip(queries, answers.rows, answers.scores, strict=True):
        hits = answer(bundle, query)
        assert [f"d{row}" for row in rows if row >= 0] == [hit.document_id for hit in hits]
        assert scores[rows >= 0] == pytest.approx([hit.score for hit in hits])


def test_bm25_is_the_list_of_the_baseline(bundle: Bundle) -> None:
    rows, scores = rank_documents(bundle.terms, ["chess lyon walks"], 5, False)
    hits = answer(bundle, SearchQuery(query="chess lyon walks", mode="bm25", k=5))
    assert [hit.document_id for hit in hits] == [f"d{row}" for row in rows[0] if row >= 0]
    assert [hit.score for hit in hits] == pytest.approx(scores[0][rows[0] >= 0].tolist())


def test_a_bundle_without_lists_has_no_such_mode(tmp_path: Path) -> None:
    plain = open_bundle(make_bundle(tmp_path / "plain"))
    assert plain.modes == ("ebr", "hybrid", "weighted", "boolean", "bm25")
    with pytest.raises(InputError, match="has no logged; its modes are ebr"):
        answer(plain, SearchQuery(query="chess", mode="logged"))
