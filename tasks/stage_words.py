"""What a stage does, in the words in which commands announce it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

# Stage → what it does. Stages with the same words are announced once; "": too short to be announced.
WORDS = {
    "simulate_log": "simulating the log of the world",
    "partition": "reading new files of the log",
    "extract": "reading the log, checking it and splitting it by time",
    "join_validation": "joining training and validation",
    "sample": "sampling the searches to evaluate",
    "extract_columns": "reading the columns that arms name",
    "extract_own_columns": "reading the columns that slices and conditions name",
    "locate": "looking up places",
    "slice_by_columns": "",
    "match_file": "matching your ranked lists with the log",
    "retrieve_listed": "",
    "featurise": "turning texts and columns into features",
    "featurise_as": "turning texts and columns into features",
    "embed_graph": "embedding the graph",
    "read_vectors": "reading vectors",
    "encode_share": "encoding texts with the pretrained encoder",
    "encode": "encoding texts with the pretrained encoder",
    "start_table": "asking the encoder about the n-grams",
    "align_graph": "embedding the graph",
    "warm_start": "",
    "tune_bm25": "choosing BM25's settings on the validation",
    "train_arm": "training arms",
    "mine_negatives": "mining hard negatives",
    "list_unrated": "collecting results that nobody has judged",
    "rate": "rating results",
    "take_imported": "",
    "fit_filter": "training filters",
    "embed_texts": "embedding documents and queries",
    "choose_weights": "weighing the parts of ensembles",
    "concat_vectors": "",
    "build_index": "building and tuning indexes",
    "calibrate_radius": "",
    "estimate_examination": "training rankers",
    "train_ranker": "training rankers",
    "choose_documents": "",
    "retrieve": "retrieving lists",
    "retrieve_baseline": "retrieving lists",
    "retrieve_bm25": "retrieving lists",
    "retrieve_cascade": "retrieving lists",
    "retrieve_filtered": "retrieving lists",
    "retrieve_hybrid": "retrieving lists",
    "retrieve_oracle": "retrieving lists",
    "retrieve_ranked": "retrieving lists",
    "rank_terms": "fusing embeddings with BM25",
    "choose_weights_of_fusion": "fusing embeddings with BM25",
    "retrieve_fused": "fusing embeddings with BM25",
    "choose_mode": "",
    "rank_targets": "ranking every target over the whole corpus",
    "tabulate": "packing the models that can be served",
    "bundle": "packing the models that can be served",
    "bundle_cascade": "packing the models that can be served",
    "bundle_ranker": "packing the models that can be served",
    "measure": "measuring on the day",
    "evaluate": "measuring every list, with intervals",
    "evaluate_validation": "measuring every list on the validation",
    "audit": "looking for leaks",
    "report": "writing the report",
}
SAY: ContextVar[Callable[[str], None] | None] = ContextVar("say", default=None)  # where words go; None: nowhere


def say(words: str) -> None:
    """Say what happens now, if somebody listens."""
    if listener := SAY.get():
        listener(words)


def announce(stage: str) -> None:
    """Say what a stage does, as it begins."""
    if words := WORDS.get(stage):
        say(words)
