"""The weights of pairs on their way into a batch, a step and a whole training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_train_loop import CLUSTERS, EACH, NONE, Planted, arm_of, planted, trained

from ebr_core.arrays import Float32
from ebr_core.scratch import IN_RAM
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.ngram_tower import new_ngram_tower
from ebr_core.towers.tower_inputs import with_copies
from ebr_core.training.batches import NegativeSource, batches
from ebr_core.training.loss_config import Softmax, Triplet
from ebr_core.training.pair_config import NegativeMix, Positives, TypoCopies
from ebr_core.training.positives import KnownPositives, Pairs, select_pairs
from ebr_core.training.title_pairs import TitlePairs, add_title_pairs
from ebr_core.training.train_step import train_step
from ebr_core.training.training_corpus import MisspeltCopies


def weighted(world: Planted, weights: Float32) -> tuple[Pairs, KnownPositives]:
    shown = world.shown._replace(weights=(weights * world.shown.clicked).astype(np.float32))
    return select_pairs(shown, NONE._replace(weights=np.zeros(0, np.float32)), Positives(), "pair", 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 50))
def test_a_batch_has_the_weights_of_its_pairs(seed: int, size: int) -> None:
    world, rng = planted(), np.random.default_rng(seed)
    pairs, known = weighted(world, rng.choice([1.0, 3.0, 5.0], len(world.shown.clicked)))
    assert pairs.weights is not None
    weight_of = {
        (int(search), int(document)): weight
        for search, document, weight in zip(pairs.search_rows, pairs.document_rows, pairs.weights, strict=True)
    }
    source = NegativeSource(world.corpus.trainable, world.corpus.clicks, np.zeros((len(pairs.groups), 0), np.int32))
    order = rng.permutation(len(pairs.groups)).astype(np.int32)
    for batch in batches(pairs, known, source, NegativeMix(random=3), "pair", size, order, rng):
        assert batch.weights is not None
        assert batch.weights.tolist() == [
            weight_of[pair] for pair in zip(batch.search_rows.tolist(), batch.document_rows.tolist(), strict=True)
        ]


def test_titles_have_weight_1() -> None:
    world = planted()
    pairs, known = weighted(world, np.arange(1, 1 + len(world.shown.clicked), dtype=np.float64))
    titles = TitlePairs(np.array([4, 7], np.int32), np.array([0, 1], np.int32), lambda *_: pytest.fail("not read"))
    both, _ = add_title_pairs(pairs, known, titles, "pair", IN_RAM)
    assert both.weights is not None
    assert pairs.weights is not None
    assert both.weights.tolist() == [*pairs.weights.tolist(), 1, 1]
    plain, _ = add_title_pairs(pairs._replace(weights=None), known, titles, "pair", IN_RAM)
    assert plain.weights is None


class Recording:
    """A tower that keeps the gradients that it is given and learns nothing."""

    def __init__(self, tower: Any) -> None:
        self.tower, self.gradients = tower, list[Float32]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tower, name)

    def step(self, forward: Any, by_vectors: Float32, rate: float) -> None:
        self.gradients.append(by_vectors.copy())


@pytest.mark.parametrize("loss", [Softmax(), Triplet(margin=1)], ids=["softmax", "triplet"])
def test_teaching_has_the_weight_of_its_pair(loss: Softmax | Triplet) -> None:
    """All queries are misspelt. The gradients of their vectors are those without weights, times the weights."""
    world, mix = planted(), NegativeMix(random=10)
    queries = np.arange(CLUSTERS * EACH, dtype=np.int32)
    copies = Bags(np.arange(len(queries) + 1), queries, np.ones(len(queries), np.float32))
    inputs, first = with_copies(world.corpus.inputs, [copies], queries, queries)
    corpus = world.corpus._replace(inputs=inputs, copies=MisspeltCopies(first, 1, queries))
    arm = arm_of(mix).model_copy(update={"typos": TypoCopies(share=1, teaching=2), "loss": loss})
    pairs, known = weighted(world, np.ones(len(world.shown.clicked)))
    source = NegativeSource(corpus.trainable, corpus.clicks, np.zeros((len(pairs.groups), 0), np.int32))
    order, rng = np.arange(20, dtype=np.int32), np.random.default_rng(1)
    (batch,) = batches(pairs, known, source, mix, "pair", 20, order, rng)
    tower = Recording(new_ngram_tower(inputs, arm.towers, False, np.random.default_rng(2)))
    weights = np.linspace(0.5, 4, 20).astype(np.float32)
    for given_weights in (None, weights):
        given_batch = batch._replace(weights=given_weights)
        arguments = corpus, given_batch, arm, tower, None, np.zeros((0, 16), np.float32), np.random.default_rng(3)
        train_step(*arguments, "cpu")  # type: ignore[arg-type]
    plain, weighed = tower.gradients
    assert np.abs(plain[:20]).max() > 0.01
    np.testing.assert_allclose(weighed[:20], weights[:, None] * plain[:20], rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [Softmax(), Triplet()], ids=["softmax", "triplet"])
def test_equal_weights_train_the_same_towers(loss: Softmax | Triplet) -> None:
    world = planted()
    arm = arm_of(NegativeMix(random=5, in_batch="all"), epochs=2).model_copy(update={"loss": loss})
    shown = world.shown._replace(weights=world.shown.clicked.astype(np.float32) * 3)
    runs = [trained(world._replace(shown=log), arm) for log in (world.shown, shown)]
    assert runs[0][0] == runs[1][0]
    np.testing.assert_equal(runs[0][1].state(), runs[1][1].state())


def test_heavy_pairs_come_nearer_than_light_ones() -> None:
    """Each query has clicks on documents of even and of odd rows; whichever weigh more are learnt better."""
    world = planted()
    pairs, _ = select_pairs(world.shown, NONE, Positives(), "pair", 0)
    is_even = pairs.document_rows % 2 == 0
    arm = arm_of(NegativeMix(random=0, in_batch="all"), epochs=4).model_copy(update={"loss": Softmax(temperature=0.2)})
    gaps = []
    for heavy in (0, 1):
        weights = np.where(world.shown.document_rows % 2 == heavy, 20.0, 1.0) * world.shown.clicked
        _, tower, _ = trained(world._replace(shown=world.shown._replace(weights=weights.astype(np.float32))), arm)
        queries = tower.encode(pairs.search_rows)
        documents = tower.encode(world.corpus.inputs.rows_of(pairs.document_rows))
        cosines = torch.from_numpy((queries.reshape(documents.shape) * documents).sum(1))
        gaps.append(float(cosines[is_even].mean() - cosines[~is_even].mean()))
    assert gaps[0] > gaps[1] + 0.05
