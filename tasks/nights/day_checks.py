"""A night's stages: the newest day against the days before, a challenger's start, and recall on the newest day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from data.experiment.night_config import Checks
from ebr_core.arrays import Float32, Float64
from ebr_core.measure.intervals import lower_bound
from ebr_core.measure.metrics import hits, recall_at_k
from ebr_core.measure.promotion import ChampionComparison, around, band
from ebr_core.search.nearest import search_exact
from ebr_core.towers.checkpoint import Checkpoint, load_towers, save_towers
from ebr_core.towers.tower_kinds import new_tower
from ebr_core.training.arm_config import Arm
from ebr_core.training.train_loop import use_threads
from tasks.artifacts import Artifact, stage
from tasks.eval_sets import read_sample
from tasks.feature_stages import read_fitted, read_inputs
from tasks.kinds import DayRecall, EvalSet, FeatureSet, GraphVectors, Log, TrainedTowers, Vectors
from tasks.list_measures import clusters_of
from tasks.nights.night_records import Check


def figures_of(log: Log) -> dict[date, dict[str, float]]:
    """Each day of an extracted log → its figures: searches, and the shares of sql/samples/days.sql."""
    rows = extracted_log.read(log.folder, "days").to_pylist()
    return {row.pop("day"): {name: float(value) for name, value in row.items() if value is not None} for row in rows}


def check_day(figures: dict[date, dict[str, float]], day: date, checks: Checks) -> tuple[Check, ...]:
    """The day's figures with the bands that the days before it give; none where those are too few."""
    before = [figures[one] for one in sorted(figures) if one < day][-checks.days :]
    if len(before) < checks.fewest:
        return ()
    made = []
    for name, value in figures[day].items():
        known = [its[name] for its in before if name in its]
        if len(known) >= checks.fewest:
            if name == "searches":
                its = around(known, checks.volume)
            else:
                its = band(known, checks.mads, checks.floor, figures[day]["searches"])
            made.append(Check(figure=name, value=value, low=its.low, high=its.high, typical=its.typical))
    return tuple(made)


@stage(TrainedTowers)
def warm_start(folder: Path, features: FeatureSet, towers: TrainedTowers, arm: Arm, seed: int) -> None:
    """The towers with what they learnt moved to the rows of these features, ready to be started from."""
    rng, fitted = np.random.default_rng([seed, 0]), read_fitted(features)
    fresh, old = new_tower(arm, read_inputs(features, arm.towers), rng), load_towers(towers.folder)
    tower = fresh.warm_start(old.tower, old.fitted, fitted)
    save_towers(Checkpoint(tower, fitted, arm.towers, {}, np.empty(0, "S1")), folder)


def fits(towers: TrainedTowers, arm: Arm) -> bool:
    """Whether the towers read what the arm reads and are of its shape, so that it can start from them."""
    model = load_towers(towers.folder)
    return (model.fitted.features, model.config.shape()) == (arm.reads, arm.towers.shape())


@stage(GraphVectors)
def align_graph(folder: Path, log: Log, its_log: Log, graph: GraphVectors) -> None:
    """searchers.npy and documents.npy: the vectors of its_log's graph in the rows of log, zero for the unknown."""
    for side, identity in (("searchers", "searcher_id"), ("documents", "document_id")):
        vectors: Float32 = np.load(graph.folder / f"{side}.npy")
        known, wanted = (_identities(one, side, identity) for one in (its_log, log))
        at = pc.fill_null(pc.index_in(wanted, known), -1).to_numpy(zero_copy_only=False)
        padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        np.save(folder / f"{side}.npy", padded[at])


def _identities(log: Log, side: str, identity: str) -> pa.Array:
    return pq.read_table(log.folder / f"{side}.parquet", columns=[identity])[identity].combine_chunks()


def graphs_of(features: FeatureSet) -> dict[str, GraphVectors]:
    """The graphs that features were made with, by group."""
    told: dict[str, Any] = json.loads((features.folder / "graphs.json").read_text())
    return {name: GraphVectors(Artifact.model_validate(graph)) for name, graph in told.items()}


@stage(DayRecall)
def measure(folder: Path, vectors: Vectors, evaluated: EvalSet, k: int, threads: int) -> None:
    """recall.npy (S,): recall@K of each search with a click on a document alive, by exact search over all of those."""
    use_threads(threads)
    sample = read_sample(evaluated)
    searches, targets = sample.for_targets("clicked")
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    queries = np.load(vectors.folder / "queries.npy")[..., searches["at"], :]
    rows, _ = search_exact(documents, queries, min(k, len(sample.candidates)))
    found = np.where(rows >= 0, sample.candidates[rows], -1)
    np.save(folder / "recall.npy", recall_at_k(hits(found, targets), targets, k))


def compare_on_day(
    evaluated: EvalSet, challenger: DayRecall, other: DayRecall, day: date, resamples: int
) -> ChampionComparison:
    """What `measure` found of both, paired: the mean difference with its one-sided 95 % bound over searchers."""
    searches, _ = read_sample(evaluated).for_targets("clicked")
    ours, theirs = (np.load(one.folder / "recall.npy") for one in (challenger, other))
    found = lower_bound(ours - theirs, clusters_of(searches), resamples)
    low = None if np.isnan(found.low) else found.low
    return ChampionComparison(day=str(day), recall=float(theirs.mean()), difference=found.value, bound=low)


def drifted(recalls: Float64, before: Sequence[float], mads: float, checks: Checks) -> bool:
    """Whether the champion's recall on the newest day's searches (S,) lies below the band of the nights before."""
    known = list(before)[-checks.days :]
    return len(known) >= checks.fewest and recalls.mean() < band(known, mads, checks.floor, len(recalls)).low
