"""The stages of a night: checks of the newest day, a challenger's start, and recall on the newest day."""

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
from ebr_core.measure.promotion import ChampionComparison, band, share_band
from ebr_core.parallel import use_threads
from ebr_core.search.exclusions import first_allowed
from ebr_core.search.nearest import search_exact
from ebr_core.towers.checkpoint import Checkpoint, load_towers, save_towers
from ebr_core.towers.tower_kinds import new_tower
from ebr_core.training.arm_config import Arm
from tasks.artifacts import Artifact, stage
from tasks.eval_sets import read_sample
from tasks.feature_stages import read_fitted, read_inputs
from tasks.kinds import DayRecall, EvalSet, FeatureSet, GraphVectors, Log, TrainedTowers, Vectors
from tasks.list_measures import clusters_of
from tasks.nights.night_records import Check
from tasks.trained_towers import has_shape_of


def figures_of(log: Log) -> dict[date, dict[str, float]]:
    """Each day of an extracted log → its figures: searches, and the shares of sql/samples/days.sql."""
    rows = extracted_log.read(log.folder, "days").to_pylist()
    return {row.pop("day"): {name: float(value) for name, value in row.items() if value is not None} for row in rows}


def check_day(figures: dict[date, dict[str, float]], day: date, checks: Checks) -> tuple[Check, ...]:
    """The day's figures with the bands that earlier days give; empty if those are too few."""
    earlier = [figures[earlier_day] for earlier_day in sorted(figures) if earlier_day < day][-checks.days :]
    if len(earlier) < checks.fewest:
        return ()
    day_checks = []
    for name, value in figures[day].items():
        values = [limits[name] for limits in earlier if name in limits]
        if len(values) >= checks.fewest:
            if name == "searches":
                limits = share_band(values, checks.volume)
            else:
                limits = band(values, checks.mads, checks.floor, figures[day]["searches"])
            day_checks.append(Check(figure=name, value=value, low=limits.low, high=limits.high, typical=limits.typical))
    return tuple(day_checks)


@stage(TrainedTowers)
def warm_start(folder: Path, features: FeatureSet, towers: TrainedTowers, arm: Arm, seed: int) -> None:
    """Write the towers with their trained parameters moved to the rows of these features, to start from."""
    rng, fitted = np.random.default_rng([seed, 0]), read_fitted(features)
    fresh, old = new_tower(arm, read_inputs(features, arm.towers), rng), load_towers(towers.folder)
    tower = fresh.warm_start(old.tower, old.fitted, fitted)
    save_towers(Checkpoint(tower, fitted, arm.towers, {}, np.empty(0, "S1")), folder)


def fits(towers: TrainedTowers, arm: Arm) -> bool:
    """True if the towers have the features and the shape of the arm, so that it can start from them."""
    return has_shape_of(load_towers(towers.folder), arm)


@stage(GraphVectors)
def align_graph(folder: Path, log: Log, graph_log: Log, graph: GraphVectors) -> None:
    """Write searchers.npy and documents.npy: vectors of the graph of graph_log in the rows of log, zero if unknown."""
    for side, identity in (("searchers", "searcher_id"), ("documents", "document_id")):
        vectors: Float32 = np.load(graph.folder / f"{side}.npy")
        graph_ids, ids = (_identities(source, side, identity) for source in (graph_log, log))
        rows = pc.fill_null(pc.index_in(ids, graph_ids), -1).to_numpy(zero_copy_only=False)
        padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        np.save(folder / f"{side}.npy", padded[rows])


def _identities(log: Log, side: str, identity: str) -> pa.Array:
    return pq.read_table(log.folder / f"{side}.parquet", columns=[identity])[identity].combine_chunks()


def graphs_of(features: FeatureSet) -> dict[str, GraphVectors]:
    """Group → the graph that these features were made with."""
    graphs: dict[str, Any] = json.loads((features.folder / "graphs.json").read_text())
    return {name: GraphVectors(Artifact.model_validate(graph)) for name, graph in graphs.items()}


@stage(DayRecall)
def measure(folder: Path, vectors: Vectors, eval_set: EvalSet, k: int, threads: int) -> None:
    """Write recall.npy (S,): recall@K of each search with a click on a document alive, by exact search over those."""
    use_threads(threads)
    sample = read_sample(eval_set)
    searches, targets = sample.for_targets("clicked")
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    queries = np.load(vectors.folder / "queries.npy")[..., searches["at"], :]
    k = min(k, len(sample.candidates))
    rows, _ = search_exact(documents, queries, sample.depth(k))
    rows = first_allowed(rows, sample.excluded.take(searches["at"]), k)
    retrieved = np.where(rows >= 0, sample.candidates[rows], -1)
    np.save(folder / "recall.npy", recall_at_k(hits(retrieved, targets), targets, k))


def compare_on_day(
    eval_set: EvalSet, challenger: DayRecall, champion: DayRecall, day: date, resamples: int
) -> ChampionComparison:
    """The paired mean difference in recall to the champion, with its one-sided 95% bound over searchers."""
    searches, _ = read_sample(eval_set).for_targets("clicked")
    challenger_recall, champion_recall = (
        np.load(measured.folder / "recall.npy") for measured in (challenger, champion)
    )
    bound = lower_bound(challenger_recall - champion_recall, clusters_of(searches), resamples)
    low = None if np.isnan(bound.low) else bound.low
    return ChampionComparison(day=str(day), recall=float(champion_recall.mean()), difference=bound.value, bound=low)


def has_drifted(recalls: Float64, earlier: Sequence[float], mads: float, checks: Checks) -> bool:
    """True if the champion's recall on the newest day's searches (S,) lies below the band of earlier nights."""
    values = list(earlier)[-checks.days :]
    return len(values) >= checks.fewest and recalls.mean() < band(values, mads, checks.floor, len(recalls)).low
