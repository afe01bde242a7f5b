"""The schemas of the Parquet files that extraction and the later stages write, whatever the layout of the logs.

Rows are positions 0 … N−1 (`_row`); identities from the logs stay text (`_id`). Documents are ordered by a hash of
their identity, so that a tie broken by row is broken at random and never in favour of older or better known documents.
Searches are ordered by time, then identity.
"""

from __future__ import annotations

import pyarrow as pa

DOCUMENTS = pa.schema(
    [
        pa.field("document_row", pa.int32(), nullable=False),  # 0 … N−1
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("body", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("city", pa.string()),
        pa.field("region", pa.string()),
        pa.field("country", pa.string()),
        pa.field("language", pa.string()),
        pa.field("created_at", pa.timestamp("us")),  # UTC; null: always existed
        pa.field("removed_at", pa.timestamp("us")),  # UTC; null: never removed
    ]
)

QUERIES = pa.schema(
    [
        pa.field("query_row", pa.int32(), nullable=False),  # a query: all texts that towers read alike
        pa.field("query", pa.string(), nullable=False),
    ]
)

SEARCHES = pa.schema(
    [
        pa.field("search_row", pa.int32(), nullable=False),
        pa.field("search_id", pa.string(), nullable=False),
        pa.field("searched_at", pa.timestamp("us"), nullable=False),  # UTC
        pa.field("query_row", pa.int32(), nullable=False),
        pa.field("searcher_row", pa.int32()),  # row of searchers.parquet; null: not signed in
        pa.field("session_row", pa.int32(), nullable=False),  # all searches of a session are in one part of the split
        pa.field("split", pa.string(), nullable=False),  # train, validation or test
        pa.field("city", pa.string()),
        pa.field("region", pa.string()),
        pa.field("country", pa.string()),
        pa.field("language", pa.string()),
    ]
)

SEARCHERS = pa.schema(
    [
        pa.field("searcher_row", pa.int32(), nullable=False),
        pa.field("searcher_id", pa.string(), nullable=False),
    ]
)

RESULTS = pa.schema(
    [
        pa.field("search_row", pa.int32(), nullable=False),
        pa.field("document_row", pa.int32(), nullable=False),
        pa.field("position", pa.int32()),  # from 1; null: unknown
        pa.field("clicked", pa.bool_(), nullable=False),
        pa.field("randomised", pa.bool_()),
    ]
)

ACTIONS_FILE = "actions.parquet"  # only where logs.actions gives weights
ACTIONS = pa.schema(
    [
        pa.field("search_row", pa.int32(), nullable=False),  # of a clicked result
        pa.field("document_row", pa.int32(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("target_set", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)

ACTION_TIMES_FILE = "action_times.parquet"  # only where actions are later than their search
ACTION_TIMES = pa.schema(
    [
        pa.field("search_row", pa.int32(), nullable=False),  # of a clicked result
        pa.field("document_row", pa.int32(), nullable=False),
        pa.field("action", pa.string(), nullable=False),  # "click" where logs.actions gives no weights
        pa.field("acted_at", pa.timestamp("us"), nullable=False),  # UTC; later than the search
        pa.field("acted_in", pa.string()),  # the part in whose time it falls; null: the split is not by time
    ]
)

EDGES = pa.schema(
    [
        pa.field("source_row", pa.int32(), nullable=False),  # row of searchers or documents, by source_type
        pa.field("source_type", pa.string(), nullable=False),
        pa.field("target_row", pa.int32(), nullable=False),
        pa.field("target_type", pa.string(), nullable=False),
        pa.field("kind", pa.string()),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("created_at", pa.timestamp("us")),
    ]
)

JUDGEMENTS = pa.schema(
    [
        pa.field("search_row", pa.int32(), nullable=False),
        pa.field("document_row", pa.int32(), nullable=False),
        pa.field("grade", pa.float64(), nullable=False),  # as in your files; compared with logs.judged_from
    ]
)

RESULTS_OF_RUN = pa.schema(
    [
        pa.field("question", pa.string()),  # null: the arm alone
        pa.field("arm", pa.string(), nullable=False),  # an arm, a hybrid, a baseline or another list
        pa.field("seed", pa.int32()),  # null: a baseline, or the mean over seeds
        pa.field("seeds", pa.int32()),  # number of seeds averaged in a question's row; 0: a baseline
        pa.field("index", pa.string(), nullable=False),  # "none" for baselines
        pa.field("targets", pa.string(), nullable=False),  # the target set: clicked, judged, truth …
        pa.field("split", pa.string(), nullable=False),  # test or validation
        pa.field("slice", pa.string(), nullable=False),  # "all", or "group: value", which is exploratory
        pa.field("metric", pa.string(), nullable=False),  # without its K: recall, mrr …
        pa.field("k", pa.int32()),  # null: a metric without K
        pa.field("n", pa.int32(), nullable=False),  # number of searches
        pa.field("clusters", pa.int32(), nullable=False),  # number of searchers, else sessions, else queries
        pa.field("small", pa.bool_(), nullable=False),  # True if there are too few searches or clusters
        pa.field("value", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),  # 95% interval over clusters, without training noise
        pa.field("high", pa.float64()),  # its upper end
        pa.field("baseline", pa.string()),  # the baseline of the question
        pa.field("difference", pa.float64()),  # paired difference from the baseline
        pa.field("difference_low", pa.float64()),  # 95% interval of this difference alone
        pa.field("difference_high", pa.float64()),  # its upper end
        pa.field("family_low", pa.float64()),  # simultaneous interval of all arms of the question; null in slices
        pa.field("family_high", pa.float64()),  # its upper end
        pa.field("detectable", pa.float64()),  # smallest true difference detected with 80% probability
        pa.field("training_noise", pa.bool_()),  # True if the interval of the difference includes training noise
        pa.field("claim", pa.string()),  # gain, equal or worse, from the experiment file
        pa.field("margin", pa.float64()),  # the largest difference that still counts as equal
        pa.field("finding", pa.string()),  # better, worse, equal, unclear or too few; independent of the claim
        pa.field("verdict", pa.string()),  # holds, contradicted, undecided or too few; null without a claim
        pa.field("open_because", pa.string()),  # the reason why nothing is decided, whatever the interval; null: none
    ]
)

PER_SEARCH = pa.schema(
    [
        pa.field("arm", pa.string(), nullable=False),  # an arm, a hybrid, a baseline or another list
        pa.field("seed", pa.int32()),  # null: a baseline
        pa.field("index", pa.string(), nullable=False),  # "exact", "none", or its name in the experiment file
        pa.field("targets", pa.string(), nullable=False),  # the target set: clicked, judged, truth …
        pa.field("search_row", pa.int32(), nullable=False),  # row of searches.parquet in the extracted log
        pa.field("metric", pa.string(), nullable=False),  # without its K: recall, mrr …
        pa.field("k", pa.int32()),  # null: a metric without K
        pa.field("value", pa.float64(), nullable=False),
    ]
)

MINED = pa.schema(
    [
        pa.field("pair_row", pa.int32(), nullable=False),  # row of the arm's training pairs
        pa.field("search_row", pa.int32(), nullable=False),
        pa.field("positive_row", pa.int32(), nullable=False),  # the pair's document
        pa.field("place", pa.int32(), nullable=False),  # position in the order of sampling
        pa.field("document_row", pa.int32(), nullable=False),  # the negative
        pa.field("rank", pa.int32(), nullable=False),  # from 1
        pa.field("similarity", pa.float32(), nullable=False),  # to the query
    ]
)

TO_RATE = pa.schema(
    [
        pa.field("search_row", pa.int32(), nullable=False),  # of the training window
        pa.field("document_row", pa.int32(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # from 1, among the documents that existed at the time
        pa.field("similarity", pa.float32(), nullable=False),
    ]
)

RATED = pa.schema(
    [
        pa.field("search_row", pa.int32(), nullable=False),  # of the training window
        pa.field("document_row", pa.int32(), nullable=False),
        pa.field("grade", pa.float32(), nullable=False),  # 0 … 3
        pa.field("good", pa.bool_(), nullable=False),
    ]
)

IMPORTED = pa.schema(
    [
        pa.field("search_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("grade", pa.float32(), nullable=False),  # 0 … 3
        pa.field("row", pa.int32(), nullable=False),  # of the file that people filled in; its header is row 1
    ]
)

RANKED_LIST = pa.schema(
    [
        pa.field("search_row", pa.int32()),  # null: of every search of the query
        pa.field("query_row", pa.int32()),  # null: of one search
        pa.field("document_row", pa.int32(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),  # only the order counts
    ]
)

COSTS = pa.schema(
    [
        pa.field("arm", pa.string(), nullable=False),  # an arm, an ensemble or a ranker
        pa.field("seed", pa.int32()),  # null: no seed
        pa.field("index", pa.string()),  # null: a cost of the arm, whatever its index
        pa.field("stage", pa.string(), nullable=False),  # the stage in which it was measured
        pa.field("cost", pa.string(), nullable=False),  # train_s, index_bytes, queries_per_s …
        pa.field("value", pa.float64(), nullable=False),
    ]
)
