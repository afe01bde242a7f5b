"""Distinct texts with their order, by which a few of them are found without a pass over all."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Int32, Int64

FEW = 16  # texts, at most, that are looked up one by one


class SortedTexts(NamedTuple):
    """Distinct texts, and the order in which they ascend."""

    texts: pa.Array  # (n,)
    order: Int64 | None = None  # (n,): texts.take(order) ascends; None: the texts do

    def row_of(self, text: str) -> int:
        """The row of the text; −1 if it is not there."""
        places = range(len(self.texts)) if self.order is None else self.order
        at = bisect_left(places, text, key=lambda row: self.texts[row].as_py())
        return int(places[at]) if at < len(places) and self.texts[places[at]].as_py() == text else -1


def sort_texts(texts: pa.Array | pa.ChunkedArray) -> SortedTexts:
    """The texts, which are distinct and not null, with their order."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return SortedTexts(whole, pc.sort_indices(whole).to_numpy().astype(np.int64))


def rows_of(wanted: pa.Array, known: SortedTexts) -> Int32:
    """(m,) the row of each wanted text among the known, −1 for those that are not there."""
    if len(wanted) > FEW:
        return rows_by_hash(wanted, known.texts)
    return np.array([known.row_of(text) for text in wanted.to_pylist()], np.int32)


def rows_by_hash(wanted: pa.Array, texts: pa.Array) -> Int32:
    """(m,) what `rows_of` gives, for texts (n,) in any order; a table of hashes of all n is built each time."""
    found = pc.fill_null(pc.index_in(wanted, texts.cast(wanted.type)), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int32)
