"""The searches for which a retrieval does not use the embedding, and the list that answers them from clicks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Int32
from ebr_core.search import baselines
from ebr_core.search.exclusions import first_allowed
from ebr_core.search.hybrid_search import Trigger
from tasks.eval_sets import SampledSearches
from tasks.kinds import Log

NAVIGATIONAL_CLICKS = 3  # clicks from which a query may count as navigational


def spared_searches(log: Log, sample: SampledSearches, trigger: Trigger) -> npt.NDArray[np.bool_]:
    """(S,) True for searches that the trigger spares, by the clicks of the training window."""
    shown = extracted_log.read_shown(log.folder)
    clicks = {key: getattr(shown, key)[shown.clicked] for key in ("query_rows", "searcher_rows", "document_rows")}
    queries, searchers = sample.searches["query_row"].astype(np.int64), sample.searches["searcher_row"].astype(np.int64)
    width = int(max(searchers.max(initial=0), clicks["searcher_rows"].max(initial=0))) + 1
    spared = np.zeros(len(queries), bool)
    if trigger.refinding:
        signed_in = clicks["searcher_rows"] >= 0
        clicked_pairs = clicks["query_rows"].astype(np.int64)[signed_in] * width + clicks["searcher_rows"][signed_in]
        spared |= np.isin(queries * width + searchers, clicked_pairs) & (searchers >= 0)
    if trigger.navigational is not None:
        total = np.bincount(clicks["query_rows"], minlength=int(queries.max(initial=0)) + 1)
        documents = int(clicks["document_rows"].max(initial=0)) + 1
        keys = clicks["query_rows"].astype(np.int64) * documents + clicks["document_rows"]
        pairs, times = np.unique(keys, return_counts=True)
        most_clicks = np.zeros(len(total), np.int64)
        np.maximum.at(most_clicks, pairs // documents, times)
        spared |= ((total >= NAVIGATIONAL_CLICKS) & (most_clicks >= trigger.navigational * np.maximum(total, 1)))[
            queries
        ]
    return spared


def memory_list(log: Log, sample: SampledSearches, k: int) -> Int32:
    """(S, K) rows of the documents clicked for the same query in the training window."""
    shown = extracted_log.read_shown(log.folder)
    clicks = extracted_log.read_clicks(log.folder, pq.read_metadata(log.folder / "documents.parquet").num_rows)
    queries, documents = shown.query_rows[shown.clicked], shown.document_rows[shown.clicked]
    depth = sample.depth(k)
    rows = baselines.click_memory(sample.searches["query_row"], queries, documents, clicks, sample.candidates, depth)
    return first_allowed(rows, sample.excluded_rows, k)
