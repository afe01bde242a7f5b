"""What a batch holds, and what it must never hold."""

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
    sampling_probabilities,
    shuffled,
)
from ebr_core.training.pair_config import NegativeMix, Positives
from ebr_core.training.positives import KnownPositives, Pairs, Recovered, Shown, select

DOCUMENTS = 12


class Log(NamedTuple):
    shown: Shown
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
    shown = Shown(
        columns[0].astype(np.int32), columns[1].astype(np.int32), columns[2].astype(bool),
        columns[3].astype(np.int32), columns[4].astype(np.int32),
    )  # fmt: skip
    return Log(shown, clicks, by_query, dict(zip(columns[0].tolist(), columns[3].tolist(), strict=True)))


NONE = Recovered(*(np.zeros(0, np.int32) for _ in Recovered._fields))


def drawn_from(
    pairs: Pairs, documents: list[int] | None = None, offline: list[list[int]] | None = None
) -> NegativeSource:
    rows = np.arange(DOCUMENTS, dtype=np.int32) if documents is None else np.array(documents, np.int32)
    mined = np.full((len(pairs.search_rows), 0), -1) if offline is None else np.array(offline)
    return NegativeSource(rows, np.bincount(pairs.document_rows, minlength=DOCUMENTS), mined.astype(np.int32))


def epoch(
    pairs: Pairs,
    known: KnownPositives,
    mix: NegativeMix,
    mask: str,
    size: int,
    seed: int,
    drawn: NegativeSource | None = None,
) -> list[Batch]:
    rng = np.random.default_rng(seed)
    order, _ = next_epoch(np.zeros(0, np.int32), len(pairs.search_rows), len(pairs.search_rows), rng)
    return list(batches(pairs, known, drawn or drawn_from(pairs), mix, mask, size, order, rng))


masks = st.sampled_from(["pair", "query", "document", "none"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), masks, st.integers(2, 9), st.integers(0, 15))
def test_exactly_the_known_positives_are_masked(seed: int, mask: str, size: int, random: int) -> None:
    log = log_of(seed)
    pairs, known = select(log.shown, NONE, Positives(), mask, seed)
    searcher_of = log.shown.searcher_rows[log.shown.clicked]  # clicks are the pairs, in order
    order = np.random.default_rng(seed).permutation(len(pairs.search_rows))
    at = 0
    for batch in epoch(pairs, known, NegativeMix(random=random, in_batch="all"), mask, size, seed):
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


def test_another_searchers_john_smith_is_a_negative_under_pair_and_not_under_query() -> None:
    """Two searchers with one query who wanted different documents teach place and friends. [paper.md §4]"""
    rows = np.arange(2, dtype=np.int32)
    shown = Shown(rows, rows, np.ones(2, bool), np.zeros(2, np.int32), rows)
    for mask, allowed in (("pair", True), ("query", False), ("document", True), ("none", True)):
        pairs, known = select(shown, NONE, Positives(), mask, 0)
        (batch,) = epoch(pairs, known, NegativeMix(random=0, in_batch="all"), mask, 2, 0)
        assert batch.allowed.tolist() == [[False, allowed], [allowed, False]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), masks, st.integers(2, 9), st.integers(1, 5))
def test_own_negatives_are_different_documents_of_the_pairs_search_that_nobody_masked(
    seed: int, mask: str, size: int, wanted: int
) -> None:
    log = log_of(seed)
    pairs, known = select(log.shown, NONE, Positives(), mask, seed)
    not_clicked = defaultdict(set)
    for search, document, clicked, query, searcher in zip(*log.shown, strict=True):
        away = {"pair": log.clicks[query, searcher], "query": log.by_query[query]}.get(mask, set())
        if not clicked and document not in away:
            not_clicked[int(search)].add(int(document))
    search_of = log.shown.search_rows[log.shown.clicked]
    order = np.random.default_rng(seed).permutation(len(pairs.search_rows))
    at = 0
    for batch in epoch(pairs, known, NegativeMix(random=0, impressions=wanted), mask, size, seed):
        for i in range(len(batch.search_rows)):
            there = not_clicked[int(search_of[order[at + i]])]
            own = batch.own[i, batch.own_counts[i]].tolist()
            assert batch.own.shape == batch.own_counts.shape == (len(batch.search_rows), wanted)
            assert len(own) == len(set(own)) == min(wanted, len(there))
            assert set(own) <= there
        at += len(batch.search_rows)


def test_own_negatives_are_drawn_evenly() -> None:
    """Searches with a click and five more results: each of those serves as a negative about as often."""
    searches, documents = np.divmod(np.arange(6 * 2000, dtype=np.int32), 6)
    zeros = np.zeros_like(documents)
    pairs, known = select(Shown(searches, documents, documents == 0, zeros, zeros), NONE, Positives(), "pair", 0)
    (batch,) = epoch(pairs, known, NegativeMix(random=0, impressions=2), "pair", 2000, 0)
    seen = Counter(batch.own.ravel().tolist())
    assert sorted(seen) == [1, 2, 3, 4, 5]
    assert all(650 < count < 950 for count in seen.values())  # 800 ± 7 deviations


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9))
def test_every_pair_comes_once_an_epoch_and_a_seed_fixes_the_batches(seed: int, size: int) -> None:
    pairs, known = select(log_of(seed).shown, NONE, Positives(source="both"), "pair", seed)
    mix = NegativeMix(random=5, impressions=1, in_batch=1)
    first, again = (epoch(pairs, known, mix, "pair", size, seed) for _ in range(2))
    assert [len(batch.search_rows) for batch in first[:-1]] == [size] * (len(first) - 1)
    there = Counter(
        (int(search), int(document))
        for batch in first
        for search, document in zip(batch.search_rows, batch.document_rows, strict=True)
    )
    assert there == Counter(zip(pairs.search_rows.tolist(), pairs.document_rows.tolist(), strict=True))
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    other_seed = epoch(pairs, known, NegativeMix(random=5), "pair", size, seed + 1)
    assert any(not np.array_equal(one.pool, other.pool) for one, other in zip(first, other_seed, strict=True))


@pytest.mark.parametrize("only", [[3], [2, 7, 9]])
def test_random_negatives_come_from_the_documents_of_training_alone(only: list[int]) -> None:
    pairs, known = select(log_of(1).shown, NONE, Positives(), "pair", 1)
    for exponent in (0, 1):
        mix = NegativeMix(random=20, popularity=exponent)
        found = epoch(pairs, known, mix, "pair", 4, 0, drawn_from(pairs, only))
        assert {row for batch in found for row in batch.pool.tolist()} == set(only)


@pytest.mark.parametrize("exponent", [0, 0.5, 1])
def test_random_negatives_come_by_popularity(exponent: float) -> None:
    pairs, known = select(log_of(1).shown, NONE, Positives(), "pair", 1)
    drawn = drawn_from(pairs)
    (batch,) = epoch(pairs, known, NegativeMix(random=60_000, popularity=exponent), "none", 100, 0, drawn)
    wanted = (1.0 + drawn.clicks) ** exponent
    share = np.bincount(batch.pool, minlength=DOCUMENTS) / 60_000
    np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.008)  # four deviations


def test_a_batch_remembers_the_positives_before_it_and_masks_those_of_its_searcher() -> None:
    log = log_of(3)
    pairs, known = select(log.shown, NONE, Positives(), "pair", 3)
    found = epoch(pairs, known, NegativeMix(random=2, memory=7, in_batch="all"), "pair", 3, 0)
    before: list[int] = []
    groups = dict(zip(pairs.search_rows.tolist(), pairs.groups.tolist(), strict=True))
    for batch in found:
        assert batch.remembered.tolist() == before[-7:]
        for i, search in enumerate(batch.search_rows.tolist()):
            group = groups[search]
            positives = set(known.documents[known.offsets[group] : known.offsets[group + 1]].tolist())
            masked = batch.allowed[i, len(batch.search_rows) + 2 :]
            assert masked.tolist() == [document not in positives for document in batch.remembered.tolist()]
        before += batch.document_rows.tolist()


def test_mined_negatives_stand_behind_the_impressions_and_belong_to_their_pair() -> None:
    log = log_of(4)
    pairs, known = select(log.shown, NONE, Positives(), "pair", 4)
    mined = [[row % DOCUMENTS, (row + 1) % DOCUMENTS, -1][: 1 + row % 3] for row in range(len(pairs.search_rows))]
    table = [[*row, *[-1] * (3 - len(row))] for row in mined]
    mix = NegativeMix(random=0, impressions=1, offline_hard=2)
    order = np.random.default_rng(0).permutation(len(pairs.search_rows))
    at = 0
    for batch in epoch(pairs, known, mix, "pair", 4, 0, drawn_from(pairs, offline=table)):
        for i in range(len(batch.search_rows)):
            there = {row for row in mined[order[at + i]] if row >= 0}
            own = batch.own[i, 1:][batch.own_counts[i, 1:]].tolist()
            assert set(own) <= there
            assert len(own) == len(set(own)) == min(2, len(there))
        at += len(batch.search_rows)


def test_rounds_of_pairs_go_on_over_epochs() -> None:
    rng, rest, seen = np.random.default_rng(0), np.zeros(0, np.int32), []
    for wanted in (3, 9, 4, 5):
        order, rest = next_epoch(rest, 7, wanted, rng)
        assert len(order) == wanted
        seen += order.tolist()
    for first in range(0, 21, 7):
        assert sorted(seen[first : first + 7]) == list(range(7))


def test_a_window_keeps_neighbours_together() -> None:
    pairs, window = 10 * BLOCK + 7, 3 * BLOCK
    order = shuffled(pairs, window, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(pairs))
    for first in range(0, pairs, window):
        together = order[first : first + window]
        assert len(np.unique(together // BLOCK)) <= 4  # the short block at the end may move the others
        assert (np.diff(together) == 1).mean() < 0.01
    assert len(np.unique(shuffled(pairs, None, np.random.default_rng(0))[:window] // BLOCK)) == 11


def test_drawing_chances_are_those_of_the_draws() -> None:
    """q of the mixture against how often each document is really drawn."""
    pairs, known = select(log_of(5).shown, NONE, Positives(), "none", 5)
    drawn, mix, size = drawn_from(pairs), NegativeMix(random=6, popularity=1, in_batch="all"), 4
    found = Counter[int]()
    for seed in range(4000):
        batch = epoch(pairs, known, mix, "none", size, seed, drawn)[0]
        found.update(batch.pool.tolist())
        found.update(batch.document_rows[1:].tolist())  # the negatives of the first pair
    q = sampling_probabilities(drawn, pairs, mix, size)
    assert q.sum() == pytest.approx(1)
    share = np.array([found[row] for row in range(DOCUMENTS)]) / sum(found.values())
    np.testing.assert_allclose(share, q, atol=0.01)
