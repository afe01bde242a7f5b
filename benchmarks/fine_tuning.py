"""Speed of fine-tuning: our transformer towers against sentence-transformers' trainer on the same pairs and model.

    python -m benchmarks.fine_tuning MODEL [pairs] [threads]

MODEL is the folder of an encoder. The peer trains it with MultipleNegativesRankingLoss, we with the softmax over the
batch: batches of 64 pairs, at most 64 tokens, temperature .05, learning rate 2e-5, a warm-up of a tenth, one epoch over
the same pairs of Last.fm, or of the default world if that is missing. The sides take turns. Prints pairs/s by the clock
and by processor seconds, which a busy machine disturbs less, recall@10 of the validation searches among the documents
of the pairs and as many others, and the ratios. Both sides read the texts before the clock starts; the peer cuts them
into tokens batch by batch, as its users' trainings do, and we read the tokens of featurise. Needs the extra `bench`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from typing import Any, NamedTuple

ARGUMENTS = sys.argv[1:]
sys.argv = [sys.argv[0], "lastfm", ARGUMENTS[2] if len(ARGUMENTS) > 2 else "1"]  # of benchmarks.trainer

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.trainer import LASTFM, THREADS, clocks, extract_log  # noqa: E402
from ebr_core.measure.metrics import Targets, hits, recall_at_k  # noqa: E402
from ebr_core.parallel import use_threads  # noqa: E402
from ebr_core.search.nearest import search_exact  # noqa: E402
from ebr_core.towers.tower import query_vectors  # noqa: E402
from ebr_core.towers.tower_config import TransformerTowerConfig  # noqa: E402
from ebr_core.training.arm_config import Arm, Training  # noqa: E402
from ebr_core.training.loss_config import Softmax  # noqa: E402
from ebr_core.training.pair_config import NegativeMix  # noqa: E402
from ebr_core.training.positives import KnownPositives, Pairs  # noqa: E402
from ebr_core.training.train_loop import train  # noqa: E402
from ebr_core.training.training_corpus import Corpus  # noqa: E402
from tasks.eval_sets import read_sample  # noqa: E402
from tasks.feature_stages import featurise, texts_of  # noqa: E402
from tasks.log_stages import sample  # noqa: E402
from tasks.training_inputs import read_corpus, read_pairs  # noqa: E402

BATCH, TOKENS, RATE, TEMPERATURE, TURNS, SEARCHES, K = 64, 64, 2e-5, 0.05, 2, 300, 10


class TuningCase(NamedTuple):
    """The pairs and the validation in the form that both sides need."""

    arm: Arm
    corpus: Corpus
    pairs: Pairs
    known: KnownPositives
    queries: list[str]  # of each pair
    documents: list[str]
    searches: np.ndarray  # rows of the validation
    search_texts: list[str]
    candidates: np.ndarray  # document rows
    candidate_texts: list[str]
    targets: Targets  # positions among the candidates

    def recall(self, queries: np.ndarray, documents: np.ndarray) -> float:
        """Mean recall@K of the validation searches."""
        rows, _ = search_exact(documents, queries, K)
        return float(recall_at_k(hits(self.candidates[rows], self.targets), self.targets, K).mean())


class TuningCourse(NamedTuple):
    """The speed of a training, by the clock and by processor seconds, and its recall."""

    speed: np.ndarray
    recall: float


def case_of(model: str, count: int) -> TuningCase:
    """The first pairs of a log, and validation searches whose targets are among the candidates."""
    towers = TransformerTowerConfig(model=model, max_tokens=TOKENS, device="cpu")
    arm = Arm(
        towers=towers, loss=Softmax(temperature=TEMPERATURE), negatives=NegativeMix(random=0, in_batch="all"),
        training=Training(batch_size=BATCH, epochs=1, patience=1, threads=THREADS),
    )  # fmt: skip
    log = extract_log("lastfm" if LASTFM.exists() else "world")
    features = featurise.fn(log, arm.features)
    corpus, (pairs, known) = read_corpus(log, features, arm), read_pairs(log, arm.positives, arm.mask, 0)
    chosen = np.random.default_rng(0).permutation(len(pairs.search_rows))[:count]
    few = {
        name: getattr(pairs, name)[chosen]
        for name in ("search_rows", "document_rows", "groups", "shown_from", "shown_to")
    }
    pairs = pairs._replace(**few, pairs_per_epoch=len(chosen))
    validation = read_sample(sample.fn(log, "validation", SEARCHES, 1))
    searches, targets = validation.for_targets("clicked")
    others = np.random.default_rng(1).permutation(validation.candidates)[: 2 * count]
    candidates = np.unique(np.concatenate([pairs.document_rows, targets.documents, others]))
    queries, titles = (texts.to_pylist() for texts in texts_of(log, arm.features))
    query_of = corpus.inputs.text.at[: corpus.inputs.searches]
    return TuningCase(
        arm, corpus, pairs, known,
        [queries[row] for row in query_of[pairs.search_rows]], [titles[row] for row in pairs.document_rows],
        searches["search_row"], [queries[row] for row in query_of[searches["search_row"]]],
        candidates, [titles[row] for row in candidates], targets,
    )  # fmt: skip


def train_ours(case: TuningCase) -> TuningCourse:
    """Our towers, trained for an epoch."""
    use_threads(THREADS)
    start, first = clocks(), 0
    for progress, tower in train(case.corpus, case.pairs, case.known, case.arm, 0, None):  # noqa: B007
        if not first:
            first, start = progress.pairs, clocks()
        if progress.epoch is None:
            seconds, pairs = clocks() - start, progress.pairs - first
    inputs = case.corpus.inputs
    queries = query_vectors(tower, inputs, np.asarray(case.searches, np.int32))
    return TuningCourse(pairs / seconds, case.recall(queries, tower.encode(inputs.rows_of(case.candidates))))


def train_peer(case: TuningCase, model: str) -> TuningCourse:
    """The peer, trained for an epoch."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    encoder = SentenceTransformer(model, device="cpu")
    encoder.max_seq_length = TOKENS
    marks: list[np.ndarray] = []

    class StepWatch(TrainerCallback):  # type: ignore[misc]  # the peer calls it after each step
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(clocks())

    arguments = SentenceTransformerTrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=RATE,
        warmup_steps=0.1, save_strategy="no", eval_strategy="no", logging_strategy="no", report_to="none",
        disable_tqdm=True, use_cpu=True, seed=0,
    )  # fmt: skip
    pairs = Dataset.from_dict({"query": case.queries, "document": case.documents})
    loss = MultipleNegativesRankingLoss(encoder, scale=1 / TEMPERATURE)
    SentenceTransformerTrainer(
        model=encoder, args=arguments, train_dataset=pairs, loss=loss, callbacks=[StepWatch()]
    ).train()
    vectors = [
        encoder.encode(texts, batch_size=256, normalize_embeddings=True, show_progress_bar=False)
        for texts in (case.search_texts, case.candidate_texts)
    ]
    return TuningCourse((len(pairs) - BATCH) / (marks[-1] - marks[0]), case.recall(*vectors))


def main(model: str, count: int) -> None:
    """Print a line for each turn, then the ratios."""
    case = case_of(model, count)
    print(f"{len(case.pairs.search_rows):,} pairs, {len(case.candidates):,} candidates, {THREADS} threads", flush=True)
    runs: dict[str, list[TuningCourse]] = {"peer": [], "ours": []}
    for _ in range(TURNS):  # in turn, so that a slow minute affects both
        for side, courses in runs.items():
            courses.append(train_ours(case) if side == "ours" else train_peer(case, model))
            clock, processors = courses[-1].speed
            recall = courses[-1].recall
            print(
                f"{side}: {clock:.1f} pairs/s, {processors:.1f} a processor's second, recall@{K} {recall:.4f}",
                flush=True,
            )
    for column, name in ((0, "by the clock"), (1, "of the processors")):
        ours, peer = (statistics.median(course.speed[column] for course in runs[side]) for side in ("ours", "peer"))
        print(f"{name}: ours {ours:.1f} pairs/s, peer {peer:.1f}, {ours / peer:.2f} × (goal 1)")
    ours, peer = (statistics.mean(course.recall for course in runs[side]) for side in ("ours", "peer"))
    print(f"recall@{K}: ours {ours:.4f}, peer {peer:.4f} (goal: not below)")


if __name__ == "__main__":
    main(ARGUMENTS[0], int(ARGUMENTS[1]) if len(ARGUMENTS) > 1 else 2048)
