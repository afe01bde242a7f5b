"""The start of an n-gram table by what a pretrained encoder says of the log's words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from data import extracted_log
from ebr_core.arrays import Float32
from ebr_core.encoders.pretrained import load_encoder
from ebr_core.encoders.static_config import StaticStart
from ebr_core.encoders.text_vectors import encode_texts
from ebr_core.parallel import use_threads
from ebr_core.text.ngram_bags import keep_known
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.static_start import start_rows, words_of
from tasks.artifacts import stage
from tasks.feature_stages import read_fitted, texts_of
from tasks.kinds import FeatureSet, Log, StartTable
from tasks.progress import show_progress

_WORDS_AT_ONCE = 4096


@stage(StartTable)
def start_table(
    folder: Path, log: Log, features: FeatureSet, static: StaticStart, dimensions: int, seed: int, threads: int
) -> None:
    """Write table.npy (rows, D): the vectors at which the n-grams of the training window start."""
    use_threads(threads)
    fitted = read_fitted(features)
    queries, documents = texts_of(log, fitted.features)
    query_rows = extracted_log.row_numbers(extracted_log.read(log.folder, "training_queries"), "query_row")
    document_rows = extracted_log.row_numbers(extracted_log.read(log.folder, "trainable"), "document_row")
    words, counts = words_of(pa.chunked_array([queries.take(query_rows), documents.take(document_rows)]))
    encoder = load_encoder(static.encoder)
    blocks = []
    with show_progress("words of the start", len(words)) as show:
        for first in range(0, len(words), _WORDS_AT_ONCE):
            blocks.append(encode_texts(encoder, words.slice(first, _WORDS_AT_ONCE), "document"))
            show(min(first + _WORDS_AT_ONCE, len(words)), "")
    bags = keep_known(hash_texts(words, fitted.features.text), fitted.vocabulary)
    vectors = np.concatenate(blocks) if blocks else np.zeros((0, encoder.dimensions), np.float32)
    rng = np.random.default_rng([seed, 5])
    np.save(folder / "table.npy", start_rows(bags, counts, vectors, fitted.text_rows(), dimensions, rng))


def read_start_table(table: StartTable | None) -> Float32 | None:
    """(rows, D) the start of an n-gram table; None for a random one."""
    return None if table is None else np.load(table.folder / "table.npy")
