"""What a batch holds, and what it must never hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.batches import Batch, batches
from ebr_core.config import NegativeMix, Positives
from ebr_core.positives import Known, Pairs, Shown, select

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


def epoch(pairs: Pairs, known: Known, mix: NegativeMix, mask: str, size: int, seed: int) -> list[Batch]:
    trainable = np.arange(DOCUMENTS, dtype=np.int32)
    return list(batches(pairs, known, trainable, mix, mask, size, DOCUMENTS, np.random.default_rng(seed)))


masks = st.sampled_from(["pair", "query", "document", "none"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), masks, st.integers(2, 9), st.integers(0, 15))
def test_exactly_the_known_positives_are_masked(seed: int, mask: str, size: int, random: int) -> None:
    log = log_of(seed)
    pairs, known = select(log.shown, Positives(), mask, seed)
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
        pairs, known = select(shown, Positives(), mask, 0)
        (batch,) = epoch(pairs, known, NegativeMix(random=0, in_batch="all"), mask, 2, 0)
        assert batch.allowed.tolist() == [[False, allowed], [allowed, False]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), masks, st.integers(2, 9), st.integers(1, 5))
def test_own_negatives_are_different_documents_of_the_pairs_search_that_nobody_masked(
    seed: int, mask: str, size: int, wanted: int
) -> None:
    log = log_of(seed)
    pairs, known = select(log.shown, Positives(), mask, seed)
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
    pairs, known = select(Shown(searches, documents, documents == 0, zeros, zeros), Positives(), "pair", 0)
    (batch,) = epoch(pairs, known, NegativeMix(random=0, impressions=2), "pair", 2000, 0)
    seen = Counter(batch.own.ravel().tolist())
    assert sorted(seen) == [1, 2, 3, 4, 5]
    assert all(650 < count < 950 for count in seen.values())  # 800 ± 7 deviations


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9))
def test_every_pair_comes_once_an_epoch_and_a_seed_fixes_the_batches(seed: int, size: int) -> None:
    pairs, known = select(log_of(seed).shown, Positives(source="both"), "pair", seed)
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
    pairs, known = select(log_of(1).shown, Positives(), "pair", 1)
    trainable = np.array(only, np.int32)
    drawn: set[int] = set()
    for batch in batches(
        pairs, known, trainable, NegativeMix(random=20), "pair", 4, DOCUMENTS, np.random.default_rng(0)
    ):
        drawn |= set(batch.pool.tolist())
    assert drawn == set(only)
