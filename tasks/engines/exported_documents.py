"""The documents of a model as other engines get them: identity, title, the columns that are shown, vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.own_data import shown_columns
from tasks.engines.search_engine import DOCUMENT_ID, VECTOR


class ExportedDocuments(NamedTuple):
    """The documents of a bundle, in the order of its vectors."""

    schema: pa.Schema  # document_id, title, vector, and the columns that are shown
    bundle: Bundle
    shown: tuple[str, ...]  # the columns of the bundle's documents behind the vector

    def __len__(self) -> int:
        return len(self.bundle.vectors)

    def batches(self, rows: int, first: int = 0) -> Iterator[pa.Table]:
        """Tables of as many documents, from a row on."""
        for start in range(first, len(self), rows):
            part = self.bundle.documents.slice(start, rows)
            vectors = vector_lists(self.bundle.vectors[start : start + rows])
            own = (part[column] for column in self.shown)
            yield pa.table([part[DOCUMENT_ID], part["title"], vectors, *own], self.schema)


def exported_documents(bundle: Bundle, show: list[str] | None = None) -> ExportedDocuments:
    """The documents with these columns, by default those of `serving.show`.

    A vector is a list of D float32, of unit length or, in an ensemble, shorter. Raises InputError for a column that the
    documents lack, or that is called vector.
    """
    shown = shown_columns(bundle.own, bundle.documents, show)
    shown = {heading: column for heading, column in shown.items() if heading not in (DOCUMENT_ID, "title")}
    if VECTOR in shown:
        raise InputError(f"--show: {VECTOR} is a column of every file of vectors; leave it out")
    own = [bundle.documents.schema.field(column).with_name(heading) for heading, column in shown.items()]
    vector = pa.field(VECTOR, pa.list_(pa.float32(), bundle.vectors.shape[1]))
    schema = pa.schema([(DOCUMENT_ID, pa.string()), ("title", pa.string()), vector, *own])
    return ExportedDocuments(schema, bundle, tuple(shown.values()))


def vector_lists(vectors: Float32) -> pa.Array:
    """(N, D) vectors as a column of lists."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
