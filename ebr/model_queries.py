"""Ask a model: ranked documents for a query, vectors of queries and of documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.serving import document_towers
from ebr_core.serving.hits import Hit
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import answer, embed_prepared, prepare
from flows.app.query_options import validate_query


def search(
    model: Bundle, query: str, k: int = 10, where: str | None = None, context: Mapping[str, Any] | None = None
) -> list[Hit]:
    """The K documents that the model ranks first, each with its title, score and the reasons for its rank.

    where: a condition on documents, such as "price < 20" (docs/indexes.md). context: other fields of a query, as
    `ebr serve` takes them: searcher_id, city, mode, show, fields … Raises InputError for a query, a condition or a
    field that the model cannot take.
    """
    return answer(model, validate_query({"query": query, "k": k, "where": where} | dict(context or {})))


def embed_queries(model: Bundle, queries: Sequence[str], context: Mapping[str, Any] | None = None) -> Float32:
    """(Q, D) unit vectors of queries; the cosine of two vectors is their inner product.

    context: fields that all of them share, see `search`. A query without anything that the model knows has the zero
    vector. An ensemble's vectors are concatenated, and (h, Q, D) for a model that gives a query several. Raises
    InputError as `search` does.
    """
    use_threads(1)
    fields = dict(context or {})
    return embed_prepared(
        model, [prepare(model, validate_query({"query": query, "k": 1} | fields)) for query in queries]
    )


def embed_documents(
    model: Bundle, titles: Sequence[str] | None = None, bodies: Sequence[str | None] | None = None
) -> tuple[list[str], Float32]:
    """(identities, (N, D) vectors) of all documents that the model holds, memory-mapped.

    With titles, the vectors of documents that are in no log, by their texts alone; their identities are the titles.
    bodies: of the same documents, None for none. Raises InputError if the model reads no text of documents, or if there
    are not as many bodies as titles.
    """
    if titles is None:
        return model.documents["document_id"].to_pylist(), model.vectors
    texts = list(bodies) if bodies is not None else [None] * len(titles)
    if len(texts) != len(titles):
        raise InputError(f"bodies: got {len(texts)} for {len(titles)} titles; give one for each, or None")
    use_threads(1)
    columns = (pa.array(list(column), pa.string()) for column in (titles, texts))
    return list(titles), np.asarray(document_towers.embed_documents(model.towers, *columns), np.float32)
