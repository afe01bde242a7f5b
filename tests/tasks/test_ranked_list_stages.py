"""Ranked lists as stages: fused with others, refused, and what clicks decide about them; on a log checked by eye."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.experiment.experiment_spec import Comparison, Evaluation
from data.experiment.log_config import Split
from data.ranked_lists import ListMatch, RankedFile
from ebr_core.errors import InputError
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.text.bm25_config import Bm25
from tasks.bm25_stages import tune_bm25
from tasks.evaluation_stage import EvaluatedList, evaluate
from tasks.hybrid_stages import retrieve_hybrid
from tasks.kinds import EvalSet, Log, RetrievedList
from tasks.log_stages import contents_of, extract, sample
from tasks.ranked_list_stages import (
    content_of,
    describe_match,
    engine_reasons,
    match_file,
    refuse_uncovered,
    retrieve_listed,
)
from tasks.retrieval_stages import retrieve_baseline
from tasks.retrieved import Retrieved, load_match, load_retrieved
from tests.data.small_logs import small_log

SEARCHERS = 40  # one search each in the test: enough for an interval


class Small(NamedTuple):
    """A log of which the engine shows three documents, a and b in turn, then c, and a search a day clicks the first."""

    log: Log
    test: EvalSet
    documents: list[str]


def _small(folder: Path, positions: bool) -> Small:
    searches, results = (
        "search_id,searched_at,query,searcher_id\n",
        "search_id,document_id,position,clicked,randomised\n",
    )
    for i in range(2 * SEARCHERS):
        day = "01" if i < SEARCHERS // 2 else "02" if i < SEARCHERS else "03"
        searches += f"s{i},2020-01-{day} {i % 24:02}:00:00,word{i},ann{i}\n"
        shown = ("a", "b", "c") if i % 2 else ("b", "a", "c")
        for place, document in enumerate(shown, 1):
            position = place if positions else ""
            results += f"s{i},{document},{position},{str(place == 1).lower()},{str(i % 4 == 0).lower()}\n"
    documents = "document_id,title,kind\na,word,x\nb,word,y\nc,word,x\nd,word,x\n"
    tables = small_log(folder, searches=searches, results=results, documents=documents)
    log = extract.fn(tables, Split(validation_from="2020-01-02", test_from="2020-01-03"), contents_of(tables))
    names = pq.read_table(log.folder / "documents.parquet")["document_id"].to_pylist()
    return Small(log, sample.fn(log, "test", 100, 1), names)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return _small(tmp_path_factory.mktemp("ranked"), positions=True)


def _run(folder: Path, name: str, *documents: str) -> RankedFile:
    """A TREC run with these documents for each search of the test."""
    lines = [
        f"s{i} Q0 {document} {rank} 0 x\n"
        for i in range(SEARCHERS, 2 * SEARCHERS)
        for rank, document in enumerate(documents, 1)
    ]
    (folder / f"{name}.run").write_text("".join(lines))
    return RankedFile(name=name, path=str(folder / f"{name}.run"))


def _listed(small: Small, file: RankedFile) -> RetrievedList:
    ranked = match_file.fn(small.log, file, content_of(file))
    return retrieve_listed.fn(ranked, small.log, small.test, 4, (1, 3))


def _fuse(small: Small, retrieval: Retrieval, lists: dict[str, RetrievedList]) -> RetrievedList:
    bm25 = tune_bm25.fn(small.log, None, Bm25(k1=1.2, b=0.75), 1)
    return retrieve_hybrid.fn(small.log, small.test, bm25, retrieval, 4, 1, fused=lists)


def _first_names(small: Small, rows: RetrievedList) -> list[str]:
    retrieved = load_retrieved(rows)
    assert isinstance(retrieved, Retrieved)
    return [small.documents[row] for row in retrieved.rows[0].tolist() if row >= 0]


def test_lists_are_fused_with_each_other_and_under_a_condition(small: Small, tmp_path: Path) -> None:
    one, two = (_listed(small, _run(tmp_path, *line)) for line in (("one", "a", "b", "c"), ("two", "c", "d")))
    fused = {"one": one, "two": two}

    def names(**settings: object) -> list[str]:
        retrieval = Retrieval.model_validate({"lists": ("one", "two")} | settings)
        return _first_names(small, _fuse(small, retrieval, fused))

    assert names(fuse="union") == ["a", "b", "c", "d"]
    assert names()[0] == "c"  # first in two, third in one
    assert names(fuse="union", where="kind = x") == ["a", "c", "d"]
    assert names(where="kind = x")[0] == "c"  # in one it moves up to the second place
    assert names(terms="any", lists=("two",), fuse="union", where="kind = y") == []  # no title has a query's words


def test_without_positions_the_logged_order_and_what_it_is_fused_into_are_not_available(tmp_path: Path) -> None:
    bare = _small(tmp_path / "bare", positions=False)
    logged = retrieve_baseline.fn(bare.log, bare.test, "logged", 4)
    assert load_retrieved(logged) == "no result of these searches has a position"
    retrieval = Retrieval(terms="any", lists=("logged",))
    both = _fuse(bare, retrieval, {"logged": logged})
    assert load_retrieved(both) == "it needs logged, and no result of these searches has a position"
    assert engine_reasons("logged", logged) == {}


def test_a_list_is_named_by_its_content_and_refused_without_a_search_of_the_test(small: Small, tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    file, moved = (
        _run(tmp_path, "mine", "a"),
        _run(tmp_path / "moved", "mine", "a").model_copy(update={"name": "other"}),
    )
    assert match_file.fn(small.log, file, content_of(file)) == match_file.fn(small.log, moved, content_of(moved))
    before = content_of(file)
    assert content_of(_run(tmp_path, "mine", "a", "b")) != before
    with pytest.raises(InputError, match=r"lists.mine: .* changed while it was read"):
        match_file.fn(small.log, file, "what it was before")
    Path(file.path).write_text("s0 Q0 a 1 0 x\nnone Q0 a 1 0 x\n")
    rows = _listed(small, file)
    assert describe_match(rows).startswith("1 of 2 rows match the log; 0 of the 40 searches")
    with pytest.raises(InputError, match=r"lists.mine: .* has no result for any of the 40 searches"):
        refuse_uncovered(file, rows)


def test_a_list_with_most_of_what_was_shown_is_one_of_the_engine(small: Small, tmp_path: Path) -> None:
    engine, other = (
        _listed(small, _run(tmp_path, *line)) for line in (("engine", "b", "a", "c"), ("other", "d", "a", "b"))
    )
    reasons = engine_reasons("engine", engine)
    assert set(reasons) == {"clicked", "recovered", "randomised@3"}  # its first document is a third of what was shown
    assert reasons["clicked"] == "`engine` has 100% of what was shown, so what was clicked is in it by construction"
    assert engine_reasons("other", other) == {}  # two of three
    assert load_match(retrieve_baseline.fn(small.log, small.test, "popularity", 4)) is None
    logged = retrieve_baseline.fn(small.log, small.test, "logged", 4)
    assert set(engine_reasons("logged", logged)) == {"clicked", "recovered", "randomised"}
    for name, rows in (("engine", engine), ("logged", logged)):  # what was bought was clicked in these lists, too
        reasons = engine_reasons(name, rows, ["purchased"])
        assert reasons["purchased"] == reasons["clicked"]


def test_such_a_list_decides_no_claim_on_its_clicks_at_any_k_that_holds_them(small: Small, tmp_path: Path) -> None:
    """`engine` is better than `other` on every target set; only the first place in random order may say so."""
    lists = {"engine": _run(tmp_path, "engine", "b", "a", "c"), "other": _run(tmp_path, "other", "d", "c")}
    rows = {name: _listed(small, file) for name, file in lists.items()}
    evaluated = [
        EvaluatedList(arm=name, seed=None, index="none", rows=one, undecidable=engine_reasons(name, one))
        for name, one in rows.items()
    ]
    questions = {
        metric: Comparison(baseline="other", arms=("engine",), metric=metric, claim="gain")
        for metric in ("recall@1", "recall@3", "mrr")
    }
    results = evaluate.fn(small.test, evaluated, questions, Evaluation(ks=(1, 3), main_k=3, resamples=200))
    answers = {
        (row["question"], row["targets"]): (row["verdict"], row["open_because"] is None)
        for row in pq.read_table(results.folder / "results.parquet").to_pylist()
        if row["question"] and row["baseline"] and row["slice"] == "all"
    }
    assert {targets for _, targets in answers} == {"clicked", "randomised"}
    for metric in questions:
        assert answers[metric, "clicked"] == ("undecided", False)
    few = ("too few", True)  # ten of the searches were shown in random order
    assert answers["recall@1", "randomised"] == few
    assert answers["recall@3", "randomised"] == answers["mrr", "randomised"] == ("too few", False)
    checks = json.loads((results.folder / "checks.json").read_text())
    assert ListMatch.model_validate(checks["lists"]["engine"]).covered == SEARCHERS
    assert np.isclose(checks["lists"]["other"]["shown"], 1 / 3)
