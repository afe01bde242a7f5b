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
    order: Int64  # (n,): texts.take(order) ascends

    def row_of(self, text: str) -> int:
        """The row of the text; −1 if it is not there."""
        at = bisect_left(self.order, text, key=lambda row: self.texts[row].as_py())
        return int(self.order[at]) if at < len(self.order) and self.texts[self.order[at]].as_py() == text else -1


def sort_texts(texts: pa.Array | pa.ChunkedArray) -> SortedTexts:
    """The texts, which are distinct and not null, with their order."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return SortedTexts(whole, pc.sort_indices(whole).to_numpy().astype(np.int64))


def rows_of(wanted: pa.Array, texts: pa.Array, ordered: SortedTexts | None) -> Int32:
    """(m,) the row of each wanted text among the texts (n,), −1 for those that are not there.

    ordered: the texts with their order, if somebody has sorted them. Without it, or for many texts, a pass over all n
    builds a table of hashes.
    """
    if ordered is None or len(wanted) > FEW:
        return np.asarray(pc.fill_null(pc.index_in(wanted, texts), -1).to_numpy(zero_copy_only=False), np.int32)
    return np.array([ordered.row_of(text) for text in wanted.to_pylist()], np.int32)
