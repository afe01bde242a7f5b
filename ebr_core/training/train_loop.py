"""Trains one arm: batches → towers → loss, every gradient in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, assert_never

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.scratch import expect_random
from ebr_core.towers.tower import Tower
from ebr_core.towers.tower_inputs import Inputs
from ebr_core.towers.tower_kinds import new_tower
from ebr_core.training.arm_config import Arm
from ebr_core.training.batches import NegativeSource, batches, positive_frequencies, sampling_probabilities
from ebr_core.training.hard_negatives import MinedBlock, MiningCorpus, MiningQueries, mine
from ebr_core.training.loss_config import Softmax, ThreePart, Triplet
from ebr_core.training.pair_config import Mining, NegativeMix
from ebr_core.training.positives import KnownPositives, Pairs
from ebr_core.training.similarity import StepStats
from ebr_core.training.title_pairs import TitlePairs, add_titles, epoch_orders, first_round, mix_frequencies
from ebr_core.training.train_step import train_step
from ebr_core.training.training_corpus import Corpus

_RATES = "training.learning_rate (of a transformer towers.encoder_rate)"
COLLAPSED = 0.99  # length of the mean document embedding above which all embeddings point one way


class Start(NamedTuple):
    """The results of other arms from which an arm starts."""

    tower: Tower | None = None  # trained further; None for a new tower of the arm's kind
    mined: Int32 | None = None  # (P, keep) mined documents of each pair, −1 after the last
    position: Position | None = None  # the end of an epoch at which this tower was; None for the beginning
    text_table: Float32 | None = None  # (rows, D) the start of a new n-gram table, None for a random one


class Epoch(NamedTuple):
    """The figures of an epoch."""

    epoch: int  # from 1
    loss: float
    active: float  # share of the negatives that were active
    positive_cosine: float
    negative_cosine: float
    gradient_norm: float
    spread: float  # 1 − the length of the mean document embedding; 0 means collapse
    validation_recall: float | None  # None without a validation


class Position(NamedTuple):
    """The end of an epoch, from which a training that was killed goes on as if nothing had happened."""

    epochs: tuple[Epoch, ...]  # all up to there
    pairs: int  # trained so far
    new_pairs: int  # those at the beginning that were new to the tables
    draws: tuple[Mapping[str, Any], ...]  # the state of the random generator before each epoch, and after the last
    mined: Int32  # (P, M) the mined documents of each pair


class Progress(NamedTuple):
    """The pairs trained so far, the epoch if one just ended, and True if its towers are the best so far."""

    pairs: int
    epoch: Epoch | None = None
    best: bool = False
    position: Position | None = None  # with an epoch


def train(
    corpus: Corpus,
    pairs: Pairs,
    known_positives: KnownPositives,
    arm: Arm,
    seed: int,
    recall: Callable[[Tower], float] | None,
    start: Start | None = None,
    device: str = "cpu",
) -> Iterator[tuple[Progress, Tower]]:
    """(progress, the live tower) after each batch and epoch, until validation recall has stopped rising for the arm's
    patience, or until the cap of epochs.

    recall(tower) measures validation recall after each epoch; without it, every epoch counts as the best so far and the
    caller decides after which one to stop. Raises InputError if the loss is NaN, the embeddings
    collapse, or the arm's kinds of negatives do not exist.
    """
    start = start or Start()
    if not arm.training.epochs:
        yield _untrained(corpus, arm, seed, recall, start)
        return
    _refuse_missing(pairs, arm, start)
    rng = np.random.default_rng([seed, 0])
    steps = math.ceil(pairs.pairs_per_epoch / arm.training.batch_size)
    tower = start.tower or new_tower(arm, corpus.inputs, rng, steps, start.text_table)
    tower = tower.over(corpus.inputs)
    unmined = np.full((len(pairs.search_rows), 0), -1, np.int32)
    source = NegativeSource(corpus.trainable, corpus.clicks, unmined if start.mined is None else start.mined)
    log_q = log_sampling_probabilities(source, pairs, arm, seed, corpus.titles)
    learnt = add_titles(pairs, known_positives, source, corpus.titles, arm.mask, corpus.scratch)
    _expect_random_reads(corpus.inputs, *learnt)
    memory_bank = np.zeros((0, tower.dimensions), np.float32)
    stale_epochs, pairs_seen = 0, 0
    new_pairs = 0 if start.tower else first_round(len(pairs.search_rows), corpus.titles, arm.positives.titles)
    orders = epoch_orders(
        len(pairs.search_rows), len(learnt[0].search_rows) - len(pairs.search_rows), pairs.pairs_per_epoch,
        arm.positives.titles, arm.training.window, rng,
    )  # fmt: skip
    epochs: tuple[Epoch, ...] = ()
    draws: tuple[Mapping[str, Any], ...] = ()
    if (position := start.position) is not None:
        epochs, pairs_seen, new_pairs, draws, mined = position
        source = source._replace(mined=mined)
        learnt = add_titles(pairs, known_positives, source, corpus.titles, arm.mask, corpus.scratch)
        stale_epochs = _stale_epochs(epochs)
        _draw_again(orders, rng, draws)
    for number in range(len(epochs) + 1, arm.training.epochs + 1):
        if arm.training.patience is not None and stale_epochs >= arm.training.patience:
            return
        if arm.remine_every and (number - 1) % arm.remine_every == 0 and (number > 1 or start.mined is None):
            source = source._replace(mined=_remine(tower, corpus, pairs, known_positives, arm, seed + number))
            learnt = add_titles(pairs, known_positives, source, corpus.titles, arm.mask, corpus.scratch)
        mix, stats, memory_bank = _mix_of(arm, number), [], memory_bank[:0]
        draws = (*draws[: number - 1], rng.bit_generator.state)
        training_data = *learnt, mix, arm.mask, arm.training.batch_size, next(orders), rng
        for batch in batches(*training_data):
            # From the second round on, the tables know the pairs by heart, by the values of a column of noise if need
            # be. Weights that learned from them would rise for such a column.
            batch = batch._replace(is_new=pairs_seen < new_pairs)
            batch_stats, memory_bank = train_step(corpus, batch, arm, tower, log_q, memory_bank, rng, device)
            stats.append(batch_stats)
            pairs_seen += len(batch.search_rows)
            yield Progress(pairs_seen), tower
        epoch = _epoch(number, stats, _spread(corpus, tower), recall and recall(tower))
        epochs = (*epochs, epoch)
        stale_epochs = _stale_epochs(epochs)
        position = Position(epochs, pairs_seen, new_pairs, (*draws, rng.bit_generator.state), source.mined)
        yield Progress(pairs_seen, epoch, stale_epochs == 0, position), tower


def _untrained(
    corpus: Corpus, arm: Arm, seed: int, recall: Callable[[Tower], float] | None, start: Start
) -> tuple[Progress, Tower]:
    """The figures and the tower of an arm with `epochs: 0`, which needs no pairs."""
    tower = start.tower or new_tower(arm, corpus.inputs, np.random.default_rng([seed, 0]), 0, start.text_table)
    tower = tower.over(corpus.inputs)
    return Progress(0, _epoch(0, [], _spread(corpus, tower), recall and recall(tower)), True), tower


def _stale_epochs(epochs: Sequence[Epoch]) -> int:
    """The epochs since the best validation recall was first reached; 0 without a validation."""
    recalls = [epoch.validation_recall for epoch in epochs if epoch.validation_recall is not None]
    return len(recalls) - 1 - recalls.index(max(recalls)) if recalls else 0


def _draw_again(orders: Iterator[Int32], rng: np.random.Generator, draws: Sequence[Mapping[str, Any]]) -> None:
    """Move the orders of epochs, and the generator that draws them, to the end of the epochs that have been trained."""
    for state in draws[:-1]:
        rng.bit_generator.state = dict(state)
        next(orders)
    rng.bit_generator.state = dict(draws[-1])


def _remine(tower: Tower, corpus: Corpus, pairs: Pairs, known_positives: KnownPositives, arm: Arm, seed: int) -> Int32:
    """(P, keep) offline hard negatives of every pair by the current tower, −1 after the last."""
    blocks = mine_pairs(tower, corpus, pairs, known_positives, arm.mining, seed, arm.training.threads)
    mined = corpus.scratch.column((part.document_rows.ravel() for part in blocks), np.int32)
    return mined.reshape(-1, arm.mining.keep)


def _expect_random_reads(inputs: Inputs, pairs: Pairs, known_positives: KnownPositives, source: NegativeSource) -> None:
    """Advise the system that batches read these arrays at random positions."""
    arrays = (*pairs, *known_positives, source.mined, *inputs.arrays())
    expect_random(array for array in arrays if isinstance(array, np.ndarray))


def _refuse_missing(pairs: Pairs, arm: Arm, start: Start) -> None:
    mixes = (arm.negatives, arm.negatives_at_end or arm.negatives)
    if any(mix.impressions for mix in mixes) and not len(pairs.not_clicked):
        raise InputError(
            "negatives.impressions: every impression of the training window was clicked or is a positive of this arm; "
            "use negatives.random, or positives.source: clicks"
        )
    if any(mix.offline_hard for mix in mixes) and start.mined is None and not arm.remine_every:
        raise InputError("negatives.offline_hard: nothing was mined; name an arm in mine_from, or set remine_every")


def _mix_of(arm: Arm, epoch: int) -> NegativeMix:
    """The mix of negatives of an epoch, from 1: the arm's, or interpolated to negatives_at_end."""
    if arm.negatives_at_end is None or arm.training.epochs == 1:
        return arm.negatives
    return arm.negatives.interpolate(arm.negatives_at_end, (epoch - 1) / (arm.training.epochs - 1))


def log_sampling_probabilities(
    source: NegativeSource, pairs: Pairs, arm: Arm, seed: int, titles: TitlePairs | None = None
) -> Float32 | None:
    """(N,) log q of each document, by which the arm's loss is corrected; None if it is not corrected."""
    match arm.loss:
        case Softmax() as loss if loss.logq:
            pass
        case Softmax() | Triplet() | ThreePart():
            return None
        case _:
            assert_never(arm.loss)
    frequencies = positive_frequencies(pairs, len(source.clicks))
    if titles is not None:
        frequencies = mix_frequencies(frequencies, titles, arm.positives.titles)
    probabilities = sampling_probabilities(source, frequencies, arm.negatives, arm.training.batch_size)
    if loss.logq_form == "shuffled":
        probabilities = np.random.default_rng([seed, 4]).permutation(probabilities)
    return np.log(probabilities).astype(np.float32)


def mine_pairs(
    tower: Tower, corpus: Corpus, pairs: Pairs, known_positives: KnownPositives, mining: Mining, seed: int, threads: int
) -> Iterator[MinedBlock]:
    """The offline hard negatives of every pair, in order, from the documents of the training window only.

    tower: over the corpus's inputs. Raises InputError for a tower with several query vectors.
    """
    if len(corpus.inputs.views) > 1:
        raise InputError("an arm with towers.query_vectors above 1 cannot be mined from: name another arm in mine_from")
    documents = tower.encode(corpus.inputs.rows_of(corpus.trainable))

    def queries(part: slice) -> Float32:
        return tower.encode(pairs.search_rows[part]).ravel()

    vectors = corpus.scratch.concat_blocks(len(pairs.search_rows), queries, np.float32).reshape(-1, documents.shape[1])
    mining_queries = MiningQueries(vectors, pairs.groups, pairs.document_rows)
    return mine(mining_queries, MiningCorpus(documents, corpus.trainable), known_positives, mining, seed, threads)


def _epoch(number: int, stats: list[StepStats], spread: float, recall: float | None) -> Epoch:
    stats = stats or [StepStats(0, 0, 0, 0, 0)]
    means = StepStats(*(float(np.mean(values)) for values in zip(*stats, strict=True)))
    if not np.isfinite(means).all():
        raise InputError(f"epoch {number}: the loss is not a number; lower {_RATES}")
    if recall is not None and not math.isfinite(recall):
        raise InputError(
            f"epoch {number}: validation recall is not a number: got {recall}; without a validation search that has a "
            "target, no epoch can be chosen: move the split, so that the validation period has clicks"
        )
    if spread < 1 - COLLAPSED:
        raise InputError(
            f"epoch {number}: collapse, the embeddings of all documents point one way (spread {spread:.4f}); "
            f"lower {_RATES}, or the margin, or start with easier negatives"
        )
    return Epoch(number, *means, spread, recall)


def _spread(corpus: Corpus, tower: Tower, sample_size: int = 10_000) -> float:
    """1 − the length of the mean document embedding of the training window; NaN if that has no document."""
    documents = corpus.trainable[:: max(1, len(corpus.trainable) // sample_size)]
    if not len(documents):
        return math.nan
    vectors = tower.encode(corpus.inputs.rows_of(documents))
    return 1 - float(np.linalg.norm(vectors.mean(0)))
