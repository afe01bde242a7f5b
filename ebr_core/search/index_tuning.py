"""An index tuned to a target recall, scanning as few documents as it can. [EBR §4.1]"""

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
from ebr_core.search.index_specs import Hnsw, Imi, Ivf, variants
from ebr_core.search.nearest import recall_up_to_ties, scanned, search_exact, search_index

SECOND_LOOKS = (1, 2, 4, 8, 16)  # candidates for each document wanted
ONE_SIDED = 1.645  # standard errors below the mean that 95 of 100 means stay above
STEPS = 4  # to a doubling, near the target
DEARER = 2  # times the distances of the best setting so far, beyond which none is tried


class Point(NamedTuple):
    """One setting and what came of it."""

    nlist: int | None  # cells, where the family has them
    links: int | None  # of a node, in a graph
    parameters: str  # under faiss's names, as in "nprobe=16,k_factor_rf=4"
    recall: float  # share of the K exactly nearest among its first K, over the queries
    surely: float  # its lower 95 % bound: what other queries may be promised
    scanned: float  # documents, mean over the queries
    distances: float  # computed, mean: documents, centroids, second looks
    queries_per_s: float


class Tuned(NamedTuple):
    """The index with its setting, the chosen point, and every point that was tried."""

    made: DedupedIndex
    chosen: Point
    tried: list[Point]


def tune(documents: Float32, queries: Float32, spec: Ivf | Imi | Hnsw) -> Tuned:
    """The built index at the operating point with the fewest distances whose recall@at is surely ≥ target.

    Surely: by the lower bound over the queries, so that other queries find the promise kept; where no setting's bound
    reaches the target, by the mean. Recall is against exact search, equal documents standing for each other, which
    faiss's own IntersectionCriterion does not allow; its OperatingPoints keeps the settings of which no other has more
    recall at fewer distances. Errors: no setting reaches the target.
    """
    queries = queries[queries.any(axis=1)]  # the others find nothing, in any index
    target = spec.target or 0.0
    if len(queries) == 0 or len(documents) < spec.at:
        raise InputError(
            f"an index is tuned on at least one query and {spec.at} documents (at), got {len(queries)} and "
            f"{len(documents)}; leave target out"
        )
    _, nearest = search_exact(documents, queries, spec.at)
    points = faiss.OperatingPoints()
    tried: list[Point] = []
    built: list[DedupedIndex] = []
    best = float("inf")
    for variant in variants(spec):
        searched = build(documents, variant)
        for second_looks in reversed(SECOND_LOOKS) if isinstance(searched.index, faiss.IndexRefine) else (1,):
            for point in _explore(searched, variant, second_looks, documents, queries, nearest, best):
                points.add(point.surely, point.distances, point.parameters, len(tried))
                tried.append(point)
                built.append(searched)
                if point.surely >= target:
                    best = min(best, point.distances)
    optimal = [points.optimal_pts.at(at) for at in range(points.optimal_pts.size())]  # by recall, and so by distances
    enough = [point.cno for point in optimal if point.perf >= target]
    enough += sorted(
        (at for at, point in enumerate(tried) if point.recall >= target), key=lambda at: tried[at].distances
    )
    if not enough:
        raise InputError(_missed(spec, tried))
    at = enough[0]
    set_parameters(built[at].index, tried[at].parameters)
    return Tuned(built[at], tried[at], tried)


def _explore(
    searched: DedupedIndex,
    spec: Ivf | Imi | Hnsw,
    second_looks: int,
    documents: Float32,
    queries: Float32,
    nearest: Float32,
    best: float,
) -> Iterator[Point]:
    """Doubles how far is looked, as long as that may be of use, then tries the steps between the last setting that
    misses the target and the first that reaches it. best: the fewest distances that have reached it so far."""
    below, reached = 0, None
    first, last = (spec.at, max(spec.at, 1024)) if isinstance(spec, Hnsw) else (1, innermost(searched.index).nlist)
    for far in _steps(first, last, 1):  # faiss's own range of nprobe stops short of the last cell
        point = _try(searched, spec, far, second_looks, documents, queries, nearest, DEARER * best)
        if point is None:
            break
        yield point
        if point.surely >= (spec.target or 0):
            best, reached = min(best, point.distances), reached or far
        below = below if reached else far
    if reached and below:
        for far in _steps(below, reached, STEPS)[1:-1]:
            point = _try(searched, spec, far, second_looks, documents, queries, nearest, DEARER * best)
            if point is not None:
                yield point


def _steps(first: int, last: int, to_a_doubling: int) -> list[int]:
    """From first to last by equal factors, both of them among the steps."""
    exponents = np.arange(0, to_a_doubling * np.log2(last / first)) / to_a_doubling
    return sorted({*(int(step) for step in np.ceil(first * 2**exponents)), last})


def _try(
    searched: DedupedIndex,
    spec: Ivf | Imi | Hnsw,
    far: int,
    second_looks: int,
    documents: Float32,
    queries: Float32,
    nearest: Float32,
    most: float,
) -> Point | None:
    """What comes of one setting; None where it computes more than most distances."""
    parameters = f"{'efSearch' if isinstance(spec, Hnsw) else 'nprobe'}={far}"
    if isinstance(searched.index, faiss.IndexRefine):
        parameters += f",k_factor_rf={second_looks}"
    set_parameters(searched.index, parameters)
    looked_at, distances = scanned(searched, queries, spec.at)
    if distances.mean() > most:
        return None
    started = time.perf_counter()
    rows, _ = search_index(searched, queries, spec.at, slack=0)
    seconds = time.perf_counter() - started
    recalls = recall_up_to_ties(documents, queries, rows, nearest)
    return Point(
        innermost(searched.index).nlist if isinstance(spec, Ivf | Imi) else None,
        spec.links if isinstance(spec, Hnsw) and isinstance(spec.links, int) else None,
        parameters,
        float(recalls.mean()),
        float(recalls.mean() - ONE_SIDED * recalls.std() / np.sqrt(len(recalls))),
        float(looked_at.mean()),
        float(distances.mean()),
        len(queries) / max(seconds, 1e-9),
    )


def _missed(spec: Ivf | Imi | Hnsw, tried: list[Point]) -> str:
    most = max(tried, key=lambda point: point.recall)
    better = f"refine: true, a longer code than {spec.code}"
    if isinstance(spec, Hnsw):
        most_links = max(spec.links) if isinstance(spec.links, tuple) else spec.links
        better = f"more links than {most_links}, a larger ef_construction than {spec.ef_construction}"
    return (
        f"no setting of this {spec.kind} index reaches recall@{spec.at} {spec.target}: the highest is "
        f"{most.recall:.3f} at {most.parameters}; give it {better}, or a lower target"
    )


def recall_of(found: Int32, nearest: Int32) -> float:
    """The share of the exactly nearest rows (Q, K) among those found (Q, K); rows −1 are none."""
    there = nearest >= 0
    same = (found[:, :, None] == nearest[:, None, :]) & there[:, None, :]
    return float(same.any(1).sum() / max(1, there.sum()))
