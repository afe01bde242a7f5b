"""What the towers read: for each feature group, which bag or vector belongs to each row.

Rows are the log's searches, then its documents, then whatever training adds: further searches, such as misspelt copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, assert_never

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import IN_RAM, Array, Scratch, pieces
from ebr_core.text.ngram_bags import Bags


class Bagged(NamedTuple):
    """A group of bags over one table. Where the towers are separate, the documents' ids lie behind the queries'."""

    bags: Bags
    at: Int32  # (rows,) the bag of each row; an empty bag is a missing group
    table_rows: int
    rows_of_queries: int = 0  # the first of them: those that a query's text may read


class Dense(NamedTuple):
    """A group of given vectors."""

    vectors: Float32  # (V, D′)
    at: Int32  # (rows,) the vector of each row; −1 where the group is missing


_NO_BAG = Bags(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))  # one, and it is empty


class Inputs(NamedTuple):
    """All groups by name, the text first."""

    groups: dict[str, Bagged | Dense]
    searches: int  # S
    documents: int  # N
    views: tuple[int, ...] = (0,)  # the first row of the searches of each query vector

    def queries_of(self, searches: Int32) -> Int32:
        """(h·n,) the rows of those searches (n,), one query vector after the other."""
        if len(self.views) == 1:
            return np.asarray(searches, np.int32)
        return np.concatenate([np.asarray(first + searches, np.int32) for first in self.views])

    def rows_of(self, documents: Int32) -> Int32:
        """The rows of those documents."""
        return np.asarray(self.searches + documents, np.int32)

    def side_of(self, rows: Int32) -> Int32:
        """(n,) 1 where a row is a document, 0 where it is a search."""
        return ((rows >= self.searches) & (rows < self.searches + self.documents)).astype(np.int32)

    @property
    def rows(self) -> int:
        """How many rows there are, the added ones included."""
        return len(self.groups["text"].at)

    @property
    def text(self) -> Bagged:
        """The group of the texts."""
        match self.groups["text"]:
            case Bagged() as text:
                return text
            case Dense():
                raise TypeError("the group text holds given vectors, expected bags of n-grams")
            case _:
                assert_never(self.groups["text"])

    def arrays(self) -> Iterator[Array]:
        """All arrays of all groups, which a batch reads here and there."""
        for group in self.groups.values():
            match group:
                case Bagged():
                    yield from (*group.bags, group.at)
                case Dense():
                    yield from group
                case _:
                    assert_never(group)

    def without(self, name: str) -> Inputs:
        """The same inputs with one group missing everywhere."""
        group = self.groups[name]
        match group:
            case Bagged():
                missing: Bagged | Dense = group._replace(bags=_NO_BAG, at=np.zeros_like(group.at))
            case Dense():
                missing = group._replace(at=np.full_like(group.at, -1))
            case _:
                assert_never(group)
        return self._replace(groups={**self.groups, name: missing})


def stack(queries: Bags, documents: Bags, document_offset: int, scratch: Scratch = IN_RAM) -> Bags:
    """One set of bags: the queries', then the documents' with their ids moved by document_offset."""
    ngrams = queries.offsets[-1]
    behind = (some + ngrams for some in pieces(documents.offsets[1:]))
    moved = (some + np.int32(document_offset) for some in pieces(documents.ids))
    return Bags(
        scratch.column(chain(pieces(queries.offsets), behind), np.int64),
        scratch.column(chain(pieces(queries.ids), moved), np.int32),
        scratch.column(chain(pieces(queries.weights), pieces(documents.weights)), np.float32),
    )


def bagged(
    searches: Bags,
    documents: Bags,
    known: int,
    shared: bool,
    bag_of: Int32 | None = None,
    scratch: Scratch = IN_RAM,
) -> Bagged:
    """A group from the bags of both sides over `known` rows; bag_of (S,): the bag of each search, else one each."""
    bags = stack(searches, documents, 0 if shared else known, scratch)
    of_searches = np.arange(len(searches), dtype=np.int32) if bag_of is None else bag_of
    of_documents = np.arange(len(searches), len(bags), dtype=np.int32)
    at = scratch.column(chain(pieces(of_searches), pieces(of_documents)), np.int32)
    return Bagged(bags, at, known if shared else 2 * known, known)


def inputs_of(queries: Bags, documents: Bags, known: int, shared: bool, query_of: Int32) -> Inputs:
    """The inputs of towers that read texts alone: query_of (S,) is the query of each search."""
    return Inputs({"text": bagged(queries, documents, known, shared, query_of)}, len(query_of), len(documents))


def with_search(inputs: Inputs, text: Bags, like: int | None, places: dict[str, int] | None = None) -> Inputs:
    """The inputs with one more search at the end: its text, and the other groups as row `like` has them, or missing.

    text: one bag. places: for groups of given vectors, where that of the new row lies, −1 for none.
    """
    groups: dict[str, Bagged | Dense] = {}
    for name, group in inputs.groups.items():
        match group:
            case Dense():
                at = (places or {}).get(name, -1 if like is None else int(group.at[like]))
                groups[name] = group._replace(at=np.append(group.at, np.int32(at)))
            case Bagged() if name != "text" and like is not None:
                groups[name] = group._replace(at=np.append(group.at, group.at[like]))
            case Bagged():
                bags = stack(group.bags, text if name == "text" else _NO_BAG, 0)
                groups[name] = group._replace(bags=bags, at=np.append(group.at, np.int32(len(group.bags))))
            case _:
                assert_never(group)
    return inputs._replace(groups=groups)


def appended(inputs: Inputs, searches: Int32, text: Bagged) -> tuple[Inputs, int]:
    """The inputs with a row more for each of those searches, and the first of the new rows.

    text: the group of texts with an `at` that holds the new rows too. In all other groups a new row is what its search
    is: the searcher and the place stay the same.
    """
    groups = {
        name: text if name == "text" else group._replace(at=np.concatenate([group.at, group.at[searches]]))
        for name, group in inputs.groups.items()
    }
    return inputs._replace(groups=groups), inputs.rows


def with_copies(inputs: Inputs, copies: list[Bags], queries: Int32, searches: Int32) -> tuple[Inputs, int]:
    """The inputs with other texts of those searches, and the first of the new rows: copy c of search t is row
    first + c · T + t.

    copies: for each copy its bags, one for each distinct query; queries (T,) are the searches' bags among them.
    """
    text = inputs.text
    bags, at = text.bags, [text.at]
    for copy in copies:
        at.append((len(bags) + queries).astype(np.int32))
        bags = stack(bags, copy, 0)
    return appended(inputs, np.tile(searches, len(copies)), text._replace(bags=bags, at=np.concatenate(at)))


def with_views(inputs: Inputs, views: int) -> Inputs:
    """The inputs for several query vectors: a row more for each search and further view, over n-grams of its own.

    [DPSR 2020]
    """
    text = inputs.text
    queries = len(text.bags) - inputs.documents  # the bags of the queries come first
    ngrams = text.bags.offsets[queries]
    asked = Bags(text.bags.offsets[: queries + 1], text.bags.ids[:ngrams], text.bags.weights[:ngrams])
    for _ in range(views - 1):
        text = inputs.text
        at = np.concatenate([text.at, len(text.bags) + text.at[: inputs.searches]]).astype(np.int32)
        more = text._replace(
            bags=stack(text.bags, asked, text.table_rows), at=at, table_rows=text.table_rows + text.rows_of_queries
        )
        inputs, first = appended(inputs, np.arange(inputs.searches, dtype=np.int32), more)
        inputs = inputs._replace(views=(*inputs.views, first))
    return inputs
