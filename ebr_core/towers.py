"""The two towers f(Q) and g(D): a table of n-gram vectors, a weighted sum over each bag, unit length. [EBR §2.3]

Both towers read one table. Where they are separate, document n-grams are moved behind the query n-grams, so that every
kernel sees one table and one set of bags: first the queries' bags, then the documents'.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from safetensors.numpy import load_file, save_file

from ebr_core.bags import Bags, Float32, Int32
from ebr_core.config import TextFeatures


class Inputs(NamedTuple):
    """What the towers read. Rows are the log's searches, then its documents."""

    bags: Bags  # of the distinct query texts, then of the documents
    bag_of: Int32  # (S + N,) the bag of each row
    searches: int  # S

    def rows_of(self, documents: Int32) -> Int32:
        """The rows of those documents."""
        return np.asarray(self.searches + documents, np.int32)


class Encoder(NamedTuple):
    """Both towers while they learn: their parameters, and what the optimiser keeps."""

    table: Float32  # (rows, D)
    squares: Float32  # (rows,) of row-wise Adagrad
    slot: Int32  # (rows,) scratch, all −1


class Encoded(NamedTuple):
    """The embeddings of some rows, and what the way back needs."""

    vectors: Float32  # (n, D) of unit length
    norms: Float32  # (n,) before they were scaled
    bag_rows: Int32  # (n,)


class Towers(NamedTuple):
    """Everything that turns a text into an embedding."""

    table: Float32  # (rows, D)
    vocabulary: Int32  # (buckets,): row of a bucket, −1 where training never saw it
    features: TextFeatures
    shared: bool  # separate towers: a document's rows lie known_rows further on
    squares: Float32  # (rows,) of the optimiser, for an arm that starts from these towers

    @property
    def document_offset(self) -> int:
        """How far behind the query rows the document rows lie; 0 when the towers share them."""
        return 0 if self.shared else len(self.table) // 2


@njit(cache=True, nogil=True, parallel=True)
def embed_bags(table, offsets, ids, weights, rows, vectors, norms):  # type: ignore[no-untyped-def]
    """Fills vectors (n, D) with the unit-length weighted sums of the bags at rows (n,), norms (n,) with their lengths.

    An empty bag gives the zero vector, which is as far from everything as from nothing: cosine 0.
    """
    for at in prange(len(rows)):
        vector = vectors[at]
        vector[:] = 0
        for entry in range(offsets[rows[at]], offsets[rows[at] + 1]):
            row, weight = table[ids[entry]], weights[entry]
            for d in range(len(vector)):
                vector[d] += weight * row[d]
        square = np.float32(0)
        for d in range(len(vector)):
            square += vector[d] * vector[d]
        norms[at] = np.sqrt(square)
        if square > 0:
            scale = np.float32(1) / norms[at]
            for d in range(len(vector)):
                vector[d] *= scale


def embed(table: Float32, bags: Bags, rows: Int32 | None = None) -> Float32:
    """(n, D) unit vectors of the bags at rows (all, where rows is None)."""
    rows = np.arange(len(bags), dtype=np.int32) if rows is None else rows
    vectors = np.empty((len(rows), table.shape[1]), np.float32)
    embed_bags(table, bags.offsets, bags.ids, bags.weights, rows, vectors, np.empty(len(rows), np.float32))
    return vectors


def inputs_of(queries: Bags, documents: Bags, document_offset: int, query_of: Int32) -> Inputs:
    """The inputs of both towers: query_of (S,) is the query of each search, document ids move by document_offset."""
    bags = stack(queries, documents, document_offset)
    document_bags = np.arange(len(queries), len(bags), dtype=np.int32)
    return Inputs(bags, np.concatenate([query_of, document_bags]).astype(np.int32), len(query_of))


def new_encoder(table_rows: int, dimensions: int, rng: np.random.Generator) -> Encoder:
    """Towers that have learnt nothing: rows of standard normal numbers over √D, about of unit length."""
    table = rng.standard_normal((table_rows, dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    return Encoder(table, np.zeros(table_rows, np.float32), np.full(table_rows, -1, np.int32))


def encoder_of(towers: Towers) -> Encoder:
    """The towers, ready to learn on from where they were."""
    return Encoder(towers.table, towers.squares, np.full(len(towers.table), -1, np.int32))


def encode(encoder: Encoder, inputs: Inputs, rows: Int32) -> Encoded:
    """The embeddings of the searches or documents at rows (n,), each through its own tower."""
    bag_rows = inputs.bag_of[rows]
    vectors, norms = np.empty((len(rows), encoder.table.shape[1]), np.float32), np.empty(len(rows), np.float32)
    embed_bags(encoder.table, inputs.bags.offsets, inputs.bags.ids, inputs.bags.weights, bag_rows, vectors, norms)
    return Encoded(vectors, norms, bag_rows)


def improve(encoder: Encoder, inputs: Inputs, encoded: Encoded, gradient: Float32, rate: float) -> None:
    """One step of the optimiser, in place; gradient (n, D) is ∂L/∂(unit vectors) and is used up."""
    through_norm(gradient, encoded.vectors, encoded.norms)
    learn(encoder.table, encoder.squares, encoder.slot, inputs.bags, encoded.bag_rows, gradient, rate)


def stack(queries: Bags, documents: Bags, document_offset: int) -> Bags:
    """One set of bags: the queries', then the documents' with their ids moved by document_offset."""
    return Bags(
        np.concatenate([queries.offsets, documents.offsets[1:] + queries.offsets[-1]]),
        np.concatenate([queries.ids, documents.ids + np.int32(document_offset)]),
        np.concatenate([queries.weights, documents.weights]),
    )


@njit(cache=True, nogil=True)
def _occurrences(offsets, ids, weights, rows, slot):  # type: ignore[no-untyped-def]
    """Turns the batch inside out: for each distinct id the bags that hold it, in order.

    slot (table rows,) comes and goes as −1.

    Returns (distinct ids (U,), starts (U + 1,), bag of each occurrence, weight of each occurrence).
    """
    total = 0
    for row in rows:
        total += offsets[row + 1] - offsets[row]
    distinct, counts, u = np.empty(total, np.int32), np.zeros(total + 1, np.int64), 0
    for row in rows:
        for entry in range(offsets[row], offsets[row + 1]):
            if slot[ids[entry]] < 0:
                slot[ids[entry]] = u
                distinct[u] = ids[entry]
                u += 1
            counts[slot[ids[entry]] + 1] += 1
    starts = np.cumsum(counts[: u + 1])
    fill, bag_of, weight_of = starts.copy(), np.empty(total, np.int32), np.empty(total, np.float32)
    for at in range(len(rows)):
        for entry in range(offsets[rows[at]], offsets[rows[at] + 1]):
            place = fill[slot[ids[entry]]]
            bag_of[place], weight_of[place] = at, weights[entry]
            fill[slot[ids[entry]]] += 1
    for at in range(u):
        slot[distinct[at]] = -1
    return distinct[:u], starts, bag_of, weight_of


@njit(cache=True, nogil=True, parallel=True)
def _update(table, squares, rate, gradient, distinct, starts, bag_of, weight_of):  # type: ignore[no-untyped-def]
    """Row-wise Adagrad: one accumulator a row, of the mean squared gradient over its D coordinates."""
    for u in prange(len(distinct)):
        total = np.zeros(table.shape[1], np.float32)
        for at in range(starts[u], starts[u + 1]):
            part, weight = gradient[bag_of[at]], weight_of[at]
            for d in range(len(total)):
                total[d] += weight * part[d]
        square = np.float32(0)
        for d in range(len(total)):
            square += total[d] * total[d]
        if square > 0:
            squares[distinct[u]] += square / np.float32(len(total))
            step = np.float32(rate) / np.sqrt(squares[distinct[u]])
            row = table[distinct[u]]
            for d in range(len(total)):
                row[d] -= step * total[d]


@njit(cache=True, nogil=True, parallel=True)
def through_norm(gradient, vectors, norms):  # type: ignore[no-untyped-def]
    """Turns ∂L/∂u into ∂L/∂x in place, u = x / ‖x‖: (g − (g·u) u) / ‖x‖; all (n, D) or (n,)."""
    for at in prange(len(norms)):
        if norms[at] == 0:
            gradient[at] = 0
            continue
        along = np.float32(0)
        for d in range(gradient.shape[1]):
            along += gradient[at, d] * vectors[at, d]
        for d in range(gradient.shape[1]):
            gradient[at, d] = (gradient[at, d] - along * vectors[at, d]) / norms[at]


def learn(
    table: Float32, squares: Float32, slot: Int32, bags: Bags, rows: Int32, gradient: Float32, rate: float
) -> None:
    """One step of row-wise Adagrad on the table rows of the bags at rows, the same bytes for any number of threads.

    gradient (n, D) is ∂L/∂(the bag's sum); squares (table rows,) accumulates; slot (table rows,) is scratch, all −1.
    """
    inside_out = _occurrences(bags.offsets, bags.ids, bags.weights, rows, slot)
    _update(table, squares, rate, gradient, *inside_out)


def save_towers(towers: Towers, folder: Path) -> None:
    """Writes towers.safetensors and manifest.json into folder."""
    tensors = {"table": towers.table, "vocabulary": towers.vocabulary, "squares": towers.squares}
    save_file(tensors, folder / "towers.safetensors")
    manifest = {"features": towers.features.model_dump(mode="json"), "shared": towers.shared}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))


def load_towers(folder: Path) -> Towers:
    """The towers that save_towers wrote into folder."""
    manifest = json.loads((folder / "manifest.json").read_text())
    tensors = load_file(folder / "towers.safetensors")
    features = TextFeatures.model_validate(manifest["features"])
    return Towers(tensors["table"], tensors["vocabulary"], features, manifest["shared"], tensors["squares"])
