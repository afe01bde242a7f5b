"""Pairs from which only the weights of the tower's groups learn.

Tables memorise their pairs, by the values of a column of noise if need be. Weights that learned from the same pairs
would rise for such a column; on pairs that no table has seen, it only disturbs, and its weight falls.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ebr_core.arrays import Int32
from ebr_core.training.batches import Batch, NegativeSource, batches
from ebr_core.training.pair_config import NegativeMix
from ebr_core.training.positives import KnownPositives, Pairs

HELD_OUT = 20  # one search in this many is held out, with all its pairs
EVERY = 5  # batches for the tables, the first of which is followed by a batch for the weights
PART = 4  # a batch for the weights is this many times smaller


def hold_out(order: Int32, pairs: Pairs) -> tuple[Int32, Int32]:
    """(the pairs from which tables learn, the pairs from which weights learn), both in the given order.

    Titles that stand for queries lack all groups, so they are never held out.
    """
    rows = pairs.search_rows[order]
    held_out = (rows >= 0) & (rows % HELD_OUT == 0)
    return order[~held_out], order[held_out]


def learning_batches(
    pairs: Pairs,
    known_positives: KnownPositives,
    source: NegativeSource,
    mix: NegativeMix,
    mask: str,
    batch_size: int,
    order: Int32,
    rng: np.random.Generator,
    weighs_groups: bool,
) -> Iterator[Batch]:
    """The batches for tables and for weights, in the order in which they are learned from.

    weighs_groups: False for a tower without weights; all pairs are then for the tables.
    """
    order, held_out = hold_out(order, pairs) if weighs_groups else (order, order[:0])
    data, size = (pairs, known_positives, source), max(1, batch_size // PART)
    weight_batches = batches(*data, mix.without_memory(), mask, size, held_out, rng)
    for number, batch in enumerate(batches(*data, mix, mask, batch_size, order, rng)):
        yield batch
        weight_batch = next(weight_batches, None) if number % EVERY == 0 else None
        if weight_batch is not None:
            yield weight_batch._replace(is_for_weights=True)
