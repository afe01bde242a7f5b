"""Learning to rank: which pairs a ranker reads, and what it reads of them. [EBR §5]"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from ebr_core.arrays import Bool, Float32, Int32, Int64
from ebr_core.frozen import Frozen

Embedding = Literal["none", "cosine", "hadamard", "raw"]


class Ranker(Frozen):
    """A learnt order of what an arm retrieves: LambdaMART [Burges 2010] over ordinary features, and its embedding."""

    of: str = Field(description="the arm or ensemble that retrieves, and whose embedding is read")
    index: str = Field("exact", description="the index that it retrieves through")
    depth: int = Field(200, ge=1, le=10_000, description="documents that it orders; behind them the retrieval's follow")
    embedding: Embedding = Field(
        "none",
        description="what is read of the embedding: nothing, the cosine, the products of each dimension (hadamard), "
        "or both vectors as they are (raw) [EBR §5]",
    )
    debias: Literal["auto", "propensities", "position", "none"] = Field(
        "auto",
        description="what is done about position bias: clicks weighted by inverse propensities, which shuffled lists "
        "tell; the position as a feature, held at 1 when scoring; nothing. auto: the first that the log allows",
    )
    clip: float = Field(3, ge=1, le=1000, description="the largest weight of a click")
    unshown: int = Field(
        100,
        ge=0,
        le=10_000,
        description="documents of each search's list that it retrieved and nobody was shown, drawn at random, that "
        "count as not clicked",
    )
    trees: int = Field(500, ge=1, le=10_000, description="at most")
    patience: int = Field(50, ge=1, le=10_000, description="trees without a better held-out nDCG@10 before it stops")
    leaves: int = Field(15, ge=2, le=1024, description="leaves of a tree, at most")
    leaf_rows: int = Field(50, ge=1, le=1_000_000, description="pairs in a leaf, at least")
    learning_rate: float = Field(0.05, gt=0, le=1, description="how much of each tree is added")
    held_out: float = Field(
        0.2, gt=0, le=0.5, description="the newest share of its searches, which decides how many trees are kept"
    )

    @property
    def sources(self) -> dict[str, str]:
        """The arms that it reads, by the keys that name them."""
        return {"of": self.of}

    @property
    def searched(self) -> tuple[str, ...]:
        """Those of them whose vectors it searches."""
        return (self.of,)


class Ordinary(NamedTuple):
    """What is known of searches and documents beside the embedding; None or left out: these logs do not tell."""

    clicks: Float32 | None  # (N,) log(1 + clicks of the training window)
    kinds: Float32 | None  # (N,) a number for each kind; NaN: none
    searched: Float32 | None  # (S,) days since any fixed instant
    created: Float32 | None  # (N,) the same; NaN: not known
    title: Float32 | None  # (N,) characters
    query: Float32  # (S,) characters
    places: dict[str, tuple[Int32, Int32]]  # column → ((S,), (N,)) a number for each value, −1: none


class Placed(NamedTuple):
    """Results of searches, in any order."""

    searches: Int32  # (R,) places among the searches
    documents: Int32  # (R,) document rows
    positions: Int32  # (R,) as shown; 1 for what was not, 0: not known
    weights: Float32  # (R,)


def those(placed: Placed, kept: Bool) -> Placed:
    """The results that are kept (R,)."""
    return Placed(placed.searches[kept], placed.documents[kept], placed.positions[kept], placed.weights[kept])


def both(one: Placed, other: Placed) -> Placed:
    """The results of one, then those of the other."""
    return Placed(
        np.concatenate([one.searches, other.searches]),
        np.concatenate([one.documents, other.documents]),
        np.concatenate([one.positions, other.positions]),
        np.concatenate([one.weights, other.weights]),
    )


class Examples(NamedTuple):
    """Pairs to learn an order from, a group behind the other: one click, and what was not clicked."""

    searches: Int32  # (P,) places among the searches
    documents: Int32  # (P,) document rows
    clicked: Bool  # (P,) one a group
    positions: Int32  # (P,) as shown; 1 for what was not
    weights: Float32  # (P,) of its group
    sizes: Int64  # (G,) pairs of each group


def describe(ordinary: Ordinary, searches: Int32, documents: Int32) -> tuple[list[str], list[Float32]]:
    """(names, columns (P,)): the ordinary features of pairs, but for those of terms. NaN where one side does not say.

    Age is that at the search; a document not yet there counts as new.
    """
    named: dict[str, Float32 | None] = {
        "popularity": _at(ordinary.clicks, documents),
        "kind": _at(ordinary.kinds, documents),
        "title_length": _at(ordinary.title, documents),
        "query_length": ordinary.query[searches],
    }
    if ordinary.searched is not None and ordinary.created is not None:
        named["age_days"] = np.maximum(ordinary.searched[searches] - ordinary.created[documents], 0)
    for name, (of_searches, of_documents) in ordinary.places.items():
        ours, theirs = of_searches[searches], of_documents[documents]
        named[f"same_{name}"] = np.where((ours == -1) | (theirs == -1), np.nan, ours == theirs).astype(np.float32)
    there = {name: column for name, column in named.items() if column is not None}
    return list(there), list(there.values())


def _at(column: Float32 | None, rows: Int32) -> Float32 | None:
    return None if column is None else column[rows]


def embedded(
    kind: Embedding, queries: Float32, documents: Float32, at: Int32, rows: Int32
) -> tuple[list[str], list[Float32]]:
    """(names, columns (P,)) of what a ranker reads of the vectors of pairs; queries (S, D) or (h, S, D), the nearest of
    a search's h vectors."""
    if kind == "none":
        return [], []
    theirs = documents[rows]
    ours = (queries if queries.ndim == 3 else queries[None])[:, at]
    cosines = np.einsum("hpd,pd->hp", ours, theirs)
    if kind == "cosine":
        return ["cosine"], [cosines.max(0)]
    near = ours[cosines.argmax(0), np.arange(len(at))]
    if kind == "hadamard":
        return [f"hadamard_{d}" for d in range(theirs.shape[1])], list((near * theirs).T)
    names = [f"{side}_{d}" for side in ("query", "document") for d in range(theirs.shape[1])]
    return names, [*near.T, *theirs.T]


def group_of(feature: str) -> str:
    """The group that a feature's gain is counted under: a vector's dimensions are one.

    >>> group_of("hadamard_12"), group_of("query_3"), group_of("query_length")
    ('hadamard', 'query vector', 'query_length')
    """
    name, _, dimension = feature.rpartition("_")
    if not dimension.isdigit():
        return feature
    return f"{name} vector" if name in ("query", "document") else name


def unshown(
    retrieved: Int32, searches: Int32, shown: Int32, count: int, rng: np.random.Generator
) -> tuple[Int32, Int32]:
    """(searches, documents): of each search's retrieved (S, K) up to count that were not shown, drawn at random.

    searches and shown (R,): every pair that was shown.
    """
    width = np.int64(max(retrieved.max(initial=0), shown.max(initial=0)) + 1)
    keys = np.arange(len(retrieved))[:, None] * width + retrieved
    free = (retrieved >= 0) & ~np.isin(keys, searches * width + shown)
    chance = np.where(free, rng.random(retrieved.shape), np.inf)
    first = np.argsort(chance, axis=1, kind="stable")[:, :count]
    kept = np.take_along_axis(free, first, 1)
    return np.nonzero(kept)[0].astype(np.int32), np.take_along_axis(retrieved, first, 1)[kept]


def by_click(clicked: Placed, others: Placed, searches: int) -> Examples:
    """A group for each click: the clicked document, then all of its search's that nobody clicked.

    So a search with two clicks is two groups, and a click's weight counts for each of its pairs, as inverse
    propensities ask [Joachims, Swaminathan & Schnabel 2017]. A click of a search without others teaches nothing and is
    left out; the others' weights do not count. searches: how many there are.
    """
    order = np.argsort(others.searches, kind="stable")
    counts = np.bincount(others.searches, minlength=searches)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    of_click, documents, positions, weights = those(clicked, counts[clicked.searches] > 0)
    sizes = 1 + counts[of_click]
    first = np.cumsum(sizes) - sizes
    group = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(group)) - first[group]
    is_click = place == 0
    other = order[starts[of_click[group]] + np.maximum(place - 1, 0)]
    return Examples(
        of_click[group],
        np.where(is_click, documents[group], others.documents[other]).astype(np.int32),
        is_click,
        np.where(is_click, positions[group], others.positions[other]).astype(np.int32),
        weights[group].astype(np.float32),
        sizes.astype(np.int64),
    )


def first_of(order: Float32, lists: Int32) -> Int32:
    """lists (Q, K) in the falling order of their scores (Q, K); ties stay, −1 comes last."""
    place = np.argsort(np.where(lists >= 0, -order, np.inf), axis=1, kind="stable")
    return np.take_along_axis(lists, place, 1)
