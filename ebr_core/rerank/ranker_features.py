"""Learning to rank: the pairs that a ranker is trained on, and their features. [EBR §5]"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from ebr_core.arrays import Bool, Float32, Float64, Int32, Int64
from ebr_core.frozen import Frozen
from ebr_core.towers.location_cells import distance_km

Embedding = Literal["none", "cosine", "hadamard", "raw"]


class Ranker(Frozen):
    """A learned order of an arm's results: LambdaMART [Burges 2010] over ordinary features and the arm's embedding."""

    of: str = Field(description="the arm or ensemble that retrieves, and whose embedding the ranker reads")
    index: str = Field("exact", description="the arm's index to search")
    depth: int = Field(
        200, ge=1, le=10_000, description="number of documents to reorder; the others follow as retrieved"
    )
    embedding: Embedding = Field(
        "none",
        description="features of the embedding: none, the cosine, the product in each dimension (hadamard), "
        "or both vectors (raw) [EBR §5]",
    )
    debias: Literal["auto", "propensities", "position", "none"] = Field(
        "auto",
        description="correction of position bias: propensities weights clicks by inverse propensities estimated from "
        "shuffled lists; position adds the position as a feature, fixed at 1 when scoring; none does nothing; auto "
        "uses the first of these that the log allows",
    )
    clip: float = Field(3, ge=1, le=1000, description="largest weight of a click")
    unshown: int = Field(
        100,
        ge=0,
        le=10_000,
        description="number of random documents per search, retrieved but not shown, that count as not clicked",
    )
    trees: int = Field(500, ge=1, le=10_000, description="largest number of trees")
    patience: int = Field(
        50, ge=1, le=10_000, description="number of trees without a better held-out nDCG@10 after which training stops"
    )
    leaves: int = Field(15, ge=2, le=1024, description="largest number of leaves in a tree")
    leaf_rows: int = Field(50, ge=1, le=1_000_000, description="smallest number of pairs in a leaf")
    learning_rate: float = Field(0.05, gt=0, le=1, description="factor by which each tree's output is multiplied")
    held_out: float = Field(
        0.2, gt=0, le=0.5, description="share of the searches, the newest ones, that chooses the number of trees"
    )

    @property
    def sources(self) -> dict[str, str]:
        """The arms that the ranker reads, by the keys that name them."""
        return {"of": self.of}

    @property
    def vector_sources(self) -> tuple[str, ...]:
        """The arms whose vectors it searches."""
        return (self.of,)


class OrdinaryInputs(NamedTuple):
    """Attributes of searches and documents besides the embedding; None or absent if the logs lack them."""

    clicks: Float32 | None  # (N,) log(1 + clicks of the training window)
    kinds: Float32 | None  # (N,) a code for each kind; NaN: no kind
    searched: Float32 | None  # (S,) days since a fixed instant
    created: Float32 | None  # (N,) the same; NaN: unknown
    title: Float32 | None  # (N,) characters
    query: Float32  # (S,) characters
    places: dict[str, tuple[Int32, Int32]]  # column → ((S,), (N,)) a code for each value, −1: no value
    located: tuple[Float64, Float64] | None = None  # ((S, 2), (N, 2)) latitude and longitude in degrees, NaN: unknown


class SearchResults(NamedTuple):
    """Results of searches, in any order."""

    searches: Int32  # (R,) indices of the searches
    documents: Int32  # (R,) document rows
    positions: Int32  # (R,) as shown; 1 if not shown, 0 if unknown
    weights: Float32  # (R,)


def select_results(results: SearchResults, mask: Bool) -> SearchResults:
    """The results selected by a mask (R,)."""
    return SearchResults(
        results.searches[mask], results.documents[mask], results.positions[mask], results.weights[mask]
    )


def concat_results(first: SearchResults, second: SearchResults) -> SearchResults:
    """The results of first, followed by those of second."""
    return SearchResults(
        np.concatenate([first.searches, second.searches]),
        np.concatenate([first.documents, second.documents]),
        np.concatenate([first.positions, second.positions]),
        np.concatenate([first.weights, second.weights]),
    )


class Examples(NamedTuple):
    """Training pairs in consecutive groups: one clicked document, and documents that were not clicked."""

    searches: Int32  # (P,) indices of the searches
    documents: Int32  # (P,) document rows
    clicked: Bool  # (P,) one True per group
    positions: Int32  # (P,) as shown; 1 if not shown
    weights: Float32  # (P,) that of the group
    sizes: Int64  # (G,) pairs of each group


def ordinary_features(ordinary: OrdinaryInputs, searches: Int32, documents: Int32) -> tuple[list[str], list[Float32]]:
    """(names, columns (P,)): the ordinary features of pairs, without those of terms. NaN if either side has no value.

    The age is that at the time of the search. A document created later has age 0.
    """
    features: dict[str, Float32 | None] = {
        "popularity": _take(ordinary.clicks, documents),
        "kind": _take(ordinary.kinds, documents),
        "title_length": _take(ordinary.title, documents),
        "query_length": ordinary.query[searches],
    }
    if ordinary.searched is not None and ordinary.created is not None:
        features["age_days"] = np.maximum(ordinary.searched[searches] - ordinary.created[documents], 0)
    for name, (search_codes, document_codes) in ordinary.places.items():
        search_values, document_values = search_codes[searches], document_codes[documents]
        features[f"same_{name}"] = np.where(
            (search_values == -1) | (document_values == -1), np.nan, search_values == document_values
        ).astype(np.float32)
    if ordinary.located is not None:
        origins, places = ordinary.located
        features["distance_km"] = distance_km(*origins[searches].T, *places[documents].T).astype(np.float32)
    available = {name: column for name, column in features.items() if column is not None}
    return list(available), list(available.values())


def _take(column: Float32 | None, rows: Int32) -> Float32 | None:
    return None if column is None else column[rows]


def embedding_features(
    kind: Embedding, queries: Float32, documents: Float32, search_at: Int32, rows: Int32
) -> tuple[list[str], list[Float32]]:
    """(names, columns (P,)): the embedding features of pairs.

    queries are (S, D), or (h, S, D), of which the vector nearest to the document counts.
    """
    if kind == "none":
        return [], []
    document_vectors = documents[rows]
    query_vectors = (queries if queries.ndim == 3 else queries[None])[:, search_at]
    cosines = np.einsum("hpd,pd->hp", query_vectors, document_vectors)
    if kind == "cosine":
        return ["cosine"], [cosines.max(0)]
    nearest = query_vectors[cosines.argmax(0), np.arange(len(search_at))]
    if kind == "hadamard":
        return [f"hadamard_{d}" for d in range(document_vectors.shape[1])], list((nearest * document_vectors).T)
    names = [f"{side}_{d}" for side in ("query", "document") for d in range(document_vectors.shape[1])]
    return names, [*nearest.T, *document_vectors.T]


def feature_group(feature: str) -> str:
    """The group under which a feature's gain is reported: all dimensions of a vector are one group.

    >>> [feature_group(feature) for feature in ("hadamard_12", "query_3", "query_length")]
    ['hadamard', 'query vector', 'query_length']
    """
    name, _, dimension = feature.rpartition("_")
    if not dimension.isdigit():
        return feature
    return f"{name} vector" if name in ("query", "document") else name


def sample_unshown(
    retrieved: Int32, searches: Int32, shown: Int32, count: int, rng: np.random.Generator
) -> tuple[Int32, Int32]:
    """(searches, documents): at most `count` random documents of each search's retrieved (S, K) that were not shown.

    searches and shown (R,) are all pairs that were shown.
    """
    width = np.int64(max(retrieved.max(initial=0), shown.max(initial=0)) + 1)
    keys = np.arange(len(retrieved))[:, None] * width + retrieved
    is_unshown = (retrieved >= 0) & ~np.isin(keys, searches * width + shown)
    priority = np.where(is_unshown, rng.random(retrieved.shape), np.inf)
    first = np.argsort(priority, axis=1, kind="stable")[:, :count]
    valid = np.take_along_axis(is_unshown, first, 1)
    return np.nonzero(valid)[0].astype(np.int32), np.take_along_axis(retrieved, first, 1)[valid]


def click_groups(clicked: SearchResults, negatives: SearchResults, searches: int) -> Examples:
    """A group for each click: the clicked document, followed by all documents of its search that were not clicked.

    A search with two clicks has two groups, and the weight of a click applies to each of its pairs, as inverse
    propensities require [Joachims, Swaminathan & Schnabel 2017]. A click whose search has no other document is left
    out. The weights of the documents not clicked are ignored. searches is the number of searches.
    """
    order = np.argsort(negatives.searches, kind="stable")
    counts = np.bincount(negatives.searches, minlength=searches)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    click_searches, documents, positions, weights = select_results(clicked, counts[clicked.searches] > 0)
    sizes = 1 + counts[click_searches]
    first = np.cumsum(sizes) - sizes
    group = np.repeat(np.arange(len(sizes)), sizes)
    pos = np.arange(len(group)) - first[group]
    is_click = pos == 0
    negative = order[starts[click_searches[group]] + np.maximum(pos - 1, 0)]
    return Examples(
        click_searches[group],
        np.where(is_click, documents[group], negatives.documents[negative]).astype(np.int32),
        is_click,
        np.where(is_click, positions[group], negatives.positions[negative]).astype(np.int32),
        weights[group].astype(np.float32),
        sizes.astype(np.int64),
    )


def sort_lists(scores: Float32, lists: Int32) -> Int32:
    """lists (Q, K) sorted by falling scores (Q, K); ties keep their order, and −1 comes last."""
    order = np.argsort(np.where(lists >= 0, -scores, np.inf), axis=1, kind="stable")
    return np.take_along_axis(lists, order, 1)
