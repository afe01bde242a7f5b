"""Rankers: features and click groups against loops, planted position bias, and reproducible bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import Booster
from pydantic import ValidationError

from ebr_core.arrays import Float32
from ebr_core.rerank.examination import Examination, inverse_propensities
from ebr_core.rerank.ranker_features import (
    Embedding,
    Examples,
    OrdinaryInputs,
    Ranker,
    SearchResults,
    click_groups,
    embedding_features,
    feature_group,
    ordinary_features,
    sample_unshown,
    sort_lists,
)
from ebr_core.rerank.trees import grow

RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "of": (["softmax"], [3, None]),
    "index": (["tuned"], [3]),
    "depth": ([1, 10_000], [0, 10_001]),
    "embedding": (["none", "cosine", "hadamard", "raw"], ["dot", None]),
    "debias": (["auto", "propensities", "position", "none"], ["ips", None]),
    "clip": ([1, 1000], [0.9, 1001]),
    "unshown": ([0, 10_000], [-1, 10_001]),
    "trees": ([1, 10_000], [0, 10_001]),
    "patience": ([1, 10_000], [0]),
    "leaves": ([2, 1024], [1, 1025]),
    "leaf_rows": ([1, 1_000_000], [0, 1_000_001]),
    "learning_rate": ([1e-9, 1], [0, 1.1, float("nan")]),
    "held_out": ([0.01, 0.5], [0, 0.51]),
}


def test_every_key_has_its_range() -> None:
    assert set(RANGES) == set(Ranker.model_fields)
    for key, (allowed, refused) in RANGES.items():
        for value in allowed:
            assert getattr(Ranker.model_validate({"of": "a", key: value}), key) == value
        for value in refused:
            with pytest.raises(ValidationError):
                Ranker.model_validate({"of": "a", key: value})
    with pytest.raises(ValidationError, match="lerning_rate"):
        Ranker.model_validate({"of": "a", "lerning_rate": 1})
    assert all(field.description for field in Ranker.model_fields.values())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 999))
def test_ordinary_features_equal_a_loop(s: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    city = rng.integers(-2, 3, s).astype(np.int32), rng.integers(-1, 3, n).astype(np.int32)
    clicks, created = rng.random(n).astype(np.float32), (10 * rng.random(n)).astype(np.float32)
    created[rng.random(n) < 0.3] = np.nan
    searched, query = (10 * rng.random(s)).astype(np.float32), rng.random(s).astype(np.float32)
    ordinary = OrdinaryInputs(clicks, None, searched, created, None, query, {"city": city})
    search_at, rows = rng.integers(0, s, 7).astype(np.int32), rng.integers(0, n, 7).astype(np.int32)
    names, columns = ordinary_features(ordinary, search_at, rows)
    assert names == ["popularity", "query_length", "age_days", "same_city"]
    for pair, (i, j) in enumerate(zip(search_at, rows, strict=True)):
        age = np.nan if np.isnan(created[j]) else max(searched[i] - created[j], 0)
        same = np.nan if -1 in (city[0][i], city[1][j]) else float(city[0][i] == city[1][j])
        np.testing.assert_array_equal([column[pair] for column in columns], [clicks[j], query[i], age, same])


@pytest.mark.parametrize("views", [0, 3])
@pytest.mark.parametrize("kind", ["none", "cosine", "hadamard", "raw"])
def test_embedding_features_equal_a_loop(kind: Embedding, views: int) -> None:
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((views, 4, 5) if views else (4, 5)).astype(np.float32)
    documents = rng.standard_normal((6, 5)).astype(np.float32)
    search_at, rows = rng.integers(0, 4, 9).astype(np.int32), rng.integers(0, 6, 9).astype(np.int32)
    names, columns = embedding_features(kind, queries, documents, search_at, rows)
    assert len(names) == len(columns) == {"none": 0, "cosine": 1, "hadamard": 5, "raw": 10}[kind]
    for pair, (i, j) in enumerate(zip(search_at, rows, strict=True)):
        q = max((view[i] for view in (queries if views else queries[None])), key=lambda v: float(v @ documents[j]))
        expected = {"none": [], "cosine": [q @ documents[j]], "hadamard": q * documents[j]}
        expected["raw"] = [*q, *documents[j]]
        np.testing.assert_allclose([column[pair] for column in columns], expected[kind], rtol=1e-5, atol=1e-6)
    if kind in ("hadamard", "raw"):
        assert len({feature_group(name) for name in names}) == (1 if kind == "hadamard" else 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 8), st.integers(0, 9), st.integers(0, 999))
def test_unshown_documents_are_retrieved_and_not_shown(s: int, k: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    retrieved = np.stack([rng.permutation(12)[:k] for _ in range(s)]).astype(np.int32)
    retrieved[rng.random(retrieved.shape) < 0.2] = -1
    pairs = np.unique(rng.integers(0, [s, 12], (6, 2)), axis=0).astype(np.int32)
    search_at, documents = sample_unshown(retrieved, pairs[:, 0], pairs[:, 1], count, np.random.default_rng(seed))
    shown = set(map(tuple, pairs.tolist()))
    drawn = list(zip(search_at.tolist(), documents.tolist(), strict=True))
    assert len(set(drawn)) == len(drawn)
    for search in range(s):
        unshown_pairs = {(search, row) for row in retrieved[search].tolist() if row >= 0} - shown
        drawn_for_search = {pair for pair in drawn if pair[0] == search}
        assert drawn_for_search <= unshown_pairs
        assert len(drawn_for_search) == min(count, len(unshown_pairs))


def _placed(rows: list[tuple[int, int, int, float]]) -> SearchResults:
    s, d, p, w = zip(*rows, strict=True) if rows else ((), (), (), ())
    return SearchResults(*(np.array(column, np.int32) for column in (s, d, p)), np.array(w, np.float32))  # type: ignore[call-arg]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(0, 9), st.integers(0, 9))
def test_a_click_forms_a_group_with_the_unclicked_documents_of_its_search(seed: int, clicks: int, others: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [(int(rng.integers(0, 4)), i, int(rng.integers(1, 9)), float(rng.integers(1, 5))) for i in range(18)]
    clicked, unclicked = rows[:clicks], rows[9 : 9 + others]
    examples = click_groups(_placed(clicked), _placed(unclicked), 4)
    expected = []
    for search, document, position, weight in clicked:
        negatives = [(search, d, p, weight, False) for s, d, p, _ in unclicked if s == search]
        expected += [[(search, document, position, weight, True), *negatives]] if negatives else []
    assert examples.sizes.tolist() == [len(group) for group in expected]
    columns = (examples.searches, examples.documents, examples.positions, examples.weights, examples.clicked)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [
        pair for group in expected for pair in group
    ]


SHOWN = 10
RATES = np.arange(1, SHOWN + 1.0) ** -1.5


def _planted(lists: int, seed: int) -> tuple[Float32, Examples, Float32]:
    """(features, unweighted examples, relevance): the engine orders by its own taste; searchers have another.

    They click relevant documents that they examine.
    """
    rng = np.random.default_rng(seed)
    taste, appeal = rng.standard_normal((2, lists, SHOWN)).astype(np.float32)
    order = np.argsort(-(taste + 0.3 * appeal), axis=1)
    taste, appeal = np.take_along_axis(taste, order, 1), np.take_along_axis(appeal, order, 1)
    relevance = 1 / (1 + np.exp(2 - 2 * appeal))
    clicked = rng.random(relevance.shape) < RATES * relevance
    search_rows, pos = np.nonzero(clicked)
    rows = np.arange(lists * SHOWN, dtype=np.int32).reshape(lists, SHOWN)
    ones = np.ones(len(search_rows), np.float32)
    clicks = SearchResults(search_rows.astype(np.int32), rows[search_rows, pos], (pos + 1).astype(np.int32), ones)
    search_rows, pos = np.nonzero(~clicked)
    unclicked = SearchResults(
        search_rows.astype(np.int32),
        rows[search_rows, pos],
        (pos + 1).astype(np.int32),
        np.ones(len(search_rows), np.float32),
    )
    features = np.stack([taste.ravel(), appeal.ravel()], 1)
    return features, click_groups(clicks, unclicked, lists), relevance.astype(np.float32)


def _weighted(examples: Examples) -> Examples:
    first = np.cumsum(examples.sizes) - examples.sizes
    examination = Examination(RATES, np.zeros(SHOWN), np.ones(SHOWN, np.int64))
    inverse = inverse_propensities(examples.positions[first].astype(np.int64), examination, 50)
    return examples._replace(weights=np.repeat(inverse, examples.sizes).astype(np.float32))


NO_EXAMPLES = Examples(
    *(np.empty(0, np.int32) for _ in range(2)),
    np.empty(0, bool),
    np.empty(0, np.int32),
    np.empty(0, np.float32),
    np.empty(0, np.int64),
)
RANKER = Ranker(of="a", trees=60, leaves=7, learning_rate=0.1)


def _relative_gain(text: str, features: Float32, relevance: Float32, extra: int = 0) -> float:
    """The discounted relevance of the ranker's order, relative to the best order."""
    rows = np.column_stack([features, np.ones((len(features), extra), np.float32)])
    scores = np.asarray(Booster(model_str=text).predict(rows)).reshape(relevance.shape)
    discount = 1 / np.log2(np.arange(2, SHOWN + 2))
    ranked = np.take_along_axis(relevance, np.argsort(-scores, axis=1, kind="stable"), 1)
    return float((ranked @ discount).sum() / (-np.sort(-relevance, axis=1) @ discount).sum())


def test_propensities_or_a_position_feature_remove_planted_bias() -> None:
    features, examples, _ = _planted(4000, 0)
    fresh, _, relevance = _planted(1000, 1)
    rows, names = features[examples.documents], ["taste", "appeal"]
    empty = np.empty((0, 2), np.float32)
    plain = grow(rows, examples, empty, NO_EXAMPLES, names, RANKER, 0, 1)
    weighted = grow(rows, _weighted(examples), empty, NO_EXAMPLES, names, RANKER, 0, 1)
    with_position = np.column_stack([rows, examples.positions]).astype(np.float32)
    position = grow(
        with_position, examples, np.empty((0, 3), np.float32), NO_EXAMPLES, [*names, "position"], RANKER, 0, 1
    )
    gains = [_relative_gain(plain.text, fresh, relevance), _relative_gain(weighted.text, fresh, relevance)]
    assert gains[1] > gains[0] + 0.02
    assert _relative_gain(position.text, fresh, relevance, 1) > gains[0] + 0.02


def test_training_is_reproducible_and_stops_at_the_best_held_out_tree() -> None:
    features, examples, _ = _planted(600, 0)
    held_features, held, _ = _planted(200, 1)
    inputs = features[examples.documents], examples, held_features[held.documents], held, ["taste", "appeal"]
    ranker = RANKER.model_copy(update={"trees": 300, "patience": 10})
    first, second = grow(*inputs, ranker, 3, 1), grow(*inputs, ranker, 3, 1)
    assert first.text == second.text
    assert first.trees < 300
    assert first.trees == 1 + int(np.argmax(first.held_out))
    assert first.gains.shape == (2,)
    assert Booster(model_str=first.text).num_trees() == first.trees


def test_lists_are_sorted_by_score_with_stable_ties() -> None:
    lists = np.array([[4, 2, 9, -1], [1, -1, 3, 0]], np.int32)
    scores = np.array([[1, 2, 1, 9], [0, 5, 0, 0]], np.float32)
    assert sort_lists(scores, lists).tolist() == [[2, 4, 9, -1], [1, 3, 0, -1]]
