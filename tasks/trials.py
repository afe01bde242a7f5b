"""One training of an arm with one seed, from its start, or from the last epoch that a kill left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ebr_core.towers.tower import Tower, copied_state
from ebr_core.towers.tower_kinds import restore_tower, resumable_state
from ebr_core.training.arm_config import Arm, TrainingEnd, training_end
from ebr_core.training.positives import KnownPositives, Pairs
from ebr_core.training.train_loop import Start, train
from ebr_core.training.training_corpus import Corpus
from tasks.progress import show_progress
from tasks.saved_epochs import SavedEpoch, read_epoch, save_epoch
from tasks.trained_towers import epoch_weights


class Trial(NamedTuple):
    """The result of one training."""

    arm: Arm
    best: Tower  # a copy of the tower after the best epoch; of a refit, after the last
    epochs: list[dict[str, Any]]
    costs: dict[str, Any]

    @property
    def recall(self) -> float:
        """The best validation recall of an epoch; NaN without a validation."""
        return max(self._recalls, default=math.nan)

    @property
    def end(self) -> TrainingEnd:
        """The reason why it ended."""
        return training_end(self._recalls, self.arm.training)

    @property
    def _recalls(self) -> list[float]:
        recalls = [epoch["validation_recall"] for epoch in self.epochs]
        return [float(recall) for recall in recalls if recall is not None]


def run_trial(
    corpus: Corpus,
    pairs: Pairs,
    known_positives: KnownPositives,
    arm: Arm,
    seed: int,
    recall: Callable[[Tower], float] | None,
    start: Start,
    label: str,
    kept: Path,
    last_epoch: int | None = None,
) -> Trial:
    """Run one training from start to end. kept: the folder of its epochs, if they are kept.

    last_epoch: the epoch that ends it; all that depends on the number of epochs that the arm allows, as the mix of
    negatives may, is as in a training that could go on.
    """
    epochs: list[dict[str, Any]] = []
    best: Tower | None = None
    groups, before = arm.features.group_names, 0.0
    if (saved := read_epoch(kept)) is not None:
        start = Start(restore_tower(arm.towers, saved.state, groups), start.mined, saved.position)
        best, epochs, before = restore_tower(arm.towers, saved.best, groups), saved.figures, saved.seconds
    seen = skipped = saved.position.pairs if saved else 0
    measuring = False
    started = time.perf_counter()
    most_epochs = arm.training.epochs if last_epoch is None else last_epoch
    with show_progress(label, most_epochs * pairs.pairs_per_epoch) as show:
        for progress, tower in train(corpus, pairs, known_positives, arm, seed, recall, start):
            if not measuring:  # compiling and reading are left out
                measuring, skipped, started = True, progress.pairs, time.perf_counter()
            seen = progress.pairs
            show(progress.pairs, _note(epochs))
            if progress.epoch:
                epochs.append(progress.epoch._asdict() | epoch_weights(tower, arm))
            if progress.best:
                best = restore_tower(arm.towers, copied_state(tower), groups)
            if progress.position and best and (state := resumable_state(tower)) is not None:
                seconds = before + time.perf_counter() - started
                save_epoch(kept, SavedEpoch(progress.position, epochs, seconds, state, best.state()))
            if progress.epoch and progress.epoch.epoch == last_epoch:
                break
    assert best is not None, "the first epoch is always the best so far"
    seconds = time.perf_counter() - started
    costs = {"train_s": before + seconds, "pairs": seen, "pairs_per_s": (seen - skipped) / seconds}
    return Trial(arm, best, epochs, costs)


def _note(epochs: list[dict[str, Any]]) -> str:
    if not epochs:
        return ""
    recall = epochs[-1]["validation_recall"]
    return f"epoch {epochs[-1]['epoch']}" + ("" if recall is None else f": validation recall {recall:.4f}")
