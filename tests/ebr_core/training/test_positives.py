"""The relevant pairs of a log that is small enough to check by eye."""

from __future__ import annotations

import numpy as np
import pytest

from ebr_core.errors import InputError
from ebr_core.training.pair_config import Positives
from ebr_core.training.positives import (
    KnownPositives,
    Pairs,
    RatedPairs,
    RecoveredPairs,
    ShownResults,
    hard_count,
    select_pairs,
)

NOBODY = -1

# search, document, clicked, query, searcher
LOG = [
    (0, 1, True, 0, 0),  # Ann searches query 0, clicks 1, not 2 and 3
    (0, 2, False, 0, 0),
    (0, 3, False, 0, 0),
    (1, 1, False, 0, 1),  # Bob searches query 0, clicks 2, not 1
    (1, 2, True, 0, 1),
    (2, 2, True, 0, 0),  # Ann searches query 0 again, clicks 2, not 4
    (2, 4, False, 0, 0),
    (3, 1, False, 1, 0),  # Ann searches query 1 and clicks nothing
    (4, 3, True, 0, NOBODY),  # somebody searches query 0, clicks 3, not 5
    (4, 5, False, 0, NOBODY),
    (5, 5, True, 0, NOBODY),  # somebody searches query 0, clicks 5
]


def shown(log: list[tuple[int, int, bool, int, int]] = LOG) -> ShownResults:
    search, document, clicked, query, searcher = zip(*log, strict=True)
    rows = [np.array(column, np.int32) for column in (search, document, query, searcher)]
    return ShownResults(rows[0], rows[1], np.array(clicked, bool), rows[2], rows[3])


NONE = RecoveredPairs(*(np.zeros(0, np.int32) for _ in RecoveredPairs._fields))


def pairs_of(pairs: Pairs) -> list[tuple[int, int]]:
    return sorted(zip(queries_of(pairs), pairs.document_rows.tolist(), strict=True))


def queries_of(pairs: Pairs) -> list[int]:
    """The query of each pair's search."""
    query_of = {search: query for search, _, _, query, _ in LOG}
    return [query_of[search] for search in pairs.search_rows.tolist()]


def known_of(pairs: Pairs, known_positives: KnownPositives) -> list[set[int]]:
    """The documents that each pair excludes from the negatives."""
    return [
        set(known_positives.documents[known_positives.offsets[g] : known_positives.offsets[g + 1]].tolist())
        for g in pairs.groups
    ]


def not_clicked_of(pairs: Pairs) -> list[list[int]]:
    return [
        pairs.not_clicked[first:last].tolist() for first, last in zip(pairs.shown_from, pairs.shown_to, strict=True)
    ]


def test_clicks() -> None:
    pairs, _ = select_pairs(shown(), NONE, Positives(source="clicks"), "pair", 0)
    assert pairs_of(pairs) == [(0, 1), (0, 2), (0, 2), (0, 3), (0, 5)]


def test_impressions_are_all_that_was_shown() -> None:
    pairs, _ = select_pairs(shown(), NONE, Positives(source="impressions"), "pair", 0)
    assert pairs_of(pairs) == sorted((query, document) for _, document, _, query, _ in LOG)


def test_both_counts_clicks_twice() -> None:
    pairs, _ = select_pairs(shown(), NONE, Positives(source="both"), "pair", 0)
    assert pairs_of(pairs) == sorted(
        (query, document) for _, document, clicked, query, _ in LOG for _ in range(1 + clicked)
    )


@pytest.mark.parametrize("source", ["clicks", "impressions", "both"])
def test_equal_volume_draws_as_many_pairs_as_there_are_clicks(source: str) -> None:
    all_pairs = pairs_of(select_pairs(shown(), NONE, Positives.model_validate({"source": source}), "pair", 0)[0])
    positives = Positives.model_validate({"source": source, "equal_volume": True})
    samples = [pairs_of(select_pairs(shown(), NONE, positives, "pair", seed)[0]) for seed in range(20)]
    assert all(len(sample) == 5 for sample in samples)
    assert all(sample.count(pair) <= all_pairs.count(pair) for sample in samples for pair in sample)
    assert samples[3] == pairs_of(select_pairs(shown(), NONE, positives, "pair", 3)[0])
    assert (len({tuple(sample) for sample in samples}) > 1) == (source != "clicks")


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("pair", [{1, 2}, {2}, {1, 2}, {3, 5}, {3, 5}]),  # searchers who are not signed in share their clicks
        ("query", [{1, 2, 3, 5}] * 5),
        ("document", [{1}, {2}, {2}, {3}, {5}]),
    ],
)
def test_known_positives_of_clicks(mask: str, expected: list[set[int]]) -> None:
    pairs, known_positives = select_pairs(shown(), NONE, Positives(), mask, 0)
    assert pairs.document_rows.tolist() == [1, 2, 2, 3, 5]
    assert known_of(pairs, known_positives) == expected


def test_known_positives_are_sorted_and_hold_the_pair_itself_and_every_click() -> None:
    for source in ("clicks", "impressions", "both"):
        positives = Positives.model_validate({"source": source, "equal_volume": True})
        for mask in ("pair", "query"):
            for seed in range(5):
                pairs, known_positives = select_pairs(shown(), NONE, positives, mask, seed)
                sets = known_of(pairs, known_positives)
                assert all(document in documents for document, documents in zip(pairs.document_rows, sets, strict=True))
                for first, last in zip(known_positives.offsets[:-1], known_positives.offsets[1:], strict=True):
                    assert np.all(np.diff(known_positives.documents[first:last]) > 0)
                if mask == "query":
                    assert all(
                        documents >= {1, 2, 3, 5}
                        for query, documents in zip(queries_of(pairs), sets, strict=True)
                        if query == 0
                    )


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("pair", [[3], [1], [4], [], []]),  # Ann clicked 2 in another search; 5 was clicked by somebody
        ("query", [[], [], [4], [], []]),
        ("document", [[2, 3], [1], [4], [5], []]),
        ("none", [[2, 3], [1], [4], [5], []]),
    ],
)
def test_impressions_that_were_not_clicked(mask: str, expected: list[list[int]]) -> None:
    pairs, _ = select_pairs(shown(), NONE, Positives(), mask, 0)
    assert not_clicked_of(pairs) == expected


def test_the_last_searcher_of_a_query_and_the_unknown_one_of_the_next_are_two() -> None:
    log = shown([(0, 1, True, 0, 2), (1, 2, True, 1, NOBODY), (2, 3, True, 1, 0)])
    pairs, known_positives = select_pairs(log, NONE, Positives(), "pair", 0)
    assert known_of(pairs, known_positives) == [{1}, {2}, {3}]


def test_no_click_is_an_error() -> None:
    unclicked = shown([(0, 1, False, 0, 0), (0, 2, False, 0, 0)])
    for positives in (Positives(), Positives(source="impressions", equal_volume=True)):
        with pytest.raises(InputError, match="no positives: 2 results"):
            select_pairs(unclicked, NONE, positives, "pair", 0)
    assert len(select_pairs(unclicked, NONE, Positives(source="impressions"), "pair", 0)[0].search_rows) == 2


# Ann's search 3 for query 1 failed; later in her session she clicked 6. Bob's search 6 for query 2 failed, then 1.
FAILED = RecoveredPairs(*(np.array(column, np.int32) for column in zip((3, 6, 1, 0), (6, 1, 2, 1), strict=True)))


@pytest.mark.parametrize(("clicks", "available"), [(1000, 66), (999, 66), (7, 3), (3, 1), (6001, 4000)])
def test_the_share_that_a_message_proposes_can_be_set(clicks: int, available: int) -> None:
    with pytest.raises(InputError, match="set at most") as error:
        hard_count(1, clicks, available)
    proposed = float(str(error.value).rpartition(" ")[2])
    assert available - clicks / 1000 - 1 <= hard_count(proposed, clicks, available) <= available


def test_hard_share_sets_the_number_of_hard_positives_and_masks_their_targets() -> None:
    for share, count in ((0.2, 1), (0.4, 2)):
        pairs, known_positives = select_pairs(shown(), FAILED, Positives(source="none", hard_share=share), "pair", 0)
        assert len(pairs.search_rows) == count  # of 5 clicks
        assert pairs.pairs_per_epoch == 5
    assert sorted(zip(pairs.search_rows.tolist(), pairs.document_rows.tolist(), strict=True)) == [(3, 6), (6, 1)]
    ann = pairs.search_rows.tolist().index(3)
    assert known_of(pairs, known_positives)[ann] == {6}
    assert not_clicked_of(pairs)[ann] == [1]  # what search 3 showed
    assert not_clicked_of(pairs)[1 - ann] == []  # search 6 showed nothing


def test_hard_positives_are_added_to_the_others() -> None:
    pairs, _ = select_pairs(shown(), FAILED, Positives(hard_share=0.4), "pair", 0)
    assert len(pairs.search_rows) == 7
    assert pairs.pairs_per_epoch == 5


def test_more_hard_positives_than_the_log_has_is_an_error() -> None:
    with pytest.raises(InputError, match=r"hard_share 0\.6 of 5 clicks are 3 pairs, but only 2 failed.*at most 0\.400"):
        select_pairs(shown(), FAILED, Positives(hard_share=0.6), "pair", 0)
    with pytest.raises(InputError, match="these logs have no hard positives"):
        select_pairs(shown(), NONE, Positives(hard_share=0.6), "pair", 0)


RATED = RatedPairs(
    np.array([0, 1, 3, 3], np.int32),  # Ann's search of query 0; Bob's; Ann's of query 1, which clicked nothing
    np.array([4, 5, 6, 7], np.int32),
    np.array([0, 0, 1, 1], np.int32),
    np.array([0, 1, 0, 0], np.int32),
    np.array([True, False, True, False]),
)


def test_results_rated_good_are_positives_and_known() -> None:
    pairs, known_positives = select_pairs(shown(), NONE, Positives(), "pair", 0, RATED)
    assert pairs_of(pairs) == [(0, 1), (0, 2), (0, 2), (0, 3), (0, 4), (0, 5), (1, 6)]
    assert known_of(pairs, known_positives)[:3] == [{1, 2, 4}, {2}, {1, 2, 4}]  # Ann's, Bob's, Ann's again
    assert known_of(pairs, known_positives)[-1] == {6}
    assert 4 not in not_clicked_of(pairs)[2]  # shown to Ann in search 2 and not clicked, but rated good
    assert pairs.pairs_per_epoch == 5


def test_results_rated_good_can_be_known_without_being_positives() -> None:
    pairs, known_positives = select_pairs(shown(), NONE, Positives(), "pair", 0, RATED, rated_good=False)
    assert pairs_of(pairs) == [(0, 1), (0, 2), (0, 2), (0, 3), (0, 5)]
    assert known_of(pairs, known_positives)[0] == {1, 2, 4}


# Ann bought 1 and put 2 into the cart; all else was clicked and no more.
WEIGHTS = np.array([5, 0, 0, 0, 1, 3, 0, 0, 1, 0, 1], np.float32)


def weighted(weights: np.ndarray = WEIGHTS) -> ShownResults:
    return shown()._replace(weights=weights)


def weights_of(pairs: Pairs) -> list[tuple[tuple[int, int], float]]:
    assert pairs.weights is not None
    keys = zip(pairs.search_rows.tolist(), pairs.document_rows.tolist(), strict=True)
    return sorted(zip(keys, pairs.weights.tolist(), strict=True))


def test_a_pair_has_the_weight_of_its_action_and_the_mean_is_1() -> None:
    pairs, _ = select_pairs(weighted(), NONE, Positives(), "pair", 0)
    expected = {(0, 1): 5, (1, 2): 1, (2, 2): 3, (4, 3): 1, (5, 5): 1}
    mean = sum(expected.values()) / 5
    assert weights_of(pairs) == [(key, pytest.approx(weight / mean)) for key, weight in sorted(expected.items())]


def test_a_click_without_weight_is_known_and_no_pair() -> None:
    """As where purchases alone are positives: what was clicked is then no negative of the same query and searcher."""
    only_bought = weighted(np.where(WEIGHTS == 5, WEIGHTS, 0).astype(np.float32))
    pairs, known_positives = select_pairs(only_bought, NONE, Positives(), "pair", 0)
    assert pairs_of(pairs) == [(0, 1)]
    assert known_of(pairs, known_positives) == [{1, 2}]
    assert not_clicked_of(pairs) == [[3]]
    assert pairs.weights is None  # all are equal
    assert pairs.pairs_per_epoch == 5  # as many steps as any other arm takes


@pytest.mark.parametrize("weight", [1, 0.3, 7])
def test_equal_weights_are_none(weight: float) -> None:
    given = (np.float32(weight) * shown().clicked).astype(np.float32)
    same, plain = (select_pairs(log, NONE, Positives(), "pair", 0)[0] for log in (weighted(given), shown()))
    assert same.weights is None
    for name in Pairs._fields:
        assert np.array_equal(getattr(same, name), getattr(plain, name)), name


def test_a_shown_result_has_the_least_weight() -> None:
    pairs, _ = select_pairs(weighted(WEIGHTS * 2), NONE, Positives(source="impressions"), "pair", 0)
    raw = {(search, document): 2.0 for search, document, *_ in LOG} | {(0, 1): 10.0, (2, 2): 6.0}
    mean = sum(raw.values()) / len(raw)
    assert weights_of(pairs) == [(key, pytest.approx(weight / mean)) for key, weight in sorted(raw.items())]


def test_hard_positives_have_the_weight_of_what_followed_and_ratings_have_1() -> None:
    failed = FAILED._replace(weights=np.array([5, 3], np.float32))
    pairs, _ = select_pairs(weighted(), failed, Positives(hard_share=0.4), "pair", 0, RATED)
    raw = {(0, 1): 5, (1, 2): 1, (2, 2): 3, (4, 3): 1, (5, 5): 1, (3, 6): 5, (6, 1): 3}
    mean = sum(raw.values()) / len(raw)
    assert pairs.weights is not None
    found = [
        (search, document, pytest.approx(weight))
        for search, document, weight in zip(pairs.search_rows, pairs.document_rows, pairs.weights, strict=True)
    ]
    assert found[:7] == [(*key, weight / mean) for key, weight in raw.items()]
    assert found[7:] == [(0, 4, 1), (3, 6, 1)]  # rated good


def test_hard_positives_are_of_the_actions_that_make_positives() -> None:
    failed = FAILED._replace(weights=np.array([0, 3], np.float32))  # what followed the first has another action
    pairs, _ = select_pairs(weighted(), failed, Positives(source="none", hard_share=0.2), "pair", 0)
    assert pairs.document_rows.tolist() == [1]
    with pytest.raises(InputError, match="only 1 failed"):
        select_pairs(weighted(), failed, Positives(source="none", hard_share=0.4), "pair", 0)
    everything, _ = select_pairs(weighted(), FAILED, Positives(source="none", hard_share=0.4), "pair", 0)
    assert sorted(everything.document_rows.tolist()) == [1, 6]
