"""Ranks and sampled negatives, against loops and against drawing them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.measure.metrics import Targets, hits, recall_at_k
from ebr_core.measure.sampled_recall import NEVER, agreement, exact_ranks, sampled_recall
from ebr_core.search.nearest import search_exact


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(1, 9), st.sampled_from([2, 256]))
def test_a_rank_is_one_more_than_the_others_before_it(seed: int, n: int, searches: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((4, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    documents, queries = directions[rng.integers(4, size=n)], directions[rng.integers(4, size=searches)]  # many ties
    queries[0] = 0
    counts = rng.integers(1, min(n, 4) + 1, searches)
    wanted = [rng.permutation(n)[:count] for count in counts]
    targets = Targets(np.cumsum([0, *counts]), np.concatenate(wanted).astype(np.int32))
    ranked, _ = search_exact(documents, queries, n)
    ranks = exact_ranks(documents, queries, targets, block)
    for s, own in enumerate(wanted):
        order = ranked[s].tolist()
        for at, document in enumerate(own):
            got = ranks[targets.offsets[s] + at]
            if s == 0:
                assert got == NEVER
            else:
                assert got == 1 + sum(other not in own for other in order[: order.index(document)])


def test_the_expectation_is_what_drawing_gives() -> None:
    rng = np.random.default_rng(0)
    documents = rng.standard_normal((60, 8)).astype(np.float32)
    queries = rng.standard_normal((5, 8)).astype(np.float32)
    targets = Targets(np.array([0, 1, 3, 4, 5, 6]), np.array([7, 1, 50, 30, 31, 2], np.int32))
    expected = sampled_recall(exact_ranks(documents, queries, targets), targets, 60, 20, 3)
    similarity, found = queries @ documents.T, np.zeros(5)
    for s in range(5):
        own = targets.documents[targets.offsets[s] : targets.offsets[s + 1]]
        others = np.setdiff1d(np.arange(60), own)
        for _ in range(4000):
            drawn = similarity[s, rng.choice(others, 20, replace=False)]
            found[s] += np.mean([(drawn > similarity[s, target]).sum() < 3 for target in own])
    assert expected == pytest.approx(found / 4000, abs=0.03)


def test_with_all_negatives_it_is_recall_over_the_corpus() -> None:
    rng = np.random.default_rng(1)
    documents, queries = (rng.standard_normal((n, 6)).astype(np.float32) for n in (40, 30))
    targets = Targets(np.arange(31), rng.integers(40, size=30).astype(np.int32))
    rows, _ = search_exact(documents, queries, 5)
    whole = recall_at_k(hits(rows, targets), targets, 5)
    assert sampled_recall(exact_ranks(documents, queries, targets), targets, 40, 1000, 5).tolist() == whole.tolist()


def test_agreement() -> None:
    assert agreement(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])) == pytest.approx(1)
    assert agreement(np.array([0.1, 0.2, 0.3]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)
    assert np.isnan(agreement(np.array([0.1]), np.array([0.2])))
