"""Files of answers: every query has its lines, columns are carried, and a killed run goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import SearchQuery
from flows.app import batch_file
from flows.app.batch_file import AnsweredFile, answer_file
from tests.bundles import make_bundle

QUIET = Console(quiet=True)
TEXTS = ["walks", "smith anna", " ", "chess", "zzzz", "jazz night", None]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(make_bundle(tmp_path_factory.mktemp("bundle") / "one"))


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    table = pa.table({"query": TEXTS, "title": [f"page {i}" for i in range(7)], "weights": [[i, i] for i in range(7)]})
    pq.write_table(table, tmp_path / "queries.parquet")
    return tmp_path / "queries.parquet"


def test_every_query_has_its_answers_or_its_problem(bundle: Bundle, queries: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert answer_file(bundle, queries, out, {"k": 2, "mode": "boolean"}, QUIET) == AnsweredFile(7, 3)
    table = pq.read_table(out)
    assert table.column_names == [
        *("query_row", "rank", "document_id", "title", "score", "cosine", "problem"),
        *("query", "query_title", "weights"),
    ]
    rows = table.to_pylist()
    for at, text in enumerate(TEXTS):
        lines = [row for row in rows if row["query_row"] == at]
        assert {(row["query"], row["query_title"], tuple(row["weights"])) for row in lines} == {
            (text, f"page {at}", (at, at))
        }
        if text is None or not text.strip() or text == "zzzz":
            expected = "nothing found" if text == "zzzz" else "query: the query is empty"
            assert [(row["problem"], row["rank"], row["document_id"], row["score"]) for row in lines] == [
                (expected, None, None, None)
            ]
        else:
            hits = answer(bundle, SearchQuery(query=text, k=2, mode="boolean"))
            assert [(row["rank"], row["document_id"], row["title"], row["score"]) for row in lines] == [
                (hit.rank, hit.document_id, hit.title, hit.score) for hit in hits
            ]
            assert all(row["problem"] is None for row in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "queries.parquet"]


def test_blocks_give_the_same_file(
    bundle: Bundle, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer_file(bundle, queries, tmp_path / "whole.parquet", {"k": 3}, QUIET)
    monkeypatch.setattr(batch_file, "BLOCK", 2)
    answer_file(bundle, queries, tmp_path / "blocks.parquet", {"k": 3}, QUIET)
    whole, blocks = (pq.read_table(tmp_path / name).to_pylist() for name in ("whole.parquet", "blocks.parquet"))
    for line, other in zip(whole, blocks, strict=True):
        numbers = ("score", "cosine")
        assert {k: v for k, v in line.items() if k not in numbers} == {
            k: v for k, v in other.items() if k not in numbers
        }
        assert [line[name] for name in numbers] == pytest.approx([other[name] for name in numbers])


def test_a_killed_run_goes_on_at_its_block(
    bundle: Bundle, queries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_file, "BLOCK", 2)
    out, parts, finished = tmp_path / "out.parquet", tmp_path / ".out.parquet.parts", batch_file._answers

    def killed_at_the_third(*arguments: object) -> pa.Table:
        if arguments[2] == 4:
            raise KeyboardInterrupt
        return finished(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batch_file, "_answers", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        answer_file(bundle, queries, out, {"k": 3}, QUIET)
    assert not out.exists()
    first = [parts / name for name in ("00000000.parquet", "00000001.parquet")]
    assert all(part.exists() for part in first)

    answered: list[object] = []
    monkeypatch.setattr(batch_file, "_answers", lambda *a: answered.append(a[2]) or finished(*a))
    answer_file(bundle, queries, out, {"k": 3}, QUIET)
    assert answered == [4, 6]
    assert pq.read_table(out)["query_row"].unique().to_pylist() == list(range(7))

    answered.clear()
    monkeypatch.setattr(batch_file, "_answers", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        answer_file(bundle, queries, out, {"k": 3}, QUIET)
    monkeypatch.setattr(batch_file, "_answers", lambda *a: answered.append(a[2]) or finished(*a))
    answer_file(bundle, queries, out, {"k": 4}, QUIET)
    assert answered == [0, 2, 4, 6]  # other settings: nothing of before is used


def test_an_empty_file_has_no_answers(bundle: Bundle, tmp_path: Path) -> None:
    pq.write_table(pa.table({"query": pa.array([], pa.string())}), tmp_path / "queries.parquet")
    assert answer_file(bundle, tmp_path / "queries.parquet", tmp_path / "out.parquet", {}, QUIET) == AnsweredFile(0, 0)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_what_no_query_can_have_is_refused_at_once(bundle: Bundle, queries: Path, tmp_path: Path) -> None:
    for settings, message in (
        ({"k": 10}, "k: got 10; this model holds 9 documents"),
        ({"mode": "reranked"}, "has no reranked; its modes are"),
        ({"where": "prize < 5"}, "no column 'prize'"),
    ):
        with pytest.raises(InputError, match=message):
            answer_file(bundle, queries, tmp_path / "out.parquet", settings, QUIET)
    assert not (tmp_path / "out.parquet").exists()
