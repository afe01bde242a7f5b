"""The kind of a query, by which a hybrid may weigh terms and embedding differently."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Bool, Int64
from ebr_core.text.bm25_config import Language
from ebr_core.text.sorted_texts import SortedTexts, rows_of
from ebr_core.text.terms import Terms, word_numbers
from ebr_core.text.tokenizer import cut_words

KINDS = ("seen, short", "seen, long", "new, short", "new, long", "misspelt")
SHORT = 2  # words of a short query, at most


class TrainingQueries(NamedTuple):
    """The queries of the training window and their words, both in order, each once."""

    queries: pa.Array  # folded
    words: pa.Array


def training_queries(queries: pa.Array, language: Language | None) -> TrainingQueries:
    """The queries and words of texts (n,), cut in the language of BM25."""
    return TrainingQueries(_in_order(_folded(queries)), _in_order(cut_words(queries, language).vocabulary))


def query_kinds(queries: pa.Array, known: TrainingQueries, terms: Terms) -> Int64:
    """(Q,) the number of each query's kind in KINDS.

    Misspelt: it has a word that neither a document nor a training query has. Seen: a query of the training window has
    the same words in the same order. Short: at most two words, stop words aside.
    """
    words = cut_words(queries, terms.language)
    lengths = np.diff(words.offsets)
    unknown = ~((word_numbers(terms, words.vocabulary) >= 0) | _contains(known.words, words.vocabulary))
    owners = np.repeat(np.arange(len(queries)), lengths)
    misspelt = np.bincount(owners[unknown[words.ids]], minlength=len(queries)) > 0
    seen = _contains(known.queries, _folded(queries))
    kinds: Int64 = np.where(misspelt, KINDS.index("misspelt"), 2 * ~seen + (lengths > SHORT)).astype(np.int64)
    return kinds


def is_known(query: str, known: TrainingQueries) -> bool:
    """True if a query of the training window has the same words in the same order."""
    return bool(_contains(known.queries, _folded(pa.array([query])))[0])


def _folded(texts: pa.Array) -> pa.Array:
    """Each text as its words, folded, with a space between them."""
    words = cut_words(texts, None)
    lists = pa.LargeListArray.from_arrays(pa.array(words.offsets), words.vocabulary.take(pa.array(words.ids)))
    return pc.binary_join(lists, pa.scalar(" ", lists.type.value_type))


def _in_order(values: pa.Array) -> pa.Array:
    distinct = pc.unique(values)
    return distinct.take(pc.sort_indices(distinct))


def _contains(ordered: pa.Array, values: pa.Array) -> Bool:
    """(n,) True for values that are in the array, which is in order."""
    return rows_of(values, SortedTexts(ordered)) >= 0
