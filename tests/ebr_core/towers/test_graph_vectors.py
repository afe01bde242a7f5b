"""Graph embeddings: planted circles are recovered, and nodes without edges have no vector."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.towers.graph_vectors import _walk, adjacency, embed_graph
from ebr_core.towers.vector_config import Graph

SEARCHERS, DOCUMENTS, CIRCLES = 60, 40, 4


def ints(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


def circles(seed: int) -> tuple[list[int], list[int]]:
    """Searchers know searchers and documents of their own circle: node n belongs to circle n mod 4.

    The last two of each side have no edge.
    """
    rng = np.random.default_rng(seed)
    sources, targets = [], []
    for searcher in range(SEARCHERS - 2):
        circle = [n for n in range(SEARCHERS + DOCUMENTS - 2) if n % CIRCLES == searcher % CIRCLES]
        acquaintances = [n for n in circle if n not in (SEARCHERS - 2, SEARCHERS - 1)]
        for acquaintance in rng.choice(acquaintances, 6, replace=False):
            sources.append(searcher)
            targets.append(int(acquaintance))
    return sources, targets


def vectors_of(settings_: Graph, sources: list[int], targets: list[int], seed: int = 0) -> Float32:
    graph = adjacency(ints(sources), ints(targets), np.ones(len(sources), np.float32), SEARCHERS + DOCUMENTS)
    *_, (done, vectors) = embed_graph(graph, SEARCHERS, settings_, seed)
    assert done == 1
    return vectors


@pytest.mark.parametrize("method", ["walks", "neighbours", "svd"])
def test_a_searcher_is_nearer_to_documents_of_their_own_circle(method: str) -> None:
    settings_ = Graph.model_validate({"method": method, "dimensions": 16, "epochs": 60})
    vectors = vectors_of(settings_, *circles(0))
    similarities = vectors[: SEARCHERS - 2] @ vectors[SEARCHERS:-2].T
    same_circle = (
        np.arange(SEARCHERS - 2)[:, None] % CIRCLES == np.arange(SEARCHERS, SEARCHERS + DOCUMENTS - 2)[None] % CIRCLES
    )
    assert similarities[same_circle].mean() > similarities[~same_circle].mean() + 0.2
    connected = np.ones(len(vectors), bool)
    connected[[SEARCHERS - 2, SEARCHERS - 1, -2, -1]] = False
    np.testing.assert_allclose(np.linalg.norm(vectors[connected], axis=1), 1, atol=1e-5)
    assert not vectors[~connected].any()


@pytest.mark.parametrize("method", ["walks", "neighbours", "svd"])
def test_a_seed_fixes_every_byte(method: str) -> None:
    settings_ = Graph.model_validate({"method": method, "dimensions": 8, "epochs": 2})
    first, second = (vectors_of(settings_, *circles(1), seed=3) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    if method != "svd":
        assert first.tobytes() != vectors_of(settings_, *circles(1), seed=4).tobytes()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0.5, 3)), min_size=1, max_size=12))
def test_the_matrix_is_symmetric_sums_repeated_edges_and_has_no_loops(edges: list[tuple[int, int, float]]) -> None:
    sources, targets, weights = zip(*edges, strict=True)
    dense = adjacency(ints(list(sources)), ints(list(targets)), np.array(weights, np.float32), 6).toarray()
    expected = np.zeros((6, 6))
    for source, target, weight in edges:
        if source != target:
            expected[source, target] += weight
            expected[target, source] += weight
    np.testing.assert_allclose(dense, expected, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_a_walk_takes_the_edge_that_its_draw_falls_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(0, 6, 15), rng.integers(0, 6, 15)
    graph = adjacency(ints(sources.tolist()), ints(targets.tolist()), rng.uniform(0.5, 3, 15).astype(np.float32), 6)
    starts = np.flatnonzero(np.diff(graph.indptr)).astype(np.int32)
    steps, draws = rng.integers(1, 4, len(starts)), rng.random((len(starts), 3))
    sums, ends = np.concatenate([[0.0], np.cumsum(graph.data, dtype=np.float64)]), np.empty_like(starts)
    _walk(graph.indptr, graph.indices, sums, starts, steps, draws, ends)
    for start, count, draw, end in zip(starts, steps, draws, ends, strict=True):
        node = start
        for step in range(count):
            row = graph[[node]]
            passed = np.cumsum(row.data) / row.data.sum()
            node = row.indices[min(np.searchsorted(passed, draw[step], side="right"), len(passed) - 1)]
        assert node == end


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "no edges before the cut-off"),
        ([(1, 1)], "no edges before the cut-off"),
        ([(0, 1), (1, 2)], "the graph knows no document"),
        ([(SEARCHERS, SEARCHERS + 1)], "the graph knows no searcher"),
    ],
)
def test_an_uninformative_graph_is_an_error(edges: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vectors_of(Graph(dimensions=4), [a for a, _ in edges], [b for _, b in edges])


@pytest.mark.skipif(numba.get_num_threads() < 2, reason="needs two cores")
def test_walks_are_the_same_with_one_thread_and_with_two() -> None:
    results = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        results.append(vectors_of(Graph(dimensions=8, epochs=1), *circles(2)).tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("method", ["walks", "svd"])
def test_vectors_that_cannot_leave_a_click_out_take_no_clicks(method: str) -> None:
    with pytest.raises(ValueError, match=f"clicks: true and method: {method} do not go together"):
        Graph.model_validate({"method": method, "clicks": True})
