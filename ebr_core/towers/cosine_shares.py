"""Why a document is near a query: the share of each feature group, and of each n-gram, in the cosine."""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.text.ngram_bags import Bags
from ebr_core.text.ngram_hashing import hash_texts, written_ngrams
from ebr_core.towers.fitted_features import FittedFeatures, table_bags, text_bags
from ebr_core.towers.fusion import Additive, Network
from ebr_core.towers.ngram_tower import NgramForward, NgramTower
from ebr_core.towers.tower import Tower
from ebr_core.towers.tower_inputs import Inputs, with_search


class Explanation(NamedTuple):
    """The parts of one cosine."""

    cosine: float
    groups: list[str]
    matrix: Float32 | None  # (G, G) query group × document group; its sum is the cosine. None for a network
    ablation: Float32  # (G,) the cosine minus the cosine without the group on both sides
    # The query's n-grams, the strongest first: the share of each (additive), or the loss without it (network).
    ngrams: list[tuple[str, float]]


def explain(
    tower: Tower, fitted: FittedFeatures, inputs: Inputs, query: str, search: int, document: int
) -> Explanation:
    """The parts of the cosine between the search at row `search`, whose text is the query, and the document row.

    Additive: c[g, h] = w_g w_h (û_g · û_h) / (‖x_q‖ ‖x_d‖), and an n-gram's part is that of its row in the query's sum.
    Raises InputError for a tower of another kind, whose cosine is not a sum over groups.
    """
    if not isinstance(tower, NgramTower):
        raise InputError(f"got a {type(tower).__name__}; only n-gram towers can be explained: choose such an arm")
    rows = np.array([search, document], np.int32)
    tower = tower.over(inputs)
    forward = tower.forward(rows)
    cosine = float(forward.vectors[0] @ forward.vectors[1])
    ablated_cosines = [_cosine(tower.over(inputs.without(name)), rows) for name in inputs.groups]
    matrix, names = None, list(inputs.groups)
    match tower.fusion:
        case Additive() as fusion:
            scales = _scales(fusion, forward)
            parts = forward.units * scales[:, :, None]  # (G, 2, D)
            matrix = parts[:, 0] @ parts[:, 1].T
            strength = _contributions(tower, fitted, forward, query, float(scales[0, 0]))
        case Network():
            strength = _losses_without(tower, fitted, query, rows, cosine)
        case _:
            assert_never(tower.fusion)
    ngram_shares = _by_spelling(written_ngrams(query, fitted.features.text), strength, fitted, query)
    return Explanation(
        cosine, names, matrix, np.array([cosine - ablated for ablated in ablated_cosines], np.float32), ngram_shares
    )


def _scales(fusion: Additive, forward: NgramForward) -> Float32:
    """(G, 2): the factor of each unit vector inside the embedding of the search and of the document."""
    if len(forward.units) == 1:
        return np.ones((1, 2), np.float32)
    lengths = np.where(forward.fused.norms > 0, forward.fused.norms, 1)
    return np.asarray(fusion.weights.T / lengths[None, :], np.float32)


def _cosine(tower: NgramTower, rows: Int32) -> float:
    vectors = tower.encode(rows)
    return float(vectors[0] @ vectors[1])


def _contributions(
    tower: NgramTower, fitted: FittedFeatures, forward: NgramForward, query: str, scale: float
) -> Float32:
    """(known n-grams,): the part of each in the cosine; their sum is the text's row of the matrix.

    scale: the factor of the unit vector of the query's text.
    """
    bags, params = _query_bags(fitted, query), tower.text
    rows = params.table[bags.ids] * bags.weights[:, None]
    if len(params.scales):
        rows = rows * params.scales[bags.ids][:, None]
    norm = forward.norms[0, 0] if forward.norms[0, 0] > 0 else 1
    parts = rows @ forward.vectors[1] / norm * np.float32(scale)
    return _per_ngram(parts, fitted)


def _losses_without(tower: NgramTower, fitted: FittedFeatures, query: str, rows: Int32, cosine: float) -> Float32:
    """(known n-grams,): the cosine minus the cosine without each."""
    text, wider_inputs = text_bags(pa.array([query]), fitted), tower.inputs
    for ngram in range(len(text.ids)):
        rest = len(text.ids) - 1
        bag = Bags(np.array([0, rest]), np.delete(text.ids, ngram), np.delete(text.weights, ngram))
        wider_inputs = with_search(wider_inputs, table_bags(bag, fitted), int(rows[0]))
    first = tower.inputs.rows
    vectors = tower.over(wider_inputs).encode(np.array([rows[1], *range(first, first + len(text.ids))], np.int32))
    return np.asarray(cosine - vectors[1:] @ vectors[0], np.float32)


def _query_bags(fitted: FittedFeatures, query: str) -> Bags:
    return table_bags(text_bags(pa.array([query]), fitted), fitted)


def _per_ngram(parts: Float32, fitted: FittedFeatures) -> Float32:
    """One number per n-gram, summed where each has two rows."""
    return parts if fitted.features.text.remainders is None else parts.reshape(-1, 2).sum(1)


def _by_spelling(
    spellings: list[str], strength: Float32, fitted: FittedFeatures, query: str
) -> list[tuple[str, float]]:
    """The known n-grams as strings with their parts, the strongest first; repetitions are summed."""
    hashed = hash_texts(pa.array([query]), fitted.features.text)
    in_vocabulary = fitted.vocabulary[hashed.ids] >= 0
    total: dict[str, float] = {}
    for spelling, value in zip(
        [s for s, k in zip(spellings, in_vocabulary, strict=True) if k], strength.tolist(), strict=True
    ):
        total[spelling] = total.get(spelling, 0.0) + value
    return sorted(total.items(), key=lambda item: -abs(item[1]))
