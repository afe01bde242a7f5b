"""An index tuned to a target recall, scanning as few documents as it can. [EBR §4.1]"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import faiss
import numpy as np

from ebr_core.bags import Float32, Int32
from ebr_core.config import InputError
from ebr_core.index import AnyIndex, Hnsw, Imi, Ivf, build, innermost, set_parameters, variants
from ebr_core.search import as_near, exact, scanned, through

SECOND_LOOKS = (1, 2, 4, 8, 16)  # candidates for each document wanted
DEARER = 2  # times the distances of the best setting so far, beyond which none is tried


class Point(NamedTuple):
    """One setting and what came of it."""

    nlist: int | None  # cells, where the family has them
    parameters: str  # under faiss's names, as in "nprobe=16,k_factor_rf=4"
    recall: float  # share of the K exactly nearest among its first K, over the queries
    scanned: float  # documents, mean over the queries
    distances: float  # computed, mean: documents, centroids, second looks
    queries_per_s: float


class Tuned(NamedTuple):
    """The index with its setting, the chosen point, and every point that was tried."""

    made: faiss.Index
    chosen: Point
    tried: list[Point]


def tune(documents: Float32, queries: Float32, spec: Ivf | Imi | Hnsw) -> Tuned:
    """The built index at the operating point with the fewest distances whose recall@at ≥ target, over the queries.

    Recall is against exact search, equal documents standing for each other, which faiss's own IntersectionCriterion
    does not allow; its OperatingPoints keeps the settings of which no other has more recall at fewer distances. Errors:
    no setting reaches the target.
    """
    queries = queries[queries.any(axis=1)]  # the others find nothing, in any index
    target = spec.target or 0.0
    if len(queries) == 0 or len(documents) < spec.at:
        raise InputError(
            f"an index is tuned on at least one query and {spec.at} documents (at), got {len(queries)} and "
            f"{len(documents)}; leave target out"
        )
    _, nearest = exact(documents, queries, spec.at)
    points = faiss.OperatingPoints()
    tried: list[Point] = []
    built: list[faiss.Index] = []
    for variant in variants(spec):
        index = build(documents, variant)
        for point in _explore(index, variant, documents, queries, nearest):
            points.add(point.recall, point.distances, point.parameters, len(tried))
            tried.append(point)
            built.append(index)
    best = [points.optimal_pts.at(at) for at in range(points.optimal_pts.size())]
    enough = [point.cno for point in best if point.perf >= target]
    if not enough:
        raise InputError(_missed(spec, tried))
    at = enough[0]  # they stand in order of recall, and so of distances
    set_parameters(built[at], tried[at].parameters)
    return Tuned(built[at], tried[at], tried)


def _explore(
    index: faiss.Index, spec: Ivf | Imi | Hnsw, documents: Float32, queries: Float32, nearest: Float32
) -> Iterator[Point]:
    """Tries faiss's combinations of settings, the cheap ones first, as long as they may be of use."""
    at, best = spec.at, float("inf")
    space = _space(index, spec, at)
    for number in range(space.n_combinations()):
        space.set_index_parameters(index, number)
        looked_at, distances = scanned(index, queries, at)
        if distances.mean() > DEARER * best:
            continue
        started = time.perf_counter()
        rows, _ = through(index, queries, at, slack=0)
        seconds = time.perf_counter() - started
        recall = float(as_near(documents, queries, rows, nearest).mean())
        nlist = innermost(index).nlist if isinstance(spec, Ivf | Imi) else None
        yield Point(
            nlist,
            space.combination_name(number),
            recall,
            float(looked_at.mean()),
            float(distances.mean()),
            len(queries) / max(seconds, 1e-9),
        )
        if recall >= (spec.target or 0):
            best = min(best, float(distances.mean()))


def _space(index: faiss.Index, spec: AnyIndex, at: int) -> Any:
    """faiss's parameter space of an index: its own range of nprobe doubles at each step and stops short of nlist; this
    one goes by the fourth root of 2 to the last cell, or ef up to 1,024."""
    space = faiss.ParameterSpace()
    if isinstance(spec, Ivf | Imi):
        _add(space, "nprobe", _ladder(1, innermost(index).nlist))
    elif isinstance(spec, Hnsw):
        _add(space, "efSearch", _ladder(at, max(at, 1024)))
    if isinstance(index, faiss.IndexRefine):
        _add(space, "k_factor_rf", np.array(SECOND_LOOKS, float))
    return space


def _ladder(first: int, last: int) -> Any:
    steps = np.arange(0, 4 * np.log2(last / first) + 1) / 4
    return np.unique(np.minimum(np.ceil(first * 2**steps), last)).astype(float)


def _add(space: Any, name: str, values: Any) -> None:
    faiss.copy_array_to_vector(values, space.add_range(name).values)


def _missed(spec: Ivf | Imi | Hnsw, tried: list[Point]) -> str:
    most = max(tried, key=lambda point: point.recall)
    return (
        f"no setting of this {spec.kind} index reaches recall@{spec.at} {spec.target}: the highest is "
        f"{most.recall:.3f} at {most.parameters}; give it refine: true, a longer code than "
        f"{spec.code}, or a lower target"
    )


def recall_of(found: Int32, nearest: Int32) -> float:
    """The share of the exactly nearest rows (Q, K) among those found (Q, K); rows −1 are none."""
    there = nearest >= 0
    same = (found[:, :, None] == nearest[:, None, :]) & there[:, None, :]
    return float(same.any(1).sum() / max(1, there.sum()))
