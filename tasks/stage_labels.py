"""The names of stages on the pages of Prefect and beside progress bars, in words."""

from __future__ import annotations

PARTS = ("train", "validation", "ranking", "test")  # of the split
LABELS = {
    "audit": "audit the run",
    "bundle": "bundle",
    "choose_mode": "choose mode of",
    "choose_weights": "choose weights of",
    "choose_weights_of_fusion": "choose weight of BM25 beside",
    "embed_texts": "embed with",
    "encode": "join encoded texts",
    "encode_share": "encode texts,",
    "evaluate": "evaluate all lists",
    "evaluate_validation": "evaluate the validation",
    "extract": "extract log",
    "featurise": "turn texts and columns into features",
    "featurise_as": "turn texts and columns into features of the champion",
    "fit_filter": "fit filter of",
    "list_unrated": "list unrated results of",
    "locate": "find places",
    "match_file": "match list",
    "measure": "measure on the newest day",
    "mine_negatives": "mine negatives from",
    "rank_targets": "rank all targets by",
    "rank_terms": "rank by BM25",
    "rate": "rate results of",
    "read_vectors": "read given vectors",
    "report": "write report",
    "retrieve": "retrieve with",
    "retrieve_baseline": "retrieve",
    "retrieve_bm25": "retrieve by BM25",
    "retrieve_fused": "fuse with BM25:",
    "retrieve_hybrid": "retrieve",
    "retrieve_listed": "retrieve",
    "retrieve_oracle": "retrieve by",
    "sample": "sample searches",
    "slice_by_columns": "slice searches by columns",
    "start_table": "start n-grams of",
    "tabulate": "tabulate documents of models",
    "train_arm": "train",
    "tune_bm25": "tune BM25",
}  # of the stages whose own name says too little


def stage_label(name: str, label: tuple[str | int, ...] = ()) -> str:
    """The name of a stage's run: what it does, and to what. Whole numbers are seeds.

    >>> stage_label("extract"), stage_label("train_arm", ("everything", 0))
    ('extract log', 'train everything, seed 0')
    >>> stage_label("sample", ("test",)), stage_label("build_index", ("random", 1, "ivf"))
    ('sample searches for the test', 'build index random, seed 1, ivf')
    """
    words = LABELS.get(name, name.replace("_", " "))
    parts = [f"seed {part}" if isinstance(part, int) else part for part in label]
    objects = ", ".join(part for part in parts if part not in PARTS)
    period = " ".join(f"for the {part}" for part in parts if part in PARTS)
    return " ".join(filter(None, (words, objects, period)))
