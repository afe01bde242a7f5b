"""Ranks against loops, and expected recall against drawn negatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.measure.metrics import Targets, hits, recall_at_k
from ebr_core.measure.sampled_recall import NOT_RETRIEVED, agreement, exact_ranks, sampled_recall
from ebr_core.search.exclusions import exclude_by_searcher
from ebr_core.search.nearest import search_exact


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 9), st.sampled_from([2, 256]))
def test_a_rank_is_one_plus_the_other_documents_before_it(seed: int, n: int, searches: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((4, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    documents, queries = directions[rng.integers(4, size=n)], directions[rng.integers(4, size=searches)]  # many ties
    queries[0] = 0
    counts = rng.integers(1, min(n, 4) + 1, searches)
    relevant = [rng.permutation(n)[:count] for count in counts]
    targets = Targets(np.cumsum([0, *counts]), np.concatenate(relevant).astype(np.int32))
    ranked, _ = search_exact(documents, queries, n)
    ranks = exact_ranks(documents, queries, targets, block)
    for s, search_targets in enumerate(relevant):
        order = ranked[s].tolist()
        for i, document in enumerate(search_targets):
            rank = ranks[targets.offsets[s] + i]
            if s == 0:
                assert rank == NOT_RETRIEVED
            else:
                assert rank == 1 + sum(row not in search_targets for row in order[: order.index(document)])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 256]))
def test_a_rank_is_that_among_the_documents_that_are_not_excluded(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    documents, queries = (rng.standard_normal((n, 3)).astype(np.float32) for n in (9, 5))
    targets = Targets(np.arange(6), rng.integers(9, size=5).astype(np.int32))
    has = rng.random((5, 9)) < 0.4
    has[np.arange(5), targets.documents] = False
    excluded = exclude_by_searcher(np.arange(5, dtype=np.int32), *np.argwhere(has).astype(np.int32).T)
    ranks = exact_ranks(documents, queries, targets, block, excluded)
    for s in range(5):
        others = np.flatnonzero(~has[s])
        alone = Targets(np.array([0, 1]), np.searchsorted(others, targets.documents[s : s + 1]).astype(np.int32))
        assert ranks[s] == exact_ranks(documents[others], queries[s : s + 1], alone)[0]


def test_the_expectation_equals_the_mean_of_draws() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((60, 8)).astype(np.float32)
    queries = rng.standard_normal((5, 8)).astype(np.float32)
    targets = Targets(np.array([0, 1, 3, 4, 5, 6]), np.array([7, 1, 50, 30, 31, 2], np.int32))
    expected = sampled_recall(exact_ranks(documents, queries, targets), targets, 60, 20, 3)
    similarity, recall_sums = queries @ documents.T, np.zeros(5)
    for s in range(5):
        relevant = targets.documents[targets.offsets[s] : targets.offsets[s + 1]]
        others = np.setdiff1d(np.arange(60), relevant)
        for _ in range(4000):
            negatives = similarity[s, rng.choice(others, 20, replace=False)]
            recall_sums[s] += np.mean([(negatives > similarity[s, target]).sum() < 3 for target in relevant])
    assert expected == pytest.approx(recall_sums / 4000, abs=0.03)


def test_all_negatives_give_the_recall_over_the_corpus() -> None:
    rng = np.random.default_rng(1)
    documents, queries = (rng.standard_normal((n, 6)).astype(np.float32) for n in (40, 30))
    targets = Targets(np.arange(31), rng.integers(40, size=30).astype(np.int32))
    rows, _ = search_exact(documents, queries, 5)
    expected = recall_at_k(hits(rows, targets), targets, 5)
    assert sampled_recall(exact_ranks(documents, queries, targets), targets, 40, 1000, 5).tolist() == expected.tolist()


def test_agreement() -> None:
    assert agreement(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])) == pytest.approx(1)
    assert agreement(np.array([0.1, 0.2, 0.3]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)
    assert np.isnan(agreement(np.array([0.1]), np.array([0.2])))
