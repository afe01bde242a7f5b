"""The epochs of a long training, kept on disk until it ends: a killed one begins its epoch again, no more."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from ebr_core.scratch import Array
from ebr_core.training.train_loop import Epoch, Position


class SavedEpoch(NamedTuple):
    """A training at the end of an epoch."""

    position: Position
    figures: list[dict[str, Any]]  # of each epoch, with the weights of groups
    seconds: float  # of training so far
    state: dict[str, Array]  # of the tower and its optimisers
    best: dict[str, Array]  # of the best tower so far


def save_epoch(folder: Path, saved: SavedEpoch) -> None:
    """Write a training's newest epoch, then remove the one before. What is there is whole whenever a kill comes."""
    number = len(saved.position.epochs)
    unfinished = folder / f"unfinished-{os.getpid()}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in ("state", "best"):
        arrays = {key: np.ascontiguousarray(array) for key, array in getattr(saved, name).items()}
        save_file(arrays, unfinished / f"{name}.safetensors")
    np.save(unfinished / "mined.npy", saved.position.mined)
    facts = saved.position._asdict() | {"epochs": [epoch._asdict() for epoch in saved.position.epochs]}
    facts |= {"figures": saved.figures, "seconds": saved.seconds}
    del facts["mined"]
    (unfinished / "facts.json").write_text(json.dumps(facts))
    target = folder / f"epoch-{number:05}"
    if target.exists():  # another process trains the same arm
        shutil.rmtree(unfinished)
    else:
        unfinished.rename(target)
    for older in _epochs(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)


def read_epoch(folder: Path) -> SavedEpoch | None:
    """The newest epoch that `save_epoch` wrote into the folder; None without one."""
    if not (epochs := _epochs(folder)):
        return None
    facts = json.loads((epochs[-1] / "facts.json").read_text())
    done = tuple(Epoch(**epoch) for epoch in facts["epochs"])
    mined = np.load(epochs[-1] / "mined.npy")
    position = Position(done, facts["pairs"], facts["new_pairs"], tuple(facts["draws"]), mined)
    state, best = (load_file(epochs[-1] / f"{name}.safetensors") for name in ("state", "best"))
    return SavedEpoch(position, facts["figures"], facts["seconds"], state, best)


def _epochs(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*"))
