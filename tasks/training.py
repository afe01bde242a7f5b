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
from ebr_core.model import Model, save_towers
from ebr_core.positives import select
from ebr_core.search import exact
from ebr_core.towers import Encoder, encoder_of, group_weights, snapshot, vectors_of
from ebr_core.train import Corpus, train, use_threads
from tasks.artifacts import Artifact, stage
from tasks.features import read_fitted, read_graphs, read_inputs
from tasks.progress import showing
from tasks.samples import read_sample

VALIDATION_K = 10


@stage
def train_arm(folder: Path, log: Artifact, features: Artifact, validation: Artifact, arm: Arm, seed: int) -> None:
    """Towers of the epoch with the best validation recall, the course of the epochs, and what they cost."""
    use_threads(arm.training.threads)
    corpus = _read_corpus(log, features, arm)
    pairs, known = select(samples.read_shown(log.folder), arm.positives, arm.mask, seed)
    recall = _validation_recall(corpus, validation)
    epochs: list[dict[str, Any]] = []
    best: dict[str, Any] = {}
    total = arm.training.epochs * len(pairs.search_rows)
    first, started = 0, time.perf_counter()
    with showing(f"train, seed {seed}", total) as show:
        for progress, encoder in train(corpus, pairs, known, arm, seed, recall):
            if not first:
                first, started = progress.pairs, time.perf_counter()  # compilation and reading are behind it
            show(progress.pairs, _note(epochs))
            if progress.epoch:
                epochs.append(progress.epoch._asdict() | _weights(encoder))
            if progress.best:
                best = snapshot(encoder)
    towers = encoder_of(best, list(corpus.inputs.groups))
    save_towers(_model(towers, log, features, arm), folder)
    (folder / "weights.json").write_text(json.dumps(group_weights(towers), indent=1))
    (folder / "epochs.json").write_text(json.dumps(epochs, indent=1))
    seconds = time.perf_counter() - started
    costs = {
        "train_s": seconds,
        "pairs": progress.pairs,
        "pairs_per_s": (progress.pairs - first) / seconds,
        "table_rows": len(towers.table),
    }
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


def _note(epochs: list[dict[str, Any]]) -> str:
    return f"epoch {epochs[-1]['epoch']}: validation recall {epochs[-1]['validation_recall']:.4f}" if epochs else ""


def _weights(encoder: Encoder) -> dict[str, float]:
    """How much each side leans on each group, where there are several."""
    return {f"weight.{name}": weight for name, weight in group_weights(encoder).items() if len(encoder.groups) > 1}


def _model(towers: Encoder, log: Artifact, features: Artifact, arm: Arm) -> Model:
    """The towers with all that a search needs to be embedded without the log."""
    graphs = {name: np.asarray(vectors) for name, vectors in read_graphs(features, "searchers").items()}
    ids: list[str] = []
    if graphs:
        ids = pq.read_table(log.folder / "searchers.parquet")["searcher_id"].to_pylist()
    encoded = np.array([one.encode() for one in ids], np.bytes_)
    return Model(towers, read_fitted(features), arm.towers, graphs, encoded)


def _read_corpus(log: Artifact, features: Artifact, arm: Arm) -> Corpus:
    inputs = read_inputs(features, arm.towers)
    trainable = samples.rows(samples.read(log.folder, "trainable"), "document_row")
    return Corpus(inputs, inputs.documents, trainable)


def _validation_recall(corpus: Corpus, validation: Artifact) -> Callable[[Encoder], float]:
    """A function that measures the towers' recall@10 on the validation searches, over the whole corpus of their
    period."""
    sample = read_sample(validation)
    searches, targets = sample.for_targets("clicked")

    def recall(encoder: Encoder) -> float:
        documents = vectors_of(encoder, corpus.inputs, corpus.inputs.rows_of(sample.candidates))
        queries = vectors_of(encoder, corpus.inputs, searches["search_row"])
        rows, _ = exact(documents, queries, VALIDATION_K)
        found = np.where(rows >= 0, sample.candidates[rows], -1)
        return float(recall_at_k(hits(found, targets), targets, VALIDATION_K).mean())

    return recall
