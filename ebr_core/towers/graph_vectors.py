"""The social graph → a vector for every searcher and document that has an edge. [EBR §3.3]

Nodes are the searchers, then the documents; an edge counts in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_never

import numpy as np
from numba import prange

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch
from ebr_core.parallel import parallel
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.bag_tables import UNWEIGHTED, adagrad_step, embed_bags, normalize_backward, normalize_rows
from ebr_core.towers.vector_config import Graph
from ebr_core.training.losses import softmax

STEPS = np.array([0.35, 0.45, 0.2])  # shares of the walks of one, two and three steps
TEMPERATURE = 0.1
RATE = 0.1  # learning rate of the row-wise Adagrad
NO_EDGES = "the graph has no edges before the cut-off. Add dated edges, set clicks: true, or leave the group out"
BATCH = 1024  # walks per step
NEGATIVES = 256  # random nodes per step, shared by all its walks


def adjacency(sources: Int32, targets: Int32, weights: Float32, nodes: int) -> Any:
    """(nodes, nodes) the graph as a symmetric CSR matrix; parallel edges are summed, loops are left out."""
    import scipy.sparse as sp

    no_loop = sources != targets
    directed = sp.coo_matrix((weights[no_loop], (sources[no_loop], targets[no_loop])), (nodes, nodes), np.float32)
    symmetric = (directed + directed.T).tocsr()
    symmetric.sort_indices()
    return symmetric


def embed_graph(graph: Any, searchers: int, settings: Graph, seed: int) -> Iterator[tuple[float, Float32]]:
    """(share done, vectors (nodes, D′)): unit vectors by the method of the settings, zero for nodes without an edge.

    The last pair is the result. Raises InputError where refuse_silent does.
    """
    check_graph(graph, searchers)
    match settings.method:
        case "walks":
            yield from embed_by_walks(graph, searchers, settings.dimensions, settings.epochs, seed)
        case "neighbours":
            yield 1, embed_by_neighbours(graph, settings.dimensions, seed)
        case "svd":
            yield 1, embed_by_svd(graph, settings.dimensions)
        case _:
            assert_never(settings.method)


def check_graph(graph: Any, searchers: int) -> None:
    """Raise InputError if the graph has no edges, or none with a searcher, or none with a document."""
    degrees = np.diff(graph.indptr)
    connected = int((degrees[:searchers] > 0).sum()), int((degrees[searchers:] > 0).sum())
    if not degrees.any():
        raise InputError(NO_EDGES)
    if not all(connected):
        side = "searcher" if not connected[0] else "document"
        raise InputError(
            f"the graph knows no {side}: its edges join {connected[0]:,} searchers and {connected[1]:,} documents, so "
            "it cannot relate a search to a document. Add edges between them, set clicks: true, or leave the group out"
        )


def embed_by_neighbours(graph: Any, dimensions: int, seed: int) -> Float32:
    """(nodes, D′): the mean of the neighbours' random vectors, plus that of the neighbours' means. [FastRP 2019]

    A random projection of the neighbourhoods, without training: two nodes are near if they share neighbours.
    """
    _, vectors, steps = neighbour_sums(graph, dimensions, seed)
    for part in (vectors, steps):
        _normalize(part)
    vectors += steps
    _normalize(vectors)
    return vectors


def neighbour_sums(graph: Any, dimensions: int, seed: int) -> tuple[Float32, Float32, Float32]:
    """(R, A R, A M), each (nodes, D′): random vectors, sums of the neighbours' ones, and sums of the neighbours' means.

    A is the graph, M the rows of A R at unit length.
    """
    rng = np.random.default_rng(seed)
    random = np.asarray(rng.standard_normal((graph.shape[0], dimensions), np.float32))
    sums = np.ascontiguousarray(graph @ random, np.float32)
    means = sums.copy()
    _normalize(means)
    return random, sums, np.ascontiguousarray(graph @ means, np.float32)


def embed_by_svd(graph: Any, dimensions: int) -> Float32:
    """(nodes, D′): the leading eigenvectors of D^−½ A D^−½, each row at unit length; of a small graph, fewer."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import eigsh

    degrees = np.asarray(graph.sum(1)).ravel()
    scale = sp.diags(1 / np.sqrt(np.where(degrees > 0, degrees, 1)))
    count = min(dimensions, graph.shape[0] - 1)
    _, vectors = eigsh((scale @ graph @ scale).astype(np.float64), k=count, which="LA", v0=np.ones(graph.shape[0]))
    out = np.zeros((graph.shape[0], dimensions), np.float32)
    out[:, :count] = vectors * (degrees > 0)[:, None]
    _normalize(out)
    return out


def _normalize(vectors: Float32) -> None:
    normalize_rows(vectors, np.empty(len(vectors), np.float32))


def embed_by_walks(
    graph: Any, searchers: int, dimensions: int, epochs: int, seed: int
) -> Iterator[tuple[float, Float32]]:
    """(share done, vectors (nodes, D′)) after each epoch: vectors that predict where random walks from a searcher end.

    The loss is a softmax of the end among random nodes [DeepWalk 2014]. An epoch starts one walk of one to three steps
    for each edge of each searcher; an edge is taken in proportion to its weight. Nodes without an edge are zero.
    """
    rng = np.random.default_rng(seed)
    nodes, degrees = graph.shape[0], np.diff(graph.indptr)
    table = rng.standard_normal((nodes, dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    adagrad_sum, scratch_slots = np.zeros(nodes, np.float32), np.full(nodes, -1, np.int32)
    starts = np.repeat(np.arange(searchers, dtype=np.int32), degrees[:searchers])
    sums = np.concatenate([[0.0], np.cumsum(graph.data, dtype=np.float64)])
    connected = np.flatnonzero(degrees > 0).astype(np.int32)
    for epoch in range(1, epochs + 1):
        order = rng.permutation(starts)
        steps = 1 + rng.choice(len(STEPS), len(order), p=STEPS)
        ends = np.empty_like(order)
        _walk(graph.indptr, graph.indices, sums, order, steps, rng.random((len(order), len(STEPS))), ends)
        differs = ends != order
        order, ends = order[differs], ends[differs]
        for first in range(0, len(order), BATCH):
            negatives = rng.choice(connected, NEGATIVES)
            _softmax_step(
                table, adagrad_sum, scratch_slots, order[first : first + BATCH], ends[first : first + BATCH], negatives
            )
        vectors = table * (degrees > 0)[:, None]
        _normalize(vectors)
        yield epoch / epochs, vectors


@parallel("starts")
def _walk(offsets, neighbour, sums, starts, steps, draws, ends):  # type: ignore[no-untyped-def]
    """Fill ends (walks,) with the last nodes of walks of steps (walks,) from starts (walks,).

    draws (walks, steps) in [0, 1) choose the edges; sums (edges + 1,) is the running sum of the edges' weights.
    """
    for walk in prange(len(starts)):
        node = starts[walk]
        for step in range(steps[walk]):
            first, last = offsets[node], offsets[node + 1]
            goal = sums[first] + draws[walk, step] * (sums[last] - sums[first])
            node = neighbour[min(np.searchsorted(sums[first + 1 : last], goal, side="right") + first, last - 1)]
        ends[walk] = node


def _softmax_step(
    table: Float32, adagrad_sum: Float32, scratch_slots: Int32, starts: Int32, ends: Int32, negatives: Int32
) -> None:
    """Take one step that moves starts nearer to their ends than to the negatives; a negative equal to the end is
    masked."""
    b = len(starts)
    rows = np.concatenate([starts, ends, negatives]).astype(np.int32)
    node_bags = Bags(np.arange(len(table) + 1), np.arange(len(table), dtype=np.int32), np.ones(len(table), np.float32))
    vectors, norms = np.empty((len(rows), table.shape[1]), np.float32), np.empty(len(rows), np.float32)
    embed_bags(table, UNWEIGHTED, node_bags.offsets, node_bags.ids, node_bags.weights, rows, vectors, norms)
    units = torch.from_numpy(vectors)
    start, end, random_nodes = units[:b], units[b : 2 * b], units[2 * b :]
    negative_mask = torch.from_numpy(negatives[None, :] != ends[:, None])
    loss = softmax((start * end).sum(1), start @ random_nodes.T, negative_mask, TEMPERATURE)
    by_end = loss.by_positive[:, None]
    gradient = torch.cat(
        [loss.by_negative @ random_nodes + by_end * end, by_end * start, loss.by_negative.T @ start]
    ).numpy()
    normalize_backward(gradient, vectors, norms)
    adagrad_step(table, adagrad_sum, scratch_slots, node_bags, rows, gradient, RATE)
