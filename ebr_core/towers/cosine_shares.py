"""Why a document is near a query: what each feature group, and each n-gram, has to do with the cosine."""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.text.ngram_bags import Bags
from ebr_core.text.ngram_hashing import hash_texts, spelt
from ebr_core.towers.fitted_features import Fitted, table_bags, text_bags
from ebr_core.towers.fusion import Additive, Network
from ebr_core.towers.ngram_tower import Encoded, NgramTower
from ebr_core.towers.tower import Tower
from ebr_core.towers.tower_inputs import Inputs, with_search


class Explained(NamedTuple):
    """The parts of one cosine."""

    cosine: float
    groups: list[str]
    matrix: Float32 | None  # (G, G) query group × document group; its sum is the cosine. None for a network
    left_out: Float32  # (G,) the cosine less what it is without the group on both sides
    ngrams: list[
        tuple[str, float]
    ]  # of the query, the strongest first: what each adds (additive), or takes away with it


def explain(tower: Tower, fitted: Fitted, inputs: Inputs, query: str, search: int, document: int) -> Explained:
    """The parts of the cosine of the search row, whose text is the query, and the document row.

    Additive: c[g, h] = w_g w_h (û_g · û_h) / (‖x_q‖ ‖x_d‖), and an n-gram's part is that of its row in the query's sum.
    Errors: a tower of another kind, whose cosine is no sum over groups.
    """
    if not isinstance(tower, NgramTower):
        raise InputError(f"got a {type(tower).__name__}; only n-gram towers can be explained, choose such an arm")
    rows = np.array([search, document], np.int32)
    tower = tower.over(inputs)
    encoded = tower.forward(rows)
    cosine = float(encoded.vectors[0] @ encoded.vectors[1])
    without = [_cosine(tower.over(inputs.without(name)), rows) for name in inputs.groups]
    matrix, names = None, list(inputs.groups)
    match tower.fusion:
        case Additive() as fusion:
            scales = _scales(fusion, encoded)
            parts = encoded.units * scales[:, :, None]  # (G, 2, D)
            matrix = parts[:, 0] @ parts[:, 1].T
            strength = _added(tower, fitted, encoded, query, float(scales[0, 0]))
        case Network():
            strength = _missed(tower, fitted, query, rows, cosine)
        case _:
            assert_never(tower.fusion)
    told = _by_spelling(spelt(query, fitted.features.text), strength, fitted, query)
    return Explained(cosine, names, matrix, np.array([cosine - other for other in without], np.float32), told)


def _scales(fusion: Additive, encoded: Encoded) -> Float32:
    """(G, 2): what each unit vector is multiplied with inside the embedding of the search and of the document."""
    if len(encoded.units) == 1:
        return np.ones((1, 2), np.float32)
    lengths = np.where(encoded.fused.norms > 0, encoded.fused.norms, 1)
    return np.asarray(fusion.weights.T / lengths[None, :], np.float32)


def _cosine(tower: NgramTower, rows: Int32) -> float:
    vectors = tower.encode(rows)
    return float(vectors[0] @ vectors[1])


def _added(tower: NgramTower, fitted: Fitted, encoded: Encoded, query: str, scale: float) -> Float32:
    """(n-grams known,): what each adds to the cosine; their sum is the text's row of the matrix.

    scale: what the unit vector of the query's text is multiplied with.
    """
    bags, params = _known(fitted, query), tower.text
    rows = params.table[bags.ids] * bags.weights[:, None]
    if len(params.scales):
        rows = rows * params.scales[bags.ids][:, None]
    norm = encoded.norms[0, 0] if encoded.norms[0, 0] > 0 else 1
    parts = rows @ encoded.vectors[1] / norm * np.float32(scale)
    return _per_ngram(parts, fitted)


def _missed(tower: NgramTower, fitted: Fitted, query: str, rows: Int32, cosine: float) -> Float32:
    """(n-grams known,): how much lower the cosine is without each."""
    text, wider = text_bags(pa.array([query]), fitted), tower.inputs
    for one in range(len(text.ids)):
        rest = len(text.ids) - 1
        bag = Bags(np.array([0, rest]), np.delete(text.ids, one), np.delete(text.weights, one))
        wider = with_search(wider, table_bags(bag, fitted), int(rows[0]))
    first = tower.inputs.rows
    vectors = tower.over(wider).encode(np.array([rows[1], *range(first, first + len(text.ids))], np.int32))
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
