"""The baselines on a log in Japanese whose searchers write the same query in several ways."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.experiment.log_config import Split, Tables
from ebr_core.arrays import Int32
from ebr_core.search.bm25_tuning import B_GRID, K1_GRID
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.text.bm25_config import Bm25
from tasks.bm25_stages import read_bm25, retrieve_bm25, tune_bm25
from tasks.eval_sets import read_sample
from tasks.hybrid_stages import retrieve_hybrid
from tasks.kinds import EvalSet, Log, RetrievedList
from tasks.log_stages import contents_of, extract, sample
from tasks.retrieval_stages import retrieve_baseline
from tasks.retrieved import Retrieved, load_retrieved

DOCUMENTS = [
    ("tower", "東京スカイツリーの入場券"), ("castle", "大阪城公園"), ("glass", "ガラスのコップ"), ("cat", "猫"),
    ("shoe", "Nike Air ランニング"), ("cafe", "Café crème"),
]  # fmt: skip
# Each part of the split asks for all six, in other words or letters.
TRAINING = ["スカイツリー", "大阪城", "ガラス", "猫", "Nike", "café"]
VALIDATION = ["東京 スカイツリー", "公園", "コップ", "猫", "ランニング", "Crème"]
TEST = ["東京", "大阪城公園", "ｶﾞﾗｽ", "猫!", "ＮＩＫＥ", "CAFE"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("japanese")
    searches, results = ["search_id,searched_at,query"], ["search_id,document_id,clicked"]
    for day, queries in enumerate((TRAINING, VALIDATION, TEST), 1):
        for at, (query, (document, _)) in enumerate(zip(queries, DOCUMENTS, strict=True)):
            searches.append(f"{day}{at},2024-01-0{day} 1{at}:00:00,{query}")
            results.append(f"{day}{at},{document},true")
    texts = {"searches": searches, "results": results, "documents": ["document_id,title"]}
    texts["documents"] += [f"{document},{title}" for document, title in DOCUMENTS]
    for name, lines in texts.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    tables = Tables(layout="tables", **{name: str(folder / f"{name}.csv") for name in texts})
    split = Split.model_validate({"validation_from": "2024-01-02", "test_from": "2024-01-03"})
    return extract.fn(tables, split, contents_of(tables))


def first_documents(log: Log, eval_set: EvalSet, rows: RetrievedList) -> dict[str, str]:
    """The first document of each sampled query, by its text."""
    queries = pq.read_table(log.folder / "queries.parquet")["query"].to_pylist()
    documents = [*pq.read_table(log.folder / "documents.parquet")["document_id"].to_pylist(), "none"]
    retrieved = load_retrieved(rows)
    assert isinstance(retrieved, Retrieved)
    first: Int32 = retrieved.rows[:, 0]
    asked = read_sample(eval_set).searches["query_row"]
    return {queries[query]: documents[row] for query, row in zip(asked, first, strict=True)}


def test_bm25_finds_what_a_japanese_query_names(log: Log) -> None:
    test = sample.fn(log, "test", 100, 1)
    rows = retrieve_bm25.fn(log, test, tune_bm25.fn(log, None, Bm25(k1=1.2, b=0.75), 1), 3)
    assert set(first_documents(log, test, rows).values()) == {document for document, _ in DOCUMENTS}


def test_memory_knows_a_query_however_it_is_written(log: Log) -> None:
    """The test's 猫!, ＮＩＫＥ, ｶﾞﾗｽ and CAFE are queries of the training window, and its 東京 is not."""
    test = sample.fn(log, "test", 100, 1)
    found = first_documents(log, test, retrieve_baseline.fn(log, test, "memory", 3))
    assert {found[text] for text in ("猫", "Nike", "ガラス", "CAFE")} == {"cat", "shoe", "glass", "cafe"}
    searches = read_sample(test).searches
    assert searches["query_seen"].tolist().count(True) == 4
    assert len(pq.read_table(log.folder / "queries.parquet")) == 18 - 5  # and 猫 thrice


def test_retrieval_by_any_word_is_the_baseline(log: Log) -> None:
    test, bm25 = sample.fn(log, "test", 100, 1), tune_bm25.fn(log, None, Bm25(k1=0.4, b=0), 1)
    baseline = load_retrieved(retrieve_bm25.fn(log, test, bm25, 3))
    hybrid = load_retrieved(retrieve_hybrid.fn(log, test, bm25, Retrieval(terms="any"), 3, 1))
    assert isinstance(baseline, Retrieved)
    assert isinstance(hybrid, Retrieved)
    assert np.array_equal(baseline.rows, hybrid.rows)


def test_parameters_are_chosen_on_the_validation_and_written_down(log: Log) -> None:
    chosen = read_bm25(tune_bm25.fn(log, sample.fn(log, "validation", 100, 1), Bm25(), 1))
    assert {(tried.k1, tried.b) for tried in chosen.tried} == {(k1, b) for k1 in K1_GRID for b in B_GRID} | {
        (1.2, 0.75)
    }
    assert chosen.reason == "the best of 25 settings on 6 validation searches by recall@1"
    assert (chosen.k1, chosen.b, chosen.language) == (1.2, 0.75, None)  # all find everything, so the first is kept
    fixed = read_bm25(tune_bm25.fn(log, None, Bm25(language="en", k1=2, b=0), 1))
    assert (fixed.k1, fixed.b, fixed.language, fixed.tried) == (2, 0, "en", ())
