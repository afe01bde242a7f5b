"""Trains one arm with one seed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data import samples
from ebr_core.config import Arm
from ebr_core.metrics import hits, recall_at_k
from ebr_core.positives import select
from ebr_core.search import exact
from ebr_core.towers import Encoder, Towers, encode, inputs_of, save_towers
from ebr_core.train import Corpus, train, use_threads
from tasks.artifacts import Artifact, stage
from tasks.features import read_bags
from tasks.progress import showing
from tasks.samples import read_sample

VALIDATION_K = 10


@stage
def train_arm(folder: Path, log: Artifact, features: Artifact, validation: Artifact, arm: Arm, seed: int) -> None:
    """Towers of the epoch with the best validation recall, the course of the epochs, and what they cost."""
    use_threads(arm.training.threads)
    corpus, vocabulary = _read_corpus(log, features, arm)
    pairs, known = select(samples.read_shown(log.folder), arm.positives, arm.mask, seed)
    recall = _validation_recall(corpus, validation)
    epochs: list[dict[str, Any]] = []
    best = np.empty((0, 0), np.float32)
    total = arm.training.epochs * len(pairs.search_rows)
    first, started = 0, time.perf_counter()
    with showing(f"train, seed {seed}", total) as show:
        for progress, encoder in train(corpus, pairs, known, arm, seed, recall):
            if not first:
                first, started = progress.pairs, time.perf_counter()  # compilation and reading are behind it
            show(progress.pairs, _note(epochs))
            if progress.epoch:
                epochs.append(progress.epoch._asdict())
            if progress.best:
                best = encoder.table.copy()
    save_towers(Towers(best, vocabulary, arm.text, arm.towers.shared), folder)
    (folder / "epochs.json").write_text(json.dumps(epochs, indent=1))
    seconds = time.perf_counter() - started
    costs = {
        "train_s": seconds,
        "pairs": progress.pairs,
        "pairs_per_s": (progress.pairs - first) / seconds,
        "table_rows": len(best),
    }
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


def _note(epochs: list[dict[str, Any]]) -> str:
    return f"epoch {epochs[-1]['epoch']}: validation recall {epochs[-1]['validation_recall']:.4f}" if epochs else ""


def _read_corpus(log: Artifact, features: Artifact, arm: Arm) -> tuple[Corpus, Any]:
    vocabulary = np.load(features.folder / "vocabulary.npy")
    known_rows = int(vocabulary.max()) + 1
    queries, documents = read_bags(features, "queries"), read_bags(features, "documents")
    query_of = samples.rows(pq.read_table(log.folder / "searches.parquet", columns=["query_row"]), "query_row")
    inputs = inputs_of(queries, documents, 0 if arm.towers.shared else known_rows, query_of)
    trainable = samples.rows(samples.read(log.folder, "trainable"), "document_row")
    table_rows = known_rows if arm.towers.shared else 2 * known_rows
    return Corpus(inputs, len(documents), table_rows, trainable), vocabulary


def _validation_recall(corpus: Corpus, validation: Artifact) -> Callable[[Encoder], float]:
    """A function that measures the towers' recall@10 on the validation searches, over the whole corpus of their
    period."""
    sample = read_sample(validation)
    searches, targets = sample.for_targets("clicked")

    def recall(encoder: Encoder) -> float:
        documents = encode(encoder, corpus.inputs, corpus.inputs.rows_of(sample.candidates)).vectors
        queries = encode(encoder, corpus.inputs, searches["search_row"]).vectors
        rows, _ = exact(documents, queries, VALIDATION_K)
        found = np.where(rows >= 0, sample.candidates[rows], -1)
        return float(recall_at_k(hits(found, targets), targets, VALIDATION_K).mean())

    return recall
