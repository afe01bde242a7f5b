"""Bags of the documents that searchers chose before: clicks strictly earlier than a search, or listed documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ebr_core.arrays import Float32, Float64, Int32, Int64
from ebr_core.scratch import IN_RAM, Scratch, slices
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.history_config import History

_DAY = 86_400_000_000  # microseconds


class Clicks(NamedTuple):
    """Clicks on known documents, in order of searcher and time."""

    searchers: Int32  # (C,)
    at: Int64  # (C,) microseconds
    documents: Int32  # (C,) rows of the group's table


class Moments(NamedTuple):
    """The searchers whose history is wanted, and the moments before which it ends."""

    searchers: Int32  # (n,) −1 if not signed in
    before: Int64  # (n,) microseconds


class _Ranges(NamedTuple):
    """The clicks of each history: clicks[end − count : end]."""

    ends: Int64  # (n,)
    counts: Int64  # (n,)


def click_bags(clicks: Clicks, moments: Moments, history: History, scratch: Scratch = IN_RAM) -> Bags:
    """(n,) the newest clicks of each searcher strictly before each moment; the weights of a bag sum to 1.

    A click weighs 2^(−days before the newest click of the bag / half_life_days). Time that passes after the newest
    click scales all weights of a bag alike, so it does not count. Empty for a searcher without an earlier click.
    """
    ranges = _ranges(clicks, moments, history.newest)
    offsets = np.concatenate([[0], np.cumsum(ranges.counts)])
    parts = ([clicks.documents[at], weights] for at, weights in _entries(clicks.at, ranges, history.half_life_days))
    return Bags(offsets, *scratch.columns(parts, np.int32, np.float32))


def _ranges(clicks: Clicks, moments: Moments, newest: int) -> _Ranges:
    times = np.unique(clicks.at)
    step = np.int64(len(times) + 1)
    keys = clicks.searchers * step + np.searchsorted(times, clicks.at)
    earlier_times = np.searchsorted(times, moments.before)  # of equal times none is earlier
    starts, ends = (np.searchsorted(keys, moments.searchers * step + ranks) for ranks in (0, earlier_times))
    return _Ranges(ends, np.where(moments.searchers >= 0, np.minimum(ends - starts, newest), 0))


def _entries(times: Int64, ranges: _Ranges, half_life: float | None) -> Iterator[tuple[Int64, Float32]]:
    """For blocks of histories, the positions of their clicks and their weights."""
    for part in slices(len(ranges.ends)):
        ends, counts = ranges.ends[part], ranges.counts[part]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        at = np.arange(offsets[-1]) + np.repeat(ends - counts - offsets[:-1], counts)
        weights = np.ones(len(at))
        if half_life is not None:
            age = np.repeat(times[np.maximum(ends - 1, 0)], counts) - times[at] if len(times) else weights
            weights = np.exp2(-age / (half_life * _DAY))
        yield at, to_shares(weights, offsets)


def to_shares(weights: Float64, offsets: Int64) -> Float32:
    """The weights, each over the sum of its bag."""
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    sums = np.bincount(owners, weights, minlength=len(offsets) - 1)
    return (weights / sums[owners]).astype(np.float32)


def list_bags(owners: Int32, documents: Int32, rows: int) -> Bags:
    """(rows,) bags in which each listed document weighs the same.

    owners, documents (m,): the row of each listed document, in order, and its row of the group's table.
    """
    counts = np.bincount(owners, minlength=rows)
    weights = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
    return Bags(np.concatenate([[0], np.cumsum(counts)]), np.asarray(documents, np.int32), weights)


def newest_of(owners: Int32, newest: int) -> Int64:
    """The positions of the last entries of each owner, at most `newest` each. owners (m,): in order."""
    behind = np.searchsorted(owners, owners, side="right") - np.arange(len(owners))
    return np.flatnonzero(behind <= newest)


def own_bags(table_rows: Int32) -> Bags:
    """(N,) the bag of each document's own row of the table; empty for −1, a document that training does not know."""
    known = table_rows >= 0
    ids = table_rows[known].astype(np.int32)
    return Bags(np.concatenate([[0], np.cumsum(known)]), ids, np.ones(len(ids), np.float32))


def leave_out_own(bags: Bags, searches: int, pairs: int, shift: int) -> None:
    """Set the weight of each pair's own document in the history of its search to 0, in place.

    bags: those of the searches, search q of pair q modulo `pairs`, then those of the pairs' documents, each with its
    own row of the table, `shift` rows behind the document's row of histories.
    """
    counts = np.diff(bags.offsets)
    own = np.full(pairs, -1, np.int64)
    known = np.flatnonzero(counts[searches : searches + pairs])
    own[known] = bags.ids[bags.offsets[searches + known]] - shift
    listed = slice(0, bags.offsets[searches])
    own_of_entry = np.repeat(own[np.arange(searches) % max(pairs, 1)], counts[:searches])
    bags.weights[listed][bags.ids[listed] == own_of_entry] = 0
