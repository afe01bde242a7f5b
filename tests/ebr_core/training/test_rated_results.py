"""Ratings as training data: noise, negatives, results that existed; compared with loops."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from ebr_core.training.positives import KnownPositives, Pairs, RatedPairs
from ebr_core.training.rated_results import (
    Feedback,
    Filter,
    Rater,
    add_noise,
    documents_rated_bad,
    first_valid,
    pack_left,
    pair_keys,
    shuffle_ratings,
)

N = 8  # searches, documents and groups


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=4, max_size=4), min_size=1), st.data())
def test_the_first_valid_results_keep_their_order(lists: list[list[tuple[int, bool]]], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 4))
    rows = np.array([[row for row, _ in results] for results in lists], np.int32)
    valid = np.array([[is_valid for _, is_valid in results] for results in lists], bool)
    first_rows, near = first_valid(rows, -rows.astype(np.float32), valid, k)
    for q, results in enumerate(lists):
        expected = [row for row, is_valid in results if is_valid][:k]
        assert first_rows[q].tolist() == expected + [-1] * (k - len(expected))
        assert near[q].tolist() == [-row for row in expected] + [-np.inf] * (k - len(expected))


pairs_rated = st.dictionaries(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1)), st.booleans())


def _rated(ratings: dict[tuple[int, int], bool]) -> RatedPairs:
    searches, documents = (np.array([pair[side] for pair in ratings], np.int32) for side in (0, 1))
    return RatedPairs(searches, documents, searches, searches, np.array(list(ratings.values()), bool))


@settings(max_examples=100, deadline=None)
@given(
    pairs_rated,
    st.lists(st.tuples(*[st.integers(0, N - 1)] * 3), max_size=10),
    st.lists(st.sets(st.integers(0, N - 1)), min_size=N, max_size=N),
)
def test_results_rated_bad_are_negatives_of_their_search_except_known_positives(
    ratings: dict[tuple[int, int], bool], triples: list[tuple[int, int, int]], positives_of_groups: list[set[int]]
) -> None:
    columns = [np.array([pair[at] for pair in triples], np.int32) for at in range(3)]
    zeros = np.zeros(len(triples), np.int64)
    pairs = Pairs(columns[0], columns[1], columns[2], zeros, zeros, np.zeros(0, np.int32), len(triples))
    offsets = np.cumsum([0, *(len(group_documents) for group_documents in positives_of_groups)]).astype(np.int64)
    documents = np.array([row for group_documents in positives_of_groups for row in sorted(group_documents)], np.int32)
    bad_rows = documents_rated_bad(_rated(ratings), pairs, KnownPositives(offsets, documents))
    for at, (search, _, group) in enumerate(triples):
        expected = {
            document for (rated_search, document), good in ratings.items() if rated_search == search and not good
        } - positives_of_groups[group]
        documents_found = bad_rows[at][bad_rows[at] >= 0].tolist()
        assert sorted(documents_found) == sorted(expected)
        assert (bad_rows[at][: len(documents_found)] >= 0).all()  # nothing behind a −1


def test_packed_moves_what_is_missing_behind() -> None:
    assert pack_left(np.array([[-1, 3, -1, 1], [2, -1, -1, -1]], np.int32)).tolist() == [
        [3, 1, -1, -1],
        [2, -1, -1, -1],
    ]


def test_the_error_of_the_majority_is_the_sum_over_outcomes() -> None:
    for noise in (0.0, 0.1, 0.3, 0.5):
        for raters in (1, 3, 5):
            probabilities = [
                comb(raters, n) * noise**n * (1 - noise) ** (raters - n) for n in range(raters // 2 + 1, raters + 1)
            ]
            assert Rater(noise=noise, raters=raters).error == pytest.approx(sum(probabilities), abs=1e-12)


def test_noise_has_its_rate_and_is_the_same_for_a_pair_in_any_order() -> None:
    rng = np.random.default_rng(0)
    keys = pair_keys(rng.integers(0, 1000, 20_000).astype(np.int32), rng.integers(0, 1000, 20_000).astype(np.int32))
    grades = rng.integers(0, 3, 20_000).astype(np.float32)
    rater = Rater(noise=0.2, raters=1)
    noisy = add_noise(grades, keys, 2, rater)
    flipped = (noisy >= 2) != (grades >= 2)
    assert abs(flipped.mean() - 0.2) < 0.02
    assert np.array_equal(noisy[~flipped], grades[~flipped])
    order = rng.permutation(len(keys))
    assert np.array_equal(add_noise(grades[order], keys[order], 2, rater), noisy[order])
    assert not np.array_equal(add_noise(grades, keys, 2, Rater(noise=0.2, raters=1, seed=1)), noisy)
    assert np.array_equal(add_noise(grades, keys, 2, Rater(noise=0)), grades)


def test_shuffled_ratings_are_as_many_good_ones_of_the_same_pairs() -> None:
    rated = _rated({(search, document): document == 3 for search in range(N) for document in range(N)})
    control = shuffle_ratings(rated, 0)
    assert control.good.sum() == rated.good.sum()
    assert np.array_equal(control.document_rows, rated.document_rows)
    assert not np.array_equal(control.good, rated.good)


RANGES: list[tuple[type[BaseModel], str, list[Any], list[Any]]] = [
    (Rater, "noise", [0, 0.5], [-0.1, 0.6]),
    (Rater, "raters", [1, 99], [0, 2, 101]),
    (Rater, "seed", [0, 7], [-1]),
    (Feedback, "searches", [1, 10**6], [0]),
    (Feedback, "k", [1, 1000], [0, 1001]),
    (Feedback, "judged", ["clicked", "shown"], ["rated", None]),
    (Feedback, "good_from", [1, 3], [0, 4]),
    (Feedback, "rater", [None, {}, {"noise": 0.3}], [{"noise": 2}, "people"]),
    (Feedback, "imported", [None, "mine", "mine-2"], ["", "../mine", "a/b"]),
    (Filter, "arm", ["a"], [None, 3]),
    (Filter, "index", ["exact"], [None]),
    (Filter, "of", [["a"], ["a", "b"]], [[], "a"]),
    (Filter, "recall_weight", [0.1, 100], [0, 101]),
]


@pytest.mark.parametrize(
    ("model", "key", "allowed", "refused"), RANGES, ids=lambda value: getattr(value, "__name__", None)
)
def test_every_range_ends_where_it_says(
    model: type[BaseModel], key: str, allowed: list[Any], refused: list[Any]
) -> None:
    needed = {"arm": "a", "of": ["a"]} if model is Filter else {}
    for value in allowed:
        model.model_validate(needed | {key: value})
    for value in refused:
        with pytest.raises(ValidationError):
            model.model_validate(needed | {key: value})


def test_every_key_has_its_range_tested() -> None:
    assert {(model, key) for model, key, *_ in RANGES} == {
        (model, key) for model in (Rater, Feedback, Filter) for key in model.model_fields
    }
