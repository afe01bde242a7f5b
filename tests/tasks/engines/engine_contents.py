"""Read an engine by its own client, to compare what an export wrote with the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tasks.engines.opened_engine import EngineAddress
from tests.opensearch_stub import OpenSearchStub

Content = dict[str, tuple[Any, ...]]  # document_id → title, price, Tag's, vector


def content_of(address: EngineAddress, name: str, stub: OpenSearchStub | None = None) -> Content:
    """The documents of a version; by the alias, of the one that answers."""
    match address.kind:
        case "lancedb":
            import lancedb

            tables = lancedb.connect(address.url)
            if name == address.alias:
                name = tables.open_table(name).to_arrow()["table"][0].as_py()
            rows = tables.open_table(name).to_arrow().to_pylist()
        case "pgvector":
            import psycopg

            with psycopg.connect(address.url) as database:
                found = database.execute(f'SELECT document_id, title, price, "Tag\'s", vector::text FROM {name}')
                names = ("document_id", "title", "price", "Tag's", "vector")
                rows = [dict(zip(names, row, strict=True)) for row in found]
        case "opensearch":
            assert stub
            rows = list(stub.indexes[stub.names(name)[0]].visible.values())
    content = {}
    for row in rows:
        vector = row["vector"]
        values = [float(x) for x in vector.strip("[]").split(",")] if isinstance(vector, str) else vector
        own = row["title"], row.get("price"), tuple(row.get("Tag's") or ())
        content[row["document_id"]] = (*own, tuple(np.asarray(values, np.float32).tolist()))
    assert len(content) == len(rows), "a document is there twice"
    return content


def content_of_bundle(folder: Path) -> Content:
    """The documents of a bundle."""
    vectors = np.load(folder / "vectors.npy")
    documents = pq.read_table(folder / "documents.parquet").to_pylist()
    return {
        row["document_id"]: (row["title"], row["price"], tuple(row["Tag's"]), tuple(vectors[i].tolist()))
        for i, row in enumerate(documents)
    }
