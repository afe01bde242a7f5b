"""Histories against obvious loops: only strictly earlier clicks, the newest, decayed; a pair leaves its own out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ebr_core.arrays import Int32
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.history_bags import (
    Clicks,
    Moments,
    click_bags,
    leave_out_own,
    list_bags,
    newest_of,
    own_bags,
)
from ebr_core.towers.history_config import History
from ebr_core.towers.tower_inputs import Inputs, bag_group
from ebr_core.training.batch_inputs import BatchRows, batch_inputs
from ebr_core.training.own_pairs import OwnPairs

DAY = 86_400_000_000
PEOPLE, DOCUMENTS = 3, 5


class Click(NamedTuple):
    searcher: int
    at: int
    document: int


class Moment(NamedTuple):
    searcher: int
    before: int


clicks_of = st.lists(
    st.builds(Click, st.integers(0, PEOPLE - 1), st.integers(0, 6), st.integers(0, DOCUMENTS - 1)), max_size=20
)
moments_of = st.lists(st.builds(Moment, st.integers(-1, PEOPLE - 1), st.integers(-1, 8)), min_size=1, max_size=8)


def ints(values: list[int]) -> Int32:
    return np.array(values, np.int32)


def as_lists(bags: Bags) -> list[list[tuple[int, float]]]:
    """Each bag as pairs of a document and its weight."""
    ends = zip(bags.offsets[:-1], bags.offsets[1:], strict=True)
    return [list(zip(bags.ids[a:b].tolist(), bags.weights[a:b].tolist(), strict=True)) for a, b in ends]


def as_clicks(clicks: list[Click]) -> Clicks:
    """The clicks in order of searcher and time, a unit of time being a day."""
    ordered = sorted(clicks, key=lambda click: (click.searcher, click.at))
    times = np.array([click.at * DAY for click in ordered], np.int64)
    return Clicks(ints([click.searcher for click in ordered]), times, ints([click.document for click in ordered]))


@given(clicks_of, moments_of, st.integers(1, 4), st.sampled_from([None, 0.5, 7.0]))
def test_a_history_is_the_newest_strictly_earlier_clicks(
    clicks: list[Click], moments: list[Moment], newest: int, half_life: float | None
) -> None:
    settings = History(newest=newest, half_life_days=half_life)
    wanted = Moments(ints([m.searcher for m in moments]), np.array([m.before * DAY for m in moments], np.int64))
    bags = as_lists(click_bags(as_clicks(clicks), wanted, settings))
    for moment, bag in zip(moments, bags, strict=True):
        ordered = sorted(clicks, key=lambda click: click.at)  # stable: of equal times, the order of the log
        earlier = [c for c in ordered if c.searcher == moment.searcher and c.at < moment.before][-newest:]
        weights = [1.0 if half_life is None else 0.5 ** ((moment.before - c.at) / half_life) for c in earlier]
        assert [document for document, _ in bag] == [c.document for c in earlier]
        np.testing.assert_allclose([weight for _, weight in bag], np.array(weights) / (sum(weights) or 1), rtol=1e-5)


def test_a_click_at_the_moment_itself_is_not_earlier() -> None:
    clicks = as_clicks([Click(0, 1, 4), Click(0, 2, 3)])
    bags = click_bags(clicks, Moments(ints([0, 0, 0]), np.array([1, 2, 3]) * DAY), History())
    assert [[document for document, _ in bag] for bag in as_lists(bags)] == [[], [4], [4, 3]]


def test_old_clicks_fade_but_never_vanish_as_a_whole() -> None:
    clicks = as_clicks([Click(0, 0, 1), Click(0, 4000, 2)])
    history = History(half_life_days=1)
    (bag,) = as_lists(click_bags(clicks, Moments(ints([0]), np.array([9_000_000]) * DAY), history))
    assert bag == [(1, 0.0), (2, 1.0)]


@given(st.lists(st.integers(0, 4), max_size=15), st.integers(1, 4))
def test_the_newest_of_each_owner_are_the_last(owners: list[int], newest: int) -> None:
    owners = sorted(owners)
    kept = [i for i, owner in enumerate(owners) if owners[i:].count(owner) <= newest]
    assert newest_of(ints(owners), newest).tolist() == kept


def test_documents_have_the_bag_of_their_own_row() -> None:
    assert as_lists(own_bags(ints([2, -1, 0]))) == [[(2, 1.0)], [], [(0, 1.0)]]


lists_of = st.lists(
    st.lists(st.integers(0, DOCUMENTS - 1), max_size=4, unique=True), min_size=1, max_size=4
)  # of each search


@given(lists_of, st.data(), st.booleans(), st.integers(1, 2))
def test_a_pair_does_not_read_its_own_document_in_a_list(
    lists: list[list[int]], data: st.DataObject, shared: bool, views: int
) -> None:
    known = data.draw(st.lists(st.integers(-1, DOCUMENTS - 1), min_size=DOCUMENTS, max_size=DOCUMENTS, unique=False))
    known = [row if row == document else -1 for document, row in enumerate(known)]  # own rows, or none
    owners = [search for search, listed in enumerate(lists) for _ in listed]
    searches = list_bags(ints(owners), ints([document for listed in lists for document in listed]), len(lists))
    group = bag_group(searches, own_bags(ints(known)), DOCUMENTS, shared)
    inputs = Inputs({"text": group, "listed": group}, len(lists), DOCUMENTS)
    pairs = data.draw(
        st.lists(
            st.tuples(st.integers(-1, len(lists) - 1), st.integers(0, DOCUMENTS - 1)),  # −1: a title for a query
            min_size=1,
            max_size=5,
        )
    )
    pool = [0, 1]
    rows = BatchRows(
        ints([search for search, _ in pairs]),
        ints([search for search, _ in pairs] * views),
        ints([document for _, document in pairs] + pool),
    )
    own = OwnPairs(ints([0] * len(lists)), ints([-1] * len(lists)), DOCUMENTS, None, {}, ("listed",))
    bags = batch_inputs(inputs, rows, own, None).groups["listed"]
    assert not hasattr(bags, "vectors")
    found = as_lists(bags.bags)  # type: ignore[union-attr]
    for at, (search, document) in enumerate(pairs * views):
        listed = lists[search] if search >= 0 else []
        weight = np.float32(1 / max(len(listed), 1))
        own_row = known[document]
        assert found[at] == [(other, 0.0 if other == own_row else float(weight)) for other in listed]
    shift = 0 if shared else DOCUMENTS
    for at, document in enumerate([document for _, document in pairs] + pool, views * len(pairs)):
        assert found[at] == ([] if known[document] < 0 else [(known[document] + shift, 1.0)])


def test_nothing_is_left_out_of_bags_without_pairs() -> None:
    bags = list_bags(ints([]), ints([]), 0)
    leave_out_own(bags, 0, 0, 0)
    assert len(bags) == 0


def test_a_list_has_no_times() -> None:
    with pytest.raises(ValidationError, match="half_life_days and column: groups do not go together"):
        History(column="groups", half_life_days=3)
