"""The slices of an evaluation and the searches in each. All but the whole are exploratory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ebr_core.arrays import Bool

WHOLE = "all"
MOST_KINDS = 8
FEW_SEARCHES = 100  # a slice with fewer is marked as small
OWN = "own slices"  # of searches: column → ValueSlices, see tasks.own_slices
GROUPS = (
    *("kind", "popularity", "target", "query", "(query, searcher)", "spelling", "words", "title", "place"),
    *("logged position", "log", "attempt"),
)
POSITIONS = {"1": (1, 1), "2–3": (2, 3), "4–10": (4, 10), "11 and on": (11, 1 << 30)}


def slices_of(searches: dict[str, Any]) -> Iterator[tuple[str, Bool]]:
    """(slice as "group: value", (S,) True for its searches); a group that does not divide the searches is left out."""
    yield WHOLE, np.ones(len(searches["at"]), bool)
    for group, parts in _groups(searches):
        filled = {name: inside for name, inside in parts if inside.any()}
        if len(filled) > 1 or any(0 < inside.sum() < len(inside) for inside in filled.values()):
            yield from ((f"{group}: {name}", inside) for name, inside in filled.items())


def _groups(searches: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, Bool]]]]:
    yield "kind", _kinds(searches["kind"])
    yield "popularity", [(tier, searches["popularity"] == tier) for tier in ("head", "torso", "tail")]
    yield "target", _two(searches["target_new"], "new", "known")
    yield "query", _two(searches["query_seen"], "seen", "new")
    yield "(query, searcher)", _two(searches["pair_seen"], "seen", "new")
    yield "spelling", _two(searches["misspelt"], "misspelt", "right")
    yield "words", _two(searches["shares_no_word"], "none shared", "shared")
    yield "title", _two(searches["shares_title"], "shared", "unique")
    yield "place", [(name, searches["place"] == name) for name in ("same city", "same country", "elsewhere")]
    position = searches["position"]
    yield (
        "logged position",
        [(name, (first <= position) & (position <= last)) for name, (first, last) in POSITIONS.items()],
    )
    yield "log", [(name, searches["outcome"] == name) for name in ("clicked", "recovered", "abandoned")]
    if searches["attempt"].any():  # the log of a simulated world, which has attempts
        yield "attempt", _two(searches["attempt"] == 1, "first", "later")
    for column, slices in searches.get(OWN, {}).items():
        yield column, [(label, slices.codes == code) for code, label in enumerate(slices.labels)]


def _two(inside: Bool, yes: str, no: str) -> list[tuple[str, Bool]]:
    return [(yes, inside), (no, ~inside)]


def _kinds(kind: Any) -> list[tuple[str, Bool]]:
    """The most frequent kinds, and the others together."""
    names, counts = np.unique(kind[kind != ""], return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][:MOST_KINDS]
    others = (kind != "") & ~np.isin(kind, frequent)
    return [*((str(name), kind == name) for name in frequent), ("others", others)]
