"""Measures against their definitions, written as loops, and the laws that they obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.bags import Int32
from ebr_core.metrics import Targets, hits, ndcg_at_k, recall_at_k, recall_ceiling, reciprocal_rank

N = 15

search = st.tuples(
    st.lists(st.integers(0, N - 1), min_size=1, max_size=6, unique=True),  # targets
    st.permutations(range(N)),  # retrieved
    st.integers(0, N),  # of which so many are found; the rest is −1
)
searches = st.lists(search, min_size=1, max_size=6)


def read(given_searches: list[tuple[list[int], list[int], int]]) -> tuple[Int32, Targets]:
    retrieved = [[*ranked[:found], *[-1] * (N - found)] for _, ranked, found in given_searches]
    counts = [len(targets) for targets, _, _ in given_searches]
    documents = [document for targets, _, _ in given_searches for document in targets]
    return np.array(retrieved, np.int32), Targets(np.cumsum([0, *counts]), np.array(documents, np.int32))


@settings(max_examples=60, deadline=None)
@given(searches, st.integers(1, N + 3))
def test_recall_and_reciprocal_rank(given_searches: list[tuple[list[int], list[int], int]], k: int) -> None:
    retrieved, targets = read(given_searches)
    hit = hits(retrieved, targets)
    for s, (wanted, ranked, found) in enumerate(given_searches):
        kept = ranked[:found]
        assert hit[s].tolist() == [place < found and ranked[place] in wanted for place in range(N)]
        assert recall_at_k(hit, targets, k)[s] == len(set(kept[:k]) & set(wanted)) / len(wanted)
        ranks = [rank for rank, document in enumerate(kept, 1) if document in wanted]
        assert reciprocal_rank(hit)[s] == (1 / ranks[0] if ranks else 0)
        assert recall_ceiling(targets, k)[s] == min(k, len(wanted)) / len(wanted)


@settings(max_examples=40, deadline=None)
@given(searches)
def test_recall_never_falls_nor_passes_its_ceiling_and_is_1_at_n(
    given_searches: list[tuple[list[int], list[int], int]],
) -> None:
    retrieved, targets = read(given_searches)
    hit = hits(retrieved, targets)
    curve = np.array([recall_at_k(hit, targets, k) for k in range(1, N + 1)])
    assert np.all(np.diff(curve, axis=0) >= 0)
    assert np.all(curve <= [recall_ceiling(targets, k) for k in range(1, N + 1)])
    whole = [(wanted, ranked, N) for wanted, ranked, _ in given_searches]
    retrieved, targets = read(whole)
    assert np.all(recall_at_k(hits(retrieved, targets), targets, N) == 1)


def test_a_search_does_not_see_the_targets_of_its_neighbours() -> None:
    targets = Targets(np.array([0, 1, 2]), np.array([4, 3], np.int32))
    assert hits(np.array([[3, 4], [4, -1]], np.int32), targets).tolist() == [[False, True], [False, False]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.permutations([3.0, 2.0, 1.0, 0.0, 0.0, 0.0]), min_size=1, max_size=5),
    st.integers(1, 9),
)
def test_ndcg(given_grades: list[list[float]], k: int) -> None:
    grades = np.array(given_grades)
    ideal = np.array([[3.0, 2.0, 1.0]] * len(grades))
    got = ndcg_at_k(grades, ideal, k)
    for s, ranked in enumerate(given_grades):
        gained = sum(grade / math.log2(1 + rank) for rank, grade in enumerate(ranked[:k], 1))
        most = sum(grade / math.log2(1 + rank) for rank, grade in enumerate([3.0, 2.0, 1.0][:k], 1))
        assert got[s] == pytest.approx(gained / most)
    assert np.all(got <= 1 + 1e-12)
    assert np.all(ndcg_at_k(-np.sort(-grades, axis=1), ideal, k) == pytest.approx(1))
