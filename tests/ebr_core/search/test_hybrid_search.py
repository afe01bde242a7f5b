"""Fusion, radius and search under a condition against loops and exact search."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import near, units
from pydantic import ValidationError

from ebr_core.errors import InputError
from ebr_core.search.faiss_index import build
from ebr_core.search.hybrid_search import (
    Radius,
    Retrieval,
    calibrate,
    fuse,
    reciprocal_rank_fusion,
    search_within,
    within_radius,
)
from ebr_core.search.index_specs import AnyIndex, Exact, Hnsw, Imi, Ivf, Scan
from ebr_core.search.index_tuning import recall_of
from ebr_core.search.nearest import search_cost, search_exact

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=6, unique=True), min_size=3, max_size=3)


def padded(lists: list[list[int]]) -> np.ndarray:
    return np.array([line + [-1] * (6 - len(line)) for line in lists], np.int32)


@settings(max_examples=80, deadline=None)
@given(st.lists(LISTS, min_size=1, max_size=3), st.integers(1, 12))
def test_fusion_is_the_sum_of_reciprocal_ranks(lists: list[list[list[int]]], k: int) -> None:
    arrays = [padded(one) for one in lists]
    fused, union = fuse(arrays, "rrf", k), fuse(arrays, "union", k)
    assert np.array_equal(reciprocal_rank_fusion(arrays, k), fused) or len(lists) == 1
    for q, lines in enumerate(zip(*lists, strict=True)):
        scores: dict[int, float] = defaultdict(float)
        for line in lines:
            for rank, row in enumerate(line, 1):
                scores[row] += 1 / (60 + rank)
        expected = sorted(scores, key=lambda row: (-round(scores[row], 12), row))[:k]
        assert [row for row in fused[q].tolist() if row >= 0] == expected
        in_turn = dict.fromkeys(row for line in lines for row in line)
        assert [row for row in union[q].tolist() if row >= 0] == list(in_turn)[:k]


def test_a_calibrated_radius_keeps_its_share_of_the_targets() -> None:
    rng = np.random.default_rng(0)
    nearest = rng.uniform(0.5, 1, 1000).astype(np.float32)
    targets = (nearest - rng.exponential(0.1, 1000)).astype(np.float32)
    radius = calibrate(targets, nearest)
    assert 0.95 <= np.mean(1 - targets <= radius.model + 1e-6) < 0.953
    assert 0.95 <= np.mean(nearest - targets <= radius.beyond + 1e-6) < 0.953
    with pytest.raises(InputError, match="no validation target"):
        calibrate(targets[:0], nearest[:0])


def test_a_radius_per_query_starts_at_the_nearest_document() -> None:
    rows = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    similarities = np.array([[0.9, 0.8, 0.5], [0.6, 0.55, 0.3]], np.float32)
    radius = Radius(model=0.3, beyond=0.1, targets=9)
    assert within_radius(rows, similarities, radius.radius_for("model", similarities)).tolist() == [
        [0, 1, -1],
        [-1, -1, -1],
    ]
    assert within_radius(rows, similarities, radius.radius_for("query", similarities)).tolist() == [
        [0, 1, -1],
        [3, 4, -1],
    ]
    assert within_radius(rows, similarities, radius.radius_for(0.45, similarities)).tolist() == [[0, 1, -1], [3, 4, -1]]


@pytest.mark.parametrize(
    "spec",
    [Exact(), Scan(code="pq8"), Ivf(code="flat", nlist=30, nprobe=6), Imi(code="flat", bits=3, nprobe=12), Hnsw(ef=60)],
    ids=lambda spec: spec.kind,
)
@pytest.mark.parametrize("share", [0.0, 0.002, 0.02, 0.2, 0.7, 1.0])
def test_a_condition_of_any_selectivity_loses_no_recall(spec: AnyIndex, share: float) -> None:
    documents = units(2000, 16, 0)
    queries, index = near(documents, 60), build(documents, spec)
    allowed = np.random.default_rng(1).random(2000) < share
    allowed_rows = np.flatnonzero(allowed)
    typical = float(search_cost(index, queries, 10)[0].mean())
    retrieved = search_within(index, documents, queries, 10, allowed, typical)
    unrestricted = search_within(index, documents, queries, 10, None, typical)
    recall = recall_of(unrestricted.rows, search_exact(documents, queries, 10)[0])
    assert allowed[retrieved.rows[retrieved.rows >= 0]].all()
    if len(allowed_rows) == 0:
        assert (retrieved.rows == -1).all()
        return
    rows, _ = search_exact(documents[allowed_rows], queries, 10)
    expected = np.where(rows >= 0, allowed_rows[rows], -1)
    if retrieved.is_exact:
        assert np.array_equal(retrieved.rows, expected)
    assert recall_of(retrieved.rows, expected) >= recall - 0.05
    assert share > 0.02 or retrieved.is_exact


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give terms, an arm, lists, or several"),
        ({"arm": "a", "trigger": {}}, "a trigger spares"),
        ({"arm": "a", "radius": 3}, "between 0 and 2"),
        ({"arm": "a", "where": "nn(k=3)"}, "nn depends on the query"),
        ({"arm": "a", "where": "colour ="}, "ends where"),
        ({"arm": "a", "documents": {}}, "give active, recent_days or popular"),
    ],
)
def test_an_invalid_retrieval_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Retrieval.model_validate(settings)
