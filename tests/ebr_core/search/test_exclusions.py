"""Lists without what a searcher already has, against exact search that never had those candidates."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import units

from ebr_core.search import exclusions
from ebr_core.search.exclusions import exclude_by_searcher, first_allowed, first_allowed_results, is_excluded
from ebr_core.search.nearest import search_exact


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 12), st.integers(1, 14), st.sampled_from([2, 1024]))
def test_lists_equal_exact_search_over_the_other_candidates(
    seed: int, searches: int, documents: int, k: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    searchers = rng.integers(-1, 4, searches).astype(np.int32)
    has = rng.random((4, documents)) < rng.random()
    pairs = rng.permutation(np.argwhere(has)).astype(np.int32)
    excluded = exclude_by_searcher(searchers, *pairs.T)
    vectors, queries = units(documents, 3, seed), units(searches, 3, seed + 1)
    vectors[: documents // 2] = vectors[0]  # ties
    depth = excluded.depth(k, documents)
    original, exclusions.BLOCK = exclusions.BLOCK, block
    try:
        retrieved, cosines = search_exact(vectors, queries, depth)
        rows, similarities = first_allowed_results(retrieved, cosines, excluded, k)
        assert (first_allowed(retrieved, excluded, k) == rows).all()
        assert not is_excluded(rows, excluded).any()
    finally:
        exclusions.BLOCK = original
    for s, searcher in enumerate(searchers):
        others = [n for n in range(documents) if searcher < 0 or not has[searcher, n]]
        expected, cosine = search_exact(vectors[others], queries[s : s + 1], k)
        assert rows[s].tolist() == [others[row] if row >= 0 else -1 for row in expected[0]]
        np.testing.assert_allclose(similarities[s], cosine[0], atol=1e-6)


@given(st.integers(0, 1000), st.lists(st.integers(0, 5), max_size=9))
def test_the_exclusions_of_some_searches_are_theirs(seed: int, chosen: list[int]) -> None:
    rng = np.random.default_rng(seed)
    searchers = rng.integers(-1, 3, 6).astype(np.int32)
    pairs = np.argwhere(rng.random((3, 5)) < 0.5).astype(np.int32)
    part = exclude_by_searcher(searchers, *pairs.T).take(np.array(chosen, np.int64))
    for i, search in enumerate(chosen):
        expected = [document for searcher, document in pairs.tolist() if searcher == searchers[search]]
        assert part.documents[part.offsets[i] : part.offsets[i + 1]].tolist() == expected
