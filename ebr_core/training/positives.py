"""The relevant pairs of a log, and the documents that therefore cannot be negatives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from ebr_core.arrays import Float32, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.scratch import IN_RAM, Array, Scratch, pieces, slices
from ebr_core.training.pair_config import Positives


class ShownResults(NamedTuple):
    """The results of the training window, a row for each document shown; sorted by search, then document."""

    search_rows: Int32  # (R,)
    document_rows: Int32  # (R,)
    clicked: npt.NDArray[np.bool_]  # (R,)
    query_rows: Int32  # (R,) the query of the search
    searcher_rows: Int32  # (R,) the searcher, −1 if not signed in
    weights: Float32 | None = None  # (R,) of the actions that make positives, 0 without one; None: clicks alone


class RecoveredPairs(NamedTuple):
    """Searches of the training window without a click, each with a document clicked next in its session. [EBR §6.1]"""

    search_rows: Int32  # (F,)
    document_rows: Int32  # (F,)
    query_rows: Int32  # (F,)
    searcher_rows: Int32  # (F,)
    weights: Float32 | None = None  # (F,) of the actions that followed; None: clicks alone


class RatedPairs(NamedTuple):
    """Retrieved results of the training window's searches that people rated, each pair once. [EBR §5.2]"""

    search_rows: Int32  # (J,)
    document_rows: Int32  # (J,)
    query_rows: Int32  # (J,)
    searcher_rows: Int32  # (J,)
    good: npt.NDArray[np.bool_]  # (J,)


class Pairs(NamedTuple):
    """The training pairs of an arm."""

    search_rows: Int32  # (P,)
    document_rows: Int32  # (P,)
    groups: Int32  # (P,) the pair's group in KnownPositives
    shown_from: Int64  # (P,) the search's not-clicked impressions are not_clicked[shown_from : shown_to]
    shown_to: Int64  # (P,)
    not_clicked: Int32  # (I,) document rows
    pairs_per_epoch: int  # as many as there are clicks, in every arm
    weights: Float32 | None = None  # (P,) with mean 1, of each pair in the loss; None: all 1


class KnownPositives(NamedTuple):
    """The known positives of each group g: documents[offsets[g]:offsets[g + 1]], in order of row."""

    offsets: Int64  # (groups + 1,)
    documents: Int32


def no_pairs() -> tuple[Pairs, KnownPositives]:
    """The pairs and known positives of an arm that is not trained: none."""
    rows, offsets = np.zeros(0, np.int32), np.zeros(0, np.int64)
    return Pairs(rows, rows, rows, offsets, offsets, rows, 0), KnownPositives(np.zeros(1, np.int64), rows)


def select_pairs(
    shown: ShownResults,
    recovered: RecoveredPairs,
    positives: Positives,
    mask: str,
    seed: int,
    rated: RatedPairs | None = None,
    rated_good: bool = True,
    scratch: Scratch = IN_RAM,
) -> tuple[Pairs, KnownPositives]:
    """(the positive pairs of an arm, the known positives that its mask excludes from the negatives).

    The pairs are the clicked results of the training window, or all shown results, or all with the clicked ones twice.
    Added to them are hard positives (failed searches with the next click), as many as hard_share sets, and, with
    rated_good, the results rated good. The known positives are always the clicks, the results rated good, and the pairs
    themselves: of the same (query, searcher) with mask "pair" (of the query alone if the searcher is unknown), of the
    same query text with "query", of the pair alone with "document".

    Where actions have weights, the clicked results are those with a weight, and so are the pairs' weights; see
    `_weights`. Results that were clicked and have weight 0 are known positives and no pairs.

    Arrays over all results are in scratch, not in memory. Raises InputError if there is no pair, or if there are fewer
    hard positives than hard_share needs.
    """
    rng, clicks = np.random.default_rng([seed, 1]), _true_rows(shown.clicked, scratch)
    acted = clicks if shown.weights is None else clicks[shown.weights[clicks] > 0]
    chosen = _from_source(shown, acted, positives, rng, scratch)
    hard = _hard_rows(recovered, positives.hard_share, len(clicks), rng)
    if len(chosen) + len(hard) == 0:
        raise InputError(
            f"no positives: {len(shown.clicked)} results in the training window, none of them clicked; move the split, "
            "or set positives.source: impressions"
        )
    # From here on, a recovered target, or a result rated good, is a result like any other.
    results = _join(shown, recovered, rated, scratch)
    rated_rows = len(shown.clicked) + len(recovered.search_rows) + np.arange(rated.good.sum() if rated else 0)
    extra = [len(shown.clicked) + hard, *([rated_rows] if rated_good else [])]
    weights = _weights(shown, recovered, chosen, hard, len(rated_rows) if rated_good else 0, scratch)
    chosen = scratch.column([*pieces(chosen), *extra], np.int64)
    group_of = _groups(results, mask, scratch)
    width = int(results.document_rows.max(initial=0)) + 1
    known_keys = _known_keys([chosen, rated_rows, clicks], group_of, results.document_rows, width, scratch)
    known_positives = _known_positives(known_keys, width, int(group_of.max(initial=-1)) + 1, scratch)
    not_clicked, offsets = _not_clicked(
        shown, group_of, known_keys, width, int(results.search_rows.max(initial=-1)) + 1, scratch
    )
    search = _take(results.search_rows, chosen, scratch)
    pairs = Pairs(
        search, _take(results.document_rows, chosen, scratch), _take(group_of, chosen, scratch),
        _take(offsets[:-1], search, scratch), _take(offsets[1:], search, scratch), not_clicked,
        len(clicks) or len(chosen), weights,
    )  # fmt: skip
    return pairs, known_positives


def _weights(
    shown: ShownResults, recovered: RecoveredPairs, chosen: Int64, hard: Int64, rated: int, scratch: Scratch
) -> Float32 | None:
    """(P,) the weights of the chosen rows of shown, the hard rows of recovered, and the results rated good; None if all
    are equal.

    They are divided by the mean over the logged pairs, so that a learning rate means the same as without weights. A
    shown result without an action has the least weight of those with one; a result rated good has weight 1, the mean.
    """
    if shown.weights is None or recovered.weights is None:
        return None
    given = shown.weights
    least = min(float(part[part > 0].min(initial=np.inf)) for part in pieces(given))

    def of_shown(part: slice) -> Array:
        weights = given[chosen[part]]
        return np.where(weights > 0, weights, least)

    logged = scratch.concat_blocks(len(chosen), of_shown, np.float32)
    followed = recovered.weights[hard]
    both = [*pieces(logged), followed] if len(followed) else list(pieces(logged))
    if min(float(part.min()) for part in both) == max(float(part.max()) for part in both):
        return None
    mean = sum(float(part.sum(dtype=np.float64)) for part in both) / (len(logged) + len(followed))
    return scratch.column([*(part / mean for part in both), np.ones(rated)], np.float32)


def _take(values: Array, rows: Array, scratch: Scratch) -> Array:
    """values[rows], in scratch."""
    return scratch.concat_blocks(len(rows), lambda part: values[rows[part]], values.dtype)


def _true_rows(flags: Array, scratch: Scratch) -> Int64:
    """(n,) the rows of the flags that are True."""
    return scratch.concat_blocks(len(flags), lambda part: part.start + np.flatnonzero(flags[part]), np.int64)


def _join(shown: ShownResults, recovered: RecoveredPairs, rated: RatedPairs | None, scratch: Scratch) -> RecoveredPairs:
    """All results: the shown ones, then the recovered ones, then those rated good."""
    names = [name for name in RecoveredPairs._fields if name != "weights"]
    logged = ([getattr(shown, name)[part] for name in names] for part in slices(len(shown.clicked)))
    followed = [getattr(recovered, name) for name in names]
    good = [] if rated is None else [[getattr(rated, name)[rated.good] for name in names]]
    return RecoveredPairs(*scratch.columns([*logged, followed, *good], *[np.int32] * len(names)))


def _from_source(
    shown: ShownResults, clicks: Int64, positives: Positives, rng: np.random.Generator, scratch: Scratch
) -> Int64:
    """The rows of shown that are pairs, in order."""

    def rows(part: slice) -> Array:
        clicks_twice = positives.source == "both"
        return np.repeat(np.arange(part.start, part.stop), 1 + (clicks_twice & shown.clicked[part]))

    match positives.source:
        case "none":
            chosen = clicks[:0]
        case "clicks":
            chosen = clicks
        case "impressions" | "both":
            chosen = scratch.concat_blocks(len(shown.clicked), rows, np.int64)
        case _:
            assert_never(positives.source)
    if positives.equal_volume:
        chosen = np.sort(rng.choice(chosen, min(len(clicks), len(chosen)), replace=False))
    return chosen


def _hard_rows(recovered: RecoveredPairs, share: float, clicks: int, rng: np.random.Generator) -> Int64:
    """The rows of recovered that are pairs, in order."""
    rows = np.arange(len(recovered.search_rows))
    if recovered.weights is not None:
        rows = rows[recovered.weights > 0]  # of the actions that make positives
    count = hard_count(share, clicks, len(rows))
    return np.sort(rows[rng.choice(len(rows), count, replace=False)])


def hard_count(share: float, clicks: int, available: int) -> int:
    """The number of hard positives that positives.hard_share sets. clicks: in the training window; available: its
    failed searches that a click follows. Raises InputError if these are too few."""
    count = round(share * clicks)
    if count > available:
        raise InputError(
            f"positives.hard_share {share:g} of {clicks:,} clicks are {count:,} pairs, but only {available:,} failed "
            f"searches of the training window are followed by a click in their session"
            + (f"; set at most {_floor(available / clicks)}" if available else ": these logs have no hard positives")
        )
    return count


def _floor(share: float) -> str:
    """A share with three digits, rounded down, so that it can be set."""
    return f"{math.floor(share * 1000) / 1000:.3f}"


def _groups(results: RecoveredPairs, mask: str, scratch: Scratch) -> Int32:
    """(R,) the group of each result: within a group, positives mask each other."""
    queries, searchers = results.query_rows, results.searcher_rows
    if mask in ("document", "none"):
        return scratch.concat_blocks(len(queries), lambda part: np.arange(part.start, part.stop), np.int32)
    people = int(searchers.max(initial=-1)) + 2 if mask == "pair" else 1

    def keys(part: slice) -> Int64:
        return queries[part].astype(np.int64) * people + (searchers[part] + 1 if mask == "pair" else 0)

    distinct = scratch.distinct(scratch.concat_blocks(len(queries), keys, np.int64))
    return scratch.concat_blocks(len(queries), lambda part: np.searchsorted(distinct, keys(part)), np.int32)


def _known_keys(rows: Sequence[Int64], group_of: Int32, documents: Int32, width: int, scratch: Scratch) -> Int64:
    """The distinct keys group · width + document of the rows, in order."""
    parts = (part for part_rows in rows for part in pieces(part_rows))
    keys = scratch.column((group_of[part].astype(np.int64) * width + documents[part] for part in parts), np.int64)
    return scratch.distinct(keys)


def _known_positives(keys: Int64, width: int, groups: int, scratch: Scratch) -> KnownPositives:
    def first_of(part: slice) -> Array:
        return np.searchsorted(keys, np.arange(part.start, part.stop) * width)

    offsets = scratch.concat_blocks(groups + 1, first_of, np.int64)
    return KnownPositives(offsets, scratch.concat_blocks(len(keys), lambda part: keys[part] % width, np.int32))


def _not_clicked(
    shown: ShownResults, group_of: Int32, known_keys: Int64, width: int, searches: int, scratch: Scratch
) -> tuple[Int32, Int64]:
    """(the not-clicked impressions in order of search, without the known positives of their group; offsets (searches +
    1,) by search row)."""

    def impressions() -> Iterator[tuple[Int32, Int32]]:
        for part in slices(len(shown.clicked)):
            keys = group_of[part].astype(np.int64) * width + shown.document_rows[part]
            rows = part.start + np.flatnonzero(~shown.clicked[part] & ~_contained(keys, known_keys))
            yield shown.search_rows[rows], shown.document_rows[rows]

    search_rows, documents = scratch.columns(impressions(), np.int32, np.int32)

    def first_of(part: slice) -> Array:
        return np.searchsorted(search_rows, np.arange(part.start, part.stop, dtype=np.int32))

    return documents, scratch.concat_blocks(searches + 1, first_of, np.int64)


def _contained(values: Int64, ordered: Int64) -> npt.NDArray[np.bool_]:
    """(n,) True for the values that are among the ordered ones."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    positions = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[positions] == values)
