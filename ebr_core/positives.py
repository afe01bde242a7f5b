"""Which pairs are relevant, and which documents may therefore not serve as negatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ebr_core.bags import Int32, Int64
from ebr_core.config import InputError, Positives


class Shown(NamedTuple):
    """The training window's results, a row for each document shown; sorted by search, then document."""

    search_rows: Int32  # (R,)
    document_rows: Int32  # (R,)
    clicked: npt.NDArray[np.bool_]  # (R,)
    query_rows: Int32  # (R,) the query of the search
    searcher_rows: Int32  # (R,) its searcher, −1 where not signed in


class Recovered(NamedTuple):
    """Searches of the training window without a click, each with what its session clicked next. [EBR §6.1]"""

    search_rows: Int32  # (F,)
    document_rows: Int32  # (F,)
    query_rows: Int32  # (F,)
    searcher_rows: Int32  # (F,)


class Rated(NamedTuple):
    """Retrieved results of the training window's searches that people rated, each pair once. [EBR §5.2]"""

    search_rows: Int32  # (J,)
    document_rows: Int32  # (J,)
    query_rows: Int32  # (J,)
    searcher_rows: Int32  # (J,)
    good: npt.NDArray[np.bool_]  # (J,)


class Pairs(NamedTuple):
    """Training pairs."""

    search_rows: Int32  # (P,)
    document_rows: Int32  # (P,)
    groups: Int32  # (P,) the pair's row in Known
    shown_from: Int64  # (P,) its search's not-clicked impressions are not_clicked[shown_from : shown_to]
    shown_to: Int64  # (P,)
    not_clicked: Int32  # (I,) document rows
    an_epoch: int  # how many pairs make an epoch: as many as there are clicks, whatever the arm


class Known(NamedTuple):
    """The known positives of each group, documents[offsets[g]:offsets[g + 1]] in order of row."""

    offsets: Int64  # (groups + 1,)
    documents: Int32


def select(
    shown: Shown,
    recovered: Recovered,
    positives: Positives,
    mask: str,
    seed: int,
    rated: Rated | None = None,
    rated_good: bool = True,
) -> tuple[Pairs, Known]:
    """The positive pairs of an arm, and the known positives that its mask keeps from serving as negatives.

    A pair is a result of the training window: clicked, any that was shown, or any with the clicked ones twice; and, as
    many as hard_share says, a failed search with what was clicked after it; and, under rated_good, what was rated good.
    Known are always the clicks, what was rated good, and the pairs themselves: of the same (query, searcher) under mask
    "pair" (of the query alone where the searcher is unknown), of the same query text under "query", of the pair alone
    under "document".

    Raises InputError where there is no pair, or fewer hard positives than asked for.
    """
    rng, clicks = np.random.default_rng([seed, 1]), np.flatnonzero(shown.clicked)
    chosen = _from_source(shown, positives, rng)
    hard = _hard(recovered, positives.hard_share, len(clicks), rng)
    if len(chosen) + len(hard) == 0:
        raise InputError(f"no positives: {len(shown.clicked)} results in the training window, none of them clicked")
    # From here on, a recovered target, or one rated good, is a result like any other.
    good = rated.good if rated else np.zeros(0, bool)
    searches, documents, queries, searchers = (
        np.concatenate(
            [getattr(shown, name), getattr(recovered, name), *([getattr(rated, name)[good]] if rated else [])]
        )
        for name in Recovered._fields
    )
    added = len(shown.clicked) + len(recovered.search_rows) + np.arange(good.sum())
    chosen = np.concatenate([chosen, len(shown.clicked) + hard, *([added] if rated_good else [])])
    known_rows = np.union1d(np.concatenate([chosen, added]), clicks)
    group_of = _groups(queries, searchers, mask)
    known = _known(group_of[known_rows], documents[known_rows])
    count = int(searches.max(initial=-1)) + 1
    not_clicked, offsets = _not_clicked(shown, group_of[: len(shown.clicked)], known, count)
    search = searches[chosen]
    pairs = Pairs(
        search, documents[chosen], group_of[chosen], offsets[search], offsets[search + 1], not_clicked,
        len(clicks) or len(chosen),
    )  # fmt: skip
    return pairs, known


def _from_source(shown: Shown, positives: Positives, rng: np.random.Generator) -> Int64:
    """The rows of shown that are pairs, in order."""
    clicks = np.flatnonzero(shown.clicked)
    chosen = {
        "none": np.zeros(0, np.int64),
        "clicks": clicks,
        "impressions": np.arange(len(shown.clicked)),
        "both": np.sort(np.concatenate([np.arange(len(shown.clicked)), clicks])),
    }[positives.source]
    if positives.equal_volume:
        chosen = np.sort(rng.choice(chosen, min(len(clicks), len(chosen)), replace=False))
    return chosen


def _hard(recovered: Recovered, share: float, clicks: int, rng: np.random.Generator) -> Int64:
    """The rows of recovered that are pairs, in order."""
    wanted, there = round(share * clicks), len(recovered.search_rows)
    if wanted > there:
        raise InputError(
            f"positives.hard_share {share:g} of {clicks:,} clicks are {wanted:,} pairs, but only {there:,} failed "
            f"searches of the training window are followed by a click in their session"
            + (f"; at most {there / clicks:.3f} can be had" if there else ": these logs have no hard positives")
        )
    return np.sort(rng.choice(there, wanted, replace=False))


def _groups(queries: Int32, searchers: Int32, mask: str) -> Int32:
    """(R,) a number for each set of results whose positives mask each other."""
    if mask in ("document", "none"):
        return np.arange(len(queries), dtype=np.int32)
    searchers = searchers if mask == "pair" else np.full_like(searchers, -1)
    keys = queries.astype(np.int64) * (int(searchers.max(initial=-1)) + 2) + searchers + 1
    groups: Int32 = np.unique(keys, return_inverse=True)[1].astype(np.int32)
    return groups


def _known(groups: Int32, documents: Int32) -> Known:
    width = int(documents.max(initial=0)) + 1
    keys = np.unique(groups.astype(np.int64) * width + documents)
    counts = np.bincount(keys // width, minlength=int(groups.max(initial=-1)) + 1)
    return Known(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), (keys % width).astype(np.int32))


def _not_clicked(shown: Shown, group_of: Int32, known: Known, searches: int) -> tuple[Int32, Int64]:
    """Not-clicked impressions in order of search, without the known positives of their group; offsets by search row."""
    width = int(max(shown.document_rows.max(initial=0), known.documents.max(initial=0))) + 1
    known_keys = np.repeat(np.arange(len(known.offsets) - 1), np.diff(known.offsets)) * width + known.documents
    keys = group_of.astype(np.int64) * width + shown.document_rows
    rows = np.flatnonzero(~shown.clicked & ~np.isin(keys, known_keys))
    counts = np.bincount(shown.search_rows[rows], minlength=searches)
    return shown.document_rows[rows], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
