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


class Pairs(NamedTuple):
    """Training pairs."""

    search_rows: Int32  # (P,)
    document_rows: Int32  # (P,)
    groups: Int32  # (P,) the pair's row in Known
    shown_from: Int64  # (P,) its search's not-clicked impressions are not_clicked[shown_from : shown_to]
    shown_to: Int64  # (P,)
    not_clicked: Int32  # (I,) document rows


class Known(NamedTuple):
    """The known positives of each group, documents[offsets[g]:offsets[g + 1]] in order of row."""

    offsets: Int64  # (groups + 1,)
    documents: Int32


def select(shown: Shown, positives: Positives, mask: str, seed: int) -> tuple[Pairs, Known]:
    """The positive pairs of an arm, and the known positives that its mask keeps from serving as negatives.

    A pair is a result of the training window: clicked, any that was shown, or any with the clicked ones twice. Known
    are always the clicks and the pairs themselves: of the same (query, searcher) under mask "pair" (of the query alone
    where the searcher is unknown), of the same query text under "query", of the pair alone under "document".
    """
    chosen = np.flatnonzero(shown.clicked) if positives.source == "clicks" else np.arange(len(shown.clicked))
    if positives.source == "both":
        chosen = np.sort(np.concatenate([chosen, np.flatnonzero(shown.clicked)]))
    if positives.equal_volume:
        clicks = int(shown.clicked.sum())
        rng = np.random.default_rng([seed, 1])
        chosen = np.sort(rng.choice(chosen, min(clicks, len(chosen)), replace=False))
    if len(chosen) == 0:
        raise InputError(f"no positives: {len(shown.clicked)} results in the training window, none of them clicked")
    known_rows = np.union1d(chosen, np.flatnonzero(shown.clicked))
    group_of = _groups(shown, mask)
    known = _known(group_of[known_rows], shown.document_rows[known_rows])
    not_clicked, offsets = _not_clicked(shown, group_of, known)
    search = shown.search_rows[chosen]
    pairs = Pairs(
        search,
        shown.document_rows[chosen],
        group_of[chosen],
        offsets[search],
        offsets[search + 1],
        not_clicked,
    )
    return pairs, known


def _groups(shown: Shown, mask: str) -> Int32:
    """(R,) a number for each set of results whose positives mask each other."""
    if mask in ("document", "none"):
        return np.arange(len(shown.query_rows), dtype=np.int32)
    searchers = shown.searcher_rows if mask == "pair" else np.full_like(shown.searcher_rows, -1)
    keys = shown.query_rows.astype(np.int64) * (int(searchers.max(initial=-1)) + 2) + searchers + 1
    groups: Int32 = np.unique(keys, return_inverse=True)[1].astype(np.int32)
    return groups


def _known(groups: Int32, documents: Int32) -> Known:
    width = int(documents.max(initial=0)) + 1
    keys = np.unique(groups.astype(np.int64) * width + documents)
    counts = np.bincount(keys // width, minlength=int(groups.max(initial=-1)) + 1)
    return Known(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), (keys % width).astype(np.int32))


def _not_clicked(shown: Shown, group_of: Int32, known: Known) -> tuple[Int32, Int64]:
    """Not-clicked impressions in order of search, without the known positives of their group; offsets by search row."""
    width = int(max(shown.document_rows.max(initial=0), known.documents.max(initial=0))) + 1
    known_keys = np.repeat(np.arange(len(known.offsets) - 1), np.diff(known.offsets)) * width + known.documents
    keys = group_of.astype(np.int64) * width + shown.document_rows
    rows = np.flatnonzero(~shown.clicked & ~np.isin(keys, known_keys))
    counts = np.bincount(shown.search_rows[rows], minlength=int(shown.search_rows.max(initial=-1)) + 1)
    return shown.document_rows[rows], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
