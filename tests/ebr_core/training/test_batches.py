"""The contents of a batch, and the documents that it must never hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.training.batches import (
    BLOCK,
    Batch,
    NegativeSource,
    batches,
    next_epoch,
    positive_frequencies,
    sampling_probabilities,
    shuffle_pairs,
)
from ebr_core.training.pair_config import NegativeMix, Positives
from ebr_core.training.positives import KnownPositives, Pairs, RecoveredPairs, ShownResults, select_pairs

DOCUMENTS = 12


class Log(NamedTuple):
    shown: ShownResults
    clicks: dict[tuple[int, int], set[int]]  # (query, searcher) → documents
    by_query: dict[int, set[int]]
    query_of: dict[int, int]


def log_of(seed: int, searches: int = 25) -> Log:
    """A random log: few queries and documents, so that they meet often."""
    rng = np.random.default_rng(seed)
    rows, clicks, by_query = [], defaultdict(set), defaultdict(set)
    for search in range(searches):
        query, searcher = int(rng.integers(4)), int(rng.integers(-1, 3))
        for document in np.sort(rng.choice(DOCUMENTS, rng.integers(1, 7), replace=False)).tolist():
            clicked = bool(rng.random() < 0.4) or (search == document == 0)
            rows.append((search, document, clicked, query, searcher))
            if clicked:
                clicks[query, searcher].add(document)
                by_query[query].add(document)
    rows.append((searches, 0, True, 0, 0))
    clicks[0, 0].add(0)
    by_query[0].add(0)
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    shown = ShownResults(
        columns[0].astype(np.int32), columns[1].astype(np.int32), columns[2].astype(bool),
        columns[3].astype(np.int32), columns[4].astype(np.int32),
    )  # fmt: skip
    return Log(shown, clicks, by_query, dict(zip(columns[0].tolist(), columns[3].tolist(), strict=True)))


NONE = RecoveredPairs(*(np.zeros(0, np.int32) for _ in RecoveredPairs._fields))


def source_of(pairs: Pairs, documents: list[int] | None = None, mined: list[list[int]] | None = None) -> NegativeSource:
    rows = np.arange(DOCUMENTS, dtype=np.int32) if documents is None else np.array(documents, np.int32)
    mined_rows = np.full((len(pairs.search_rows), 0), -1) if mined is None else np.array(mined)
    return NegativeSource(rows, np.bincount(pairs.document_rows, minlength=DOCUMENTS), mined_rows.astype(np.int32))


def epoch(
    pairs: Pairs,
    known_positives: KnownPositives,
    mix: NegativeMix,
    mask: str,
    size: int,
    seed: int,
    source: NegativeSource | None = None,
) -> list[Batch]:
    rng = np.random.default_rng(seed)
    order, _ = next_epoch(np.zeros(0, np.int32), len(pairs.search_rows), len(pairs.search_rows), rng)
    return list(batches(pairs, known_positives, source or source_of(pairs), mix, mask, size, order, rng))


masks = st.sampled_from(["pair", "query", "document", "none"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), masks, st.integers(2, 9), st.integers(0, 15))
def test_exactly_the_known_positives_are_masked(seed: int, mask: str, size: int, random: int) -> None:
    log = log_of(seed)
    pairs, known_positives = select_pairs(log.shown, NONE, Positives(), mask, seed)
    searcher_of = log.shown.searcher_rows[log.shown.clicked]  # clicks are the pairs, in order
    order = np.random.default_rng(seed).permutation(len(pairs.search_rows))
    at = 0
    for batch in epoch(pairs, known_positives, NegativeMix(random=random, in_batch="all"), mask, size, seed):
        b = len(batch.search_rows)
        assert batch.allowed.shape == (b, b + random)
        columns = [*batch.document_rows.tolist(), *batch.pool.tolist()]
        for i in range(b):
            pair = order[at + i]
            search, document = int(pairs.search_rows[pair]), int(pairs.document_rows[pair])
            query = log.query_of[search]
            assert (search, document) == (batch.search_rows[i], batch.document_rows[i])
            kept_away = {
                "none": set(),
                "document": {document},
                "query": log.by_query[query],
                "pair": log.clicks[query, int(searcher_of[pair])],
            }[mask]
            for column, shown in enumerate(columns):
                assert batch.allowed[i, column] == (column != i and shown not in kept_away)
        at += b


def test_another_searchers_click_is_a_negative_with_mask_pair_and_not_with_mask_query() -> None:
    """Two searchers with the same query and different clicks train place and friends. [paper.md §4]"""
    rows = np.arange(2, dtype=np.int32)
    shown = ShownResults(rows, rows, np.ones(2, bool), np.zeros(2, np.int32), rows)
    for mask, allowed in (("pair", True), ("query", False), ("document", True), ("none", True)):
        pairs, known_positives = select_pairs(shown, NONE, Positives(), mask, 0)
        (batch,) = epoch(pairs, known_positives, NegativeMix(random=0, in_batch="all"), mask, 2, 0)
        assert batch.allowed.tolist() == [[False, allowed], [allowed, False]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), masks, st.integers(2, 9), st.integers(1, 5))
def test_pair_negatives_are_distinct_unmasked_documents_of_the_pairs_search(
    seed: int, mask: str, size: int, count: int
) -> None:
    log = log_of(seed)
    pairs, known_positives = select_pairs(log.shown, NONE, Positives(), mask, seed)
    not_clicked = defaultdict(set)
    for search, document, clicked, query, searcher in zip(*log.shown[:5], strict=True):
        masked = {"pair": log.clicks[query, searcher], "query": log.by_query[query]}.get(mask, set())
        if not clicked and document not in masked:
            not_clicked[int(search)].add(int(document))
    search_of = log.shown.search_rows[log.shown.clicked]
    order = np.random.default_rng(seed).permutation(len(pairs.search_rows))
    at = 0
    for batch in epoch(pairs, known_positives, NegativeMix(random=0, impressions=count), mask, size, seed):
        for i in range(len(batch.search_rows)):
            candidates = not_clicked[int(search_of[order[at + i]])]
            negatives = batch.pair_negatives[i, batch.pair_negative_mask[i]].tolist()
            assert batch.pair_negatives.shape == batch.pair_negative_mask.shape == (len(batch.search_rows), count)
            assert len(negatives) == len(set(negatives)) == min(count, len(candidates))
            assert set(negatives) <= candidates
        at += len(batch.search_rows)


def test_pair_negatives_are_drawn_evenly() -> None:
    """Searches with a click and five other results: each of the five is a negative about equally often."""
    searches, documents = np.divmod(np.arange(6 * 2000, dtype=np.int32), 6)
    zeros = np.zeros_like(documents)
    pairs, known_positives = select_pairs(
        ShownResults(searches, documents, documents == 0, zeros, zeros), NONE, Positives(), "pair", 0
    )
    (batch,) = epoch(pairs, known_positives, NegativeMix(random=0, impressions=2), "pair", 2000, 0)
    counts = Counter(batch.pair_negatives.ravel().tolist())
    assert sorted(counts) == [1, 2, 3, 4, 5]
    assert all(650 < count < 950 for count in counts.values())  # 800 ± 7 deviations


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9))
def test_every_pair_comes_once_an_epoch_and_a_seed_fixes_the_batches(seed: int, size: int) -> None:
    pairs, known_positives = select_pairs(log_of(seed).shown, NONE, Positives(source="both"), "pair", seed)
    mix = NegativeMix(random=5, impressions=1, in_batch=1)
    first, second = (epoch(pairs, known_positives, mix, "pair", size, seed) for _ in range(2))
    assert [len(batch.search_rows) for batch in first[:-1]] == [size] * (len(first) - 1)
    pair_counts = Counter(
        (int(search), int(document))
        for batch in first
        for search, document in zip(batch.search_rows, batch.document_rows, strict=True)
    )
    assert pair_counts == Counter(zip(pairs.search_rows.tolist(), pairs.document_rows.tolist(), strict=True))
    for batch, other_batch in zip(first, second, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(batch, other_batch, strict=True))
    other_seed = epoch(pairs, known_positives, NegativeMix(random=5), "pair", size, seed + 1)
    assert any(
        not np.array_equal(batch.pool, other_batch.pool) for batch, other_batch in zip(first, other_seed, strict=True)
    )


@pytest.mark.parametrize("only", [[3], [2, 7, 9]])
def test_random_negatives_come_from_the_documents_of_training_alone(only: list[int]) -> None:
    pairs, known_positives = select_pairs(log_of(1).shown, NONE, Positives(), "pair", 1)
    for exponent in (0, 1):
        mix = NegativeMix(random=20, popularity=exponent)
        epoch_batches = epoch(pairs, known_positives, mix, "pair", 4, 0, source_of(pairs, only))
        assert {row for batch in epoch_batches for row in batch.pool.tolist()} == set(only)


@pytest.mark.parametrize("exponent", [0, 0.5, 1])
def test_random_negatives_come_by_popularity(exponent: float) -> None:
    pairs, known_positives = select_pairs(log_of(1).shown, NONE, Positives(), "pair", 1)
    source = source_of(pairs)
    (batch,) = epoch(pairs, known_positives, NegativeMix(random=60_000, popularity=exponent), "none", 100, 0, source)
    weights = (1.0 + source.clicks) ** exponent
    share = np.bincount(batch.pool, minlength=DOCUMENTS) / 60_000
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.008)  # four deviations


def test_a_batch_remembers_the_positives_before_it_and_masks_those_of_its_searcher() -> None:
    log = log_of(3)
    pairs, known_positives = select_pairs(log.shown, NONE, Positives(), "pair", 3)
    epoch_batches = epoch(pairs, known_positives, NegativeMix(random=2, memory=7, in_batch="all"), "pair", 3, 0)
    earlier: list[int] = []
    groups = dict(zip(pairs.search_rows.tolist(), pairs.groups.tolist(), strict=True))
    for batch in epoch_batches:
        assert batch.memory_rows.tolist() == earlier[-7:]
        for i, search in enumerate(batch.search_rows.tolist()):
            group = groups[search]
            positives = set(
                known_positives.documents[known_positives.offsets[group] : known_positives.offsets[group + 1]].tolist()
            )
            masked = batch.allowed[i, len(batch.search_rows) + 2 :]
            assert masked.tolist() == [document not in positives for document in batch.memory_rows.tolist()]
        earlier += batch.document_rows.tolist()


def test_mined_negatives_follow_the_impressions_and_belong_to_their_pair() -> None:
    log = log_of(4)
    pairs, known_positives = select_pairs(log.shown, NONE, Positives(), "pair", 4)
    mined = [[row % DOCUMENTS, (row + 1) % DOCUMENTS, -1][: 1 + row % 3] for row in range(len(pairs.search_rows))]
    table = [[*row, *[-1] * (3 - len(row))] for row in mined]
    mix = NegativeMix(random=0, impressions=1, offline_hard=2)
    order = np.random.default_rng(0).permutation(len(pairs.search_rows))
    at = 0
    for batch in epoch(pairs, known_positives, mix, "pair", 4, 0, source_of(pairs, mined=table)):
        for i in range(len(batch.search_rows)):
            candidates = {row for row in mined[order[at + i]] if row >= 0}
            negatives = batch.pair_negatives[i, 1:][batch.pair_negative_mask[i, 1:]].tolist()
            assert set(negatives) <= candidates
            assert len(negatives) == len(set(negatives)) == min(2, len(candidates))
        at += len(batch.search_rows)


def test_rounds_of_pairs_go_on_over_epochs() -> None:
    rng, remaining, drawn_pairs = np.random.default_rng(0), np.zeros(0, np.int32), []
    for count in (3, 9, 4, 5):
        order, remaining = next_epoch(remaining, 7, count, rng)
        assert len(order) == count
        drawn_pairs += order.tolist()
    for first in range(0, 21, 7):
        assert sorted(drawn_pairs[first : first + 7]) == list(range(7))


def test_a_window_keeps_neighbours_together() -> None:
    pairs, window = 10 * BLOCK + 7, 3 * BLOCK
    order = shuffle_pairs(pairs, window, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(pairs))
    for first in range(0, pairs, window):
        window_pairs = order[first : first + window]
        assert len(np.unique(window_pairs // BLOCK)) <= 4  # the short block at the end may move the others
        assert (np.diff(window_pairs) == 1).mean() < 0.01
    assert len(np.unique(shuffle_pairs(pairs, None, np.random.default_rng(0))[:window] // BLOCK)) == 11


def test_sampling_probabilities_are_the_frequencies_of_the_draws() -> None:
    """q of the mixture is compared with the frequency of each document in the draws."""
    pairs, known_positives = select_pairs(log_of(5).shown, NONE, Positives(), "none", 5)
    source, mix, size = source_of(pairs), NegativeMix(random=6, popularity=1, in_batch="all"), 4
    counts = Counter[int]()
    for seed in range(4000):
        batch = epoch(pairs, known_positives, mix, "none", size, seed, source)[0]
        counts.update(batch.pool.tolist())
        counts.update(batch.document_rows[1:].tolist())  # the negatives of the first pair
    q = sampling_probabilities(source, positive_frequencies(pairs, DOCUMENTS), mix, size)
    assert q.sum() == pytest.approx(1)
    share = np.array([counts[row] for row in range(DOCUMENTS)]) / sum(counts.values())
    np.testing.assert_allclose(share, q, atol=0.01)
