"""The inputs of the towers: for each feature group, the bag or vector of each row.

Rows are the log's searches, then its documents, then rows that training adds, such as misspelt copies of searches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, assert_never

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import IN_RAM, Array, Scratch, pieces
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.vector_config import Adapt, LowRank


class BagGroup(NamedTuple):
    """A group of bags over one table. If the towers are separate, the documents' ids follow the queries'."""

    bags: Bags
    at: Int32  # (rows,) the bag of each row; an empty bag is a missing group
    table_rows: int
    query_rows: int = 0  # the first table rows, which a query's text may read


class VectorGroup(NamedTuple):
    """A group of given vectors."""

    vectors: Float32  # (V, D′)
    at: Int32  # (rows,) the vector of each row; −1 if the group is missing
    adapt: Adapt | None = None  # the maps that are learned; None: of a graph, whose axes mean nothing: both, from noise

    def learns(self, side: int) -> bool:
        """True if the map of a side, 0 for searches and 1 for documents, is learned."""
        match self.adapt:
            case None | "both" | LowRank(sides="both"):
                return True
            case "queries" | LowRank():
                return side == 0
            case "none":
                return False
            case _:
                assert_never(self.adapt)


_NO_BAG = Bags(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))  # a single empty bag


class Inputs(NamedTuple):
    """All groups by name, the text first."""

    groups: dict[str, BagGroup | VectorGroup]
    searches: int  # S
    documents: int  # N
    views: tuple[int, ...] = (0,)  # the first row of the searches of each query vector
    sums: bool = True  # False: each side reads a single group, whose weight means nothing

    def queries_of(self, searches: Int32) -> Int32:
        """(h·n,) the rows of the searches (n,), one query vector after the other."""
        if len(self.views) == 1:
            return np.asarray(searches, np.int32)
        return np.concatenate([np.asarray(first + searches, np.int32) for first in self.views])

    def rows_of(self, documents: Int32) -> Int32:
        """The rows of the documents."""
        return np.asarray(self.searches + documents, np.int32)

    def side_of(self, rows: Int32) -> Int32:
        """(n,) 1 for rows of documents, 0 for rows of searches."""
        return ((rows >= self.searches) & (rows < self.searches + self.documents)).astype(np.int32)

    @property
    def document_rows(self) -> slice:
        """The rows of all documents."""
        return slice(self.searches, self.searches + self.documents)

    @property
    def rows(self) -> int:
        """The number of rows, added ones included."""
        return len(self.groups["text"].at)

    @property
    def text(self) -> BagGroup:
        """The group of the texts."""
        match self.groups["text"]:
            case BagGroup() as text:
                return text
            case VectorGroup():
                raise TypeError("the group text holds given vectors, expected bags of n-grams")
            case _:
                assert_never(self.groups["text"])

    def arrays(self) -> Iterator[Array]:
        """All arrays of all groups, which batches read at random positions."""
        for group in self.groups.values():
            match group:
                case BagGroup():
                    yield from (*group.bags, group.at)
                case VectorGroup():
                    yield from (group.vectors, group.at)
                case _:
                    assert_never(group)

    def without(self, name: str) -> Inputs:
        """The same inputs with one group missing in every row."""
        group = self.groups[name]
        match group:
            case BagGroup():
                missing: BagGroup | VectorGroup = group._replace(bags=_NO_BAG, at=np.zeros_like(group.at))
            case VectorGroup():
                missing = group._replace(at=np.full_like(group.at, -1))
            case _:
                assert_never(group)
        return self._replace(groups={**self.groups, name: missing})


NO_ROWS = Inputs({}, 0, 0)


def stack_bags(queries: Bags, documents: Bags, document_offset: int, scratch: Scratch = IN_RAM) -> Bags:
    """One set of bags: the queries', then the documents' with document_offset added to their ids."""
    ngrams = queries.offsets[-1]
    shifted_offsets = (part + ngrams for part in pieces(documents.offsets[1:]))
    shifted_ids = (part + np.int32(document_offset) for part in pieces(documents.ids))
    return Bags(
        scratch.column(chain(pieces(queries.offsets), shifted_offsets), np.int64),
        scratch.column(chain(pieces(queries.ids), shifted_ids), np.int32),
        scratch.column(chain(pieces(queries.weights), pieces(documents.weights)), np.float32),
    )


def bag_group(
    searches: Bags,
    documents: Bags,
    table_rows: int,
    shared: bool,
    bag_of: Int32 | None = None,
    scratch: Scratch = IN_RAM,
    document_bag_of: Int32 | None = None,
) -> BagGroup:
    """A group from the bags of both sides over `table_rows` rows for each tower.

    bag_of (S,), document_bag_of (N,): the bag of each search and of each document; None if each has a bag of its own.
    """
    bags = stack_bags(searches, documents, 0 if shared else table_rows, scratch)
    search_bags = np.arange(len(searches), dtype=np.int32) if bag_of is None else bag_of
    document_bags = np.arange(len(searches), len(bags), dtype=np.int32)
    if document_bag_of is not None:
        document_bags = document_bags[document_bag_of]
    at = scratch.column(chain(pieces(search_bags), pieces(document_bags)), np.int32)
    return BagGroup(bags, at, table_rows if shared else 2 * table_rows, table_rows)


def vector_group(searches: Float32, documents: Float32, search_at: Int32, adapt: Adapt | None = None) -> VectorGroup:
    """A group of the vectors that searches have, at search_at (S,) or −1, and of a vector for each document (N, D′).

    A row of zeros means that there is none: rows with it lack the group.
    """
    vectors = np.concatenate([searches, documents])
    at = np.concatenate([search_at, len(searches) + np.arange(len(documents))]).astype(np.int32)
    is_known = np.asarray(vectors.any(axis=1))
    return VectorGroup(vectors, np.where((at >= 0) & is_known[at], at, -1).astype(np.int32), adapt)


def text_inputs(queries: Bags, documents: Bags, table_rows: int, shared: bool, query_of: Int32) -> Inputs:
    """The inputs of towers that read only texts; query_of (S,) is the query of each search."""
    return Inputs({"text": bag_group(queries, documents, table_rows, shared, query_of)}, len(query_of), len(documents))


def with_search(inputs: Inputs, text: Bags, like: int | None, vector_rows: dict[str, int] | None = None) -> Inputs:
    """The inputs with one more search at the end: its text, and the other groups as in row `like`, or missing.

    text: one bag. vector_rows: for groups of given vectors, the vector of the new row, −1 for none.
    """
    groups: dict[str, BagGroup | VectorGroup] = {}
    for name, group in inputs.groups.items():
        match group:
            case VectorGroup():
                at = (vector_rows or {}).get(name, -1 if like is None else int(group.at[like]))
                groups[name] = group._replace(at=np.append(group.at, np.int32(at)))
            case BagGroup() if name != "text" and like is not None:
                groups[name] = group._replace(at=np.append(group.at, group.at[like]))
            case BagGroup():
                bags = stack_bags(group.bags, text if name == "text" else _NO_BAG, 0)
                groups[name] = group._replace(bags=bags, at=np.append(group.at, np.int32(len(group.bags))))
            case _:
                assert_never(group)
    return inputs._replace(groups=groups)


def append_rows(inputs: Inputs, searches: Int32, text: BagGroup) -> tuple[Inputs, int]:
    """(the inputs with one more row for each of the searches, the first of the new rows).

    text: the group of texts, whose `at` includes the new rows. In all other groups a new row equals its search, with
    the same searcher and place.
    """
    groups = {
        name: text if name == "text" else group._replace(at=np.concatenate([group.at, group.at[searches]]))
        for name, group in inputs.groups.items()
    }
    return inputs._replace(groups=groups), inputs.rows


def with_copies(inputs: Inputs, copies: list[Bags], queries: Int32, searches: Int32) -> tuple[Inputs, int]:
    """(the inputs with further texts of the searches, `first`, the first of the new rows): copy c of search t is row
    first + c · T + t.

    copies: the bags of each copy, one for each distinct query; queries (T,) are the searches' bags among them.
    """
    text = inputs.text
    bags, at = text.bags, [text.at]
    for copy in copies:
        at.append((len(bags) + queries).astype(np.int32))
        bags = stack_bags(bags, copy, 0)
    return append_rows(inputs, np.tile(searches, len(copies)), text._replace(bags=bags, at=np.concatenate(at)))


def with_views(inputs: Inputs, views: int) -> Inputs:
    """The inputs for several query vectors: for each further view, a row for each search, over a table of its own.

    [DPSR 2020]
    """
    text = inputs.text
    queries = len(text.bags) - inputs.documents  # the bags of the queries come first
    ngrams = text.bags.offsets[queries]
    query_bags = Bags(text.bags.offsets[: queries + 1], text.bags.ids[:ngrams], text.bags.weights[:ngrams])
    for _ in range(views - 1):
        text = inputs.text
        at = np.concatenate([text.at, len(text.bags) + text.at[: inputs.searches]]).astype(np.int32)
        wider_text = text._replace(
            bags=stack_bags(text.bags, query_bags, text.table_rows), at=at, table_rows=text.table_rows + text.query_rows
        )
        inputs, first = append_rows(inputs, np.arange(inputs.searches, dtype=np.int32), wider_text)
        inputs = inputs._replace(views=(*inputs.views, first))
    return inputs
