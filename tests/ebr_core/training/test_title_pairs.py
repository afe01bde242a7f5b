"""Titles as queries: their pairs, their known positives, their share of an epoch, and what a tower learns from them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.scratch import IN_RAM
from ebr_core.text.ngram_bags import Bags, take
from ebr_core.towers.tower_inputs import Inputs, VectorGroup, bag_group
from ebr_core.training.arm_config import Arm
from ebr_core.training.batch_inputs import BatchRows, batch_inputs
from ebr_core.training.batches import NegativeSource, batches
from ebr_core.training.loss_config import Softmax
from ebr_core.training.pair_config import NegativeMix, Positives
from ebr_core.training.positives import select_pairs
from ebr_core.training.title_pairs import TitlePairs, add_titles, epoch_orders, first_round, mix_frequencies
from tests.ebr_core.training.test_train_loop import NONE, Planted, arm_of, changes, planted, trained, with_columns


def titles_of(world: Planted, documents: list[int], groups: list[int]) -> TitlePairs:
    """The titles of some documents: the n-grams of the documents themselves."""
    text, rows = world.corpus.inputs.text, np.array(documents, np.int32)
    bags = take(text.bags, text.at[world.corpus.inputs.searches + rows])
    return TitlePairs(rows, np.array(groups, np.int32), lambda positions, _: take(bags, positions))


@pytest.mark.parametrize("mask", ["pair", "query", "document"])
def test_documents_with_the_same_title_are_no_negatives(mask: str) -> None:
    world = planted()
    pairs, known = select_pairs(world.shown, NONE, Positives(), mask, 0)
    titles = titles_of(world, [1, 4, 7, 9], [0, 1, 0, 2])
    count = len(pairs.search_rows)
    mined = np.full((count, 2), 3, np.int32)
    source = NegativeSource(world.corpus.trainable, world.corpus.clicks, mined)
    all_pairs, all_known, source = add_titles(pairs, known, source, titles, mask, IN_RAM)
    for field in ("search_rows", "document_rows", "groups", "shown_from", "shown_to"):
        np.testing.assert_array_equal(getattr(all_pairs, field)[:count], getattr(pairs, field))
    assert all_pairs.search_rows[count:].tolist() == [-1, -2, -3, -4]
    assert all_pairs.document_rows[count:].tolist() == [1, 4, 7, 9]
    assert (source.mined[:count] == 3).all()
    assert (source.mined[count:] == -1).all()
    mix = NegativeMix(random=60, in_batch="all", impressions=2, offline_hard=1)
    order = np.array([count, count + 1, count + 2, 0], np.int32)
    batch = next(batches(all_pairs, all_known, source, mix, mask, 4, order, np.random.default_rng(0)))
    columns = np.concatenate([batch.document_rows, batch.pool])
    same = {1: {1}, 4: {4}, 7: {7}} if mask == "document" else {1: {1, 7}, 4: {4}, 7: {1, 7}}
    for i, document in enumerate((1, 4, 7)):
        expected = [column not in same[document] for column in columns]
        expected[i] = False
        assert batch.allowed[i].tolist() == expected
    assert not batch.pair_negative_mask[:3].any()
    assert batch.pair_negative_mask[3].any()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.floats(0, 1), st.integers(0, 1000))
def test_an_epoch_keeps_its_number_of_pairs(pairs: int, titles: int, size: int, share: float, seed: int) -> None:
    orders = epoch_orders(pairs, titles, size, share, None, np.random.default_rng(seed))
    drawn = list(islice(orders, 5))
    assert all(len(order) == size and (order >= pairs).sum() == round(share * size) for order in drawn)
    for low, high in ((0, pairs), (pairs, pairs + titles)):
        rounds = [row for order in drawn for row in order if low <= row < high]
        for first in range(0, len(rounds) - (high - low) + 1, high - low):
            assert sorted(rounds[first : first + high - low]) == list(range(low, high))


@settings(max_examples=60, deadline=None)
@given(st.integers(200, 3_000), st.integers(200, 3_000), st.sampled_from([0.1, 0.5]), st.integers(0, 1000))
def test_pairs_of_the_first_round_are_drawn_once(pairs: int, titles: int, share: float, seed: int) -> None:
    documents = np.arange(titles, dtype=np.int32)
    queries = Bags(np.zeros(titles + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    count = first_round(pairs, TitlePairs(documents, documents, lambda *_: queries), share)
    orders = epoch_orders(pairs, titles, 2 * pairs, share, None, np.random.default_rng(seed))
    drawn = np.concatenate(list(islice(orders, 2)))[:count]
    # Titles lie at random places, so a few come again: six standard deviations of their number at most.
    assert count - len(np.unique(drawn)) <= 6 * np.sqrt(count * share * (1 - share))
    assert first_round(pairs, None, 0) == pairs


def test_weights_of_groups_do_not_learn_from_titles_that_come_again() -> None:
    world, mix = planted(), NegativeMix(random=10)
    titles = titles_of(world, list(range(48)), list(range(48)))
    world = world._replace(corpus=world.corpus._replace(titles=titles))
    world = with_columns(world, column=np.arange(world.corpus.inputs.rows) % 3)
    updates = {"loss": Softmax(), "positives": Positives(titles=0.5)}  # the gradient of this loss is never zero
    batches_, _ = changes(world, arm_of(mix, epochs=2).model_copy(update=updates), 144, None)
    for batch in batches_:
        assert batch.weights == (batch.pairs_before < 48 / 0.5 < 144)
    assert {batch.weights for batch in batches_} == {True, False}


def test_without_titles_epochs_are_as_before() -> None:
    with_none, without = (
        list(islice(epoch_orders(7, titles, 5, 0, None, np.random.default_rng(1)), 4)) for titles in (0, 3)
    )
    np.testing.assert_array_equal(with_none, without)


def test_the_frequencies_of_positives() -> None:
    titles = TitlePairs(
        np.array([0, 2], np.int32),
        np.array([0, 1], np.int32),
        lambda *_: Bags(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)),
    )
    assert mix_frequencies(np.array([0.5, 0.5, 0]), titles, 0.2).tolist() == pytest.approx([0.5, 0.4, 0.1])


def test_a_title_has_its_text_alone() -> None:
    words = Bags(np.arange(6), np.arange(5, dtype=np.int32), np.ones(5, np.float32))
    place = bag_group(take(words, np.arange(2, dtype=np.int32)), take(words, np.arange(3, dtype=np.int32)), 5, True)
    vectors = VectorGroup(np.eye(5, dtype=np.float32), np.arange(5, dtype=np.int32))
    inputs = Inputs({"text": place, "place": place, "graph": vectors}, 2, 3)
    rows = BatchRows(*(np.array(part, np.int32) for part in ([1, -3, 0, -1], [1, -3, 0, -1], [2, 2, 1, 0, 0])))
    made = batch_inputs(inputs, rows, None, take(words, np.array([4, 3], np.int32)))
    assert (made.searches, made.documents) == (4, 5)

    def ids(name: str) -> list[list[int]]:
        group = made.groups[name]
        assert not isinstance(group, VectorGroup)
        return [group.bags.ids[group.bags.offsets[i] : group.bags.offsets[i + 1]].tolist() for i in group.at]

    assert ids("text") == [[1], [4], [0], [3], [2], [2], [1], [0], [0]]
    assert ids("place") == [[1], [], [0], [], [2], [2], [1], [0], [0]]
    graph = made.groups["graph"]
    assert isinstance(graph, VectorGroup)
    assert graph.at.tolist() == [1, -1, 0, -1, 4, 4, 3, 2, 2]


def test_titles_teach_documents_that_nobody_clicked() -> None:
    """Queries and documents share words, and no click leads to the documents with odd rows."""
    names = [f"n{row} m{row}" for row in range(48)]
    world = planted(titles=names)
    shown = world.shown
    even = shown.document_rows % 2 == 0
    shown = shown._replace(**{name: values[even] for name, values in shown._asdict().items() if values is not None})
    separate = planted(titles=names, shared=False)
    corpus = separate.corpus._replace(titles=_queries_over(separate, names))

    def cosine(share: float) -> float:
        arm = arm_of(NegativeMix(random=20)).model_copy(update={"positives": Positives(titles=share)})
        arm = arm.model_copy(update={"towers": arm.towers.model_copy(update={"shared": False})})
        used = corpus if share else corpus._replace(titles=None)
        runs = [trained(separate._replace(corpus=used, shown=shown), arm)[1] for _ in range(2)]
        np.testing.assert_array_equal(runs[0].table, runs[1].table)
        odd = np.arange(1, 48, 2, dtype=np.int32)
        assert corpus.titles is not None
        inputs = batch_inputs(corpus.inputs, BatchRows(-1 - odd, -1 - odd, odd), None, corpus.titles.queries(odd, 0))
        vectors = runs[0].over(inputs).forward(np.arange(2 * len(odd), dtype=np.int32)).vectors
        return float((vectors[: len(odd)] * vectors[len(odd) :]).sum(1).mean())

    assert cosine(0) < 0.2 < 0.5 < cosine(0.5)


def _queries_over(world: Planted, names: list[str]) -> TitlePairs:
    """The titles as queries of separate towers: the documents' n-grams without their offset."""
    text = world.corpus.inputs.text
    rows = np.arange(len(names), dtype=np.int32)
    bags = take(text.bags, text.at[world.corpus.inputs.searches + rows])
    unshifted = Bags(bags.offsets, bags.ids - np.int32(text.query_rows), bags.weights)
    return TitlePairs(rows, rows, lambda positions, _: take(unshifted, positions))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"towers": {"query_vectors": 2}}, "positives.titles and towers.query_vectors"),
        ({"negatives": {"random": 0, "impressions": 4}}, "positives.titles needs negatives that a title has"),
    ],
)
def test_what_does_not_go_with_titles(settings_: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arm.model_validate({"positives": {"titles": 0.2}, **settings_})
