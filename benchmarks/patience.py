"""Does more patience help? Every arm of an experiment with its patience and with twice as much, under the same cap.

    python -m benchmarks.patience [experiments/default.yaml]

Prints, for each arm and seed, the epochs trained, the epoch that was kept, the reason for the end, and recall@10 on
validation and on the main target set of the test; then the largest gain. State lies in EBR_HOME, so that a run of the
experiment lends its towers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

from tasks.home import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402

from data.experiment.experiment_file import load_experiment  # noqa: E402
from data.experiment.experiment_spec import Experiment  # noqa: E402
from ebr_core.measure.metrics import hits, recall_at_k  # noqa: E402
from ebr_core.search.nearest import search_exact  # noqa: E402
from flows.arms import ArmRun, train_run  # noqa: E402
from flows.sources import extract_log, featurize, sample_searches  # noqa: E402
from tasks.eval_sets import read_sample  # noqa: E402
from tasks.kinds import EvalSet, TrainedTowers, Vectors  # noqa: E402
from tasks.retrieval_stages import embed_texts  # noqa: E402

K = 10
MAIN = ("truth", "clicked", "judged")


class TrainedCourse(NamedTuple):
    """The course of a training, and the recall of the towers that it kept."""

    epochs: int
    kept: int
    ended: str
    validation: float
    test: float


def with_patience(spec: Experiment, times: int) -> Experiment:
    """The experiment with the patience of every arm multiplied."""
    arms = {}
    for name, arm in spec.arms.items():
        patience = arm.training.patience
        training = arm.training.model_copy(update={"patience": patience and times * patience})
        arms[name] = arm.model_copy(update={"training": training})
    return spec.model_copy(update={"arms": arms})


def recall_on_test(vectors: Vectors, test: EvalSet) -> float:
    """Recall@10 on the main target set of the test, by exact search."""
    sample = read_sample(test)
    searches, targets = sample.for_targets(next(name for name in MAIN if name in sample.names))
    documents = np.load(vectors.folder / "documents.npy")[sample.candidates]
    queries = np.load(vectors.folder / "queries.npy")[..., searches["at"], :]
    rows, _ = search_exact(documents, queries, K)
    retrieved = np.where(rows >= 0, sample.candidates[rows], -1)
    return float(recall_at_k(hits(retrieved, targets), targets, K).mean())


def course(towers: TrainedTowers, test: float) -> TrainedCourse:
    """The course of the training of these towers."""
    recalls = [epoch["validation_recall"] for epoch in json.loads((towers.folder / "epochs.json").read_text())]
    ended = json.loads((towers.folder / "trials.json").read_text())["ended"]
    return TrainedCourse(len(recalls), 1 + int(np.argmax(recalls)), ended, max(recalls), test)


def main(path: str) -> None:
    """Print a line for each arm, seed and patience, and the largest gain of doubled patience."""
    spec = load_experiment(Path(path))
    source = extract_log(spec)
    searches, features = sample_searches(spec, source), featurize(spec, source)
    courses: dict[tuple[ArmRun, int], TrainedCourse] = {}
    for run in [(arm, seed) for arm in spec.arms for seed in spec.seeds]:
        for times in (1, 2):
            plan, arm = with_patience(spec, times), spec.arms[run[0]]
            towers = train_run(plan, source, features, searches.validation, run).towers[run]
            vectors = embed_texts.fn(features[arm.features], towers, searches.test, arm.training.threads)
            courses[run, times] = course(towers, recall_on_test(vectors, searches.test))
            print(f"{run[0]}, seed {run[1]}, patience × {times}: {courses[run, times]}", flush=True)
    gains = {run: courses[run, 2].test - courses[run, 1].test for run, times in courses if times == 1}
    best = max(gains, key=lambda run: gains[run])
    print(f"largest gain on the test: {best[0]}, seed {best[1]}, {gains[best]:+.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "experiments/default.yaml")
