"""Training of one arm with one seed, and mining of the negatives that another arm takes from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.schemas import MINED
from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.measure.metrics import hits, recall_at_k
from ebr_core.parallel import use_threads
from ebr_core.scratch import Scratch
from ebr_core.search.exclusions import first_allowed
from ebr_core.search.nearest import search_exact
from ebr_core.towers.checkpoint import load_towers, save_towers
from ebr_core.towers.tower import Tower, query_vectors
from ebr_core.towers.tower_kinds import restore_tower
from ebr_core.training.arm_config import Arm, TrainingEnd
from ebr_core.training.hard_negatives import MinedBlock
from ebr_core.training.pair_config import Mining, Positives, Ratings
from ebr_core.training.positives import Pairs, no_pairs
from ebr_core.training.rated_results import documents_rated_bad, pack_left
from ebr_core.training.train_loop import Start, mine_pairs
from ebr_core.training.training_corpus import Corpus
from tasks.artifacts import kept_folder, stage
from tasks.eval_sets import read_sample
from tasks.kinds import EvalSet, FeatureSet, Log, MinedNegatives, RatedResults, StartTable, TextVectors, TrainedTowers
from tasks.progress import show_progress
from tasks.static_stage import read_start_table
from tasks.text_vectors_of_log import read_teacher
from tasks.trained_towers import checkpoint_of, group_weights, has_shape_of
from tasks.training_inputs import read_corpus, read_pairs, read_rated, with_misspelt, with_own_pairs, with_titles
from tasks.trials import Trial, run_trial


class FirstTraining(NamedTuple):
    """What validation chose in the training that a refit repeats."""

    trial: int
    epochs: int
    validation_recall: float
    ended: TrainingEnd


@stage(TrainedTowers)
def train_arm(
    folder: Path,
    log: Log,
    features: FeatureSet,
    validation: EvalSet | None,
    arm: Arm,
    seed: int,
    start: TrainedTowers | None = None,
    mined: MinedNegatives | None = None,
    screened: TrainedTowers | None = None,
    rated: list[RatedResults] | None = None,
    refit_of: TrainedTowers | None = None,
    k: int = 10,
    table: StartTable | None = None,
    teacher: TextVectors | None = None,
) -> None:
    """Write the towers of the epoch with the best validation recall, figures of all epochs, and costs.

    start: the towers whose weights the training starts from. mined: offline hard negatives. screened: towers of the
    same arm with the first seed, whose best trial is used; without them, every trial of the arm is run. rated: ratings
    of retrieved results by people, or by the truth with noise, round by round. refit_of: towers of the same arm and
    seed, whose trial and number of epochs are used; then there is no validation. k: of the validation recall.
    table: the vectors at which the n-grams start. teacher: those of the encoder whose scores are a soft target.
    """
    use_threads(arm.training.threads)
    scratch = Scratch(folder)
    corpus = with_own_pairs(read_corpus(log, features, arm, scratch), log, features)
    ratings = read_rated(log, rated or [], arm.ratings, seed)
    if arm.training.epochs:
        pairs, known_positives = read_pairs(log, arm.positives, arm.mask, seed, ratings, arm.ratings, scratch)
    else:
        pairs, known_positives = no_pairs()
    if arm.typos.share and arm.training.epochs:
        corpus = with_misspelt(corpus, pairs, log, features, arm.typos, seed)
    if arm.positives.titles:
        corpus = with_titles(corpus, log, features)
    if teacher is not None:
        corpus = corpus._replace(teacher=read_teacher(features, teacher))
    recall = None if validation is None else _validation_recall(corpus, validation, k)
    first = None if refit_of is None else _first_training(refit_of)
    assert first is not None or recall is not None or not arm.training.epochs, "validation or a first training decides"
    offline = None if mined is None else _read_mined(mined, len(pairs.search_rows), scratch)
    if ratings and arm.ratings and arm.ratings.negatives and arm.training.epochs:
        bad = documents_rated_bad(ratings, pairs, known_positives)
        offline = bad if offline is None else pack_left(np.concatenate([bad, offline], axis=1))
    candidates = list(enumerate(arm.trial_arms))
    if (earlier := refit_of or screened) is not None:
        candidates = [candidates[_first_training(earlier).trial]]
    trials: dict[int, Trial] = {}
    for number, trial in candidates:
        start_tower = None if start is None else _start_tower(start, trial)
        start_state = Start(start_tower, offline, text_table=read_start_table(table))
        label = f"train, seed {seed}" + (
            f", trial {number + 1} of {len(arm.trial_arms)}" if len(candidates) > 1 else ""
        )
        last_epoch = first.epochs if first else None
        kept = kept_folder(folder) / str(number)
        trials[number] = run_trial(
            corpus, pairs, known_positives, trial, seed, recall, start_state, label, kept, last_epoch
        )
    chosen = first.trial if first else max(trials, key=lambda number: trials[number].recall)
    best = trials[chosen]
    save_towers(checkpoint_of(best.best, log, features, arm), folder)
    (folder / "weights.json").write_text(json.dumps(group_weights(best.best, arm), indent=1))
    (folder / "epochs.json").write_text(json.dumps(best.epochs, indent=1))
    (folder / "costs.json").write_text(json.dumps(best.costs | best.best.counts(), indent=1))
    recalls = {str(number): first.validation_recall if first else trial.recall for number, trial in trials.items()}
    ended = first.ended if first else best.end
    summary = {"chosen": chosen, "tried": len(arm.trial_arms), "validation_recall": recalls, "ended": ended}
    (folder / "trials.json").write_text(json.dumps(summary, indent=1))
    shutil.rmtree(kept_folder(folder), ignore_errors=True)


def _start_tower(start: TrainedTowers, arm: Arm) -> Tower:
    """The tower to start from, with the arm's learning rates.

    Raises InputError if it has other features or another shape.
    """
    model = load_towers(start.folder)
    if not has_shape_of(model, arm):
        raise InputError(
            "start_from: that arm's text, groups or towers differ from this one's, so its weights do not fit. "
            "Use the same settings in both"
        )
    return restore_tower(arm.towers, model.tower.state(), arm.features.group_names)


def best_recall(towers: TrainedTowers) -> float:
    """The validation recall of the epoch whose towers were kept; of a refit, that of the first training."""
    trials = json.loads((towers.folder / "trials.json").read_text())
    return float(trials["validation_recall"][str(trials["chosen"])])


def _first_training(towers: TrainedTowers) -> FirstTraining:
    """The trial and the epoch that validation chose. Of equally good epochs the first was kept."""
    trials = json.loads((towers.folder / "trials.json").read_text())
    epochs = json.loads((towers.folder / "epochs.json").read_text())
    best = max(epochs, key=lambda epoch: float(epoch["validation_recall"]))
    return FirstTraining(trials["chosen"], best["epoch"], float(best["validation_recall"]), trials["ended"])


def training_remark(towers: TrainedTowers) -> str | None:
    """The reason why nothing about these towers is decided; None if their training ended by convergence, or if its
    length was fixed."""
    ended = json.loads((towers.folder / "trials.json").read_text())["ended"]
    epochs = len(json.loads((towers.folder / "epochs.json").read_text()))
    if ended != "cap":
        return None
    return f"training ended at the cap of {epochs} epochs, before validation recall had stopped rising"


def _validation_recall(corpus: Corpus, validation: EvalSet, k: int) -> Callable[[Tower], float] | None:
    """A function tower → its recall@K on the validation searches, over the whole corpus of their period; None if the
    log has no validation part."""
    sample = read_sample(validation)
    if not len(sample.searches["search_row"]):
        return None
    searches, targets = sample.for_targets("clicked")
    excluded = sample.excluded.take(searches["at"])

    def recall(tower: Tower) -> float:
        documents = tower.encode(corpus.inputs.rows_of(sample.candidates))
        queries = query_vectors(tower, corpus.inputs, searches["search_row"])
        rows, _ = search_exact(documents, queries, sample.depth(k))
        rows = first_allowed(rows, excluded, k)
        retrieved = np.where(rows >= 0, sample.candidates[rows], -1)
        return float(recall_at_k(hits(retrieved, targets), targets, k).mean())

    return recall


@stage(MinedNegatives)
def mine_negatives(
    folder: Path,
    log: Log,
    features: FeatureSet,
    towers: TrainedTowers,
    source: Arm,
    positives: Positives,
    mask: str,
    mining: Mining,
    seed: int,
    threads: int,
    ratings: Ratings | None = None,
    rated: list[RatedResults] | None = None,
) -> None:
    """Write mined.parquet: offline hard negatives for the pairs that positives, mask and seed select.

    They come from a rank window of the documents of the training window that the towers of the arm source retrieve.
    ratings and rated: those of the arm that gets the negatives.
    """
    use_threads(threads)
    scratch = Scratch(folder)
    corpus, rated_results = read_corpus(log, features, source, scratch), read_rated(log, rated or [], ratings, seed)
    pairs, known_positives = read_pairs(log, positives, mask, seed, rated_results, ratings, scratch)
    tower = load_towers(towers.folder).tower.over(corpus.inputs)
    with show_progress("mine", 1), pq.ParquetWriter(folder / "mined.parquet", MINED) as writer:
        for part in mine_pairs(tower, corpus, pairs, known_positives, mining, seed, threads):
            writer.write_table(_mined_table(part, pairs))


def _mined_table(part: MinedBlock, pairs: Pairs) -> pa.Table:
    query, pos = np.nonzero(part.document_rows >= 0)
    pair = (part.first + query).astype(np.int32)
    columns = {
        "pair_row": pair,
        "search_row": pairs.search_rows[pair],
        "positive_row": pairs.document_rows[pair],
        "place": pos.astype(np.int32),
        "document_row": part.document_rows[query, pos],
        "rank": part.ranks[query, pos],
        "similarity": part.similarities[query, pos],
    }
    return pa.table(columns, schema=MINED)


def _read_mined(mined: MinedNegatives, pairs: int, scratch: Scratch) -> Int32:
    """(P, M) the mined documents of each pair, −1 after the last."""
    with pq.ParquetFile(mined.folder / "mined.parquet") as file:
        places = (batch["place"].to_numpy() for batch in file.iter_batches(columns=["place"]))
        width = 1 + max((int(part.max(initial=-1)) for part in places), default=-1)
        flat = scratch.concat_blocks(pairs * width, lambda part: np.full(part.stop - part.start, -1), np.int32)
        documents = flat.reshape(pairs, width)
        for batch in file.iter_batches(columns=["pair_row", "place", "document_row"]):
            documents[batch["pair_row"].to_numpy(), batch["place"].to_numpy()] = batch["document_row"].to_numpy()
    return documents
