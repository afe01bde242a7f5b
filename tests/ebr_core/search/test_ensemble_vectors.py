"""Ensembles are weighted sums of cosines, their weights have the recall of exact search, and cascades order exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import near, units
from pydantic import ValidationError

from ebr_core.errors import InputError
from ebr_core.measure.metrics import Targets, hits, recall_at_k
from ebr_core.rerank.cascade import rerank
from ebr_core.search.ensemble_vectors import Ensemble, concat_documents, concat_queries
from ebr_core.search.ensemble_weights import build_contest, choose, recall
from ebr_core.search.exclusions import exclude_by_searcher, first_allowed
from ebr_core.search.nearest import search_exact

SHAPES = st.lists(st.integers(1, 9), min_size=2, max_size=4)
WEIGHTS = st.lists(st.floats(0, 20), min_size=3, max_size=3).map(lambda rest: [1.0, *rest])


@settings(deadline=None)
@given(SHAPES, WEIGHTS, st.integers(0, 1000))
def test_the_inner_product_is_the_weighted_sum_of_cosines(
    shapes: list[int], drawn_weights: list[float], seed: int
) -> None:
    weights = drawn_weights[: len(shapes)]
    documents = [3 * units(12, d, seed + i) for i, d in enumerate(shapes)]  # of any length: the formula uses cosines
    queries = [2 * units(5, d, seed + 50 + i) for i, d in enumerate(shapes)]
    similarities = (
        concat_queries([part / 2 for part in queries], weights) @ concat_documents([part / 3 for part in documents]).T
    )
    for q in range(5):
        for n in range(12):
            total = 0.0
            for weight, v, u in zip(weights, queries, documents, strict=True):
                cosine = v[q] @ u[n] / (np.linalg.norm(v[q]) * np.linalg.norm(u[n]))
                total += weight * cosine
            scale = np.sqrt(sum(weight**2 for weight in weights)) * np.sqrt(len(weights))
            assert similarities[q, n] == pytest.approx(total / scale, abs=1e-5)


@settings(deadline=None)
@given(SHAPES, WEIGHTS, st.integers(0, 1000))
def test_both_sides_have_unit_length_and_the_cosine_of_the_paper(
    shapes: list[int], drawn_weights: list[float], seed: int
) -> None:
    weights = drawn_weights[: len(shapes)]
    documents = concat_documents([units(7, d, seed + i) for i, d in enumerate(shapes)])
    queries = concat_queries([units(7, d, seed + i) for i, d in enumerate(shapes)], weights)
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    n = len(weights)  # every part maps the query onto its document: S_w = Σα
    best = sum(weights) / (np.sqrt(sum(weight**2 for weight in weights)) * np.sqrt(n))
    np.testing.assert_allclose((queries * documents).sum(1), best, atol=1e-5)


def test_zero_vectors_of_a_part_add_nothing() -> None:
    first, second = units(4, 3, 0), units(4, 5, 1)
    first[0], second[0], first[1] = 0, 0, 0
    queries = concat_queries([first, second], [1, 0.5])
    assert not queries[0].any()
    np.testing.assert_allclose(queries[1, 3:], second[1], atol=1e-6)
    documents = concat_documents([first, second])
    np.testing.assert_allclose(documents[1, 3:] * np.sqrt(2), second[1], atol=1e-6)


def test_parts_of_different_corpora_or_with_several_vectors_are_refused() -> None:
    with pytest.raises(InputError, match=r"the parts have 4, 5 documents: they belong to different corpora"):
        concat_documents([units(4, 3, 0), units(5, 3, 0)])
    with pytest.raises(InputError, match="one vector per row"):
        concat_queries([units(4, 3, 0)[None], units(4, 3, 0)], [1, 1])


@pytest.mark.parametrize(
    ("parts", "weights", "message"),
    [
        (["a"], None, "at least 2 items"),
        (list("abcde"), None, "at most 4 items"),
        (["a", "b"], [1], "got 1 weights for 2 parts; give one for each"),
        (["a", "b"], [1, -1], "greater than or equal to 0"),
        (["a", "b"], [1, float("nan")], "finite number"),
        (["a", "b"], [2, 1], "the first is 2; it is always 1"),
    ],
)
def test_an_invalid_ensemble_is_refused(parts: list[str], weights: list[float] | None, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Ensemble.model_validate({"parts": parts, "weights": weights})


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=4), st.sets(st.integers(0, 9), min_size=1))
def test_a_repeated_arm_has_a_seed_of_its_own(parts: list[str], seeds: set[int]) -> None:
    runs = [run for seed in seeds for run in Ensemble(parts=tuple(parts)).runs(seed, sorted(seeds))]
    assert len(set(runs)) == len(runs)
    assert {(parts[0], seed) for seed in seeds} <= set(runs)


def _logs(seed: int, n: int, d: int, parts: int) -> tuple[list, list, Targets]:  # type: ignore[type-arg]
    """Parts that see the target with independent noise; some documents are equal, some query vectors are zero."""
    rng = np.random.default_rng(seed)
    documents = [units(n, d, seed + i) for i in range(parts)]
    for part in documents:
        part[n // 2 : n // 2 + 3] = part[:3]  # equal in every part
    documents[0][5] = documents[0][6]  # equal in the first part only
    target_pairs = rng.integers(0, n, (12, 2)).astype(np.int32)
    queries = []
    for part in documents:
        noisy = part[target_pairs[:, 0]] + 0.6 * rng.standard_normal((12, d)).astype(np.float32)
        queries.append((noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32))
    queries[-1][2] = 0
    for part in queries:
        part[3] = 0
    counts = np.where(target_pairs[:, 0] == target_pairs[:, 1], 1, 2)
    targets = np.concatenate([row[:count] for row, count in zip(target_pairs, counts, strict=True)])
    return documents, queries, Targets(np.concatenate([[0], counts.cumsum()]), targets)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 12), WEIGHTS)
def test_the_recall_from_rivals_equals_exact_search(seed: int, parts: int, k: int, drawn_weights: list[float]) -> None:
    documents, queries, targets = _logs(seed, 40, 6, parts)
    weights = [round(weight, 3) for weight in drawn_weights[:parts]]
    rows, _ = search_exact(concat_documents(documents), concat_queries(queries, weights), k)
    expected = recall_at_k(hits(rows, targets), targets, k).mean()
    assert recall(build_contest(documents, queries, targets, k), weights) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), WEIGHTS)
def test_the_recall_from_rivals_equals_exact_search_without_excluded_documents(
    seed: int, k: int, drawn_weights: list[float]
) -> None:
    documents, queries, targets = _logs(seed, 40, 6, 3)
    has = np.random.default_rng(seed).random((12, 40)) < 0.3
    has[np.repeat(np.arange(12), targets.counts), targets.documents] = False
    excluded = exclude_by_searcher(np.arange(12, dtype=np.int32), *np.argwhere(has).astype(np.int32).T)
    weights = [round(weight, 3) for weight in drawn_weights[:3]]
    rows, _ = search_exact(concat_documents(documents), concat_queries(queries, weights), 40)
    expected = recall_at_k(hits(first_allowed(rows, excluded, k), targets), targets, k).mean()
    assert recall(build_contest(documents, queries, targets, k, excluded), weights) == pytest.approx(expected)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_the_chosen_weights_are_the_best_of_the_grid(parts: int) -> None:
    documents, queries, targets = _logs(5, 60, 5, parts)
    rivals = build_contest(documents, queries, targets, 3)
    chosen = choose(rivals)
    assert chosen.weights[0] == 1
    assert chosen.recall == recall(rivals, chosen.weights) >= max(chosen.equal, chosen.alone[0])
    for line, part in zip(chosen.lines, range(1, parts), strict=True):
        assert chosen.recall >= max(line_recall for _, line_recall in line)
        assert dict(line)[chosen.weights[part]] == chosen.recall
        assert 0 in dict(line)
    assert choose(rivals) == chosen


def test_a_part_of_noise_gets_a_small_weight() -> None:
    documents = units(200, 8, 0)
    queries = near(documents, 100)
    targets = Targets(np.arange(101), np.arange(100, dtype=np.int32))
    noise = units(200, 8, 7), units(100, 8, 8)
    chosen = choose(build_contest([noise[0], documents], [noise[1], queries], targets, 1))
    assert chosen.recall > 0.95  # the first weight is fixed, so the other must be large
    assert chosen.weights[1] > 1
    assert choose(build_contest([documents, noise[0]], [queries, noise[1]], targets, 1)).weights[1] < 0.2


def test_all_weights_are_1_if_none_matters() -> None:
    documents = units(50, 8, 0)
    queries = near(documents, 20)
    targets = Targets(np.arange(21), np.arange(20, dtype=np.int32))
    assert choose(build_contest([documents] * 3, [queries] * 3, targets, 5)).weights == (1, 1, 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.booleans())
def test_a_cascade_sorts_the_first_documents_and_keeps_the_rest(seed: int, depth: int, has_views: bool) -> None:
    documents, queries = units(50, 4, seed), units(6, 4, seed + 1)
    views = np.stack([queries, units(6, 4, seed + 2)]) if has_views else queries
    rows = np.stack([np.random.default_rng(seed + q).permutation(50)[:20] for q in range(6)]).astype(np.int32)
    rows[2, 15:] = -1
    ordered = rerank(rows, documents, views, depth)
    for q in range(6):
        first = [row for row in rows[q, :depth].tolist() if row >= 0]
        vectors = views[:, q] if has_views else views[None, q]
        expected = sorted(first, key=lambda row: -max(float(vector @ documents[row]) for vector in vectors))
        assert ordered[q].tolist() == expected + rows[q].tolist()[len(expected) :]
