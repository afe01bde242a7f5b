"""What towers learnt on one log, taken over to the features of a later one: rows move, what they mean stays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ebr_core.bags import Int32
from ebr_core.features import Graph, Numbers
from ebr_core.fitted import Fitted
from ebr_core.model import Model
from ebr_core.towers import Encoder, Table


def carried(old: Model, fitted: Fitted, fresh: Encoder) -> Encoder:
    """`fresh` with all that `old` learnt of what both know; fresh's arrays are written to.

    fresh: towers that have learnt nothing, of the same settings, over `fitted`. What only the later log knows stays as
    it is; so do projections of a graph, whose vectors have other axes each time the graph is embedded.
    """
    groups = dict(fresh.groups)
    for name, learnt in fresh.groups.items():
        before = old.encoder.groups[name]
        if isinstance(learnt, Table) and isinstance(before, Table):
            _copy(before, learnt, *_text_rows(old.fitted, fitted) if name == "text" else _rows(name, old, fitted))
    return Encoder(groups, old.encoder.fusion)


def _text_rows(old: Fitted, new: Fitted) -> tuple[Int32, Int32, int, int]:
    """(the old rows, the new rows of the n-grams that both know, how many rows a tower had, and has)."""
    sizes = old.text_rows(), new.text_rows()
    if new.features.text.remainders is not None:  # rows are of the hash, whatever was seen
        same = np.arange(sizes[1], dtype=np.int32)
        return same, same, *sizes
    both = np.flatnonzero((old.vocabulary >= 0) & (new.vocabulary >= 0))
    return old.vocabulary[both], new.vocabulary[both], *sizes


def _rows(name: str, old: Model, new: Fitted) -> tuple[Int32, Int32, int, int]:
    """The same for a group: values by what they are, buckets of numbers by their place, where there are as many."""
    pairs = [np.empty((2, 0), np.int32), *_matched(name, old.fitted, new)]
    before, after = np.concatenate(pairs, axis=1)
    return before, after, old.fitted.group_rows(name), new.group_rows(name)


def _matched(name: str, old: Fitted, new: Fitted) -> Iterator[Int32]:
    group = new.features.groups[name]
    assert not isinstance(group, Graph)
    more = 1 if isinstance(group, Numbers) else 0
    starts, base = {}, 0
    for means, known in old.known[name].items():
        starts[means] = base
        base += len(known) + more
    base = 0
    for means, known in new.known[name].items():
        its = old.known[name].get(means, [])
        if more and len(its) == len(known):
            at = np.arange(len(known) + 1, dtype=np.int32)
            yield np.stack([starts[means] + at, base + at])
        elif not more:
            places = {value: place for place, value in enumerate(its)}
            found = [(starts[means] + places[value], base + at) for at, value in enumerate(known) if value in places]
            yield np.array(found, np.int32).reshape(-1, 2).T
        base += len(known) + more


def _copy(old: Table, new: Table, before: Int32, after: Int32, size_before: int, size_after: int) -> None:
    """Copies rows, in each block: a table holds a block for each tower, and one for each further query vector."""
    blocks = len(new.table) // max(size_after, 1)
    for block in range(blocks):
        for part in ("table", "scales", "squares", "scale_squares"):
            source, target = getattr(old, part), getattr(new, part)
            if len(target) and len(source):
                target[block * size_after + after] = source[block * size_before + before]
