"""Speed of training: our in-batch softmax arm against sentence-transformers on the same pairs.

    python -m benchmarks.trainer [world | lastfm] [threads]

The peer is StaticEmbedding with MultipleNegativesRankingLoss. D = 128, batches of 1,024, temperature .05, by default on
all cores. The peer has its own WordPiece tokenizer, trained on the same texts; no weights are downloaded. Both sides
get the same number of trials of the learning rate, in turns, each a whole run. Prints pairs/s (medians over trials),
and the time that each side takes to reach the peer's best validation recall@10, by the clock and by processor seconds,
which a busy machine disturbs less. Clocks stop while recall is measured. Building the peer's tokenizer and our n-gram
bags is reported separately, because it is done once. State lives in a temporary home.
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
from ebr_core.parallel import use_threads  # noqa: E402
from ebr_core.search.nearest import search_exact  # noqa: E402
from ebr_core.towers.tower import Tower, query_vectors  # noqa: E402
from ebr_core.training.arm_config import Arm, Training  # noqa: E402
from ebr_core.training.loss_config import Softmax  # noqa: E402
from ebr_core.training.pair_config import NegativeMix  # noqa: E402
from ebr_core.training.positives import KnownPositives, Pairs  # noqa: E402
from ebr_core.training.train_loop import train  # noqa: E402
from ebr_core.training.training_corpus import Corpus  # noqa: E402
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
    """A log in the form that both sides need."""

    corpus: Corpus
    pairs: Pairs
    known_positives: KnownPositives
    queries: list[str]  # texts by query row
    documents: list[str]
    query_of: np.ndarray  # (searches,)
    validation_rows: np.ndarray  # search rows of the validation
    candidates: np.ndarray  # document rows alive in the validation
    recall: Recall  # of (query vectors, candidate vectors)


class Course(NamedTuple):
    """The times and recalls of a run."""

    pairs: int
    seconds: list[np.ndarray]  # of training by the end of each epoch: by the clock, and of the processors
    recalls: list[float]

    @property
    def speed(self) -> np.ndarray:
        """Pairs a second, by the clock and by processor seconds."""
        return np.asarray(self.pairs / self.seconds[-1])

    def until(self, recall: float) -> np.ndarray:
        """Seconds, by both clocks, until an epoch ended with this recall; infinity if none did."""
        return next((s for s, r in zip(self.seconds, self.recalls, strict=True) if r >= recall), np.full(2, np.inf))


def clocks() -> np.ndarray:
    """(2,) seconds by the clock, and of the processors."""
    return np.array([time.perf_counter(), time.process_time()])


def extract_log(log_name: str) -> Artifact:
    """The log of the default world, or of Last.fm."""
    if log_name == "world":
        tables = Simulated(layout="simulated").tables(simulate_log.fn(World()).folder)
        return extract.fn(tables, Split(), contents_of(tables))
    if not LASTFM.exists():
        raise SystemExit(f"skipped: {LASTFM} does not exist; it is research data that cannot be shipped")
    files = {name: str(LASTFM / f"{name}.parquet") for name in ("searches", "results", "documents")}
    logs = Tables(layout="tables", **files)
    return extract.fn(logs, Split(validation_from="2010-11-01", test_from="2010-12-01"), contents_of(logs))


def case_of(log_name: str) -> Case:
    """The log in the form that both sides need."""
    log = extract_log(log_name)
    start = time.perf_counter()
    features = featurise.fn(log, Arm().features)
    print(f"n-gram bags of all texts: {time.perf_counter() - start:.1f} s, compilation included")
    corpus, (pairs, known_positives) = read_corpus(log, features, Arm()), read_pairs(log, Arm().positives, "pair", 0)
    validation = read_sample(sample.fn(log, "validation", 2000, 1))
    searches, targets = validation.for_targets("clicked")

    def recall(queries: np.ndarray, documents: np.ndarray) -> float:
        rows, _ = search_exact(documents, queries, K)
        hit_rows = np.where(rows >= 0, validation.candidates[rows], -1)
        return float(recall_at_k(hits(hit_rows, targets), targets, K).mean())

    texts = (
        pq.read_table(log.folder / f"{t}.parquet")[c].to_pylist()
        for t, c in (("queries", "query"), ("documents", "title"))
    )
    query_of = pq.read_table(log.folder / "searches.parquet", columns=["query_row"])["query_row"].to_numpy()
    return Case(corpus, pairs, known_positives, *texts, query_of, searches["search_row"], validation.candidates, recall)


def train_ours(case: Case, rate: float, epochs: int) -> Course:
    """The course of a run of our arm."""
    use_threads(THREADS)
    arm = Arm(
        loss=Softmax(temperature=0.05),
        negatives=NegativeMix(random=0, in_batch="all"),
        training=Training(batch_size=BATCH, epochs=epochs, patience=epochs, learning_rate=rate, threads=THREADS),
    )
    seconds, recalls, paused = [], [], np.zeros(2)

    def recall(tower: Tower) -> float:
        nonlocal paused
        pause_start = clocks()
        inputs = case.corpus.inputs
        candidates = tower.encode(inputs.rows_of(case.candidates))
        value = case.recall(query_vectors(tower, inputs, np.asarray(case.validation_rows, np.int32)), candidates)
        paused = paused + clocks() - pause_start
        return value

    start = clocks()
    for progress, _ in train(case.corpus, case.pairs, case.known_positives, arm, 0, recall):
        if progress.epoch:
            seconds.append(clocks() - start - paused)
            recalls.append(progress.epoch.validation_recall)
    return Course(progress.pairs, seconds, recalls)


def wordpieces(case: Case) -> Any:
    """A WordPiece tokenizer trained on the texts of the pairs and documents."""
    from tokenizers import BertWordPieceTokenizer

    start = time.perf_counter()
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    queries = {case.queries[row] for row in np.unique(case.query_of[case.pairs.search_rows])}
    titles = [case.documents[row] for row in case.corpus.trainable]
    tokenizer.train_from_iterator([*sorted(queries), *titles], vocab_size=WORDPIECES, show_progress=False)
    print(f"WordPiece tokenizer: {time.perf_counter() - start:.1f} s, {tokenizer.get_vocab_size():,} pieces")
    return tokenizer._tokenizer


def train_peer(case: Case, tokenizer: Any, rate: float, epochs: int) -> Course:
    """The course of a run of the peer."""
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
    query_texts = [case.queries[row] for row in case.query_of[case.validation_rows]]
    titles = [case.documents[row] for row in case.candidates]
    seconds, recalls, paused, start = [], [], np.zeros(2), np.zeros(2)

    class Watch(TrainerCallback):  # type: ignore[misc]  # the peer calls it at the end of each epoch
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            nonlocal start
            start = clocks()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            nonlocal paused
            pause_start = clocks()
            seconds.append(pause_start - start - paused)
            vectors = (
                model.encode(texts, batch_size=4096, normalize_embeddings=True, show_progress_bar=False)
                for texts in (query_texts, titles)
            )
            recalls.append(case.recall(*vectors))
            model.train()
            paused = paused + clocks() - pause_start

    arguments = SentenceTransformerTrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, num_train_epochs=epochs, learning_rate=rate,
        warmup_steps=0.1, save_strategy="no", eval_strategy="no", logging_strategy="no", report_to="none",
        disable_tqdm=True, use_cpu=True, seed=0,
    )  # fmt: skip
    SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=pairs, loss=MultipleNegativesRankingLoss(model), callbacks=[Watch()]
    ).train()
    return Course(len(pairs) * epochs, seconds, recalls)


def main(log_name: str) -> None:
    """Print a line for each trial, then the comparison."""
    case = case_of(log_name)
    tokenizer = wordpieces(case)
    train_ours(case, 0.1, 1)  # compiles
    print(
        f"{log_name}: {len(case.pairs.search_rows):,} pairs, {case.corpus.inputs.documents:,} documents, "
        f"{THREADS} threads"
    )
    runs: dict[str, list[Course]] = {"ours": [], "peer": []}
    for our_rate, peer_rate in zip(OUR_RATES, PEER_RATES, strict=True):  # in turn, so that a slow minute affects both
        for side, rate in (("peer", peer_rate), ("ours", our_rate)):
            runs[side].append(
                train_peer(case, tokenizer, rate, EPOCHS) if side == "peer" else train_ours(case, rate, EPOCHS)
            )
            course = runs[side][-1]
            clock, processors = course.speed
            print(
                f"{side}, learning rate {rate}: {clock:,.0f} pairs/s, {processors:,.0f} a processor's second, "
                f"recall@{K} " + " ".join(f"{recall:.3f}" for recall in course.recalls),
                flush=True,
            )
    best = max(max(course.recalls) for course in runs["peer"])
    for column, clock_name in ((0, "by the clock"), (1, "of the processors")):
        our_value, peer_value = (
            statistics.median(course.speed[column] for course in runs[side]) for side in ("ours", "peer")
        )
        print(
            f"{clock_name}: ours {our_value:,.0f} pairs/s, peer {peer_value:,.0f}, "
            f"{our_value / peer_value:.1f} × (goal 6)"
        )
        our_value, peer_value = (min(course.until(best)[column] for course in runs[side]) for side in ("ours", "peer"))
        print(
            f"{clock_name}, to the peer's best recall {best:.3f}: ours {our_value:.2f} s, peer {peer_value:.2f} s, "
            f"{our_value / peer_value:.3f} of the time (goal .2)"
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "world")
