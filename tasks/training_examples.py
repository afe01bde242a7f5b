"""A sample of an arm's training pairs with negatives of every kind, for a person to read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from ebr_core.arrays import Float32, Int32
from ebr_core.towers.checkpoint import load_towers
from ebr_core.training.arm_config import Arm
from ebr_core.training.batches import Batch, NegativeSource, batches
from ebr_core.training.pair_config import NegativeMix
from ebr_core.training.rated_results import documents_rated_bad
from tasks.kinds import FeatureSet, Log, MinedNegatives, RatedResults, TrainedTowers
from tasks.training_inputs import read_corpus, read_pairs, read_rated

SHOWN_NEGATIVES = 3  # negatives shown of each kind


class TrainingExample(NamedTuple):
    """One training pair: each document with its kind and its similarity to the query."""

    query: str
    searcher: str
    documents: list[tuple[str, str, float]]  # (kind, title, cosine)


def sample_training_pairs(
    log: Log,
    features: FeatureSet,
    towers: TrainedTowers,
    mined: MinedNegatives | None,
    rated: list[RatedResults],
    arm: Arm,
    count: int,
    seed: int,
) -> list[TrainingExample]:
    """`count` random pairs of the arm, as its first seed selects them, with their negatives of each kind.

    Similarities are those of the trained towers. The batch is as large as the arm's, so that its hardest negatives are
    as hard as in training; negatives that the mask excludes are left out.
    """
    corpus, ratings = read_corpus(log, features, arm), read_rated(log, rated, arm.ratings, seed)
    pairs, known = read_pairs(log, arm.positives, arm.mask, seed, ratings, arm.ratings)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs.search_rows))[: max(count, arm.training.batch_size)].astype(np.int32)
    source = NegativeSource(corpus.trainable, corpus.clicks, np.full((len(pairs.search_rows), 0), -1, np.int32))
    mix = NegativeMix(
        random=SHOWN_NEGATIVES, popularity=arm.negatives.popularity, impressions=SHOWN_NEGATIVES, in_batch="all"
    )
    batch = next(iter(batches(pairs, known, source, mix, arm.mask, len(order), order, rng)))
    tower = load_towers(towers.folder).tower.over(corpus.inputs)

    def embedded(documents: Int32) -> Float32:
        return tower.encode(corpus.inputs.rows_of(documents))

    queries = tower.encode(batch.search_rows[:count])
    titles = pq.read_table(log.folder / "documents.parquet", columns=["title"])["title"]
    query_names = _names(log, batch.search_rows[:count])
    tables = _mined(mined, order[:count])
    if ratings and arm.ratings and arm.ratings.negatives:
        for pair, rows in zip(order[:count], documents_rated_bad(ratings, pairs, known)[order[:count]], strict=True):
            tables.setdefault(int(pair), {})["rated bad"] = rows[rows >= 0][:SHOWN_NEGATIVES].tolist()
    examples = []
    for i in range(min(count, len(order))):
        kinds = _kinds(batch, i, queries[i] @ embedded(batch.document_rows).T) | tables.get(int(order[i]), {})
        documents = []
        for kind, rows in kinds.items():
            document_rows = np.asarray(rows, np.int32)
            cosines, names = embedded(document_rows) @ queries[i], titles.take(document_rows).to_pylist()
            documents += [(kind, name, float(cosine)) for name, cosine in zip(names, cosines, strict=True)]
        examples.append(TrainingExample(*query_names[i], documents))
    return examples


def _kinds(batch: Batch, i: int, in_batch: Float32) -> dict[str, list[int]]:
    """Kind → document rows, for the pair at that position of the batch."""
    b = len(batch.search_rows)
    allowed = np.where(batch.allowed[i, :b], in_batch, -np.inf)
    order = np.argsort(-allowed, kind="stable")
    nearest = batch.document_rows[order[np.isfinite(allowed[order])]].tolist()  # other pairs may share a document
    return {
        "positive": [int(batch.document_rows[i])],
        "random": batch.pool[batch.allowed[i, b : b + len(batch.pool)]].tolist(),
        "shown, not clicked": batch.pair_negatives[i, batch.pair_negative_mask[i]].tolist(),
        "hardest of the batch": list(dict.fromkeys(nearest))[:SHOWN_NEGATIVES],
    }


def _mined(mined: MinedNegatives | None, pairs: Any) -> dict[int, dict[str, list[int]]]:
    """Pair → its first mined documents by rank; pairs without any are missing."""
    by_pair: dict[int, dict[str, list[int]]] = {}
    if mined is None:
        return by_pair
    filters = [("pair_row", "in", {int(pair) for pair in pairs}), ("place", "<", SHOWN_NEGATIVES)]
    for row in pq.read_table(mined.folder / "mined.parquet", filters=filters).to_pylist():
        by_pair.setdefault(row["pair_row"], {})[f"mined, rank {row['rank']}"] = [row["document_row"]]
    return by_pair


def _names(log: Log, searches: Int32) -> list[tuple[str, str]]:
    """The (query, searcher) of each search."""
    table = pq.read_table(log.folder / "searches.parquet", columns=["query_row", "searcher_row"]).take(searches)
    queries = pq.read_table(log.folder / "queries.parquet")["query"].take(table["query_row"]).to_pylist()
    ids = pq.read_table(log.folder / "searchers.parquet", columns=["searcher_id"])["searcher_id"]
    people = ids.take(table["searcher_row"]).to_pylist()
    return [(query, person or "not signed in") for query, person in zip(queries, people, strict=True)]
