"""From a log's columns to bags, by what is fitted on the training window: vocabulary, rarity, values, bucket edges."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, assert_never, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float32, Int32
from ebr_core.encoders.pretrained import TextSide
from ebr_core.errors import InputError
from ebr_core.text.ngram_bags import Bags, apply_idf, fit_vocabulary, keep_known, rarity_of, split_rows
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.column_config import SIDES, Side
from ebr_core.towers.column_values import ColumnData, flatten, known_ids
from ebr_core.towers.feature_config import ColumnGroup, Features, Location, Numbers, TextFeatures, Values
from ebr_core.towers.group_places import places_of
from ebr_core.towers.location_cells import location_cells
from ebr_core.towers.token_bags import token_bags

IDENTIFIER = 0.5  # share of distinct values above which a column is taken for an identifier

# A column's meaning → its values, or its bucket edges; for a location, CELLS → the keys of the known cells; for a
# history, DOCUMENTS → the identities of the known documents.
FittedValues = dict[str, list[str]] | dict[str, list[float]]
# For an encoder, WEIGHTS → the digest of its weights.
CELLS, DOCUMENTS, WEIGHTS = "cells", "documents", "weights"


class FittedFeatures(NamedTuple):
    """Everything that features take from the training window."""

    features: Features
    vocabulary: Int32  # (buckets,): the row of a bucket, −1 if training never saw it
    rarity: Float32  # (known n-grams,); empty unless n-grams are weighted by it
    group_values: dict[str, FittedValues]  # for each group of values or numbers
    tokenizer: Path | None = None  # its folder; None for that of the features

    def text_rows(self) -> int:
        """The rows of the n-gram table for one tower."""
        text = self.features.text
        if self.features.tokens is not None:
            return 0
        if text.remainders is None:
            return int(self.vocabulary.max()) + 1
        return text.remainders + (text.buckets - 1) // text.remainders + 1

    def group_rows(self, name: str) -> int:
        """The rows of a group's table for one tower."""
        return sum(self.rows_of(name, values) for values in self.group_values[name].values())

    def rows_of(self, name: str, values: list[str] | list[float]) -> int:
        """The rows of one tower for a column of the group with these values."""
        history = self.features.histories.get(name)
        return len(values) if history else self.features.column_group(name).rows(len(values))

    def weights_of(self, name: str) -> str:
        """The digest of the encoder's weights with which a group of kind encoder was made."""
        return cast("list[str]", self.group_values[name][WEIGHTS])[0]

    def history_documents(self, name: str) -> list[str]:
        """The identities, in order, of the documents that a group of histories knows: its rows."""
        return cast("list[str]", self.group_values[name][DOCUMENTS])


def fit_text(queries: Bags, documents: Bags, text: TextFeatures) -> tuple[Int32, Float32]:
    """(vocabulary, rarity) of hashed bags of the training window; rarity is measured among its documents."""
    vocabulary = fit_vocabulary([queries, documents], text.buckets)
    if text.weighting != "idf":
        return vocabulary, np.empty(0, np.float32)
    return vocabulary, rarity_of(keep_known(documents, vocabulary), int(vocabulary.max()) + 1)


def text_bags(texts: pa.Array, fitted: FittedFeatures, side: TextSide = "query") -> Bags:
    """The bags of the texts of a side over n-grams that training saw; `table_bags` turns their ids into table rows.

    For an encoder, their tokens.
    """
    if fitted.features.tokens is not None:
        return token_bags(texts, fitted.features.tokens, side, fitted.tokenizer)
    bags = keep_known(hash_texts(texts, fitted.features.text), fitted.vocabulary)
    return apply_idf(bags, fitted.rarity) if len(fitted.rarity) else bags


def table_bags(bags: Bags, fitted: FittedFeatures) -> Bags:
    """The bags in rows of the n-gram table: one per known n-gram, or two (remainder and quotient). Tokens stay."""
    remainders = fitted.features.text.remainders
    if remainders is None or fitted.features.tokens is not None:
        return bags
    return split_rows(bags, np.flatnonzero(fitted.vocabulary >= 0).astype(np.int32), remainders)


def fit_group(name: str, group: ColumnGroup, searches: ColumnData, documents: ColumnData) -> FittedValues:
    """The meaning of each column of a group → its values in order, or the edges of its buckets; for a location, the
    keys of the cells of all its places.

    The columns hold training rows. Raises InputError for a column with fewer than two values, or with an identifier.
    """
    data = dict(zip(SIDES, (searches, documents), strict=True))
    match group:
        case Location():
            return {CELLS: _fit_cells(name, group, data)}
        case Values():
            parts = _parts_by_meaning(name, group, data)
            return {means: sorted(pc.unique(pa.concat_arrays(values)).to_pylist()) for means, values in parts.items()}
        case Numbers():
            parts = _parts_by_meaning(name, group, data)
            return {means: _edges(values, group.buckets) for means, values in parts.items()}
        case _:
            assert_never(group)


def _parts_by_meaning(name: str, group: Values | Numbers, data: dict[Side, ColumnData]) -> dict[str, list[pa.Array]]:
    """The meaning of each column → its values on each side."""
    parts_by_meaning: dict[str, list[pa.Array]] = {}
    for side in SIDES:
        for column in group.columns(side):
            where = f"groups.{name}: {side}.{column.column}"
            values, _ = flatten(data[side][column.column], group, where)
            _refuse_uninformative(values, group, where)
            parts_by_meaning.setdefault(column.means, []).append(values)
    return parts_by_meaning


def _fit_cells(name: str, group: Location, data: dict[Side, ColumnData]) -> list[float]:
    """The keys, in order, of the cells of both sides' places."""
    keys = [np.empty(0, np.int64)]
    for side in SIDES:
        latitude, longitude = places_of(name, group, side, data[side])
        known = np.isfinite(latitude)
        if not known.any():
            columns = " and ".join(f"{side}.{column.column}" for column in group.columns(side))
            raise InputError(
                f"groups.{name}: {columns} hold no known place in the training window. Leave the group out"
            )
        keys.append(location_cells(latitude[known], longitude[known], group.scales)[0].ravel())
    return [int(key) for key in np.unique(np.concatenate(keys))]


def _edges(parts: list[pa.Array], buckets: int) -> list[float]:
    """The distinct edges, in order, that cut the numbers of all parts into buckets of equal counts."""
    values = np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts])
    edges: list[float] = np.unique(np.quantile(values, np.arange(1, buckets) / buckets, method="higher")).tolist()
    return edges


def _refuse_uninformative(values: pa.Array, group: Values | Numbers, where: str) -> None:
    count, distinct = len(values), len(pc.unique(values))
    if distinct < 2:
        content = f"the value {values[0].as_py()!r} alone" if distinct else "no value"
        raise InputError(f"{where} holds {content} in the training window, so it distinguishes nothing. Leave it out")
    match group:
        case Values():
            if distinct / count > IDENTIFIER and not group.allow_identifier:
                raise InputError(
                    f"{where} holds {distinct:,} different values in {count:,}, more than half: an identifier, from "
                    "which nothing can be learned. Leave it out, or set allow_identifier: true"
                )
        case Numbers():
            pass
        case _:
            assert_never(group)


def group_bags(name: str, side: Side, data: ColumnData, rows: int, fitted: FittedFeatures) -> Bags:
    """(rows,) bags of a group of columns on the side "searches" or "documents".

    A value, or a cell, that training never saw is left out; a bag without known values is empty. Weights are 1 / the
    bag's size, those of cells the place's share in each.
    """
    group = fitted.features.column_group(name)
    match group:
        case Location():
            return _cell_bags(name, group, side, data, fitted.group_values[name][CELLS])
        case Values() | Numbers():
            return _value_bags(name, group, side, data, rows, fitted.group_values[name])
        case _:
            assert_never(group)


def _value_bags(
    name: str, group: Values | Numbers, side: Side, data: ColumnData, rows: int, fitted_values: FittedValues
) -> Bags:
    id_parts, row_parts, base = [np.empty(0, np.int32)], [np.empty(0, np.int32)], 0
    columns = {column.means: column.column for column in group.columns(side)}
    for means, values in fitted_values.items():
        if means in columns:
            ids, owner_rows = known_ids(data[columns[means]], group, values, f"groups.{name}: {side}.{columns[means]}")
            id_parts.append(base + ids)
            row_parts.append(owner_rows)
        base += group.rows(len(values))
    owners, ids = np.concatenate(row_parts), np.concatenate(id_parts)
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=rows)
    weights = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
    return Bags(np.concatenate([[0], np.cumsum(counts)]), ids[order].astype(np.int32), weights)


def _cell_bags(name: str, group: Location, side: Side, data: ColumnData, known_cells: list[str] | list[float]) -> Bags:
    """(rows,) the known cells of each row's place, with its share in each; empty where the place is unknown."""
    latitude, longitude = places_of(name, group, side, data)
    known, cells = np.isfinite(latitude), np.asarray(known_cells, np.int64)
    keys, shares = location_cells(np.where(known, latitude, 0), np.where(known, longitude, 0), group.scales)
    ids = np.minimum(np.searchsorted(cells, keys), len(cells) - 1)
    inside = (cells[ids] == keys) & (shares > 0) & known[:, None]
    return Bags(np.concatenate([[0], np.cumsum(inside.sum(1))]), ids[inside].astype(np.int32), shares[inside])
