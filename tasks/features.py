"""From texts to bags of n-grams, fitted on the training window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import samples
from ebr_core.bags import Bags, fit_vocabulary, hash_texts, keep_known, take
from ebr_core.config import TextFeatures
from tasks.artifacts import Artifact, stage


@stage
def featurise(folder: Path, log: Artifact, text: TextFeatures) -> None:
    """Bags of every query and document text; the vocabulary is of the training window's queries and documents alone."""
    documents = pq.read_table(log.folder / "documents.parquet", columns=["title", "body"])
    titles = documents["title"]
    if text.body:
        titles = pc.binary_join_element_wise(titles, pc.fill_null(documents["body"], ""), " ")
    queries = pq.read_table(log.folder / "queries.parquet")["query"]
    query_bags = hash_texts(queries.combine_chunks(), text)
    document_bags = hash_texts(titles.combine_chunks(), text)
    trained_on = [
        take(query_bags, samples.rows(samples.read(log.folder, "training_queries"), "query_row")),
        take(document_bags, samples.rows(samples.read(log.folder, "trainable"), "document_row")),
    ]
    vocabulary = fit_vocabulary(trained_on, text.buckets)
    np.save(folder / "vocabulary.npy", vocabulary)
    for name, bags in (("queries", query_bags), ("documents", document_bags)):
        for part, array in keep_known(bags, vocabulary)._asdict().items():
            np.save(folder / f"{name}.{part}.npy", array)


def read_bags(features: Artifact, side: str) -> Bags:
    """The memory-mapped bags of "queries" or "documents"."""
    return Bags(*(np.load(features.folder / f"{side}.{part}.npy", mmap_mode="r") for part in Bags._fields))
