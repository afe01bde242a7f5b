"""Trains one arm: batches → towers → loss, every gradient in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, assert_never

import faiss
import numba
import numpy as np
import torch

from ebr_core.arrays import Bool, Float32, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.scratch import IN_RAM, Scratch, expect_random
from ebr_core.towers.tower import Tower
from ebr_core.towers.tower_inputs import Inputs
from ebr_core.towers.tower_kinds import new_tower
from ebr_core.training.arm_config import Arm
from ebr_core.training.batches import Batch, NegativeSource, batches, next_epoch, sampling_probabilities
from ebr_core.training.hard_negatives import Mined, MiningQueries, Searched, mine
from ebr_core.training.loss_config import Softmax, ThreePart, Triplet
from ebr_core.training.pair_config import Mining, NegativeMix
from ebr_core.training.positives import KnownPositives, Pairs
from ebr_core.training.similarity import Sums, nested_step

COLLAPSED = 0.99  # length of the mean document embedding above which all embeddings point one way


class MisspeltCopies(NamedTuple):
    """Where misspelt copies of searches stand among the inputs' rows: copy c of searches[t] at first + c · T + t."""

    first: int
    each: int  # how many of a search
    searches: Int32  # (T,) increasing


class Corpus(NamedTuple):
    """What an arm reads."""

    inputs: Inputs
    trainable: Int32  # document rows that existed in the training window
    clicks: Int64  # (N,) clicks of each document in the training window
    copies: MisspeltCopies | None = None  # misspelt ones of the training searches
    scratch: Scratch = IN_RAM  # where what is made for every pair lies


class Start(NamedTuple):
    """What an arm brings along from other arms."""

    tower: Tower | None = None  # that it trains further; without one, a new tower of the arm's kind
    offline: Int32 | None = None  # (P, keep) mined documents of each pair, −1 behind the last


class Epoch(NamedTuple):
    """How an epoch went."""

    epoch: int  # from 1
    loss: float
    active: float  # share of the negatives that pushed
    positive_cosine: float
    negative_cosine: float
    gradient_norm: float
    spread: float  # 1 − the length of the mean document embedding; 0 is a collapse
    validation_recall: float


class Progress(NamedTuple):
    """Pairs seen so far, the epoch if one just ended, and whether its towers are the best so far."""

    pairs: int
    epoch: Epoch | None = None
    best: bool = False


def use_threads(threads: int) -> None:
    """Fixes the threads of torch, numba and faiss for the calling thread, so that arms can run side by side."""
    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # numba sets its config while importing
    if threads > most:
        raise InputError(f"threads: {threads}, but this machine has {most}")
    torch.set_num_threads(threads)
    numba.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    faiss.cvar.distance_compute_blas_threshold = 20  # its default, 128,000, trains PQ 13 times slower (LOG.md)


def train(
    corpus: Corpus,
    pairs: Pairs,
    known: KnownPositives,
    arm: Arm,
    seed: int,
    recall: Callable[[Tower], float],
    start: Start | None = None,
    device: str = "cpu",
) -> Iterator[tuple[Progress, Tower]]:
    """Progress with the live tower, until the epochs are over or validation recall stops rising.

    recall(tower) measures validation recall after each epoch. Errors: NaN, collapse, an arm whose negatives do not
    exist.
    """
    start = start or Start()
    _refuse_missing(pairs, arm, start)
    rng = np.random.default_rng([seed, 0])
    tower = start.tower.over(corpus.inputs) if start.tower else new_tower(arm, corpus.inputs, rng)
    nothing = np.full((len(pairs.search_rows), 0), -1, np.int32)
    drawn = NegativeSource(corpus.trainable, corpus.clicks, nothing if start.offline is None else start.offline)
    log_q = log_chances(drawn, pairs, arm, seed)
    _expect_random(corpus.inputs, pairs, known, drawn)
    memory = np.zeros((0, tower.dimensions), np.float32)
    best, since, seen, rest = -1.0, 0, 0, np.zeros(0, np.int32)
    if not arm.training.epochs:
        yield Progress(0, _epoch(0, [], _spread(corpus, tower), recall(tower)), True), tower
    for number in range(1, arm.training.epochs + 1):
        if arm.remine_every and (number - 1) % arm.remine_every == 0 and (number > 1 or start.offline is None):
            drawn = drawn._replace(offline=_mined_anew(tower, corpus, pairs, known, arm, seed + number))
        mix, sums = _mix_of(arm, number), []
        order, rest = next_epoch(rest, len(pairs.search_rows), pairs.an_epoch, rng, arm.training.window)
        memory = memory[:0]
        for batch in batches(pairs, known, drawn, mix, arm.mask, arm.training.batch_size, order, rng):
            told, memory = _step(corpus, batch, arm, tower, log_q, memory, rng, device)
            sums.append(told)
            seen += len(batch.search_rows)
            yield Progress(seen), tower
        epoch = _epoch(number, sums, _spread(corpus, tower), recall(tower))
        since = 0 if epoch.validation_recall > best else since + 1
        best = max(best, epoch.validation_recall)
        yield Progress(seen, epoch, since == 0), tower
        if since >= arm.training.patience:
            return


def _mined_anew(tower: Tower, corpus: Corpus, pairs: Pairs, known: KnownPositives, arm: Arm, seed: int) -> Int32:
    """(P, keep) offline hard negatives of every pair by the tower as it is now, −1 behind the last."""
    found = mine_pairs(tower, corpus, pairs, known, arm.mining, seed, arm.training.threads)
    mined = corpus.scratch.column((part.document_rows.ravel() for part in found), np.int32)
    return mined.reshape(-1, arm.mining.keep)


def _expect_random(inputs: Inputs, pairs: Pairs, known: KnownPositives, drawn: NegativeSource) -> None:
    """What batches read here and there."""
    read = (*pairs, *known, drawn.offline, *inputs.arrays())
    expect_random(one for one in read if isinstance(one, np.ndarray))


def _refuse_missing(pairs: Pairs, arm: Arm, start: Start) -> None:
    mixes = (arm.negatives, arm.negatives_at_end or arm.negatives)
    if any(mix.impressions for mix in mixes) and not len(pairs.not_clicked):
        raise InputError(
            "negatives.impressions: no impression of the training window is left that was neither clicked nor is a "
            "positive of this arm; use negatives.random, or positives.source: clicks"
        )
    if any(mix.offline_hard for mix in mixes) and start.offline is None and not arm.remine_every:
        raise InputError("negatives.offline_hard: nothing was mined; name an arm in mine_from, or set remine_every")


def _mix_of(arm: Arm, epoch: int) -> NegativeMix:
    """The negatives of an epoch, from 1: those of the arm, or on the way to those at its end."""
    if arm.negatives_at_end is None or arm.training.epochs == 1:
        return arm.negatives
    return arm.negatives.towards(arm.negatives_at_end, (epoch - 1) / (arm.training.epochs - 1))


def log_chances(drawn: NegativeSource, pairs: Pairs, arm: Arm, seed: int) -> Float32 | None:
    """(N,) log q of each document, as the arm's loss corrects for; None where it does not."""
    match arm.loss:
        case Softmax() as loss if loss.logq:
            pass
        case Softmax() | Triplet() | ThreePart():
            return None
        case _:
            assert_never(arm.loss)
    chances = sampling_probabilities(drawn, pairs, arm.negatives, arm.training.batch_size)
    if loss.logq_form == "shuffled":
        chances = np.random.default_rng([seed, 4]).permutation(chances)
    return np.log(chances).astype(np.float32)


def mine_pairs(
    tower: Tower, corpus: Corpus, pairs: Pairs, known: KnownPositives, mining: Mining, seed: int, threads: int
) -> Iterator[Mined]:
    """Offline hard negatives of every pair, in order, among the documents of the training window alone.

    tower: over the corpus's inputs.
    """
    if len(corpus.inputs.views) > 1:
        raise InputError("an arm with towers.query_vectors above 1 cannot be mined from: name another in mine_from")
    documents = tower.encode(corpus.inputs.rows_of(corpus.trainable))

    def queries(part: slice) -> Float32:
        return tower.encode(pairs.search_rows[part]).ravel()

    vectors = corpus.scratch.over(len(pairs.search_rows), queries, np.float32).reshape(-1, documents.shape[1])
    asked = MiningQueries(vectors, pairs.groups, pairs.document_rows)
    return mine(asked, Searched(documents, corpus.trainable), known, mining, seed, threads)


def _epoch(number: int, sums: list[Sums], spread: float, recall: float) -> Epoch:
    sums = sums or [Sums(0, 0, 0, 0, 0)]
    means = Sums(*(float(np.mean(values)) for values in zip(*sums, strict=True)))
    if not np.isfinite(means).all():
        raise InputError(f"epoch {number}: the loss is not a number; lower training.learning_rate")
    if not math.isfinite(recall):
        raise InputError(
            f"epoch {number}: validation recall is not a number: got {recall}; without a validation search that has a "
            "target no epoch can be chosen: move the split, so that the validation period holds clicks"
        )
    if spread < 1 - COLLAPSED:
        raise InputError(
            f"epoch {number}: collapse, the embeddings of all documents point one way (spread {spread:.4f}); "
            "lower training.learning_rate, or the margin, or start with easier negatives"
        )
    return Epoch(number, *means, spread, recall)


def _spread(corpus: Corpus, tower: Tower, most: int = 10_000) -> float:
    documents = corpus.trainable[:: max(1, len(corpus.trainable) // most)]
    vectors = tower.encode(corpus.inputs.rows_of(documents))
    return 1 - float(np.linalg.norm(vectors.mean(0)))


def _step(
    corpus: Corpus,
    batch: Batch,
    arm: Arm,
    tower: Tower,
    log_q: Float32 | None,
    memory: Float32,
    rng: np.random.Generator,
    device: str,
) -> tuple[Sums, Float32]:
    """One batch forward, back and into the tower, which is changed in place; and what the next one remembers."""
    b = len(batch.search_rows)
    documents = np.concatenate([batch.document_rows, batch.pool, batch.own.ravel()])
    inputs, asked = corpus.inputs, batch.search_rows
    misspelt = np.zeros(b, bool)
    if corpus.copies is not None:
        asked, misspelt = _misspelt(batch.search_rows, corpus.copies, arm.typos.share, rng)
    rows = np.concatenate([inputs.queries_of(asked), inputs.rows_of(documents)]).astype(np.int32)
    forward = tower.forward(rows)
    vectors = torch.from_numpy(forward.vectors).to(device)
    gradient, sums = nested_step(vectors, torch.from_numpy(memory).to(device), batch, arm, log_q)
    back = gradient.to("cpu").numpy()
    if arm.typos.teaching and misspelt.any():
        clean = tower.encode(batch.search_rows[misspelt])
        back[:b][misspelt] -= np.float32(arm.typos.teaching / b) * clean
    if batch.mix.memory:
        positives = slice(len(inputs.views) * b, (len(inputs.views) + 1) * b)
        memory = np.concatenate([memory, forward.vectors[positives]])[-batch.mix.memory :]
    tower.step(forward, back, arm.training.learning_rate)
    return sums, memory


def _misspelt(searches: Int32, copies: MisspeltCopies, share: float, rng: np.random.Generator) -> tuple[Int32, Bool]:
    """The rows (B,) of the searches, a share of them in one of their misspelt copies, and which (B,)."""
    chosen = rng.random(len(searches)) < share
    copy = rng.integers(copies.each, size=len(searches))
    there = copies.first + copy * len(copies.searches) + np.searchsorted(copies.searches, searches)
    return np.where(chosen, there, searches).astype(np.int32), chosen
