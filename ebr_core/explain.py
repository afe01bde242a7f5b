"""Why a document is near a query: what each feature group, and each n-gram, has to do with the cosine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ebr_core.bags import Bags, Float32, Int32, hash_texts, spelt
from ebr_core.fitted import Fitted, table_bags, text_bags
from ebr_core.fusion import Additive
from ebr_core.inputs import Bagged, Dense, Inputs, with_search
from ebr_core.towers import Encoded, Encoder, Table, encode


class Explained(NamedTuple):
    """The parts of one cosine."""

    cosine: float
    groups: list[str]
    matrix: Float32 | None  # (G, G) query group × document group; its sum is the cosine. None for a network
    left_out: Float32  # (G,) the cosine less what it is without the group on both sides
    ngrams: list[
        tuple[str, float]
    ]  # of the query, the strongest first: what each adds (additive), or takes away with it


def explain(encoder: Encoder, fitted: Fitted, inputs: Inputs, query: str, search: int, document: int) -> Explained:
    """The parts of the cosine of the search row, whose text is the query, and the document row.

    Additive: c[g, h] = w_g w_h (û_g · û_h) / (‖x_q‖ ‖x_d‖), and an n-gram's part is that of its row in the query's sum.
    """
    rows = np.array([search, document], np.int32)
    encoded = encode(encoder, inputs, rows)
    cosine = float(encoded.vectors[0] @ encoded.vectors[1])
    without = [_cosine(encoder, _without(inputs, name), rows) for name in inputs.groups]
    matrix, names = None, list(inputs.groups)
    if isinstance(encoder.fusion, Additive):
        parts = encoded.units * _scales(encoder.fusion, encoded)[:, :, None]  # (G, 2, D)
        matrix = parts[:, 0] @ parts[:, 1].T
        strength = _added(encoder, fitted, encoded, query)
    else:
        strength = _missed(encoder, fitted, inputs, query, rows, cosine)
    told = _by_spelling(spelt(query, fitted.features.text), strength, fitted, query)
    return Explained(cosine, names, matrix, np.array([cosine - other for other in without], np.float32), told)


def _scales(fusion: Additive, encoded: Encoded) -> Float32:
    """(G, 2): what each unit vector is multiplied with inside the embedding of the search and of the document."""
    if len(encoded.units) == 1:
        return np.ones((1, 2), np.float32)
    lengths = np.where(encoded.fused.norms > 0, encoded.fused.norms, 1)
    return np.asarray(fusion.weights.T / lengths[None, :], np.float32)


def _cosine(encoder: Encoder, inputs: Inputs, rows: Int32) -> float:
    vectors = encode(encoder, inputs, rows).vectors
    return float(vectors[0] @ vectors[1])


def _without(inputs: Inputs, name: str) -> Inputs:
    """The same inputs with one group missing everywhere."""
    group = inputs.groups[name]
    if isinstance(group, Dense):
        missing: Bagged | Dense = group._replace(at=np.full_like(group.at, -1))
    else:
        nothing = Bags(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
        missing = group._replace(bags=nothing, at=np.zeros_like(group.at))
    return inputs._replace(groups={**inputs.groups, name: missing})


def _added(encoder: Encoder, fitted: Fitted, encoded: Encoded, query: str) -> Float32:
    """(n-grams known,): what each adds to the cosine; their sum is the text's row of the matrix."""
    assert isinstance(encoder.fusion, Additive)
    bags, learnt = _known(fitted, query), encoder.groups["text"]
    assert isinstance(learnt, Table)
    rows = learnt.table[bags.ids] * bags.weights[:, None]
    if len(learnt.scales):
        rows = rows * learnt.scales[bags.ids][:, None]
    norm = encoded.norms[0, 0] if encoded.norms[0, 0] > 0 else 1
    parts = rows @ encoded.vectors[1] / norm * _scales(encoder.fusion, encoded)[0, 0]
    return _per_ngram(parts, fitted)


def _missed(encoder: Encoder, fitted: Fitted, inputs: Inputs, query: str, rows: Int32, cosine: float) -> Float32:
    """(n-grams known,): how much lower the cosine is without each."""
    text, wider = text_bags(pa.array([query]), fitted), inputs
    for one in range(len(text.ids)):
        rest = len(text.ids) - 1
        bag = Bags(np.array([0, rest]), np.delete(text.ids, one), np.delete(text.weights, one))
        wider = with_search(wider, table_bags(bag, fitted), int(rows[0]))
    first = len(inputs.groups["text"].at)
    vectors = encode(encoder, wider, np.array([rows[1], *range(first, first + len(text.ids))], np.int32)).vectors
    return np.asarray(cosine - vectors[1:] @ vectors[0], np.float32)


def _known(fitted: Fitted, query: str) -> Bags:
    return table_bags(text_bags(pa.array([query]), fitted), fitted)


def _per_ngram(parts: Float32, fitted: Fitted) -> Float32:
    """One number an n-gram, where each has two rows."""
    return parts if fitted.features.text.remainders is None else parts.reshape(-1, 2).sum(1)


def _by_spelling(spellings: list[str], strength: Float32, fitted: Fitted, query: str) -> list[tuple[str, float]]:
    """The n-grams as they are written, those that training knew, the strongest first; repetitions are summed."""
    hashed = hash_texts(pa.array([query]), fitted.features.text)
    known = fitted.vocabulary[hashed.ids] >= 0
    total: dict[str, float] = {}
    for spelling, value in zip([s for s, k in zip(spellings, known, strict=True) if k], strength.tolist(), strict=True):
        total[spelling] = total.get(spelling, 0.0) + value
    return sorted(total.items(), key=lambda item: -abs(item[1]))
