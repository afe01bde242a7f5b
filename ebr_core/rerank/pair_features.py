"""The features of pairs of a search and a document, in evaluations and in answers alike, and the lists that a trained
ranker makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float32, Int32
from ebr_core.rerank.ranker_features import (
    Embedding,
    OrdinaryInputs,
    embedding_features,
    ordinary_features,
    sort_lists,
)
from ebr_core.text.terms import Terms, scores_of

if TYPE_CHECKING:
    import lightgbm  # takes a second: loaded where a ranker is read or trained

PAIRS = 65_536  # whose vectors are read at a time
CELLS = 2**25  # feature values at a time
_DAY_US = 86_400_000_000


class PairInputs(NamedTuple):
    """All that a ranker may read of S searches and of documents."""

    queries: Float32  # (S, D) or (h, S, D)
    documents: Float32  # (N, D)
    ordinary: OrdinaryInputs
    terms: Terms  # over the candidates
    texts: list[str]  # of distinct queries
    query_pos: Int32  # (S,) positions in texts
    candidate_pos: Int32  # (N,) positions of documents among the candidates, −1 elsewhere


class RankerModel(NamedTuple):
    """A trained ranker."""

    booster: lightgbm.Booster
    features: list[str]  # in the order in which the trees read them
    bias: str  # the treatment of position bias


def read_ranker(folder: Path) -> RankerModel:
    """The ranker in ranker.txt and ranker.json of a folder."""
    import lightgbm

    summary = json.loads((folder / "ranker.json").read_text())
    return RankerModel(
        lightgbm.Booster(model_str=(folder / "ranker.txt").read_text()), summary["features"], summary["bias"]
    )


def feature_matrix(
    inputs: PairInputs, embedding: Embedding, bias: str, searches: Int32, documents: Int32, positions: Int32
) -> tuple[list[str], Float32]:
    """(names, (P, F) features) of pairs: searches are positions (P,) from 0 to S − 1, documents rows (P,) of
    candidates."""
    names, columns = ordinary_features(inputs.ordinary, searches, documents)
    if len(inputs.terms.words):
        by_terms = scores_of(inputs.terms, inputs.texts, inputs.query_pos[searches], inputs.candidate_pos[documents])
        names, columns = ["bm25", "words_held", *names], [*by_terms, *columns]
    if bias == "position":
        names, columns = [*names, "position"], [*columns, np.where(positions > 0, positions, np.nan)]
    embedded_names, _ = embedding_features(embedding, inputs.queries, inputs.documents, searches[:0], documents[:0])
    rows = np.empty((len(searches), len(names) + len(embedded_names)), np.float32)
    for i, column in enumerate(columns):
        rows[:, i] = column
    for first in range(0, len(searches) if embedded_names else 0, PAIRS):
        part = slice(first, first + PAIRS)
        _, vectors = embedding_features(embedding, inputs.queries, inputs.documents, searches[part], documents[part])
        rows[part, len(names) :] = np.stack(vectors, 1)
    return [*names, *embedded_names], rows


def rank_lists(
    model: RankerModel, embedding: Embedding, inputs: PairInputs, lists: Int32, threads: int
) -> tuple[Int32, Float32]:
    """(lists, scores), both (S, K): the documents of each list by falling score of the trees, ties in the order of the
    list; −1 with −∞ comes last.

    lists (S, K) are rows of candidates, −1 behind the last. The position counts as the first. Raises ValueError if the
    inputs lack a feature that the ranker was trained on.
    """
    ordered, scores = lists.copy(), np.full(lists.shape, -np.inf, np.float32)
    for first, part in _blocks(lists, len(model.features)):
        search, pos = np.nonzero(part >= 0)
        ones = np.ones(len(search), np.int32)
        at = (first + search).astype(np.int32)
        names, rows = feature_matrix(inputs, embedding, model.bias, at, part[search, pos], ones)
        if names != model.features:
            raise ValueError(f"the ranker was trained on {model.features}, these are {names}")
        block = np.full(part.shape, -np.inf, np.float32)
        if len(search):
            block[search, pos] = model.booster.predict(rows, num_threads=threads)
        ordered[first : first + len(part)], scores[first : first + len(part)] = sort_lists(block, part), block
    return ordered, -np.sort(-scores, axis=1)


def _blocks(lists: Int32, features: int) -> Iterator[tuple[int, Int32]]:
    """(first, lists from there on), as many at a time as have CELLS feature values."""
    step = max(1, CELLS // max(1, lists.shape[1] * features))
    for first in range(0, len(lists), step):
        yield first, lists[first : first + step]


def number_values(values: pa.Array, known: pa.Array) -> Int32:
    """(n,) the number of each value among the sorted known ones; −2 for a value that is not among them, −1 for null."""
    ordered = pc.unique(known.drop_null()).sort()
    numbers = pc.fill_null(pc.index_in(values, ordered), -2).to_numpy().astype(np.int32)
    return np.where(values.is_null().to_numpy(zero_copy_only=False), -1, numbers).astype(np.int32)


def days_since_1970(instants: pa.ChunkedArray) -> Float32:
    """(n,) days since 1970, NaN where null; within a minute."""
    micros = instants.cast(pa.int64())
    days = pc.fill_null(micros, 0).to_numpy().astype(np.float64) / _DAY_US
    return np.where(micros.is_null().to_numpy(), np.nan, days).astype(np.float32)
