"""What a pretrained encoder says of the n-grams of a log: the rows at which an n-gram table starts to learn.

An n-gram is the mean of the words that it is part of, each as often as the log has it; a word is the mean of its
tokens' vectors. As in static models of words, the means lose their common direction, are turned to their principal
axes, of which a table keeps the first, and frequent ones count less. [Arora et al. 2017; model2vec]
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float32, Float64, Int64
from ebr_core.text.ngram_bags import Bags

COMMON = 1e-3  # share of all n-grams from which on an n-gram counts less than half


def words_of(texts: pa.ChunkedArray) -> tuple[pa.Array, Int64]:
    """(the distinct words of the texts, in order, how often each occurs). Words end at blanks, in lower case."""
    lists = pc.utf8_split_whitespace(pc.utf8_lower(pc.drop_null(texts)))
    counts = pc.value_counts(pc.list_flatten(lists))
    counts = counts.filter(pc.not_equal(counts.field("values"), ""))
    order = pc.array_sort_indices(counts.field("values"))
    sorted_counts = counts.take(order)
    return sorted_counts.field("values"), sorted_counts.field("counts").to_numpy().astype(np.int64)


def start_rows(
    bags: Bags, counts: Int64, vectors: Float32, rows: int, dimensions: int, rng: np.random.Generator
) -> Float32:
    """(rows, D) the start of an n-gram table, its rows of mean length 1.

    bags (W,): the table rows of each word's n-grams; counts (W,): how often the log has it; vectors (W, H): what the
    encoder says of it. Rows of n-grams that no single word has, such as pairs of words, are random, as are dimensions
    beyond those of the encoder.
    """
    from scipy import sparse

    of_word = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
    shape = rows, len(bags)
    occurrences = sparse.csr_matrix((counts[of_word].astype(np.float64), (bags.ids, of_word)), shape)
    total = np.asarray(occurrences.sum(1)).ravel()
    known = np.flatnonzero(total)
    means = (occurrences[known] @ vectors.astype(np.float64)) / total[known, None]
    axes = _principal_axes(means, total[known], dimensions)
    share = total[known] / max(total.sum(), 1)
    weighted = axes * (COMMON / (COMMON + share))[:, None]
    table = rng.standard_normal((rows, dimensions), np.float32) / np.float32(np.sqrt(dimensions))
    if len(known):
        length = np.linalg.norm(weighted, axis=1).mean()
        table[known, : weighted.shape[1]] = weighted / max(length, 1e-12)
    return table


def _principal_axes(means: Float64, weights: Float64, dimensions: int) -> Float64:
    """(n, min(D, H)) the vectors (n, H) without their mean, along the axes of the largest variance, each counted
    weights (n,) times."""
    centred = means - np.average(means, axis=0, weights=weights) if len(means) else means
    covariance = (centred * weights[:, None]).T @ centred
    _, vectors = np.linalg.eigh(covariance)
    first = vectors[:, ::-1][:, : min(dimensions, means.shape[1])]
    signs = np.sign(first[np.abs(first).argmax(0), np.arange(first.shape[1])])  # an axis has no direction of its own
    return np.asarray(centred @ (first * signs))
