"""The answers of a bundle to the searches of a test, to be compared with the list of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ebr_core.arrays import Int32
from ebr_core.measure.metrics import hits, recall_at_k
from ebr_core.serving.block_answers import answer_block
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.query_block import read_block
from ebr_core.serving.search_query import SearchQuery
from tasks.eval_sets import read_sample
from tasks.tracking.runs import Outcome

CONTEXT = ("city", "region", "country", "language", "searched_at")
K = 10


def check_answers(outcome: Outcome, bundle: Bundle, mode: str | None, row: str, index: str) -> None:
    """Assert that the answers of the bundle to the clicked searches of the test are the list of the row through this
    index, ties included, and that their recall is that of the row."""
    sample = read_sample(outcome.sample)
    searches, targets = sample.for_targets("clicked")
    answered = answers(outcome, bundle, mode, searches)
    lists = [
        np.load(path)[searches["at"], :K]
        for path in outcome.log.folder.parent.glob("retrieve*/retrieved.npy")
        if len(np.load(path, mmap_mode="r")) == len(sample.searches["search_row"])
    ]
    assert any(np.array_equal(answered, rows) for rows in lists)
    names = ("arm", "index", "targets", "slice", "metric", "k", "question", "split")
    key = (row, index, "clicked", "all", "recall", K, None, "test")
    results = pq.read_table(outcome.results.folder / "results.parquet").to_pylist()
    value = next(result["value"] for result in results if tuple(result[name] for name in names) == key)
    assert recall_at_k(hits(answered, targets), targets, K).mean() == pytest.approx(value)


def answers(outcome: Outcome, bundle: Bundle, mode: str | None, searches: dict[str, Any]) -> Int32:
    """(S, 10) document rows: the answer to each search, with its place and its time; −1 behind the last."""
    log = outcome.log.folder
    table = pq.read_table(log / "searches.parquet").take(searches["search_row"])
    queries = pq.read_table(log / "queries.parquet")["query"].take(table["query_row"])
    documents = pq.read_table(log / "documents.parquet")["document_id"]
    columns = {name: table[name] for name in CONTEXT} | {"query": queries}
    rows = []
    block, problems = read_block(bundle, pa.table(columns))
    in_block = answer_block(bundle, block, SearchQuery.model_validate({"query": "?", "k": K, "mode": mode})).rows
    assert problems.null_count == len(problems)
    for fields in pa.table(columns).to_pylist():
        ids = [hit.document_id for hit in answer(bundle, SearchQuery.model_validate(fields | {"k": K, "mode": mode}))]
        found = pc.index_in(pa.array(ids, pa.string()), documents).to_pylist()
        rows.append(found + [-1] * (K - len(found)))
    row_of = pc.index_in(bundle.documents["document_id"], documents).to_numpy().astype(np.int32)
    assert np.array_equal(np.where(in_block >= 0, row_of[in_block], -1), rows)  # all at once as one by one
    return np.array(rows, np.int32)
