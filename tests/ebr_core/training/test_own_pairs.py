"""What a pair's own session gave to its document and searcher is left out, compared with a log without that session."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.arrays import Float32, Int32
from ebr_core.text.ngram_bags import Bags, with_queries
from ebr_core.towers.graph_vectors import adjacency, embed_by_neighbours, neighbour_sums
from ebr_core.towers.tower_inputs import Inputs, VectorGroup, bag_group
from ebr_core.training.batch_inputs import BatchRows, batch_inputs
from ebr_core.training.own_pairs import OwnEdges, OwnPairs, OwnQueries

QUERIES, DOCUMENTS, SESSIONS, PEOPLE, TABLE, D = 4, 3, 4, 3, 9, 4


class Click(NamedTuple):
    session: int
    searcher: int
    query: int
    document: int


def ints(values: list[int]) -> Int32:
    return np.array(values, np.int32)


ngrams = st.lists(st.lists(st.integers(0, TABLE - 1), max_size=3), min_size=QUERIES, max_size=QUERIES)
clicks_of = st.lists(
    st.builds(
        Click,
        st.integers(0, SESSIONS - 1),
        st.integers(-1, PEOPLE - 1),
        st.integers(0, QUERIES - 1),
        st.integers(0, DOCUMENTS - 1),
    ),
    min_size=1,
    max_size=8,
)


def uniform(texts: list[list[int]]) -> Bags:
    counts = [len(text) for text in texts]
    weights = np.array([1 / len(text) for text in texts for _ in text], np.float32)
    return Bags(np.concatenate([[0], np.cumsum(counts)]), ints([n for text in texts for n in text]), weights)


def weights_of(bags: Bags, bag: int) -> Float32:
    """(TABLE,) the sum of the weights of each n-gram in a bag."""
    part = slice(bags.offsets[bag], bags.offsets[bag + 1])
    sums: Float32 = np.bincount(bags.ids[part], bags.weights[part], TABLE).astype(np.float32)
    return sums


def joined(documents: Bags, queries: Bags, clicks: list[Click]) -> Bags:
    led = sorted({(click.document, click.query) for click in clicks})
    return with_queries(documents, queries, ints([d for d, _ in led]), ints([q for _, q in led]))


def own_queries(clicks: list[Click]) -> OwnQueries:
    led = sorted({(click.document, click.query) for click in clicks})
    sessions = {pair: {c.session for c in clicks if (c.document, c.query) == pair} for pair in led}
    own = sorted((min(of), d, q) for (d, q), of in sessions.items() if len(of) == 1)
    counts = [sum(d == document for d, _ in led) for document in range(DOCUMENTS)]
    return OwnQueries(
        np.array([s * DOCUMENTS + d for s, d, _ in own], np.int64),
        ints([q for *_, q in own]),
        np.concatenate([[0], np.cumsum(counts)]),
        ints([q for _, q in led]),
    )


def own_pairs(clicks: list[Click], queries: OwnQueries | None, edges: dict[str, OwnEdges]) -> OwnPairs:
    return OwnPairs(ints([c.session for c in clicks]), ints([c.searcher for c in clicks]), DOCUMENTS, queries, edges)


def every_pair(clicks: list[Click]) -> BatchRows:
    """Every search with every document, clicked or not, then all documents once more as negatives."""
    searches, documents = np.divmod(np.arange(len(clicks) * DOCUMENTS, dtype=np.int32), DOCUMENTS)
    return BatchRows(searches, searches, np.concatenate([documents, np.arange(DOCUMENTS, dtype=np.int32)]))


@settings(max_examples=150, deadline=None)
@given(ngrams, ngrams, clicks_of)
def test_a_bag_without_the_queries_of_the_pairs_own_session(
    titles: list[list[int]], texts: list[list[int]], clicks: list[Click]
) -> None:
    documents, queries = uniform(titles[:DOCUMENTS]), uniform(texts)
    in_full = joined(documents, queries, clicks)
    group = bag_group(queries, in_full, TABLE, True, ints([c.query for c in clicks]))
    inputs, batch = Inputs({"text": group}, len(clicks), DOCUMENTS), every_pair(clicks)
    text = batch_inputs(inputs, batch, own_pairs(clicks, own_queries(clicks), {}), None).text
    for i, (search, document) in enumerate(zip(batch.searches, batch.documents, strict=False)):
        others = [c for c in clicks if c.session != clicks[search].session or c.document != document]
        expected = joined(documents, queries, others)
        bag = text.at[len(batch.queries) + i]
        np.testing.assert_allclose(weights_of(text.bags, bag), weights_of(expected, document), atol=1e-6)
        np.testing.assert_array_equal(weights_of(text.bags, text.at[i]), weights_of(queries, clicks[search].query))
    for document in range(DOCUMENTS):
        bag = text.at[len(batch.queries) + len(batch.searches) + document]
        np.testing.assert_array_equal(weights_of(text.bags, bag), weights_of(in_full, document))


Edge = tuple[int, int, float]
others_edges = st.lists(
    st.tuples(st.integers(0, PEOPLE - 1), st.integers(0, PEOPLE + DOCUMENTS - 1), st.sampled_from([0.5, 1.0, 3.0])),
    max_size=5,
)


def graph_of(edges: list[Edge]) -> Callable[[list[Click]], object]:
    def with_clicks(clicks: list[Click]) -> object:
        rows = edges + [(c.searcher, PEOPLE + c.document, 1.0) for c in clicks if c.searcher >= 0]
        weights = np.array([weight for *_, weight in rows], np.float32)
        return adjacency(ints([u for u, *_ in rows]), ints([v for _, v, _ in rows]), weights, PEOPLE + DOCUMENTS)

    return with_clicks


@settings(max_examples=150, deadline=None)
@given(others_edges, clicks_of)
def test_vectors_without_the_clicks_of_the_pairs_own_session(edges: list[Edge], clicks: list[Click]) -> None:
    graph = graph_of(edges)
    matrix = graph(clicks)
    signed_in = sorted({(c.session, c.document, c.searcher) for c in clicks if c.searcher >= 0})
    own = OwnEdges(
        np.array([s * DOCUMENTS + d for s, d, _ in signed_in], np.int64),
        ints([u for *_, u in signed_in]),
        np.array([sum((c.session, c.document, c.searcher) == key for c in clicks) for key in signed_in], np.float32),
        np.array([matrix[u, PEOPLE + d] for _, d, u in signed_in], np.float32),  # type: ignore[index]
        np.diff(matrix.indptr).astype(np.int32),  # type: ignore[attr-defined]
        *neighbour_sums(matrix, D, 0),
    )
    vectors = embed_by_neighbours(matrix, D, 0)
    nodes = np.concatenate([ints([c.searcher for c in clicks]), PEOPLE + np.arange(DOCUMENTS, dtype=np.int32)])
    at = np.where((nodes >= 0) & vectors[nodes].any(1), nodes, -1).astype(np.int32)
    text = bag_group(uniform([[0]] * len(clicks)), uniform([[0]] * DOCUMENTS), TABLE, True)
    inputs = Inputs({"text": text, "graph": VectorGroup(vectors, at)}, len(clicks), DOCUMENTS)
    batch = every_pair(clicks)
    group = batch_inputs(inputs, batch, own_pairs(clicks, None, {"graph": own}), None).groups["graph"]
    assert isinstance(group, VectorGroup)
    given_vectors = np.where(group.at[:, None] >= 0, group.vectors[group.at], 0)
    for i, (search, document) in enumerate(zip(batch.searches, batch.documents, strict=False)):
        mine = clicks[search]
        others = [c for c in clicks if (c.session, c.searcher, c.document) != (mine.session, mine.searcher, document)]
        expected = embed_by_neighbours(graph(others), D, 0)
        searcher = expected[mine.searcher] if mine.searcher >= 0 else np.zeros(D)
        np.testing.assert_allclose(given_vectors[i], searcher, atol=2e-4)
        np.testing.assert_allclose(given_vectors[len(batch.queries) + i], expected[PEOPLE + document], atol=2e-4)
    np.testing.assert_array_equal(given_vectors[-DOCUMENTS:], vectors[PEOPLE:])
