"""Documents' own titles as queries for them, in place of a share of the pairs, so that documents that nobody clicked
teach, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float64, Int32
from ebr_core.scratch import Array, Scratch, pieces
from ebr_core.text.ngram_bags import Bags
from ebr_core.training.batches import NegativeSource, next_epoch
from ebr_core.training.positives import KnownPositives, Pairs


class TitlePairs(NamedTuple):
    """The documents of the training window that have a title: T pairs of a title and its document."""

    documents: Int32  # (T,) in order
    groups: Int32  # (T,) from 0, the same for documents with the same title
    queries: Callable[[Int32, int], Bags]  # the bags of the titles at some positions, changed by a seed into queries


def add_titles(
    pairs: Pairs,
    known: KnownPositives,
    source: NegativeSource,
    titles: TitlePairs | None,
    mask: str,
    scratch: Scratch,
) -> tuple[Pairs, KnownPositives, NegativeSource]:
    """All that batches are made of, with the pairs of titles after the others; unchanged without titles."""
    if titles is None:
        return pairs, known, source
    mined = _add_unmined(source.mined, len(titles.documents), scratch)
    return *add_title_pairs(pairs, known, titles, mask, scratch), source._replace(mined=mined)


def title_queries(titles: TitlePairs, search_rows: Int32, rng: np.random.Generator) -> Bags:
    """The texts of the titles that stand for queries among the pairs of a batch, in order."""
    positions = (-1 - search_rows[search_rows < 0]).astype(np.int32)
    return titles.queries(positions, int(rng.integers(2**31)))


def add_title_pairs(
    pairs: Pairs, known: KnownPositives, titles: TitlePairs, mask: str, scratch: Scratch
) -> tuple[Pairs, KnownPositives]:
    """The pairs, then a pair for each title, whose search row is −1 − its position; likewise the known positives.

    The known positives of a title are all documents with that title, or with mask "document" its own document alone.
    """
    count, groups = len(titles.documents), titles.groups
    if mask == "document":
        groups = np.arange(count, dtype=np.int32)
    order = np.argsort(groups, kind="stable")
    ends = known.offsets[-1] + np.cumsum(np.bincount(groups))
    nothing_shown = np.zeros(count, np.int64)
    more_pairs = Pairs(
        _extend(pairs.search_rows, -1 - np.arange(count), scratch),
        _extend(pairs.document_rows, titles.documents, scratch),
        _extend(pairs.groups, len(known.offsets) - 1 + groups, scratch),
        _extend(pairs.shown_from, nothing_shown, scratch),
        _extend(pairs.shown_to, nothing_shown, scratch),
        pairs.not_clicked,
        pairs.pairs_per_epoch,
        None if pairs.weights is None else _extend(pairs.weights, np.ones(count), scratch),
    )
    return more_pairs, KnownPositives(
        _extend(known.offsets, ends, scratch), _extend(known.documents, titles.documents[order], scratch)
    )


def _add_unmined(mined: Int32, titles: int, scratch: Scratch) -> Int32:
    """(P + T, keep) the mined documents of each pair, none for titles."""
    pairs, keep = mined.shape
    return _extend(mined.ravel(), np.full(titles * keep, -1), scratch).reshape(pairs + titles, keep)


def _extend(values: Array, more: Array, scratch: Scratch) -> Array:
    return scratch.column(chain(pieces(values), pieces(more)), values.dtype)


def epoch_orders(
    pairs: int, titles: int, per_epoch: int, share: float, window: int | None, rng: np.random.Generator
) -> Iterator[Int32]:
    """The pairs of each epoch in order, `per_epoch` of them: a share of titles (rows from `pairs` on), at random among
    the others. Both are drawn in rounds, so that no pair and no title is drawn twice before each was drawn once.
    """
    count = round(share * per_epoch)
    remaining, remaining_titles = np.zeros(0, np.int32), np.zeros(0, np.int32)
    while True:
        order, remaining = next_epoch(remaining, pairs, per_epoch - count, rng, window)
        if count:
            drawn, remaining_titles = next_epoch(remaining_titles, titles, count, rng)
            is_title = np.zeros(per_epoch, bool)
            is_title[rng.choice(per_epoch, count, replace=False)] = True
            mixed = np.empty(per_epoch, np.int32)
            mixed[is_title], mixed[~is_title] = pairs + drawn, order
            order = mixed
        yield order


def first_round(pairs: int, titles: TitlePairs | None, share: float) -> int:
    """The number of pairs, titles among them, that epochs draw before one of them is drawn a second time; with titles,
    which lie at random places of an epoch, on average.

    share: of titles among the pairs of an epoch.
    """
    return pairs if titles is None or not share else min(pairs, round(len(titles.documents) / share))


def mix_frequencies(frequencies: Float64, titles: TitlePairs, share: float) -> Float64:
    """(N,) how often each document is the positive of a pair, a share of the pairs being titles.

    frequencies (N,): among the other pairs.
    """
    mixed = (1 - share) * frequencies
    mixed[titles.documents] += share / len(titles.documents)
    return np.asarray(mixed)
