"""Metrics against loops over their definitions, against trec_eval, and the laws that they obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.arrays import Int32
from ebr_core.measure.metrics import (
    Targets,
    best_grades,
    click_percentile,
    coverage_at_k,
    grades_of,
    hits,
    ndcg_at_k,
    pair_keys,
    popularity_lift_at_k,
    precision_at_k,
    recall_at_k,
    recall_ceiling,
    reciprocal_rank,
    shared_at_k,
    success_at_k,
    unseen_at_k,
)
from ebr_core.search.nearest import search_exact

N = 15

search = st.tuples(
    st.lists(st.integers(0, N - 1), min_size=1, max_size=6, unique=True),  # targets
    st.permutations(range(N)),  # retrieved
    st.integers(0, N),  # number retrieved; the rest is −1
)
searches = st.lists(search, min_size=1, max_size=6)


def to_arrays(given_searches: list[tuple[list[int], list[int], int]]) -> tuple[Int32, Targets]:
    retrieved = [[*ranked[:n_retrieved], *[-1] * (N - n_retrieved)] for _, ranked, n_retrieved in given_searches]
    counts = [len(targets) for targets, _, _ in given_searches]
    documents = [document for targets, _, _ in given_searches for document in targets]
    return np.array(retrieved, np.int32), Targets(np.cumsum([0, *counts]), np.array(documents, np.int32))


@settings(max_examples=60, deadline=None)
@given(searches, st.permutations(range(N)), st.integers(0, N), st.integers(1, N + 3))
def test_documents_in_common(
    given_searches: list[tuple[list[int], list[int], int]], ranked: list[int], size: int, k: int
) -> None:
    retrieved, _ = to_arrays(given_searches)
    others = np.tile(np.array([*ranked[:size], *[-1] * (N - size)], np.int32), (len(retrieved), 1))
    expected = [len(set(results[:n][:k]) & set(ranked[:size][:k])) for _, results, n in given_searches]
    assert shared_at_k(retrieved, others, k).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(searches, st.integers(1, N + 3))
def test_recall_and_reciprocal_rank(given_searches: list[tuple[list[int], list[int], int]], k: int) -> None:
    retrieved, targets = to_arrays(given_searches)
    hit = hits(retrieved, targets)
    for s, (relevant, ranked, n_retrieved) in enumerate(given_searches):
        results = ranked[:n_retrieved]
        assert hit[s].tolist() == [place < n_retrieved and ranked[place] in relevant for place in range(N)]
        assert recall_at_k(hit, targets, k)[s] == len(set(results[:k]) & set(relevant)) / len(relevant)
        returned = results[:k]
        share = sum(document in relevant for document in returned) / len(returned) if returned else 0
        assert precision_at_k(hit, retrieved, k)[s] == share
        ranks = [rank for rank, document in enumerate(results, 1) if document in relevant]
        assert reciprocal_rank(hit)[s] == (1 / ranks[0] if ranks else 0)
        assert recall_ceiling(targets, k)[s] == min(k, len(relevant)) / len(relevant)


@settings(max_examples=40, deadline=None)
@given(searches)
def test_recall_rises_with_k_below_its_ceiling_and_is_1_at_n(
    given_searches: list[tuple[list[int], list[int], int]],
) -> None:
    retrieved, targets = to_arrays(given_searches)
    hit = hits(retrieved, targets)
    curve = np.array([recall_at_k(hit, targets, k) for k in range(1, N + 1)])
    assert np.all(np.diff(curve, axis=0) >= 0)
    assert np.all(curve <= [recall_ceiling(targets, k) for k in range(1, N + 1)])
    complete = [(relevant, ranked, N) for relevant, ranked, _ in given_searches]
    retrieved, targets = to_arrays(complete)
    assert np.all(recall_at_k(hits(retrieved, targets), targets, N) == 1)


@settings(max_examples=40, deadline=None)
@given(searches, st.integers(1, N))
def test_removing_non_targets_never_lowers_precision(
    given_searches: list[tuple[list[int], list[int], int]], k: int
) -> None:
    retrieved, targets = to_arrays(
        [(relevant, ranked[:k], min(n_retrieved, k)) for relevant, ranked, n_retrieved in given_searches]
    )
    hit = hits(retrieved, targets)
    hits_only = np.where(hit, retrieved, -1)
    assert np.all(precision_at_k(hit, hits_only, k) >= precision_at_k(hit, retrieved, k))
    assert np.array_equal(precision_at_k(hit, hits_only, k), hit[:, :k].any(1))


def test_a_search_ignores_the_targets_of_other_searches() -> None:
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
    ndcg = ndcg_at_k(grades, ideal, k)
    for s, ranked in enumerate(given_grades):
        gain = sum(grade / math.log2(1 + rank) for rank, grade in enumerate(ranked[:k], 1))
        ideal_gain = sum(grade / math.log2(1 + rank) for rank, grade in enumerate([3.0, 2.0, 1.0][:k], 1))
        assert ndcg[s] == pytest.approx(gain / ideal_gain)
    assert np.all(ndcg <= 1 + 1e-12)
    assert np.all(ndcg_at_k(-np.sort(-grades, axis=1), ideal, k) == pytest.approx(1))


KS = (1, 3, 10)


def trec_eval_metrics(
    ranked: list[list[int]], targets: Targets, similarities: list[list[float]]
) -> list[dict[str, float]]:
    """trec_eval's metrics of each search. It breaks ties by name, in reverse alphabetical order."""
    grades = np.ones(len(targets.documents)) if targets.grades is None else targets.grades

    def name(document: int) -> str:
        return f"{N - document:04d}"

    judgements = {
        str(s): {name(targets.documents[i]): int(grades[i]) for i in range(first, last)}
        for s, (first, last) in enumerate(zip(targets.offsets, targets.offsets[1:], strict=False))
    }
    runs = {
        str(s): {name(row): float(similarity) for row, similarity in zip(rows, scores, strict=True) if row >= 0}
        for s, (rows, scores) in enumerate(zip(ranked, similarities, strict=True))
    }
    cuts = ",".join(map(str, KS))
    metrics_by_search = pytrec_eval.RelevanceEvaluator(
        judgements, {f"recall.{cuts}", f"success.{cuts}", f"ndcg_cut.{cuts}", "recip_rank"}
    ).evaluate(runs)
    names = [f"{metric}_{k}" for metric in ("recall", "success", "ndcg_cut") for k in KS] + ["recip_rank"]
    # trec_eval skips empty lists.
    return [metrics_by_search.get(str(s)) or dict.fromkeys(names, 0.0) for s in range(len(ranked))]


def assert_as_trec_eval(retrieved: Int32, targets: Targets, similarities: list[list[float]]) -> None:
    hit = hits(retrieved, targets)
    grades = grades_of(retrieved, targets)
    expected = trec_eval_metrics(retrieved.tolist(), targets, similarities)
    for k in KS:
        metrics = {
            f"recall_{k}": recall_at_k(hit, targets, k),
            f"success_{k}": success_at_k(hit, k),
            f"ndcg_cut_{k}": ndcg_at_k(grades, best_grades(targets, k), k),
        }
        for metric, values in metrics.items():
            assert values == pytest.approx([row[metric] for row in expected]), metric
    assert reciprocal_rank(hit) == pytest.approx([row["recip_rank"] for row in expected])


graded = st.lists(st.tuples(search, st.lists(st.integers(1, 4), min_size=6, max_size=6)), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(graded, st.booleans())
def test_metrics_equal_trec_eval(
    given_searches: list[tuple[tuple[list[int], list[int], int], list[int]]], use_grades: bool
) -> None:
    """Empty lists, short lists, lists without a hit, and one or several grades."""
    retrieved, targets = to_arrays([drawn_search for drawn_search, _ in given_searches])
    if use_grades:
        grades = [grade for (relevant, _, _), grades in given_searches for grade in grades[: len(relevant)]]
        targets = targets._replace(grades=np.array(grades, np.float64))
    falling = [[float(N - place) for place in range(N)] for _ in given_searches]
    assert_as_trec_eval(retrieved, targets, falling)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=N, max_size=N), st.lists(st.integers(0, 3), min_size=1, max_size=5), st.data()
)
def test_ties_are_broken_by_row_as_by_trec_eval_by_name(
    directions: list[int], query_directions: list[int], data: st.DataObject
) -> None:
    """Documents have four directions only, so most similarities are tied."""
    axes = np.eye(4, dtype=np.float32) * 0.8 + 0.1
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    documents, queries = axes[directions], np.eye(4, dtype=np.float32)[query_directions]
    rows, similarities = search_exact(documents, queries, N)
    counts = [data.draw(st.integers(1, 4)) for _ in query_directions]
    relevant = [data.draw(st.permutations(range(N)))[:count] for count in counts]
    targets = Targets(np.cumsum([0, *counts]), np.array([row for rows_ in relevant for row in rows_], np.int32))
    assert_as_trec_eval(rows, targets, np.round(similarities, 4).tolist())


@settings(max_examples=40, deadline=None)
@given(searches, st.lists(st.integers(0, 5), min_size=N, max_size=N), st.integers(1, N))
def test_coverage_and_popularity_lift(
    given_searches: list[tuple[list[int], list[int], int]], clicks: list[int], k: int
) -> None:
    retrieved, targets = to_arrays(given_searches)
    shown = {row for _, ranked, n_retrieved in given_searches for row in ranked[:n_retrieved][:k]}
    assert coverage_at_k(retrieved, N, k) == pytest.approx(len(shown) / N)
    percentiles = [sum((other < c) + (other == c) / 2 for other in clicks) / N for c in clicks]
    assert click_percentile(np.array(clicks)).tolist() == pytest.approx(percentiles)
    lift = popularity_lift_at_k(retrieved, targets, click_percentile(np.array(clicks)), k)
    for s, (relevant, ranked, n_retrieved) in enumerate(given_searches):
        first = [percentiles[row] for row in ranked[:n_retrieved][:k]]
        mean = float(np.mean([percentiles[row] for row in relevant]))
        assert lift[s] == pytest.approx(float(np.mean(first)) - mean if first else 0)


@settings(max_examples=60, deadline=None)
@given(
    searches,
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, N - 1)), max_size=30),
    st.lists(st.integers(0, 3), min_size=6, max_size=6),
    st.integers(1, N + 3),
)
def test_unseen_counts_what_nobody_saw_for_the_query(
    given_searches: list[tuple[list[int], list[int], int]], seen: list[tuple[int, int]], queries: list[int], k: int
) -> None:
    retrieved, _ = to_arrays(given_searches)
    pairs = np.array(sorted(set(seen)), np.int32).reshape(-1, 2)
    keys = pair_keys(pairs[:, 0], pairs[:, 1])
    shares = unseen_at_k(retrieved, np.array(queries[: len(retrieved)], np.int32), keys, k)
    for share, query, (_, ranked, n_retrieved) in zip(shares, queries, given_searches, strict=False):
        returned = ranked[:n_retrieved][:k]
        unseen = [document for document in returned if (query, document) not in seen]
        assert share == (len(unseen) / len(returned) if returned else 0)
