"""Indexes tuned to a target recall while scanning as few documents as possible. [EBR §4.1]"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import faiss
import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.search.deduped_index import DedupedIndex
from ebr_core.search.faiss_index import build, innermost, set_parameters
from ebr_core.search.index_specs import Hnsw, Imi, Ivf, finer_code, variants
from ebr_core.search.nearest import recall_up_to_ties, search_cost, search_exact, search_index

REFINE_FACTORS = (1, 2, 4, 8, 16)  # candidates reordered for each document returned
ONE_SIDED = 1.645  # standard errors below the mean: the one-sided 95% bound
STEPS = 4  # per doubling of the setting, near the target


class Point(NamedTuple):
    """One setting and its measurements."""

    nlist: int | None  # cells; None if the family has none
    links: int | None  # neighbours of a node; None unless a graph
    parameters: str  # under faiss's names, e.g. "nprobe=16,k_factor_rf=4"
    recall: float  # mean share of the K exactly nearest among the first K
    surely: float  # lower 95% bound of the recall, for other queries of the same kind
    scanned: float  # documents, mean over the queries
    distances: float  # computed, mean over the queries: documents, centroids, refinement
    queries_per_s: float


class TuningResult(NamedTuple):
    """The tuned index with its setting, the chosen point, all measured points, and the code that was needed."""

    built_index: DedupedIndex
    chosen: Point
    points: list[Point]
    code: str


def tune(documents: Float32, queries: Float32, spec: Ivf | Imi | Hnsw) -> TuningResult:
    """The index at the operating point with the fewest distances whose recall@at reaches the target, with the code of
    the spec, or with the next finer one that can reach it.

    The lower bound over the queries must reach the target, so that it also holds for other queries; if no setting's
    bound does, the mean must. Recall is measured against exact search, and equal documents are interchangeable, which
    faiss's own IntersectionCriterion does not support. OperatingPoints keeps the settings that no other setting beats
    in both recall and distances. Settings that cannot be chosen are not measured: those that compute more distances
    than one that reaches the target, and those that miss it even with more second looks. Raises InputError if no
    setting of any code reaches the target, or if there are too few queries or documents.
    """
    queries = queries[queries.any(axis=1)]  # a zero query retrieves nothing from any index
    if len(queries) == 0 or len(documents) < spec.at:
        raise InputError(
            f"an index is tuned on at least one query and {spec.at} documents (at), got {len(queries)} and "
            f"{len(documents)}; leave target out"
        )
    _, nearest = search_exact(documents, queries, spec.at)
    missed: list[Point] = []
    while True:
        points, tuned = _tune_code(documents, queries, nearest, spec)
        if tuned is not None:
            return tuned
        missed += points
        code = finer_code(spec, documents.shape[1])
        if code is None:
            raise InputError(_target_missed(spec, missed))
        spec = spec.model_copy(update={"code": code})


def _tune_code(
    documents: Float32, queries: Float32, nearest: Float32, spec: Ivf | Imi | Hnsw
) -> tuple[list[Point], TuningResult | None]:
    """(the measured points, the index at the best of them) with the code of the spec; None if none reaches the target.

    nearest: (Q, at) similarities of the exactly nearest.
    """
    target = spec.target or 0.0
    operating_points = faiss.OperatingPoints()
    points: list[Point] = []
    indexes: list[DedupedIndex] = []
    best = float("inf")
    for variant in variants(spec):
        index = build(documents, variant)
        highest: dict[int, float] = {}
        for second_looks in reversed(REFINE_FACTORS) if isinstance(index.index, faiss.IndexRefine) else (1,):
            for point in _explore(index, variant, second_looks, documents, queries, nearest, best, highest):
                operating_points.add(point.surely, point.distances, point.parameters, len(points))
                points.append(point)
                indexes.append(index)
                if point.surely >= target:
                    best = min(best, point.distances)
    # The optimal points are sorted by recall, and so by distances.
    optimal = [operating_points.optimal_pts.at(pos) for pos in range(operating_points.optimal_pts.size())]
    enough = [point.cno for point in optimal if point.perf >= target]
    enough += sorted(
        (pos for pos, point in enumerate(points) if point.recall >= target), key=lambda pos: points[pos].distances
    )
    if not enough:
        return points, None
    pos = enough[0]
    set_parameters(indexes[pos].index, points[pos].parameters)
    return points, TuningResult(indexes[pos], points[pos], points, spec.code)


def _explore(
    index: DedupedIndex,
    spec: Ivf | Imi | Hnsw,
    second_looks: int,
    documents: Float32,
    queries: Float32,
    nearest: Float32,
    best: float,
    highest: dict[int, float],
) -> Iterator[Point]:
    """Measured points: settings that double until one reaches the target, then finer steps before it.

    best is the smallest number of distances of a setting that has reached the target so far: what computes more is not
    searched, and ends the doubling, too. highest: setting → its recall with more second looks, which fewer do not
    exceed because they reorder a part of the same documents; it is updated.
    """
    target, last_missed, end = spec.target or 0.0, 0, 0
    first, last = (spec.at, max(spec.at, 1024)) if isinstance(spec, Hnsw) else (1, innermost(index.index).nlist)
    steps = _steps(first, last, 1)  # faiss's own range of nprobe ends before the last cell
    for per_doubling in (1, STEPS):
        for setting in steps:
            if highest.get(setting, 1.0) >= target:
                point = _measure(index, spec, setting, second_looks, documents, queries, nearest, best)
                if point is None:
                    end = setting
                    break
                yield point
                highest[setting] = point.recall
                if point.surely >= target:
                    end = setting
                    break
            last_missed = setting
        steps = _steps(last_missed, end, STEPS)[1:-1] if per_doubling == 1 and last_missed and end else []


def _steps(first: int, last: int, per_doubling: int) -> list[int]:
    """The integers from first to last in equal factors, both ends included."""
    exponents = np.arange(0, per_doubling * np.log2(last / first)) / per_doubling
    return sorted({*(int(step) for step in np.ceil(first * 2**exponents)), last})


def _measure(
    index: DedupedIndex,
    spec: Ivf | Imi | Hnsw,
    setting: int,
    second_looks: int,
    documents: Float32,
    queries: Float32,
    nearest: Float32,
    max_distances: float,
) -> Point | None:
    """The measured point of one setting; None if it computes more than max_distances."""
    parameters = f"{'efSearch' if isinstance(spec, Hnsw) else 'nprobe'}={setting}"
    if isinstance(index.index, faiss.IndexRefine):
        parameters += f",k_factor_rf={second_looks}"
    set_parameters(index.index, parameters)
    documents_scanned, distances = search_cost(index, queries, spec.at)
    if distances.mean() > max_distances:
        return None
    started = time.perf_counter()
    rows, _ = search_index(index, queries, spec.at, slack=0)
    seconds = time.perf_counter() - started
    recalls = recall_up_to_ties(documents, queries, rows, nearest)
    return Point(
        innermost(index.index).nlist if isinstance(spec, Ivf | Imi) else None,
        spec.links if isinstance(spec, Hnsw) and isinstance(spec.links, int) else None,
        parameters,
        float(recalls.mean()),
        float(recalls.mean() - ONE_SIDED * recalls.std() / np.sqrt(len(recalls))),
        float(documents_scanned.mean()),
        float(distances.mean()),
        len(queries) / max(seconds, 1e-9),
    )


def _target_missed(spec: Ivf | Imi | Hnsw, points: list[Point]) -> str:
    best = max(points, key=lambda point: point.recall)
    remedies = ["a lower target"]
    if isinstance(spec, Hnsw):
        most_links = max(spec.links) if isinstance(spec.links, tuple) else spec.links
        remedies.insert(0, f"more links than {most_links}, a larger ef_construction than {spec.ef_construction}")
    elif spec.pca or spec.prefix:
        remedies.insert(
            0, f"more dimensions than {spec.pca or spec.prefix}" + ("" if spec.refine else ", refine: true")
        )
    return (
        f"no setting of this {spec.kind} index reaches recall@{spec.at} {spec.target}, with any code: the highest is "
        f"{best.recall:.3f} at {best.parameters}; give it {', or '.join(remedies)}"
    )


def recall_of(retrieved: Int32, nearest: Int32) -> float:
    """The share of the nearest rows (Q, K) among the retrieved rows (Q, K). A row of −1 is no document."""
    valid = nearest >= 0
    matches = (retrieved[:, :, None] == nearest[:, None, :]) & valid[:, None, :]
    return float(matches.any(1).sum() / max(1, valid.sum()))
