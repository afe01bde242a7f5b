"""The inputs of one batch alone: its queries, then its documents, each with what it may know while it is learnt."""

from __future__ import annotations

from typing import NamedTuple, assert_never

import numpy as np

from ebr_core.arrays import Bool, Int32
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.history_bags import leave_out_own
from ebr_core.towers.tower import Forward, Tower
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup
from ebr_core.training.own_pairs import OwnPairs, leave_out_queries, own_edges_of, vectors_without_edges


class BatchRows(NamedTuple):
    """The rows of a batch of B pairs. Its first B documents are the pairs' own."""

    searches: Int32  # (B,) negative for a title in place of a query
    queries: Int32  # (h·B,) their rows among the inputs, which may be those of misspelt copies; negative for a title
    documents: Int32  # (n,) n ≥ B


def batch_inputs(inputs: Inputs, batch: BatchRows, own: OwnPairs | None, titles: Bags | None) -> Inputs:
    """The inputs of the batch: h·B searches and n documents, without what `own` holds of each pair.

    titles: the texts of the titles in place of queries, in order; all other groups of their rows are missing.
    """
    is_title = batch.queries < 0
    rows = np.concatenate([batch.queries, inputs.rows_of(batch.documents)]).astype(np.int32)
    missing = np.concatenate([is_title, np.zeros(len(batch.documents), bool)])
    groups: dict[str, BagGroup | VectorGroup] = {}
    for name, group in inputs.groups.items():
        at = np.where(missing, -1, group.at[rows]).astype(np.int32)
        match group:
            case BagGroup():
                bags = _bags_at(group.bags, at)
                if name == "text" and own is not None and own.queries is not None:
                    _without_own_queries(bags, inputs, batch, own)
                if own is not None and name in own.listed:
                    shift = group.table_rows - group.query_rows  # 0 for a shared table
                    leave_out_own(bags, len(batch.queries), len(batch.searches), shift)
                if name == "text" and titles is not None:
                    bags = _with_titles(bags, titles, missing)
                groups[name] = group._replace(bags=bags, at=np.arange(len(rows), dtype=np.int32))
            case VectorGroup():
                given = group._replace(at=at)
                groups[name] = (
                    _without_own_edges(given, name, batch, own) if own is not None and name in own.edges else given
                )
            case _:
                assert_never(group)
    return Inputs(groups, len(batch.queries), len(batch.documents), sums=inputs.sums)


def forward_batch(
    tower: Tower, inputs: Inputs, batch: BatchRows, own: OwnPairs | None, titles: Bags | None
) -> tuple[Tower, Forward]:
    """(the tower over the inputs that it reads, its vectors): of the batch's queries, then of its documents.

    inputs: those of the tower. They serve as they are if nothing is left out and no title stands for a query.
    """
    if own is None and titles is None:
        rows = np.concatenate([batch.queries, inputs.rows_of(batch.documents)])
        return tower, tower.forward(rows.astype(np.int32))
    learner = tower.over(batch_inputs(inputs, batch, own, titles))
    return learner, learner.forward(np.arange(len(batch.queries) + len(batch.documents), dtype=np.int32))


def _bags_at(bags: Bags, at: Int32) -> Bags:
    """The bags at (n,), an empty one for −1. Reads only these, not all offsets."""
    starts = bags.offsets[at]
    counts = np.where(at < 0, 0, bags.offsets[at + 1] - starts)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    entries = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
    return Bags(offsets, bags.ids[entries], bags.weights[entries])


def _with_titles(bags: Bags, titles: Bags, is_title: Bool) -> Bags:
    """The bags with those of the titles, in order, in the places where is_title is True."""
    both = Bags(
        np.concatenate([bags.offsets, bags.offsets[-1] + titles.offsets[1:]]),
        np.concatenate([bags.ids, titles.ids]),
        np.concatenate([bags.weights, titles.weights]),
    )
    at = np.where(is_title, len(bags) + np.cumsum(is_title) - 1, np.arange(len(bags)))
    return _bags_at(both, at.astype(np.int32))


def _without_own_queries(bags: Bags, inputs: Inputs, batch: BatchRows, own: OwnPairs) -> None:
    """Leave the pairs' own queries out of the bags of their documents, in place."""
    b, first = len(batch.searches), len(batch.queries)
    assert own.queries is not None, "only documents that know queries have some to leave out"
    documents = batch.documents[:b]
    positives = Bags(bags.offsets[first : first + b + 1], bags.ids, bags.weights)
    keys = own.keys_of(batch.searches, documents)
    leave_out_queries(positives, own.queries, inputs.text.bags.offsets, keys, documents)


def _without_own_edges(group: VectorGroup, name: str, batch: BatchRows, own: OwnPairs) -> VectorGroup:
    """The vectors of the batch's rows, those of the pairs without the edges of their own."""
    edges, b, documents = own.edges[name], len(batch.searches), batch.documents[: len(batch.searches)]
    people = np.where(batch.searches >= 0, own.searcher_of[batch.searches], -1)
    pair, row = own_edges_of(edges, own.keys_of(batch.searches, documents), people)
    searcher_vectors, document_vectors = vectors_without_edges(
        edges, row, len(edges.degrees) - own.documents + documents[pair]
    )
    vectors = np.where(group.at[:, None] >= 0, group.vectors[group.at], 0).astype(np.float32)
    for view in range(len(batch.queries) // b):
        vectors[view * b + pair] = searcher_vectors
    vectors[len(batch.queries) + pair] = document_vectors
    return group._replace(vectors=vectors, at=np.where(vectors.any(1), np.arange(len(vectors)), -1).astype(np.int32))
