"""Speed of training: the in-batch softmax arm against sentence-transformers' StaticEmbedding with
MultipleNegativesRankingLoss, on the same pairs, D = 128, batches of 1,024, temperature .05, all cores unless told.

    python -m benchmarks.trainer [world | lastfm] [threads]

The peer has its own WordPiece tokenizer, trained on the same texts; no weights are downloaded. Each side gets as many
trials of its learning rate, in turns, each a whole run. Prints pairs/s (medians over trials), and how long each side
takes to reach the peer's best validation recall@10: by the clock, and by the processors' seconds, which a busy machine
disturbs less. Clocks stand still while recall is measured. Building the peer's tokenizer and our n-gram bags is told
apart, for each is done once. State lives in a temporary home.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("EBR_HOME", tempfile.mkdtemp(prefix="ebr-trainer-"))
THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count() or 1
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # the peer's

from tasks.home import prepare_environment  # noqa: E402

prepare_environment()

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402

from data.experiment.log_config import Simulated, Split, Tables  # noqa: E402
from data.world.world_config import World  # noqa: E402
from ebr_core.measure.metrics import hits, recall_at_k  # noqa: E402
from ebr_core.search.nearest import search_exact  # noqa: E402
from ebr_core.towers.tower import Tower, query_vectors  # noqa: E402
from ebr_core.training.arm_config import Arm, Training  # noqa: E402
from ebr_core.training.loss_config import Softmax  # noqa: E402
from ebr_core.training.pair_config import NegativeMix  # noqa: E402
from ebr_core.training.positives import KnownPositives, Pairs  # noqa: E402
from ebr_core.training.train_loop import Corpus, train, use_threads  # noqa: E402
from tasks.artifacts import Artifact  # noqa: E402
from tasks.eval_sets import read_sample  # noqa: E402
from tasks.feature_stages import featurise  # noqa: E402
from tasks.log_stages import contents_of, extract, sample, simulate_log  # noqa: E402
from tasks.training_inputs import read_corpus, read_pairs  # noqa: E402

BATCH, K, WORDPIECES = 1024, 10, 30_000
EPOCHS = 8
OUR_RATES, PEER_RATES = (0.05, 0.1, 0.2), (0.01, 0.05, 0.2)  # the peer's documentation trains such models with .2
LASTFM = Path(__file__).parents[2] / "shared" / "data" / "lastfm"

Recall = Callable[[np.ndarray, np.ndarray], float]


class Case(NamedTuple):
    """A log as both sides need it."""

    corpus: Corpus
    pairs: Pairs
    known: KnownPositives
    queries: list[str]  # texts by query row
    documents: list[str]
    query_of: np.ndarray  # (searches,)
    asked: np.ndarray  # search rows of the validation
    candidates: np.ndarray  # document rows alive then
    recall: Recall  # of (query vectors, candidate vectors)


class Course(NamedTuple):
    """How a run went."""

    pairs: int
    spent: list[np.ndarray]  # seconds by the clock and of the processors, trained by the end of each epoch
    recalls: list[float]

    @property
    def speed(self) -> np.ndarray:
        """Pairs a second by both."""
        return np.asarray(self.pairs / self.spent[-1])

    def until(self, recall: float) -> np.ndarray:
        """Seconds by both until an epoch ended with that recall; infinity where none did."""
        return next((s for s, r in zip(self.spent, self.recalls, strict=True) if r >= recall), np.full(2, np.inf))


def now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def extracted(which: str) -> Artifact:
    if which == "world":
        tables = Simulated(layout="simulated").tables(simulate_log.fn(World()).folder)
        return extract.fn(tables, Split(), contents_of(tables))
    if not LASTFM.exists():
        raise SystemExit(f"skipped: {LASTFM} is not there; it is research data that cannot be shipped")
    files = {name: str(LASTFM / f"{name}.parquet") for name in ("searches", "results", "documents")}
    logs = Tables(layout="tables", **files)
    return extract.fn(logs, Split(validation_from="2010-11-01", test_from="2010-12-01"), contents_of(logs))


def case_of(which: str) -> Case:
    log = extracted(which)
    started = time.perf_counter()
    features = featurise.fn(log, Arm().reads)
    print(f"n-gram bags of all texts: {time.perf_counter() - started:.1f} s, compilation included")
    corpus, (pairs, known) = read_corpus(log, features, Arm()), read_pairs(log, Arm().positives, "pair", 0)
    validation = read_sample(sample.fn(log, "validation", 2000, 1))
    searches, targets = validation.for_targets("clicked")

    def recall(asked: np.ndarray, there: np.ndarray) -> float:
        rows, _ = search_exact(there, asked, K)
        found = np.where(rows >= 0, validation.candidates[rows], -1)
        return float(recall_at_k(hits(found, targets), targets, K).mean())

    texts = (
        pq.read_table(log.folder / f"{t}.parquet")[c].to_pylist()
        for t, c in (("queries", "query"), ("documents", "title"))
    )
    query_of = pq.read_table(log.folder / "searches.parquet", columns=["query_row"])["query_row"].to_numpy()
    return Case(corpus, pairs, known, *texts, query_of, searches["search_row"], validation.candidates, recall)


def ours(case: Case, rate: float, epochs: int) -> Course:
    use_threads(THREADS)
    arm = Arm(
        loss=Softmax(temperature=0.05),
        negatives=NegativeMix(random=0, in_batch="all"),
        training=Training(batch_size=BATCH, epochs=epochs, patience=epochs, learning_rate=rate, threads=THREADS),
    )
    spent, recalls, paused = [], [], np.zeros(2)

    def recall(tower: Tower) -> float:
        nonlocal paused
        before = now()
        inputs = case.corpus.inputs
        there = tower.encode(inputs.rows_of(case.candidates))
        found = case.recall(query_vectors(tower, inputs, np.asarray(case.asked, np.int32)), there)
        paused = paused + now() - before
        return found

    started = now()
    for progress, _ in train(case.corpus, case.pairs, case.known, arm, 0, recall):
        if progress.epoch:
            spent.append(now() - started - paused)
            recalls.append(progress.epoch.validation_recall)
    return Course(progress.pairs, spent, recalls)


def wordpieces(case: Case) -> Any:
    """A WordPiece tokenizer of the texts that training reads."""
    from tokenizers import BertWordPieceTokenizer

    started = time.perf_counter()
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    asked = {case.queries[row] for row in np.unique(case.query_of[case.pairs.search_rows])}
    there = [case.documents[row] for row in case.corpus.trainable]
    tokenizer.train_from_iterator([*sorted(asked), *there], vocab_size=WORDPIECES, show_progress=False)
    print(f"WordPiece tokenizer: {time.perf_counter() - started:.1f} s, {tokenizer.get_vocab_size():,} pieces")
    return tokenizer._tokenizer


def peer(case: Case, tokenizer: Any, rate: float, epochs: int) -> Course:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import TrainerCallback

    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=128)], device="cpu")
    pairs = Dataset.from_dict(
        {
            "query": [case.queries[row] for row in case.query_of[case.pairs.search_rows]],
            "document": [case.documents[row] for row in case.pairs.document_rows],
        }
    )
    asked = [case.queries[row] for row in case.query_of[case.asked]]
    there = [case.documents[row] for row in case.candidates]
    spent, recalls, paused, started = [], [], np.zeros(2), np.zeros(2)

    class Watch(TrainerCallback):  # type: ignore[misc]  # the peer's own way to look at an epoch's end
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            nonlocal started
            started = now()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            nonlocal paused
            before = now()
            spent.append(before - started - paused)
            vectors = (
                model.encode(texts, batch_size=4096, normalize_embeddings=True, show_progress_bar=False)
                for texts in (asked, there)
            )
            recalls.append(case.recall(*vectors))
            model.train()
            paused = paused + now() - before

    arguments = SentenceTransformerTrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, num_train_epochs=epochs, learning_rate=rate,
        warmup_steps=0.1, save_strategy="no", eval_strategy="no", logging_strategy="no", report_to="none",
        disable_tqdm=True, use_cpu=True, seed=0,
    )  # fmt: skip
    SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=pairs, loss=MultipleNegativesRankingLoss(model), callbacks=[Watch()]
    ).train()
    return Course(len(pairs) * epochs, spent, recalls)


def main(which: str) -> None:
    """Prints a line for each trial, then the comparison."""
    case = case_of(which)
    tokenizer = wordpieces(case)
    ours(case, 0.1, 1)  # compiles
    print(
        f"{which}: {len(case.pairs.search_rows):,} pairs, {case.corpus.inputs.documents:,} documents, {THREADS} threads"
    )
    runs: dict[str, list[Course]] = {"ours": [], "peer": []}
    for our_rate, peer_rate in zip(OUR_RATES, PEER_RATES, strict=True):  # in turn, so that a slow minute hits both
        for who, rate in (("peer", peer_rate), ("ours", our_rate)):
            runs[who].append(peer(case, tokenizer, rate, EPOCHS) if who == "peer" else ours(case, rate, EPOCHS))
            course = runs[who][-1]
            clock, processors = course.speed
            print(
                f"{who}, learning rate {rate}: {clock:,.0f} pairs/s, {processors:,.0f} a processor's second, "
                f"recall@{K} " + " ".join(f"{recall:.3f}" for recall in course.recalls),
                flush=True,
            )
    best = max(max(course.recalls) for course in runs["peer"])
    for at, by in ((0, "by the clock"), (1, "of the processors")):
        mine, other = (statistics.median(course.speed[at] for course in runs[who]) for who in ("ours", "peer"))
        print(f"{by}: ours {mine:,.0f} pairs/s, peer {other:,.0f}, {mine / other:.1f} × (goal 6)")
        mine, other = (min(course.until(best)[at] for course in runs[who]) for who in ("ours", "peer"))
        print(
            f"{by}, to the peer's best recall {best:.3f}: ours {mine:.2f} s, peer {other:.2f} s, "
            f"{mine / other:.3f} of the time (goal .2)"
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "world")
