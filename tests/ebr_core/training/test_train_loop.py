"""Training on planted clusters, for which the right answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa
import pytest

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.measure.metrics import Targets, hits, recall_at_k
from ebr_core.parallel import use_threads
from ebr_core.search.nearest import search_exact
from ebr_core.text.ngram_bags import Bags, fit_vocabulary, keep_known
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.fusion import Additive
from ebr_core.towers.ngram_tower import NgramTower, new_ngram_tower, restore_ngram_tower
from ebr_core.towers.tower import copied_state, query_vectors
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import BagGroup, text_inputs, with_copies, with_views
from ebr_core.training.arm_config import Arm, TextFeatures, Training, training_end
from ebr_core.training.batches import NegativeSource
from ebr_core.training.loss_config import Softmax, Triplet
from ebr_core.training.pair_config import Mining, NegativeMix, TypoCopies
from ebr_core.training.positives import RecoveredPairs, ShownResults, select_pairs
from ebr_core.training.train_loop import Epoch, Start, _mix_of, log_sampling_probabilities, mine_pairs, train
from ebr_core.training.training_corpus import Corpus, MisspeltCopies

CLUSTERS = 8
EACH = 6  # documents, and queries, per cluster
FEATURES = TextFeatures(char_ngrams=(), word_ngrams=(1,), buckets=4096)


NONE = RecoveredPairs(*(np.zeros(0, np.int32) for _ in RecoveredPairs._fields))


class Planted(NamedTuple):
    corpus: Corpus
    shown: ShownResults
    recall: Callable[[NgramTower], float]


def planted(seed: int = 0, titles: list[str] | None = None, shared: bool = True) -> Planted:
    """Queries and documents of a cluster use different words: an untrained model cannot know which belong together."""
    rng = np.random.default_rng(seed)
    queries = [f"q{c}a{rng.integers(3)} q{c}b{rng.integers(3)}" for c in range(CLUSTERS) for _ in range(EACH)]
    documents = titles or [
        f"d{c}a{rng.integers(3)} d{c}b{rng.integers(3)}" for c in range(CLUSTERS) for _ in range(EACH)
    ]
    query_bags, document_bags = (hash_texts(pa.array(side), FEATURES) for side in (queries, documents))
    vocabulary = fit_vocabulary([query_bags, document_bags], FEATURES.buckets)
    table_rows = int(vocabulary.max()) + 1
    n, query_of = len(documents), np.arange(len(queries), dtype=np.int32)
    sides = keep_known(query_bags, vocabulary), keep_known(document_bags, vocabulary)
    inputs = text_inputs(*sides, table_rows, shared, query_of)
    no_clicks = np.zeros(n, np.int64)
    corpus = Corpus(inputs, np.arange(n, dtype=np.int32), no_clicks)
    rows = []
    for search in range(len(queries)):
        clicked = search // EACH * EACH + rng.choice(EACH, 3, replace=False)
        unrelated = rng.choice(n, 3, replace=False)
        rows += [(search, int(d), True) for d in clicked]
        rows += [(search, int(d), False) for d in unrelated if d not in clicked]
    rows.sort()
    search_rows, document_rows, clicks = (np.array(column) for column in zip(*rows, strict=True))
    searches = search_rows.astype(np.int32)
    shown = ShownResults(
        searches, document_rows.astype(np.int32), clicks.astype(bool), searches, np.zeros_like(searches)
    )
    query_rows = np.arange(len(queries))
    targets = Targets(  # every query wants all documents of its cluster
        np.arange(len(queries) + 1, dtype=np.int64) * EACH,
        (query_rows[:, None] // EACH * EACH + np.arange(EACH)).ravel().astype(np.int32),
    )

    def recall(tower: NgramTower) -> float:
        vectors = tower.over(inputs).forward(np.arange(len(queries) + n, dtype=np.int32)).vectors
        rows, _ = search_exact(vectors[len(queries) :], vectors[: len(queries)], EACH)
        return float(recall_at_k(hits(rows, targets), targets, EACH).mean())

    return Planted(corpus, shown, recall)


def arm_of(mix: NegativeMix, **training: float) -> Arm:
    settings = {"batch_size": 32, "epochs": 8, "patience": 8} | training
    return Arm(
        negatives=mix, text=FEATURES, towers=NgramTowerConfig(dimensions=16), training=Training.model_validate(settings)
    )


def trained(world: Planted, arm: Arm, seed: int = 0) -> tuple[list[Epoch], NgramTower, NgramTower]:
    """(epochs, the towers after the last step, the best ones)."""
    use_threads(1)
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, seed)
    epochs: list[Epoch] = []
    for progress, tower in train(world.corpus, pairs, known_positives, arm, seed, world.recall):
        if progress.epoch:
            epochs.append(progress.epoch)
        if progress.best:
            best = restore_ngram_tower(tower.config, copied_state(tower), list(tower.groups))
    return epochs, tower, best


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("loss", [Triplet(), Softmax()], ids=["triplet", "softmax"])
@pytest.mark.parametrize(
    "mix",
    [NegativeMix(random=10), NegativeMix(random=0, in_batch="all"), NegativeMix(random=5, impressions=1)],
    ids=str,
)
def test_training_finds_the_clusters_that_an_untrained_model_cannot(
    mix: NegativeMix, loss: Triplet | Softmax, shared: bool
) -> None:
    world = planted(shared=shared)
    rng = np.random.default_rng(1)
    untrained = [
        world.recall(new_ngram_tower(world.corpus.inputs, NgramTowerConfig(dimensions=16), False, rng))
        for _ in range(20)
    ]
    arm = arm_of(mix).model_copy(update={"loss": loss, "mask": "query"})
    epochs, tower, best = trained(world, arm)
    assert epochs[-1].validation_recall > max(untrained) + 5 * np.std(untrained)
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].positive_cosine > epochs[-1].negative_cosine
    assert world.recall(tower) == epochs[-1].validation_recall
    assert world.recall(best) == max(epoch.validation_recall for epoch in epochs)


def with_columns(world: Planted, **value_of: Int32) -> Planted:
    """The same world, in which each row also has a value of each column."""
    inputs = world.corpus.inputs
    groups = {}
    for name, values in value_of.items():
        count = int(values.max()) + 1
        bags = Bags(np.arange(count + 1), np.arange(count, dtype=np.int32), np.ones(count, np.float32))
        groups[name] = BagGroup(bags, values.astype(np.int32), count)
    return world._replace(corpus=world.corpus._replace(inputs=inputs._replace(groups=inputs.groups | groups)))


class Change(NamedTuple):
    """What a batch changed."""

    pairs_before: int
    weights: bool  # of the groups
    vectors: bool


def changes(world: Planted, arm: Arm, pairs_per_epoch: int, start: Start | None) -> tuple[list[Change], NgramTower]:
    """(what each batch but the first changed, the tower afterwards)."""
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, 0)
    pairs, result, before = pairs._replace(pairs_per_epoch=pairs_per_epoch), [], 0
    weights, vectors = np.empty(0), np.empty(0)
    for progress, tower in train(world.corpus, pairs, known_positives, arm, 0, None, start):
        assert isinstance(tower.fusion, Additive)
        if progress.epoch is None:
            moved = not np.array_equal(tower.fusion.logs, weights), not np.array_equal(tower.table, vectors)
            result.append(Change(before, *moved))
            before = progress.pairs
        weights, vectors = tower.fusion.logs.copy(), tower.table.copy()
    return result[1:], tower


@pytest.mark.parametrize("per_epoch", [60, 144, 200])
@pytest.mark.parametrize("mix", [NegativeMix(random=10), NegativeMix(random=0, in_batch="all")], ids=str)
def test_weights_of_groups_learn_from_pairs_while_they_are_new_to_the_tables(mix: NegativeMix, per_epoch: int) -> None:
    world, arm = planted(), arm_of(mix, epochs=4).model_copy(update={"loss": Softmax()})  # its gradient is never zero
    world = with_columns(world, column=np.arange(world.corpus.inputs.rows) % 3)
    batches, tower = changes(world, arm, per_epoch, None)
    assert {batch.weights for batch in batches} == {True, False}
    for batch in batches:
        assert batch.weights == (batch.pairs_before < 144)  # the pairs of this world
        assert batch.vectors
    batches, _ = changes(world, arm, per_epoch, Start(tower))  # its tables know the pairs
    assert [batch[1:] for batch in batches] == [(False, True)] * len(batches)


@pytest.mark.parametrize("loss", [Triplet(), Softmax()], ids=["triplet", "softmax"])
def test_a_column_that_carries_the_answer_outgrows_one_that_carries_nothing(loss: Triplet | Softmax) -> None:
    world, rng = planted(), np.random.default_rng(2)
    rows = world.corpus.inputs.rows
    world = with_columns(world, answer=np.arange(rows) // EACH % CLUSTERS, noise=rng.integers(3, size=rows))
    towers = NgramTowerConfig(dimensions=64)
    arm = arm_of(NegativeMix(random=10), epochs=30, patience=30)
    arm = arm.model_copy(update={"loss": loss, "mask": "query", "towers": towers})
    _, tower, _ = trained(world, arm)
    weights = tower.weights()
    for side in ("query", "document"):
        start = 1 / (2 + 1 / arm.towers.start_weight)  # the share of a group before training
        assert weights[f"{side}.answer"] > max(start, weights[f"{side}.noise"])


def test_a_seed_fixes_every_byte_and_another_seed_changes_them() -> None:
    world, arm = planted(), arm_of(NegativeMix(random=5, impressions=1, in_batch=2, in_batch_hard=1), epochs=2)
    first, second, other_seed = trained(world, arm, 1), trained(world, arm, 1), trained(world, arm, 2)
    assert first[1].table.tobytes() == second[1].table.tobytes()
    assert first[0] == second[0]
    assert first[1].table.tobytes() != other_seed[1].table.tobytes()


def test_progress_counts_pairs_and_reports_each_epoch() -> None:
    world, arm = planted(), arm_of(NegativeMix(random=5), epochs=2, batch_size=50)
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, 0)
    p = len(pairs.search_rows)
    reports = [progress for progress, _ in train(world.corpus, pairs, known_positives, arm, 0, world.recall)]
    assert [progress.pairs for progress in reports] == [
        done_before + done_in_epoch for done_before in (0, p) for done_in_epoch in [*range(50, p, 50), p, p]
    ]
    ends = [progress for progress in reports if progress.epoch]
    assert [progress.epoch.epoch for progress in ends if progress.epoch] == [1, 2]
    assert ends[0].best


@pytest.mark.parametrize(
    ("recalls", "patience", "epochs", "best", "end"),
    [
        ([0.1, 0.2, 0.2, 0.1, 0.3], 2, 4, 2, "patience"),  # an equal recall is no better
        ([0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.1], 3, 7, 4, "patience"),  # with the last epoch of the cap
        ([0.1, 0.2, 0.1, 0.3, 0.2, 0.1], 3, 6, 4, "cap"),
        ([0.0, 0.0, 0.0], 1, 2, 1, "patience"),
        ([0.1, 0.2, 0.3], 1, 3, 3, "cap"),
        ([0.3, 0.2, 0.1], None, 3, 1, "exempt"),
    ],
)
def test_it_stops_when_recall_has_not_risen_for_patience_epochs(
    recalls: list[float], patience: int | None, epochs: int, best: int, end: str
) -> None:
    world = planted()
    next_recall = iter(recalls)
    world = world._replace(recall=lambda _: next(next_recall))
    arm = arm_of(NegativeMix(random=3), epochs=len(recalls), patience=patience)
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, 0)
    ends = [
        progress for progress, _ in train(world.corpus, pairs, known_positives, arm, 0, world.recall) if progress.epoch
    ]
    assert len(ends) == epochs
    assert max(number for number, progress in enumerate(ends, 1) if progress.best) == best
    assert training_end(recalls[:epochs], arm.training) == end


def test_identical_documents_are_a_collapse() -> None:
    world = planted(titles=["the same words"] * (CLUSTERS * EACH))
    with pytest.raises(InputError, match=r"epoch 1: collapse.*lower training\.learning_rate"):
        trained(world, arm_of(NegativeMix(random=5)))


def test_a_loss_that_is_not_a_number_is_an_error() -> None:
    arm = arm_of(NegativeMix(random=5)).model_copy(update={"loss": Softmax.model_construct(temperature=1e-45)})
    with pytest.raises(InputError, match="epoch 1: the loss is not a number"):
        trained(planted(), arm)


def test_a_validation_that_measures_nothing_is_an_error() -> None:
    """The mean over no searches is NaN, which no epoch beats: without the error, no table would ever be saved."""
    world = planted()._replace(recall=lambda _: float("nan"))
    with pytest.raises(InputError, match="epoch 1: validation recall is not a number"):
        trained(world, arm_of(NegativeMix(random=5)))


def test_not_clicked_impressions_that_do_not_exist_are_an_error() -> None:
    world = planted()
    shown = ShownResults(*(column[world.shown.clicked] for column in world.shown if column is not None))
    with pytest.raises(InputError, match=r"negatives\.impressions"):
        trained(world._replace(shown=shown), arm_of(NegativeMix(random=0, impressions=1)))


def test_more_threads_than_the_machine_has_are_an_error() -> None:
    with pytest.raises(InputError, match="threads: 100000"):
        use_threads(100_000)
    use_threads(1)
    assert numba.get_num_threads() == 1


def test_an_arm_that_starts_from_another_goes_on_where_it_stopped() -> None:
    """An arm that starts from a trained one, with the optimiser's state, does not fall back to an untrained recall."""
    world, arm = planted(), arm_of(NegativeMix(random=10), epochs=6)
    _, tower, _ = trained(world, arm)
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, 0)
    recall_before = world.recall(tower)
    short_arm = arm_of(NegativeMix(random=10), epochs=1, learning_rate=1e-6)
    end = [
        progress
        for progress, _ in train(world.corpus, pairs, known_positives, short_arm, 0, world.recall, Start(tower))
        if progress.epoch
    ]
    assert end[0].epoch is not None
    assert end[0].epoch.validation_recall == pytest.approx(recall_before, abs=0.02)


def test_offline_hard_negatives_are_neither_positives_nor_unknown_documents() -> None:
    world, arm = planted(), arm_of(NegativeMix(random=5))
    corpus = world.corpus._replace(trainable=np.arange(0, CLUSTERS * EACH, 2, dtype=np.int32))
    _, tower, _ = trained(world, arm)
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, 0)
    blocks = mine_pairs(tower, corpus, pairs, known_positives, Mining(window=(1, 8), keep=6), 0, 1)
    rows = np.concatenate([part.document_rows for part in blocks])
    assert len(rows) == len(pairs.search_rows)
    for pair, mined in enumerate(rows.tolist()):
        group = pairs.groups[pair]
        positives = set(
            known_positives.documents[known_positives.offsets[group] : known_positives.offsets[group + 1]].tolist()
        )
        negatives = {row for row in mined if row >= 0}
        assert negatives
        assert not negatives & positives
        assert negatives <= set(corpus.trainable.tolist())


def test_an_arm_can_mine_from_itself_and_learns_from_it() -> None:
    world = planted()
    arm = arm_of(NegativeMix(random=5)).model_copy(
        update={
            "negatives": NegativeMix(random=5, offline_hard=2),
            "remine_every": 2,
            "mining": Mining(window=(7, 20)),
            "mask": "query",
        }
    )
    epochs, _, _ = trained(world, arm)
    assert epochs[-1].validation_recall > epochs[0].validation_recall
    first, second = trained(world, arm, 3)[1], trained(world, arm, 3)[1]
    assert first.table.tobytes() == second.table.tobytes()


def test_offline_negatives_without_anything_mined_are_an_error() -> None:
    arm = arm_of(NegativeMix(random=5)).model_copy(
        update={"negatives": NegativeMix(offline_hard=1), "mine_from": "other"}
    )
    with pytest.raises(InputError, match=r"negatives\.offline_hard: nothing was mined"):
        trained(planted(), arm)


def test_a_curriculum_moves_its_counts_from_the_first_epoch_to_the_last() -> None:
    arm = arm_of(NegativeMix(random=100, in_batch_hard=0), epochs=5).model_copy(
        update={"negatives_at_end": NegativeMix(random=0, in_batch_hard=8)}
    )
    mixes = [_mix_of(arm, number) for number in range(1, 6)]
    assert [mix.random for mix in mixes] == [100, 75, 50, 25, 0]
    assert [mix.in_batch_hard for mix in mixes] == [0, 2, 4, 6, 8]


def test_the_shuffled_control_permutes_the_probabilities() -> None:
    world = planted()
    pairs, _ = select_pairs(world.shown, NONE, arm_of(NegativeMix()).positives, "pair", 0)
    mix = NegativeMix(random=5, in_batch="all")
    unmined = np.full((len(pairs.search_rows), 0), -1, np.int32)
    source = NegativeSource(world.corpus.trainable, world.corpus.clicks, unmined)

    def log_q(form: str) -> Float32:
        loss = Softmax.model_validate({"logq": 1, "logq_form": form})
        values = log_sampling_probabilities(source, pairs, arm_of(mix).model_copy(update={"loss": loss}), 0)
        assert values is not None
        return values

    plain, shuffled = log_q("plain"), log_q("shuffled")
    assert sorted(plain.tolist()) == sorted(shuffled.tolist())
    assert plain.tolist() != shuffled.tolist()
    assert log_sampling_probabilities(source, pairs, arm_of(mix), 0) is None


def test_several_query_vectors_learn_the_clusters() -> None:
    world = planted()
    arm = arm_of(NegativeMix(random=10)).model_copy(update={"towers": NgramTowerConfig(dimensions=16, query_vectors=2)})
    inputs = with_views(world.corpus.inputs, 2)
    corpus = world.corpus._replace(inputs=inputs)

    def recall(tower: NgramTower) -> float:
        queries = query_vectors(tower.over(inputs), inputs, np.arange(inputs.searches, dtype=np.int32))
        documents = tower.over(inputs).forward(inputs.rows_of(corpus.trainable)).vectors
        rows, _ = search_exact(documents, queries, EACH)
        cluster = np.arange(inputs.searches)[:, None] // EACH
        return float((rows // EACH == cluster).mean())

    epochs, tower, _ = trained(world._replace(corpus=corpus, recall=recall), arm)
    assert epochs[-1].validation_recall > 0.9
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, "pair", 0)
    with pytest.raises(InputError, match="cannot be mined from"):
        mine_pairs(tower, corpus, pairs, known_positives, Mining(window=(1, 8)), 0, 1)


def test_misspelt_copies_learn_what_their_queries_learn() -> None:
    """Copies with words of their own come near the documents of their query, and nearer with teaching."""
    world = planted()
    queries = np.arange(CLUSTERS * EACH, dtype=np.int32)
    texts = pa.array([f"typo{query}" for query in queries])
    words = hash_texts(texts, FEATURES)
    vocabulary = fit_vocabulary([words], FEATURES.buckets)
    base = world.corpus.inputs
    group = base.groups["text"]
    assert isinstance(group, BagGroup)
    word_bags = keep_known(words, vocabulary)
    copies = Bags(word_bags.offsets, word_bags.ids + np.int32(group.table_rows), word_bags.weights)
    wider = base._replace(groups={"text": group._replace(table_rows=group.table_rows + len(queries))})
    inputs, first = with_copies(wider, [copies], queries, queries)
    corpus = world.corpus._replace(inputs=inputs, copies=MisspeltCopies(first, 1, queries))
    cosines = []
    for typos in (TypoCopies(), TypoCopies(share=0.5), TypoCopies(share=0.5, teaching=5)):
        arm = arm_of(NegativeMix(random=10)).model_copy(update={"typos": typos, "mask": "query"})
        _, tower, _ = trained(world._replace(corpus=corpus), arm)
        clean, misspelt = (tower.over(inputs).forward(queries + start).vectors for start in (0, first))
        cosines.append(float((clean * misspelt).sum(1).mean()))
    assert cosines[0] < 0.2 < cosines[1] < cosines[2]


def test_without_a_validation_the_same_steps_are_taken_and_the_caller_stops() -> None:
    world, arm = planted(), arm_of(NegativeMix(random=3), epochs=4, patience=1)
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, 0)
    flat = world._replace(recall=lambda _tower: 0.5)
    for recall, epochs in ((None, 4), (flat.recall, 2)):
        ended = []
        for progress, tower in train(world.corpus, pairs, known_positives, arm, 0, recall):
            if progress.epoch:
                ended.append((progress, copied_state(tower)))
        assert len(ended) == epochs
        if recall is None:
            unmeasured = ended
            assert all(progress.best and progress.epoch.validation_recall is None for progress, _ in ended)
    for (_, state), (_, measured) in zip(unmeasured, ended, strict=False):
        np.testing.assert_equal(state, measured)
