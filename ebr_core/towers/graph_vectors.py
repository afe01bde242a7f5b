"""The social graph → a vector for every searcher and document that it knows. [EBR §3.3]

Nodes are the searchers, then the documents; an edge counts in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

import numpy as np
import scipy.sparse as sp
import torch
from numba import prange
from scipy.sparse.linalg import eigsh

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.parallel import parallel
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.bag_tables import UNSCALED, adagrad_step, embed_bags, normalize_backward, to_units
from ebr_core.towers.feature_config import Graph
from ebr_core.training.losses import softmax

STEPS = np.array([0.35, 0.45, 0.2])  # share of walks of one step, two and three
TEMPERATURE = 0.1
RATE = 0.1  # of the row-wise Adagrad
NO_EDGES = "the graph has no edges before the cut-off. Bring dated edges, set clicks: true, or leave the group out"
BATCH = 1024  # walks of a step
NEGATIVES = 256  # random nodes of a step, for all its walks


def adjacency(sources: Int32, targets: Int32, weights: Float32, nodes: int) -> Any:
    """(nodes, nodes) the graph as a symmetric CSR matrix; edges between the same two are summed, loops left out."""
    apart = sources != targets
    one = sp.coo_matrix((weights[apart], (sources[apart], targets[apart])), (nodes, nodes), np.float32)
    both = (one + one.T).tocsr()
    both.sort_indices()
    return both


def embed_graph(graph: Any, searchers: int, settings: Graph, seed: int) -> Iterator[tuple[float, Float32]]:
    """(share done, vectors (nodes, D′)): unit vectors by the method of the settings, zero for nodes without an edge.

    The last is the result. Errors: those of refuse_silent.
    """
    refuse_silent(graph, searchers)
    match settings.method:
        case "walks":
            yield from walked(graph, searchers, settings.dimensions, settings.epochs, seed)
        case "neighbours":
            yield 1, neighbours(graph, settings.dimensions, seed)
        case "svd":
            yield 1, factorised(graph, settings.dimensions)
        case _:
            assert_never(settings.method)


def refuse_silent(graph: Any, searchers: int) -> None:
    """Errors: a graph without edges, or that knows no searcher, or no document."""
    degrees = np.diff(graph.indptr)
    known = int((degrees[:searchers] > 0).sum()), int((degrees[searchers:] > 0).sum())
    if not degrees.any():
        raise InputError(NO_EDGES)
    if not all(known):
        side = "searcher" if not known[0] else "document"
        raise InputError(
            f"the graph knows no {side}: its edges join {known[0]:,} searchers and {known[1]:,} documents, so it "
            "says nothing of a search and a document. Bring edges between them, set clicks: true, or leave the group "
            "out"
        )


def neighbours(graph: Any, dimensions: int, seed: int) -> Float32:
    """(nodes, D′): the mean of the neighbours' random vectors, plus that of the neighbours' means. [FastRP 2019]

    Two nodes are near where they share neighbours, in a random projection of the neighbourhoods that needs no training.
    """
    rng = np.random.default_rng(seed)
    vectors = np.asarray(rng.standard_normal((graph.shape[0], dimensions), np.float32))
    total = np.zeros_like(vectors)
    for _ in range(2):
        vectors = np.ascontiguousarray(graph @ vectors, np.float32)
        _scale(vectors)
        total += vectors
    _scale(total)
    return total


def factorised(graph: Any, dimensions: int) -> Float32:
    """(nodes, D′): the leading eigenvectors of D^−½ A D^−½, each node's at unit length; fewer where nodes are few."""
    degrees = np.asarray(graph.sum(1)).ravel()
    scale = sp.diags(1 / np.sqrt(np.where(degrees > 0, degrees, 1)))
    most = min(dimensions, graph.shape[0] - 1)
    _, vectors = eigsh((scale @ graph @ scale).astype(np.float64), k=most, which="LA", v0=np.ones(graph.shape[0]))
    out = np.zeros((graph.shape[0], dimensions), np.float32)
    out[:, :most] = vectors * (degrees > 0)[:, None]
    _scale(out)
    return out


def _scale(vectors: Float32) -> None:
    to_units(vectors, np.empty(len(vectors), np.float32))


def walked(graph: Any, searchers: int, dimensions: int, epochs: int, seed: int) -> Iterator[tuple[float, Float32]]:
    """Vectors that tell where random walks from a searcher end: a softmax of the end among random nodes.

    [DeepWalk 2014]

    An epoch starts one walk of one to three steps for each edge of each searcher; an edge is taken in proportion to its
    weight. Yields the share done and the vectors (nodes, D′), zero for nodes without an edge.
    """
    rng = np.random.default_rng(seed)
    nodes, degrees = graph.shape[0], np.diff(graph.indptr)
    table = rng.standard_normal((nodes, dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    squares, slot = np.zeros(nodes, np.float32), np.full(nodes, -1, np.int32)
    starts = np.repeat(np.arange(searchers, dtype=np.int32), degrees[:searchers])
    sums = np.concatenate([[0.0], np.cumsum(graph.data, dtype=np.float64)])
    there = np.flatnonzero(degrees > 0).astype(np.int32)
    for epoch in range(1, epochs + 1):
        order = rng.permutation(starts)
        steps = 1 + rng.choice(len(STEPS), len(order), p=STEPS)
        ends = np.empty_like(order)
        _walk(graph.indptr, graph.indices, sums, order, steps, rng.random((len(order), len(STEPS))), ends)
        moved = ends != order
        order, ends = order[moved], ends[moved]
        for first in range(0, len(order), BATCH):
            negatives = rng.choice(there, NEGATIVES)
            _draw_near(table, squares, slot, order[first : first + BATCH], ends[first : first + BATCH], negatives)
        vectors = table * (degrees > 0)[:, None]
        _scale(vectors)
        yield epoch / epochs, vectors


@parallel("starts")
def _walk(offsets, neighbour, sums, starts, steps, draws, ends):  # type: ignore[no-untyped-def]
    """ends (walks,): where walks of steps (walks,) from starts (walks,) come to, by draws (walks, steps) in [0, 1).

    sums (edges + 1,): the running sum of the edges' weights.
    """
    for walk in prange(len(starts)):
        node = starts[walk]
        for step in range(steps[walk]):
            first, last = offsets[node], offsets[node + 1]
            goal = sums[first] + draws[walk, step] * (sums[last] - sums[first])
            node = neighbour[min(np.searchsorted(sums[first + 1 : last], goal, side="right") + first, last - 1)]
        ends[walk] = node


def _draw_near(table: Float32, squares: Float32, slot: Int32, starts: Int32, ends: Int32, negatives: Int32) -> None:
    """One step: starts nearer to their ends than to the negatives, except where those are the end itself."""
    b = len(starts)
    rows = np.concatenate([starts, ends, negatives]).astype(np.int32)
    alone = Bags(np.arange(len(table) + 1), np.arange(len(table), dtype=np.int32), np.ones(len(table), np.float32))
    vectors, norms = np.empty((len(rows), table.shape[1]), np.float32), np.empty(len(rows), np.float32)
    embed_bags(table, UNSCALED, alone.offsets, alone.ids, alone.weights, rows, vectors, norms)
    every = torch.from_numpy(vectors)
    start, end, other = every[:b], every[b : 2 * b], every[2 * b :]
    counts = torch.from_numpy(negatives[None, :] != ends[:, None])
    pushed = softmax((start * end).sum(1), start @ other.T, counts, TEMPERATURE)
    by_end = pushed.by_positive[:, None]
    gradient = torch.cat(
        [pushed.by_negative @ other + by_end * end, by_end * start, pushed.by_negative.T @ start]
    ).numpy()
    normalize_backward(gradient, vectors, norms)
    adagrad_step(table, squares, slot, alone, rows, gradient, RATE)
