"""Which pairs are relevant, and which documents may therefore not serve as negatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from ebr_core.arrays import Int32, Int64
from ebr_core.errors import InputError
from ebr_core.scratch import IN_RAM, Array, Scratch, pieces, slices
from ebr_core.training.pair_config import Positives


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


class KnownPositives(NamedTuple):
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
    scratch: Scratch = IN_RAM,
) -> tuple[Pairs, KnownPositives]:
    """The positive pairs of an arm, and the known positives that its mask keeps from serving as negatives.

    A pair is a result of the training window: clicked, any that was shown, or any with the clicked ones twice; and, as
    many as hard_share says, a failed search with what was clicked after it; and, under rated_good, what was rated good.
    Known are always the clicks, what was rated good, and the pairs themselves: of the same (query, searcher) under mask
    "pair" (of the query alone where the searcher is unknown), of the same query text under "query", of the pair alone
    under "document".

    Nothing that is made of all results is held in memory: it lies in scratch. Raises InputError where there is no pair,
    or fewer hard positives than asked for.
    """
    rng, clicks = np.random.default_rng([seed, 1]), _where(shown.clicked, scratch)
    chosen = _from_source(shown, clicks, positives, rng, scratch)
    hard = _hard(recovered, positives.hard_share, len(clicks), rng)
    if len(chosen) + len(hard) == 0:
        raise InputError(f"no positives: {len(shown.clicked)} results in the training window, none of them clicked")
    # From here on, a recovered target, or one rated good, is a result like any other.
    every = _together(shown, recovered, rated, scratch)
    added = len(shown.clicked) + len(recovered.search_rows) + np.arange(rated.good.sum() if rated else 0)
    more = [len(shown.clicked) + hard, *([added] if rated_good else [])]
    chosen = scratch.column([*pieces(chosen), *more], np.int64)
    group_of = _groups(every, mask, scratch)
    width = int(every.document_rows.max(initial=0)) + 1
    known_keys = _known_keys([chosen, added, clicks], group_of, every.document_rows, width, scratch)
    known = _known(known_keys, width, int(group_of.max(initial=-1)) + 1, scratch)
    not_clicked, offsets = _not_clicked(
        shown, group_of, known_keys, width, int(every.search_rows.max(initial=-1)) + 1, scratch
    )
    search = _taken(every.search_rows, chosen, scratch)
    pairs = Pairs(
        search, _taken(every.document_rows, chosen, scratch), _taken(group_of, chosen, scratch),
        _taken(offsets[:-1], search, scratch), _taken(offsets[1:], search, scratch), not_clicked,
        len(clicks) or len(chosen),
    )  # fmt: skip
    return pairs, known


def _taken(values: Array, at: Array, scratch: Scratch) -> Array:
    """values[at]."""
    return scratch.over(len(at), lambda part: values[at[part]], values.dtype)


def _where(flags: Array, scratch: Scratch) -> Int64:
    """The rows (n,) of the flags that are set."""
    return scratch.over(len(flags), lambda part: part.start + np.flatnonzero(flags[part]), np.int64)


def _together(shown: Shown, recovered: Recovered, rated: Rated | None, scratch: Scratch) -> Recovered:
    """All results, those shown first, then the recovered ones, then what was rated good."""
    good = [] if rated is None else [[getattr(rated, name)[rated.good] for name in Recovered._fields]]
    logged = ([getattr(shown, name)[part] for name in Recovered._fields] for part in slices(len(shown.clicked)))
    return Recovered(*scratch.columns([*logged, recovered, *good], *[np.int32] * len(Recovered._fields)))


def _from_source(
    shown: Shown, clicks: Int64, positives: Positives, rng: np.random.Generator, scratch: Scratch
) -> Int64:
    """The rows of shown that are pairs, in order."""

    def rows(part: slice) -> Array:
        both = positives.source == "both"
        return np.repeat(np.arange(part.start, part.stop), 1 + (both & shown.clicked[part]))

    match positives.source:
        case "none":
            chosen = clicks[:0]
        case "clicks":
            chosen = clicks
        case "impressions" | "both":
            chosen = scratch.over(len(shown.clicked), rows, np.int64)
        case _:
            assert_never(positives.source)
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


def _groups(every: Recovered, mask: str, scratch: Scratch) -> Int32:
    """(R,) a number for each set of results whose positives mask each other."""
    queries, searchers = every.query_rows, every.searcher_rows
    if mask in ("document", "none"):
        return scratch.over(len(queries), lambda part: np.arange(part.start, part.stop), np.int32)
    people = int(searchers.max(initial=-1)) + 2 if mask == "pair" else 1

    def keys(part: slice) -> Int64:
        return queries[part].astype(np.int64) * people + (searchers[part] + 1 if mask == "pair" else 0)

    distinct = scratch.distinct(scratch.over(len(queries), keys, np.int64))
    return scratch.over(len(queries), lambda part: np.searchsorted(distinct, keys(part)), np.int32)


def _known_keys(rows: Sequence[Int64], group_of: Int32, documents: Int32, width: int, scratch: Scratch) -> Int64:
    """group · width + document of those rows, in order, each once."""
    parts = (part for some in rows for part in pieces(some))
    keys = scratch.column((group_of[part].astype(np.int64) * width + documents[part] for part in parts), np.int64)
    return scratch.distinct(keys)


def _known(keys: Int64, width: int, groups: int, scratch: Scratch) -> KnownPositives:
    def first_of(part: slice) -> Array:
        return np.searchsorted(keys, np.arange(part.start, part.stop) * width)

    offsets = scratch.over(groups + 1, first_of, np.int64)
    return KnownPositives(offsets, scratch.over(len(keys), lambda part: keys[part] % width, np.int32))


def _not_clicked(
    shown: Shown, group_of: Int32, known_keys: Int64, width: int, searches: int, scratch: Scratch
) -> tuple[Int32, Int64]:
    """Not-clicked impressions in order of search, without the known positives of their group; offsets by search row."""

    def kept() -> Iterator[tuple[Int32, Int32]]:
        for part in slices(len(shown.clicked)):
            keys = group_of[part].astype(np.int64) * width + shown.document_rows[part]
            rows = part.start + np.flatnonzero(~shown.clicked[part] & ~_among(keys, known_keys))
            yield shown.search_rows[rows], shown.document_rows[rows]

    of_search, documents = scratch.columns(kept(), np.int32, np.int32)

    def first_of(part: slice) -> Array:
        return np.searchsorted(of_search, np.arange(part.start, part.stop, dtype=np.int32))

    return documents, scratch.over(searches + 1, first_of, np.int64)


def _among(values: Int64, ordered: Int64) -> npt.NDArray[np.bool_]:
    """Which values stand among the ordered ones."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[at] == values)
